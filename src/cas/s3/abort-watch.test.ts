import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { AbortWatch } from './abort-watch.ts';

function setUp() {
  const aborted: string[] = [];
  const watch = new AbortWatch<string>((item) => {
    aborted.push(item);
    if (item === 'first') watch.delete('second', one.signal);
  });
  const [one, other] = [new AbortController(), new AbortController()];
  return { aborted, watch, one, other };
}

describe('AbortWatch', () => {
  it('tells of the items of a signal that aborts, in order, and of no others', () => {
    const { aborted, watch, one, other } = setUp();
    watch.add('a', one.signal);
    watch.add('b', other.signal);
    watch.add('c', one.signal);
    one.abort();
    assert.deepEqual(aborted, ['a', 'c']);
    other.abort();
    assert.deepEqual(aborted, ['a', 'c', 'b']);
  });

  it('has one listener for all items of a signal, and none once they are gone', () => {
    const { aborted, watch, one } = setUp();
    const listeners = (): number => getEventListeners(one.signal, 'abort').length;
    watch.add('a', one.signal);
    watch.add('b', one.signal);
    assert.equal(listeners(), 1);
    watch.delete('a', one.signal);
    assert.equal(listeners(), 1);
    watch.delete('b', one.signal);
    assert.equal(listeners(), 0);
    watch.delete('b', one.signal);
    watch.add('c', one.signal);
    assert.equal(listeners(), 1);
    one.abort();
    assert.deepEqual(aborted, ['c']);
  });

  it('tells nothing of an item that has gone', () => {
    const { aborted, watch, one } = setUp();
    watch.add('a', one.signal);
    watch.add('b', one.signal);
    watch.delete('a', one.signal);
    one.abort();
    assert.deepEqual(aborted, ['b']);
  });

  it('tells of all that were there when the signal aborted, whatever is deleted meanwhile', () => {
    const { aborted, watch, one } = setUp();
    for (const item of ['first', 'second', 'third']) watch.add(item, one.signal);
    one.abort();
    assert.deepEqual(aborted, ['first', 'second', 'third']);
  });
});
