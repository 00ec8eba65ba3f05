import assert from 'node:assert/strict';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { encodeTrace } from '../../../test/simulation/traces/encode-trace.ts';
import { TRACE_LIBRARY } from '../../../test/simulation/traces/library.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { isKind } from '../../errors.ts';
import { TraceFrame, TraceRecord, TraceRecords } from '../../gen/gantry/v1/trace.ts';
import type { Requirement, WorkerOffer } from '../../platform/platform.ts';
import type { Arrival, SlotChange, Trace } from './trace.ts';
import { decodeTrace } from './trace-decoder.ts';
import { encodeFrame } from './trace-frame.ts';

const record = <T>(fields: { [Key in keyof T]: fc.Arbitrary<T[Key]> }): fc.Arbitrary<T> =>
  fc.record(fields, { noNullPrototype: true });
const word = fc.stringMatching(/^[a-z]{1,6}$/);
const ms = fc.nat({ max: 1_000_000 });
const properties = fc.array(record({ name: word, values: fc.array(word, { maxLength: 3 }) }), { maxLength: 3 });
const amounts = fc.array(record({ name: word, amount: fc.double({ min: 0, noNaN: true }) }), {
  minLength: 1,
  maxLength: 2,
});
const instance = fc.constantFrom('', 'main', 'a/b').map(parseInstanceName);

const needs: fc.Arbitrary<Requirement> = fc.record(
  {
    ...{ properties, digestFunction: fc.constant('sha256' as const), legacyOutputs: fc.boolean() },
    ...{ takes: amounts, preferences: properties.filter((each) => each.length > 0) },
  },
  { noNullPrototype: true, requiredKeys: ['properties', 'digestFunction', 'legacyOutputs'] },
);

const offer: fc.Arbitrary<WorkerOffer> = fc.record(
  {
    alternatives: fc.array(record({ properties }), { minLength: 1, maxLength: 2 }),
    ...{ digestFunctions: fc.constant(['sha256'] as const), legacyOutputs: fc.boolean() },
    ...{ capacity: amounts, sizeClass: fc.integer({ min: 1, max: 9 }) },
  },
  { noNullPrototype: true, requiredKeys: ['alternatives', 'digestFunctions', 'legacyOutputs'] },
);

const arrival: fc.Arbitrary<Arrival> = fc.record(
  {
    ...{ atMs: ms, key: fc.stringMatching(/^[0-9a-f]{16}$/), instance, needs, mnemonic: fc.option(word, { nil: '' }) },
    ...{ priority: fc.integer({ min: -2000, max: 2000 }), merge: fc.constantFrom('any', 'fresh', 'never') },
    shares: fc.array(record({ id: word, weight: fc.constantFrom(1, 0.5, 3) }), { maxLength: 3 }),
    ...{ inputBytes: fc.nat({ max: 1000 }).map((kib) => kib * 1024), expectedMs: ms, runMs: ms },
    sizeClass: fc.nat({ max: 9 }),
  },
  {
    noNullPrototype: true,
    requiredKeys: ['atMs', 'key', 'instance', 'needs', 'mnemonic', 'priority', 'merge', 'shares', 'inputBytes'],
  },
);

const slot: fc.Arbitrary<SlotChange> = fc.oneof(
  record({ type: fc.constant('there' as const), atMs: ms, slot: word, node: word, offer, prefix: instance }),
  record({ type: fc.constant('left' as const), atMs: ms, slot: word, isLost: fc.boolean() }),
);

const inTime = <T extends { readonly atMs: number }>(each: fc.Arbitrary<T>): fc.Arbitrary<readonly T[]> =>
  fc.array(each, { maxLength: 20 }).map((list) => list.toSorted((a, b) => a.atMs - b.atMs));

/** A file with one frame of these records, of which the fields that are not given have their defaults. */
const fileOf = (...records: readonly object[]): Promise<Buffer> =>
  encodeFrame(records.map((record) => TraceRecord.fromPartial(record)));

const HEADER = { event: { $case: 'header', value: { version: 1, startedAtMs: 5n } } } as const;

