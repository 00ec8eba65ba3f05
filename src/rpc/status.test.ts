import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type DigestFact, type ErrorKind, ReapiError } from '../errors.ts';
import { Code } from '../gen/google/rpc/code.ts';
import { BadRequest, PreconditionFailure, RetryInfo } from '../gen/google/rpc/error_details.ts';
import { Status } from '../gen/google/rpc/status.ts';
import { isAny } from './any.ts';
import {
  fromWireStatus,
  isOurFault,
  kindOfCode,
  MAX_MESSAGE_LENGTH,
  MAX_TRAILER_DETAIL_BYTES,
  MAX_VIOLATIONS,
  toTrailerStatus,
  toWireStatus,
} from './status.ts';

/** Numbers, not names: this is the wire, and clients decide by it whether to retry (R-XC-12). */
const GOLDEN: Readonly<Record<ErrorKind, number>> = {
  cancelled: 1,
  'invalid-argument': 3,
  'digest-mismatch': 3,
  'too-large': 3,
  'timed-out': 4,
  'blob-not-found': 5,
  'operation-not-found': 5,
  'result-not-found': 5,
  'not-found': 5,
  denied: 7,
  'quota-exceeded': 8,
  'missing-inputs': 9,
  precondition: 9,
  'no-such-platform': 9,
  'out-of-range': 11,
  unimplemented: 12,
  internal: 13,
  undecodable: 13,
  'queue-full': 14,
  unavailable: 14,
  'data-loss': 15,
  unauthenticated: 16,
};
const KINDS = Object.keys(GOLDEN) as ErrorKind[];

const missing = (count: number): DigestFact[] =>
  Array.from({ length: count }, (_, index) => ({
    function: 'sha256',
    hash: index.toString(16).padStart(64, '0'),
    sizeBytes: index,
  }));

function subjectsOf(status: Status): string[] {
  return status.details.flatMap((any) => {
    assert.ok(isAny(any, 'google.rpc.PreconditionFailure'), any.typeUrl);
    return PreconditionFailure.decode(any.value).violations.map((violation) => {
      assert.equal(violation.type, 'MISSING');
      return violation.subject;
    });
  });
}

describe('toWireStatus', () => {
  for (const kind of KINDS) {
    it(`sends ${kind} as code ${GOLDEN[kind]}`, () => {
      const status = toWireStatus(new ReapiError(kind, 'what happened'));
      assert.deepEqual(status, { code: GOLDEN[kind], message: 'what happened', details: [] });
    });
  }

  it('tells nothing of an error that is not ours', () => {
    for (const bug of [new Error('secret path'), 'secret', undefined, null, { code: 5, details: 'secret' }]) {
      const status = toWireStatus(bug);
      assert.equal(status.code, Code.INTERNAL);
      assert.deepEqual(status.details, []);
      assert.doesNotMatch(status.message, /secret/);
    }
  });

  it('lists every missing blob as one MISSING violation without instance name (R-EX-40)', () => {
    const status = toWireStatus(new ReapiError('missing-inputs', 'upload them', { missing: missing(3) }));
    assert.deepEqual(
      subjectsOf(status),
      [0, 1, 2].map((index) => `blobs/${'0'.repeat(63)}${index}/${index}`),
    );
  });

  it('puts nothing beside the MISSING violations, or Bazel gives up (R-EX-41, R-EX-42)', () => {
    const facts = { missing: missing(1), retryAfterMs: 100, field: 'action_digest' };
    const status = toWireStatus(new ReapiError('missing-inputs', 'upload it', facts));
    assert.deepEqual(
      status.details.map((any) => any.typeUrl),
      ['type.googleapis.com/google.rpc.PreconditionFailure'],
    );
  });

  it('sends no violation-less PreconditionFailure (R-EX-41)', () => {
    assert.deepEqual(toWireStatus(new ReapiError('missing-inputs', 'none', { missing: [] })).details, []);
  });

  it('bounds the number of violations (R-EX-43)', () => {
    const status = toWireStatus(new ReapiError('missing-inputs', 'many', { missing: missing(MAX_VIOLATIONS + 1) }));
    assert.equal(subjectsOf(status).length, MAX_VIOLATIONS);
  });

  it('names the field of an invalid argument in a BadRequest, and of nothing else', () => {
    const [any, ...others] = toWireStatus(new ReapiError('invalid-argument', 'no', { field: 'a.b' })).details;
    assert.ok(any !== undefined && isAny(any, 'google.rpc.BadRequest'));
    assert.deepEqual(others, []);
    const { fieldViolations } = BadRequest.decode(any.value);
    assert.deepEqual(
      fieldViolations.map(({ field, description }) => ({ field, description })),
      [{ field: 'a.b', description: 'no' }],
    );
    assert.deepEqual(toWireStatus(new ReapiError('denied', 'no', { field: 'a.b' })).details, []);
  });

  for (const kind of ['quota-exceeded', 'queue-full', 'unavailable'] as const) {
    it(`says when to try again after ${kind}, in messages and in trailers`, () => {
      const error = new ReapiError(kind, 'later', { retryAfterMs: 2500 });
      for (const status of [toWireStatus(error), toTrailerStatus(error)]) {
        const [any, ...others] = status.details;
        assert.ok(status.code === GOLDEN[kind] && others.length === 0);
        assert.ok(any !== undefined && isAny(any, 'google.rpc.RetryInfo'));
        assert.deepEqual(RetryInfo.decode(any.value).retryDelay, { seconds: 2n, nanos: 500_000_000 });
      }
    });
  }

  for (const [retryAfterMs, seconds, nanos] of [
    [0, 0n, 0],
    [250, 0n, 250_000_000],
    [1000, 1n, 0],
    [61_001, 61n, 1_000_000],
    [999.9999999, 1n, 0],
  ] as const) {
    it(`says try again after ${retryAfterMs} ms as RetryInfo`, () => {
      const [any] = toWireStatus(new ReapiError('queue-full', 'later', { retryAfterMs })).details;
      assert.ok(any !== undefined && isAny(any, 'google.rpc.RetryInfo'));
      const { retryDelay } = RetryInfo.decode(any.value);
      assert.deepEqual({ seconds: retryDelay?.seconds, nanos: retryDelay?.nanos }, { seconds, nanos });
    });
  }

  it('cuts a long message, and never sends half a character', () => {
    const status = toWireStatus(new ReapiError('internal', `${'x'.repeat(MAX_MESSAGE_LENGTH - 1)}😀 and more`));
    assert.equal(status.message.length, MAX_MESSAGE_LENGTH + 1);
    assert.equal(status.message.isWellFormed(), true);
  });
});

