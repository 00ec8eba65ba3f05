import assert from 'node:assert/strict';
import { queueName } from '../../../test/support/build-queue-state-world.ts';
import { ofKind } from '../../../test/support/expectations.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import type { WorkerOffer } from '../../platform/platform.ts';
import {
  platformQueueText,
  QUEUE_LABEL,
  queueFromWire,
  queueLabels,
  queueOfNeeds,
  queueOfOffer,
  queueText,
  queueToWire,
  suffixOf,
  workerIdOf,
} from './queue-name.ts';

const PREFIX = parseInstanceName('a/b');
const OFFER: WorkerOffer = {
  alternatives: [
    {
      properties: [
        { name: 'ISA', values: ['arm64', 'x86-64'] },
        { name: 'OSFamily', values: ['linux'] },
      ],
    },
    { properties: [{ name: 'ISA', values: ['wasm32'] }] },
  ],
  digestFunctions: ['sha256'],
  legacyOutputs: false,
  sizeClass: 3,
};

describe('the name of a queue', () => {
  it('is prefix, first alternative and size class of an offer', () => {
    assert.deepEqual(queueOfOffer(PREFIX, OFFER), {
      prefix: 'a/b',
      properties: [
        { name: 'ISA', value: 'arm64' },
        { name: 'ISA', value: 'x86-64' },
        { name: 'OSFamily', value: 'linux' },
      ],
      sizeClass: 3,
    });
    const bare = { ...OFFER, alternatives: [] };
    assert.deepEqual(queueOfOffer(PREFIX, bare).properties, []);
  });

  it('has size class 0 if the offer has none', () => {
    const { sizeClass, ...offer } = OFFER;
    assert.equal(sizeClass, 3);
    assert.equal(queueOfOffer(PREFIX, offer).sizeClass, 0);
  });

  it('is what tasks need that no pool could run', () => {
    const needs = {
      properties: [{ name: 'OSFamily', values: ['plan9'] }],
      digestFunction: 'sha256',
      legacyOutputs: true,
    } as const;
    assert.deepEqual(queueOfNeeds(PREFIX, needs, 2), {
      prefix: 'a/b',
      properties: [{ name: 'OSFamily', value: 'plan9' }],
      sizeClass: 2,
    });
  });

  it('survives the way to a client and back, in whatever order the client has its properties (R-BB-17)', () => {
    const name = queueOfOffer(PREFIX, OFFER);
    assert.deepEqual(queueFromWire(queueToWire(name)), name);
    const mixed = queueToWire(name);
    mixed.platformQueueName?.platform?.properties.reverse();
    assert.deepEqual(queueFromWire(mixed), name);
    assert.deepEqual(
      queueFromWire({ platformQueueName: { instanceNamePrefix: '', platform: undefined }, sizeClass: 0 }),
      {
        prefix: '',
        properties: [],
        sizeClass: 0,
      },
    );
  });

  it('is refused if it is absent, malformed or endless', () => {
    assert.throws(() => queueFromWire(undefined), ofKind('invalid-argument'));
    assert.throws(() => queueFromWire({ platformQueueName: undefined, sizeClass: 0 }), ofKind('invalid-argument'));
    assert.throws(() => queueFromWire(queueName('a//b')), ofKind('invalid-argument'));
    const many = Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`p${index}`, '']));
    assert.throws(() => queueFromWire(queueName('', many)), ofKind('invalid-argument'));
  });

  it('is equal as a text exactly if it is equal', () => {
    const name = queueOfOffer(PREFIX, OFFER);
    const larger = { ...name, sizeClass: 4 };
    assert.notEqual(queueText(name), queueText(larger));
    assert.equal(platformQueueText(name), platformQueueText(larger));
    assert.notEqual(platformQueueText(name), platformQueueText({ ...name, properties: [] }));
  });
});

describe('queueLabels', () => {
  it('add the queue to a worker id, whatever the worker says of it', () => {
    const labels = queueLabels({ host: 'h', [QUEUE_LABEL]: 'forged' }, PREFIX, OFFER);
    assert.equal(labels[QUEUE_LABEL], queueText(queueOfOffer(PREFIX, OFFER)));
    assert.deepEqual(workerIdOf(labels), { host: 'h' });
  });
});

describe('suffixOf', () => {
  for (const [instance, prefix, suffix] of [
    ['a/b/c', 'a/b', 'c'],
    ['a/b', 'a/b', ''],
    ['a/b', '', 'a/b'],
    ['', '', ''],
  ] as const) {
    it(`leaves "${suffix}" of "${instance}" behind "${prefix}" (R-BB-14)`, () => {
      assert.equal(suffixOf(parseInstanceName(instance), parseInstanceName(prefix)), suffix);
    });
  }
});
