import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { Peers } from './peers.ts';
import type { WriterState } from './writer-state.ts';

const HALF_AN_HOUR_MS = 1_800_000;

function state(writer: string, change: Partial<WriterState> = {}): WriterState {
  const numbers = { beat: 1, floor: 2, sequence: 3, refreshSeconds: 60, leaseSeconds: 900 };
  return { writer, nonce: 'a1a2a3a4', done: {}, ...numbers, ...change };
}

describe('Peers', () => {
  it('takes a writer of which it never heard for dead', () => {
    assert.equal(new Peers(new FakeClock()).isDead('aa'), true);
  });

  it('knows nothing of the containers of a new one', () => {
    const clock = new FakeClock();
    const peers = new Peers(clock);
    const peer = peers.saw(state('aa'), '"1"');
    const expected = { writer: 'aa', etag: '"1"', state: state('aa'), knownFloor: 0 };
    assert.deepEqual(peer, { ...expected, changedMs: clock.monotonicMs(), hasNews: true });
    assert.equal(peers.get('aa'), peer);
  });

  it('keeps what is known of the containers of one that was heard of again', () => {
    const clock = new FakeClock();
    const peers = new Peers(clock);
    const peer = peers.saw(state('aa'), '"1"');
    peer.knownFloor = 7;
    clock.advance(1000);
    assert.equal(peers.saw(state('aa', { beat: 2 }), '"2"'), peer);
    assert.deepEqual([peer.knownFloor, peer.etag, peer.state.beat], [7, '"2"', 2]);
    assert.equal(peer.changedMs, clock.monotonicMs());
    assert.equal([...peers].length, 1);
  });

  it('lists the containers of one that was started anew from the first', () => {
    const peers = new Peers(new FakeClock());
    const peer = peers.saw(state('aa'), '"1"');
    peer.knownFloor = 7;
    peers.saw(state('aa', { beat: 2 }), '"2"');
    assert.equal(peer.knownFloor, 7);
    peers.saw(state('aa', { beat: 3, nonce: 'b1b2b3b4' }), '"3"');
    assert.equal(peer.knownFloor, 0);
  });

  it('takes one for dead of which nothing was heard for half an hour, and for living when it is back', () => {
    const clock = new FakeClock();
    const peers = new Peers(clock);
    peers.saw(state('aa'), '"1"');
    peers.saw(state('bb'), '"1"');
    clock.advance(HALF_AN_HOUR_MS - 1);
    peers.saw(state('bb'), '"2"');
    assert.equal(peers.isDead('aa'), false);
    clock.advance(1);
    assert.equal(peers.isDead('aa'), true);
    assert.deepEqual(
      peers.live.map(({ writer }) => writer),
      ['bb'],
    );
    peers.saw(state('aa'), '"2"');
    assert.equal(peers.isDead('aa'), false);
  });

  it('waits longer for one that refreshes seldom', () => {
    const clock = new FakeClock();
    const peers = new Peers(clock);
    peers.saw(state('aa', { refreshSeconds: 3600 }), '"1"');
    clock.advance(4 * 3_600_000 - 1);
    assert.equal(peers.isDead('aa'), false);
    clock.advance(1);
    assert.equal(peers.isDead('aa'), true);
  });

  it('forgets one whose state is gone', () => {
    const peers = new Peers(new FakeClock());
    peers.saw(state('aa'), '"1"');
    peers.gone('aa');
    assert.equal(peers.get('aa'), undefined);
    assert.deepEqual(peers.live, []);
  });
});