const isWrong = (error: unknown): boolean => isKind(error, 'invalid-argument');

describe('decodeTrace', () => {
  it('law: reads what was written', async () => {
    await fc.assert(
      fc.asyncProperty(inTime(arrival), inTime(slot), ms, async (arrivals, slots, startedAtMs) => {
        const trace: Trace = { startedAtMs, arrivals, slots, isTruncated: false };
        assert.deepEqual(decodeTrace(await encodeTrace(trace)), trace);
      }),
    );
  });

  it('law: reads the frames before the one in which a file is cut off', async () => {
    const [head, tail] = [await fileOf(HEADER, { event: { $case: 'text', value: 'x' } }), await fileOf({ afterMs: 7 })];
    fc.assert(
      fc.property(fc.integer({ min: 1, max: tail.length - 1 }), (length) => {
        const { isTruncated, startedAtMs } = decodeTrace(Buffer.concat([head, tail.subarray(0, length)]));
        assert.deepEqual([isTruncated, startedAtMs], [true, 5]);
      }),
    );
  });

  it('reads what was before the first arrival that is too many', async () => {
    const whole = TRACE_LIBRARY['worker churn'](1);
    const file = await encodeTrace(whole);
    const first = decodeTrace(file, 10);
    assert.equal(first.isPartial, true);
    assert.equal(first.arrivals.length, 10);
    const untilMs = whole.arrivals[10]?.atMs ?? 0;
    const before = whole.slots.filter(({ atMs }) => atMs < untilMs);
    assert.deepEqual(first.slots.slice(0, before.length), before);
    assert.ok(first.slots.every(({ atMs }) => atMs <= untilMs));
    assert.equal(decodeTrace(file, whole.arrivals.length).isPartial, undefined);
  });

  it('law: refuses other bytes, and never fails in another way', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        assert.throws(() => decodeTrace(bytes), isWrong);
      }),
    );
  });

  it('law: a damaged byte is noticed, or is no worse than another trace', async () => {
    const file = await encodeTrace(TRACE_LIBRARY['worker churn'](1));
    fc.assert(
      fc.property(fc.nat({ max: file.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Buffer.from(file);
        damaged[at] = (damaged[at] ?? 0) ^ change;
        try {
          decodeTrace(damaged);
        } catch (error) {
          assert.ok(isWrong(error));
        }
      }),
    );
  });

  for (const [what, records] of [
    ['does not begin with a header', [{ event: { $case: 'text', value: 'x' } }]],
    ['has two headers', [HEADER, HEADER]],
    ['is of a later version', [{ event: { $case: 'header', value: { version: 2, startedAtMs: 0n } } }]],
    ['refers to a requirement it does not define', [HEADER, { event: { $case: 'arrival', value: { needs: 1 } } }]],
    ['refers to an offer it does not define', [HEADER, { event: { $case: 'slot', value: { offer: 1 } } }]],
    ['ends an arrival it does not have', [HEADER, { event: { $case: 'finish', value: { arrival: 0 } } }]],
    ['refers to a text it does not define', [HEADER, { event: { $case: 'slotLeft', value: { name: 3 } } }]],
    ['names an unknown digest function', [HEADER, { event: { $case: 'needs', value: { digestFunction: 0 } } }]],
  ] as const) {
    it(`refuses a trace that ${what}`, async () => {
      const file = await fileOf(...records);
      assert.throws(() => decodeTrace(file), isWrong);
    });
  }

  it('leaves out records of kinds it does not know', () => {
    const known = TraceRecords.encode({ records: [TraceRecord.fromPartial(HEADER)] }).finish();
    // Field 900 of a record, a varint.
    const unknown = Buffer.from([0x0a, 3, 0xa0, 0x38, 1]);
    const frame = TraceFrame.encode({ records: zstdCompressSync(Buffer.concat([known, unknown])) }).finish();
    assert.equal(decodeTrace(Buffer.concat([Buffer.from([frame.length]), frame])).startedAtMs, 5);
  });

  it('takes an empty file for no trace', () => {
    assert.throws(() => decodeTrace(Buffer.alloc(0)), isWrong);
  });
});
