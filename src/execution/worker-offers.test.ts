import assert from 'node:assert/strict';
import { isKind } from '../errors.ts';
import { DigestFunction_Value } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SynchronizeRequest } from '../gen/pkg/proto/remoteworker/remoteworker.ts';
import { DEFAULT_RULES } from '../platform/lexicon.ts';
import { RuleMatcher } from '../platform/matcher.ts';
import { WorkerOffers } from './worker-offers.ts';

type Fields = Parameters<typeof SynchronizeRequest.fromPartial>[0];

const MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
const properties = (...pairs: readonly string[]) =>
  pairs.map((pair) => ({ name: pair.split('=')[0] ?? '', value: pair.split('=')[1] ?? '' }));

function read(fields: Fields, offers = new WorkerOffers(MATCHER, ['sha256'])) {
  return offers.read(SynchronizeRequest.fromPartial(fields));
}

describe('WorkerOffers', () => {
  it('reads the platform of a plain bb_worker as its only alternative, with the defaults for the rest', () => {
    assert.deepEqual(read({ platform: { properties: properties('os=Linux', 'arch=amd64') } }), {
      alternatives: [
        {
          properties: [
            { name: 'ISA', values: ['x86-64'] },
            { name: 'OSFamily', values: ['linux'] },
          ],
        },
      ],
      digestFunctions: ['sha256'],
      legacyOutputs: false,
      capacity: [],
      sizeClass: 0,
    });
  });

  it('takes a worker without a platform for one without properties (R-BB-01)', () => {
    assert.deepEqual(read({}).alternatives, [{ properties: [] }]);
  });

  it('reads the alternatives of ours in place of its platform, never mixed', () => {
    const offer = read({
      platform: { properties: properties('OSFamily=windows') },
      gantry: {
        offers: [{ properties: properties('OSFamily=linux') }, { properties: properties('OSFamily=wasi') }],
        legacyOutputs: true,
      },
    });
    assert.deepEqual(
      offer.alternatives.map((set) => set.properties),
      [[{ name: 'OSFamily', values: ['linux'] }], [{ name: 'OSFamily', values: ['wasi'] }]],
    );
    assert.equal(offer.legacyOutputs, true);
  });

  it('reads the platform of ours where it names no alternatives', () => {
    const offer = read({ platform: { properties: properties('OSFamily=linux') }, gantry: {} });
    assert.deepEqual(offer.alternatives, [{ properties: [{ name: 'OSFamily', values: ['linux'] }] }]);
  });

  it('keeps several values of a property (R-PL-05)', () => {
    const [set] = read({ platform: { properties: properties('ISA=x86-64', 'ISA=x86-avx2') } }).alternatives;
    assert.deepEqual(set?.properties, [{ name: 'ISA', values: ['x86-64', 'x86-avx2'] }]);
  });

  it('counts what can be taken, the most of any alternative', () => {
    const offers = [{ properties: properties('cores=4') }, { properties: properties('cores=2', 'memory=1GB') }];
    assert.deepEqual(read({ gantry: { offers } }).capacity, [
      { name: 'cores', amount: 4 },
      { name: 'memory', amount: 1024 ** 3 },
    ]);
  });

  it('takes the digest functions that the worker names and the server knows', () => {
    const of = (digestFunctions: DigestFunction_Value[]) => read({ gantry: { digestFunctions } }).digestFunctions;
    assert.deepEqual(of([DigestFunction_Value.SHA256, DigestFunction_Value.MD5]), ['sha256']);
    assert.deepEqual(of([DigestFunction_Value.MD5]), []);
    assert.deepEqual(of([]), ['sha256']);
  });

  it('has the size class (R-BB-22)', () => {
    assert.equal(read({ sizeClass: 4 }).sizeClass, 4);
  });

  it('reads the same offer once, so that equal ones are the same object', () => {
    const offers = new WorkerOffers(MATCHER, ['sha256']);
    const said: Fields = { platform: { properties: properties('OSFamily=linux') }, workerId: { node: 'a' } };
    const first = read(said, offers);
    assert.equal(read({ ...said, workerId: { node: 'b' } }, offers), first);
    for (const other of [
      { ...said, sizeClass: 1 },
      { ...said, gantry: { legacyOutputs: true } },
      { ...said, gantry: { offers: [{ properties: [] }] } },
      { platform: { properties: properties('OSFamily=macos') } },
    ]) {
      assert.notEqual(read(other, offers), first);
    }
    for (let count = 0; count < 1_000; count++) read({ sizeClass: count + 10 }, offers);
    assert.deepEqual(read(said, offers), first, 'one that was forgotten is read again');
  });

  it('refuses properties that do not parse', () => {
    for (const said of [
      { platform: { properties: properties('cores=many') } },
      { gantry: { offers: [{ properties: properties('=x') }] } },
    ]) {
      assert.throws(
        () => read(said),
        (error) => isKind(error, 'invalid-argument'),
      );
    }
  });
});
