import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { BugError, invariant, isKind, ReapiError, systemCode, throwIfAborted } from './errors.ts';

describe('ReapiError', () => {
  it('carries kind, message and facts, and no cause when there is none', () => {
    const error = new ReapiError('queue-full', 'the queue is full', { retryAfterMs: 500 });
    assert.equal(error.kind, 'queue-full');
    assert.equal(error.message, 'the queue is full');
    assert.equal(error.facts.retryAfterMs, 500);
    assert.equal('cause' in error, false);
    assert.equal(String(error), 'ReapiError: the queue is full');
  });

  it('keeps the cause for the log', () => {
    const cause = new Error('disk');
    assert.equal(new ReapiError('unavailable', 'no store', { cause }).cause, cause);
  });

  it('gains context on the way up without losing kind and facts', () => {
    const inner = new ReapiError('invalid-argument', 'bad hash', { field: 'action_digest' });
    const outer = ReapiError.wrap(ReapiError.wrap(inner, 'reading the Action'), 'Execute');
    assert.equal(outer.kind, 'invalid-argument');
    assert.equal(outer.message, 'Execute: reading the Action: bad hash');
    assert.equal(outer.facts.field, 'action_digest');
    assert.ok(outer.cause instanceof ReapiError);
    assert.equal(outer.cause.cause, inner);
  });

  it('turns a foreign error into internal and keeps its text out of the message', () => {
    const cause = new Error('password=hunter2');
    const error = ReapiError.wrap(cause, 'reading the Action');
    assert.equal(error.kind, 'internal');
    assert.equal(error.message, 'reading the Action');
    assert.equal(error.cause, cause);
  });
});

describe('isKind', () => {
  it('is true for a ReapiError of that kind only', () => {
    assert.equal(isKind(new ReapiError('denied', ''), 'denied'), true);
    assert.equal(isKind(new ReapiError('denied', ''), 'cancelled'), false);
    assert.equal(isKind(Object.assign(new Error(), { kind: 'denied' }), 'denied'), false);
    assert.equal(isKind(undefined, 'denied'), false);
  });
});

describe('systemCode', () => {
  it('names the errno of a system error', () => {
    assert.throws(
      () => readFileSync('/no/such/file'),
      (error) => systemCode(error) === 'ENOENT',
    );
  });

  it('is undefined for anything else, numeric codes included', () => {
    assert.equal(systemCode(new Error('plain')), undefined);
    assert.equal(systemCode(Object.assign(new Error('grpc'), { code: 5 })), undefined);
    assert.equal(systemCode({ code: 'ENOENT' }), undefined);
  });
});

describe('throwIfAborted', () => {
  it('does nothing while the signal is quiet', () => {
    assert.equal(throwIfAborted(new AbortController().signal), undefined);
  });

  it('throws cancelled with the reason as cause', () => {
    const reason = new Error('gone');
    assert.throws(
      () => throwIfAborted(AbortSignal.abort(reason)),
      (error) => isKind(error, 'cancelled') && error.cause === reason,
    );
  });
});

describe('invariant', () => {
  it('throws a BugError, which is no ReapiError, when it does not hold', () => {
    assert.equal(invariant(true, 'fine'), undefined);
    assert.throws(
      () => invariant(false, 'two leases on one slot'),
      (error) => error instanceof BugError && !(error instanceof ReapiError) && /two leases/.test(error.message),
    );
  });
});