describe('toTrailerStatus', () => {
  it('is the whole status if it fits', () => {
    const error = new ReapiError('missing-inputs', 'upload them', { missing: missing(20) });
    assert.deepEqual(toTrailerStatus(error), toWireStatus(error));
  });

  it('cuts violations from the end, and says at least one (R-EX-43)', () => {
    const error = new ReapiError('missing-inputs', 'upload them', { missing: missing(5000) });
    const subjects = subjectsOf(toTrailerStatus(error));
    assert.ok(subjects.length >= 16, `${subjects.length} violations`);
    assert.deepEqual(subjects, subjectsOf(toWireStatus(error)).slice(0, subjects.length));
  });

  it('keeps a violation beside the longest message', () => {
    const error = new ReapiError('missing-inputs', 'x'.repeat(10_000), { missing: missing(5000) });
    assert.ok(subjectsOf(toTrailerStatus(error)).length >= 1);
  });

  it('leaves details out rather than exceed the limit', () => {
    const error = new ReapiError('invalid-argument', 'x'.repeat(10_000), { field: 'y'.repeat(3000) });
    assert.deepEqual(toTrailerStatus(error).details, []);
  });

  it('law: any error fits a proxy with 8 KiB of headers, and its message can be percent-encoded', () => {
    const message = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 3000 }),
      fc.constantFrom('é', '€', '😀', '\ud800', '\n', '%').map((char) => char.repeat(3000)),
    );
    const facts = fc.record({
      missing: fc.nat(200).map(missing),
      field: fc.string({ maxLength: 3000 }),
      retryAfterMs: fc.nat(100_000),
    });
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), message, facts, (kind, text, some) => {
        const status = toTrailerStatus(new ReapiError(kind, text, some));
        const encoded = Status.encode(status).finish().length;
        assert.equal(status.code, GOLDEN[kind]);
        assert.ok(status.details.length === 0 || encoded <= MAX_TRAILER_DETAIL_BYTES);
        assert.ok(encodeURI(status.message).length + (encoded * 4) / 3 < 8000);
      }),
    );
  });
});

describe('fromWireStatus', () => {
  const GOLDEN_KINDS: readonly (readonly [number, ErrorKind])[] = [
    [1, 'cancelled'],
    [2, 'internal'],
    [3, 'invalid-argument'],
    [4, 'timed-out'],
    [5, 'not-found'],
    [6, 'internal'],
    [7, 'denied'],
    [8, 'quota-exceeded'],
    [9, 'precondition'],
    [10, 'internal'],
    [11, 'out-of-range'],
    [12, 'unimplemented'],
    [13, 'internal'],
    [14, 'unavailable'],
    [15, 'data-loss'],
    [16, 'unauthenticated'],
    [99, 'internal'],
    [-1, 'internal'],
  ];
  for (const [code, kind] of GOLDEN_KINDS) {
    it(`reads code ${code} as ${kind}`, () => {
      const cause = new Error('from the wire');
      const error = fromWireStatus(code, 'the message', cause);
      assert.deepEqual([error.kind, error.message, error.cause], [kind, 'the message', cause]);
      assert.equal(kindOfCode(code), kind);
    });
  }

  it('keeps the code of everything that was sent, so that a proxy of ours changes none', () => {
    for (const kind of KINDS) {
      const { code, message } = toWireStatus(new ReapiError(kind, 'x'));
      assert.equal(toWireStatus(fromWireStatus(code, message)).code, code);
    }
  });
});

describe('isOurFault', () => {
  it('is true for bugs, for internal and for damaged data, and for nothing a client can cause', () => {
    assert.equal(isOurFault(new TypeError('bug')), true);
    // Or whoever sends garbage fills the log.
    assert.equal(isOurFault(new ReapiError('undecodable', 'x')), false);
    const ours = KINDS.filter((kind) => isOurFault(new ReapiError(kind, '')));
    assert.deepEqual(ours.toSorted(), ['data-loss', 'internal']);
  });
});
