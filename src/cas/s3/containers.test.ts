import assert from 'node:assert/strict';
import { digestOf } from '../../digest/hasher.ts';
import { Containers } from './containers.ts';
import type { ContainerId } from './object-names.ts';

const WRITER = '0123456789abcdef';

function id(number: number, nonce = 'a1a2a3a4'): ContainerId {
  return { writer: WRITER, number, nonce };
}

describe('Containers', () => {
  it('makes a container with its key and with nothing known of it', () => {
    const containers = new Containers();
    const pack = containers.add({ id: id(10) }, 100, 7);
    assert.deepEqual(pack, {
      local: 1,
      id: id(10),
      key: `packs/${WRITER}/00000000000a-a1a2a3a4`,
      sizeBytes: 100,
      createdSeconds: 7,
      liveBytes: 0,
      liveRows: 0,
      condemned: undefined,
      remembered: undefined,
      isDamaged: false,
    });
    assert.equal(containers.at(1), pack);
    assert.equal(containers.find(id(10)), pack);
  });

  it('knows the digest of a large blob, which its key tells', () => {
    const digest = digestOf('sha256', Buffer.from('large'));
    const large = new Containers().add({ id: id(1), digest }, 5, 7);
    assert.equal(large.digest, digest);
    assert.ok(large.key.includes(digest.hash));
  });

  it('gives the one that is known and leaves it as it was', () => {
    const containers = new Containers();
    const first = containers.add({ id: id(1) }, 100, 7);
    assert.equal(containers.add({ id: id(1) }, 999, 9), first);
    assert.deepEqual([first.sizeBytes, first.createdSeconds], [100, 7]);
    assert.deepEqual([containers.count, containers.bytes], [1, 100]);
  });

  it('tells apart what two starts of a writer gave the same number', () => {
    const containers = new Containers();
    assert.notEqual(containers.add({ id: id(1) }, 1, 1), containers.add({ id: id(1, 'b1b2b3b4') }, 2, 1));
    assert.deepEqual([containers.count, containers.bytes], [2, 3]);
  });

  it('forgets one once, and does not use its number again', () => {
    const containers = new Containers();
    const first = containers.add({ id: id(1) }, 100, 7);
    containers.add({ id: id(2) }, 10, 7);
    containers.remove(first);
    containers.remove(first);
    assert.deepEqual([containers.count, containers.bytes], [1, 10]);
    assert.equal(containers.at(first.local), undefined);
    assert.equal(containers.find(id(1)), undefined);
    const again = containers.add({ id: id(1) }, 100, 7);
    assert.notEqual(again.local, first.local);
    containers.remove(first);
    assert.equal(containers.find(id(1)), again);
  });

  it('lets the visited one be removed', () => {
    const containers = new Containers();
    for (let number = 0; number < 5; number++) containers.add({ id: id(number) }, 1, 1);
    let visited = 0;
    for (const container of containers) {
      containers.remove(container);
      visited++;
    }
    assert.deepEqual([visited, containers.count, containers.bytes], [5, 0, 0]);
  });
});
