import assert from 'node:assert/strict';
import { ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { NODE_FILE_SYSTEM } from '../../system/file-system.ts';
import { FilesRoom } from './files-room.ts';
import { Space } from './space.ts';

describe('FilesRoom', () => {
  let space: Space;
  let room: FilesRoom;

  beforeEach(() => {
    space = new Space({
      files: NODE_FILE_SYSTEM,
      clock: new FakeClock(),
      events: { committed: () => undefined, evicted: () => undefined, refused: () => undefined },
      path: '/',
      maxBytes: 1000,
      reserveBytes: 100,
      minFreeBytes: 0,
      free: () => Promise.resolve(0),
      isPinned: () => false,
    });
    room = new FilesRoom(space);
  });

  const used = (): number => space.partBytes('files');

  it('counts what the folder holds when it is opened, though nobody asked for room', () => {
    room.changed(700);
    assert.equal(used(), 700);
  });

  it('counts a file once: when its room is taken, not again when the folder reports it', async () => {
    room.changed(200);
    for (const total of [300, 400, 500]) {
      await room.make(100);
      assert.equal(used(), total);
      room.changed(total);
      assert.equal(used(), total);
    }
  });

  it('gives back what the folder gives up', async () => {
    await room.make(300);
    room.changed(300);
    room.changed(50);
    assert.equal(used(), 50);
    room.changed(0);
    assert.equal(used(), 0);
  });

  it('takes back room that was not used when the next is asked for', async () => {
    await room.make(800);
    await room.make(400);
    assert.equal(used(), 400);
    room.changed(400);
    assert.equal(used(), 400);
  });

  it('keeps the room of a file when something else of the folder goes first', async () => {
    room.changed(300);
    await room.make(100);
    room.changed(200);
    assert.equal(used(), 300);
    room.changed(300);
    assert.equal(used(), 300);
  });

  it('counts a damaged file that is larger than it should be beside the room that was taken', async () => {
    await room.make(100);
    room.changed(40);
    assert.equal(used(), 140);
    room.changed(140);
    assert.equal(used(), 140);
  });

  it('passes a refusal on, and has taken nothing then', async () => {
    room.changed(850);
    await assert.rejects(room.make(100), ofKind('quota-exceeded'));
    await assert.rejects(room.make(2000), ofKind('too-large'));
    assert.equal(used(), 850);
    room.changed(900);
    assert.equal(used(), 900);
  });
});
