import assert from 'node:assert/strict';
import fc from 'fast-check';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { isKind } from '../../errors.ts';
import { OperationRecord } from '../../gen/gantry/v1/operation_record.ts';
import type { OperationState } from '../operations.ts';
import { decodeOperation, encodeOperation } from './operation-record.ts';
import { NO_IDS } from './request-ids.ts';

const plain: OperationState = {
  name: 'a/operations/1',
  key: { instance: parseInstanceName('a'), action: digestOf('sha256', Buffer.from('action')) },
  ...{ stage: 'completed', message: '', createdAtMs: 1_000, order: 1_000_000, priority: 0, ids: NO_IDS },
  ...{ finishedAtMs: 2_000, attempts: [], response: Uint8Array.of(1, 2, 3) },
};

describe('operation records', () => {
  it('bring back an operation that never ran', () => {
    assert.deepEqual(decodeOperation(encodeOperation(plain)), plain);
  });

  it('law: bring back whatever is known of an operation', () => {
    const plainObjects = { noNullPrototype: true };
    const text = fc.string({ maxLength: 20 });
    const time = fc.integer({ min: 0, max: 2 ** 42 });
    const end = fc.record(
      { atMs: time, how: fc.constantFrom('success', 'of a later version'), cause: text },
      plainObjects,
    );
    const attempt = fc
      .record({
        attempt: fc.integer({ min: 1, max: 100 }),
        slot: text,
        node: text,
        startedAtMs: time,
        end: fc.option(end),
      })
      .map(({ end: ended, ...rest }) => ({ ...rest, ...(ended && { end: ended }) }));
    const state = fc.record({
      priority: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      ids: fc.record({ tool: text, invocation: text, correlated: text, mnemonic: text, target: text }, plainObjects),
      slot: fc.string({ minLength: 1, maxLength: 20 }),
      startedAtMs: time,
      finishedAtMs: time,
      createdAtMs: time,
      order: fc.maxSafeNat(),
      attempts: fc.array(attempt, { maxLength: 4 }),
      response: fc.uint8Array({ maxLength: 50 }).map((bytes) => Uint8Array.from(bytes)),
    });
    fc.assert(
      fc.property(state, (parts) => {
        const given = { ...plain, ...parts };
        assert.deepEqual(decodeOperation(encodeOperation(given)), given);
      }),
    );
  });

  it('are refused when they are damaged', () => {
    const encoded = OperationRecord.decode(encodeOperation(plain));
    const damaged = [
      Uint8Array.of(0xff, 0xff),
      OperationRecord.encode({ ...encoded, finishTime: undefined }).finish(),
      OperationRecord.encode({ ...encoded, actionDigest: undefined }).finish(),
      OperationRecord.encode({ ...encoded, instanceName: '//' }).finish(),
    ];
    for (const bytes of damaged) {
      assert.throws(
        () => decodeOperation(bytes),
        (error) => isKind(error, 'undecodable') || isKind(error, 'invalid-argument'),
      );
    }
  });
});
