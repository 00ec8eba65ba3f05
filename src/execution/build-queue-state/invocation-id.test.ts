import assert from 'node:assert/strict';
import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { InvocationIds, invocationKey, isBelow } from './invocation-id.ts';

const path = (...ids: readonly string[]) => new InvocationIds().of(ids.map((id) => ({ id })));

describe('InvocationIds', () => {
  it('name the invocation and the builds around it as Buildbarn does: by request metadata with one field', () => {
    const [correlated, invocation] = path('c', 'i');
    assert.ok(correlated !== undefined && invocation !== undefined);
    assert.equal(invocation.any.typeUrl, 'type.googleapis.com/build.bazel.remote.execution.v2.RequestMetadata');
    assert.deepEqual(
      RequestMetadata.decode(invocation.any.value),
      RequestMetadata.fromPartial({ toolInvocationId: 'i' }),
    );
    assert.deepEqual(
      RequestMetadata.decode(correlated.any.value),
      RequestMetadata.fromPartial({ correlatedInvocationsId: 'c' }),
    );
  });

  it('name the principal by the public part of authentication metadata', () => {
    const [principal] = path('anna', '', '');
    assert.equal(principal?.any.typeUrl, 'type.googleapis.com/buildbarn.auth.AuthenticationMetadata');
    assert.equal(
      Buffer.from(principal?.any.value ?? []).toString('hex'),
      `0a061a04${Buffer.from('anna').toString('hex')}`,
    );
  });

  it('write lengths of more than one byte', () => {
    const [principal] = path('x'.repeat(300), '', '');
    assert.equal(
      Buffer.from(principal?.any.value ?? [])
        .subarray(0, 6)
        .toString('hex'),
      '0aaf021aac02',
    );
  });

  it('take the only share for an invocation', () => {
    assert.equal(path('')[0]?.any.value.length, 0);
    assert.equal(path('i')[0]?.key, path('c', 'i')[1]?.key);
  });

  it('make an id once', () => {
    const ids = new InvocationIds();
    assert.equal(ids.of([{ id: 'i' }])[0], ids.of([{ id: 'c' }, { id: 'i' }])[1]);
  });
});

describe('invocationKey', () => {
  it('does not depend on the host in the type', () => {
    const [id] = path('i');
    assert.ok(id);
    assert.equal(invocationKey({ ...id.any, typeUrl: 'x/build.bazel.remote.execution.v2.RequestMetadata' }), id.key);
    assert.notEqual(invocationKey({ ...id.any, typeUrl: 'Other' }), id.key);
  });
});

describe('isBelow', () => {
  it('holds for a place and what is below it', () => {
    const keys = path('p', 'c', 'i').map(({ key }) => key);
    assert.ok(isBelow(path('p', 'c', 'i'), []));
    assert.ok(isBelow(path('p', 'c', 'i'), keys.slice(0, 2)));
    assert.ok(isBelow(path('p', 'c', 'i'), keys));
    assert.ok(!isBelow(path('p', 'c', 'other'), keys));
    assert.ok(!isBelow(path('p', 'c', 'i').slice(0, 2), keys));
  });
});
