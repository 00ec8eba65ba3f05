import assert from 'node:assert/strict';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FaultyFileSystem } from '../../test/support/faulty-file-system.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { isKind } from '../errors.ts';
import { FreeSpace } from './free-space.ts';

describe('FreeSpace', () => {
  const clock = new FakeClock();
  let freeBytes = 1000;
  let asked = 0;

  function open(minFreeBytes: number, files = new FaultyFileSystem()): FreeSpace {
    files.freeBytes = () => {
      asked++;
      return freeBytes;
    };
    return new FreeSpace({ files, clock, path: temporaryFolder(), minFreeBytes, reservedBytes: () => 50 });
  }

  beforeEach(() => {
    freeBytes = 1000;
    asked = 0;
  });

  it('never asks where there is no floor', () => {
    assert.ok(open(0).lackingBytes(1e9) <= 0);
    assert.equal(asked, 0);
  });

  it('says what is lacking, counting what writes under way announced', () => {
    assert.equal(open(900).lackingBytes(100), 50);
    assert.equal(open(800).lackingBytes(100), -50);
  });

  it('computes in between, and asks again after a second or when room seems short', () => {
    const space = open(500);
    space.lackingBytes(0);
    space.take(200);
    assert.equal(space.lackingBytes(0), -250);
    assert.equal(asked, 1);
    space.take(-100);
    assert.equal(space.lackingBytes(0), -350);
    clock.advance(1000);
    assert.equal(space.lackingBytes(0), -450);
    freeBytes = 300;
    assert.equal(space.lackingBytes(451), 701);
    assert.equal(asked, 3);
  });

  it('answers unavailable where the system cannot tell', () => {
    const files = new FaultyFileSystem();
    const path = temporaryFolder();
    const space = new FreeSpace({ files, clock, path, minFreeBytes: 1, reservedBytes: () => 0 });
    files.plan({ atCall: 1, lasts: 'once', code: 'EIO' });
    assert.throws(
      () => space.lackingBytes(1),
      (error) => isKind(error, 'unavailable'),
    );
  });
});
