import assert from 'node:assert/strict';
import { ofKind } from '../../../test/support/expectations.ts';
import {
  decodeWriterState,
  encodeWriterState,
  isSinceState,
  MAX_STATE_BYTES,
  stateName,
  type WriterState,
} from './writer-state.ts';

const STATE: WriterState = {
  writer: '0123456789abcdef',
  nonce: 'a1a2a3a4',
  beat: 1_700_000_000_001,
  floor: 12,
  sequence: 34,
  refreshSeconds: 60,
  leaseSeconds: 900,
  done: { fedcba9876543210: 'b1b2b3b4-7' },
};

function changed(change: Readonly<Record<string, unknown>>): Uint8Array {
  return Buffer.from(JSON.stringify({ version: 1, ...STATE, ...change }));
}

describe('decodeWriterState', () => {
  it('gives what was encoded, in less than what is read', () => {
    const bytes = encodeWriterState(STATE);
    assert.deepEqual(decodeWriterState(bytes), STATE);
    assert.ok(bytes.length < MAX_STATE_BYTES);
  });

  it('keeps its layout, which is in buckets, and does not mind what is added to it', () => {
    const text =
      '{"version":1,"writer":"0123456789abcdef","nonce":"a1a2a3a4","beat":1700000000001,"floor":12,"sequence":34,"refreshSeconds":60,"leaseSeconds":900,"done":{"fedcba9876543210":"b1b2b3b4-7"}}';
    assert.equal(Buffer.from(encodeWriterState(STATE)).toString(), text);
    assert.deepEqual(decodeWriterState(changed({ more: true })), STATE);
  });

  it('takes the largest numbers there are', () => {
    const largest = { floor: 2 ** 48, sequence: 2 ** 48 - 1, refreshSeconds: 2_592_000, leaseSeconds: 2_592_000 };
    assert.deepEqual(decodeWriterState(changed(largest)), { ...STATE, ...largest });
  });

  it('says that a newer version wrote it, even if nothing else is as it was', () => {
    const bytes = Buffer.from('{"version":2,"name":"x"}');
    assert.throws(() => decodeWriterState(bytes), ofKind('precondition'));
  });

  const damages: readonly (readonly [string, Uint8Array])[] = [
    ['no JSON', Buffer.from('{')],
    ['no object', Buffer.from('7')],
    ['null', Buffer.from('null')],
    ['nothing', new Uint8Array()],
    ['no version', changed({ version: undefined })],
    ['a version that is text', changed({ version: '1' })],
    ['a writer that is no name', changed({ writer: '0123456789ABCDEF' })],
    ['no nonce', changed({ nonce: undefined })],
    ['a nonce of another length', changed({ nonce: 'a1a2a3' })],
    ['a negative number', changed({ floor: -1 })],
    ['a number that is not whole', changed({ leaseSeconds: 0.5 })],
    ['a sequence that leaves no next one: it would stop all writing', changed({ sequence: 2 ** 48 })],
    ['a floor above all numbers', changed({ floor: 2 ** 48 + 1 })],
    ['a refresh so seldom that nothing could ever be deleted', changed({ refreshSeconds: 2_592_001 })],
    ['a done that is a list of nothing', changed({ done: 7 })],
    ['a done of no writer', changed({ done: { x: 'a1a2a3a4-1' } })],
    ['a done that names no state', changed({ done: { fedcba9876543210: 'a1a2a3a4' } })],
    ['a lease so long that nothing could ever be deleted', changed({ leaseSeconds: 2_592_001 })],
  ];
  for (const [what, bytes] of damages) {
    it(`takes for damaged: ${what}`, () => {
      assert.throws(() => decodeWriterState(bytes), ofKind('data-loss'));
    });
  }
});

describe('isSinceState', () => {
  const name = (nonce: string, beat: number): string => stateName({ nonce, beat });

  it('is so for the same state and for later ones of the same process', () => {
    assert.equal(isSinceState(name('a1a2a3a4', 5), name('a1a2a3a4', 5)), true);
    assert.equal(isSinceState(name('a1a2a3a4', 12), name('a1a2a3a4', 5)), true);
    assert.equal(isSinceState(name('a1a2a3a4', 4), name('a1a2a3a4', 5)), false);
  });

  it('is not so for states of another process, whatever its beat, nor for what is no state', () => {
    assert.equal(isSinceState(name('b1b2b3b4', 9), name('a1a2a3a4', 5)), false);
    assert.equal(isSinceState('', name('a1a2a3a4', 5)), false);
    assert.equal(isSinceState('', ''), false);
  });
});
