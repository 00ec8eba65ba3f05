import assert from 'node:assert/strict';
import { ActionWorld, metadataOf } from '../../test/support/action-world.ts';
import { noAbort, ofKind } from '../../test/support/expectations.ts';
import { digestOf } from '../digest/hasher.ts';
import { ReapiError } from '../errors.ts';
import { lookUpResult, removeResult } from './look-up-result.ts';

const ACTION = digestOf('sha256', Buffer.from('action'));
const TARGET = metadataOf('//a');

describe('lookUpResult', () => {
  it('answers the result, and tells of hit and miss with what the build tool said', async () => {
    const world = new ActionWorld();
    const key = world.key(ACTION);
    assert.equal(await lookUpResult(world.results, key, TARGET, noAbort()), undefined);
    assert.deepEqual(world.history.find(key)?.miss, { reason: 'never-seen' });
    await world.store(key, { exitCode: 3 });
    world.clock.advance(1);
    assert.equal((await lookUpResult(world.results, key, TARGET, noAbort()))?.message.exitCode, 3);
    assert.equal(world.history.find(key)?.seenMs, world.clock.nowMs());
    assert.equal(world.history.find(key)?.group?.targetId, '//a');
  });

  it('tells nobody of a store that cannot be asked: that is no miss', async () => {
    const world = new ActionWorld();
    const key = world.key(ACTION);
    world.entries.get = () => Promise.reject(new ReapiError('unavailable', 'no answer'));
    await assert.rejects(lookUpResult(world.results, key, TARGET, noAbort()), ofKind('unavailable'));
    assert.equal(world.history.find(key), undefined);
  });
});

describe('removeResult', () => {
  it('removes a result and tells of it; what was not there is not told of', async () => {
    const world = new ActionWorld();
    const key = world.key(ACTION);
    assert.equal(await removeResult(world.results, key, noAbort()), false);
    assert.equal(world.history.find(key), undefined);
    await world.store(key);
    assert.equal(await removeResult(world.results, key, noAbort()), true);
    assert.equal((await world.look(key))?.reason, 'removed');
  });
});
