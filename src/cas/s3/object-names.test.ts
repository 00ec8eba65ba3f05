import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SystemRandom } from '../../system/random.ts';
import {
  beforeContainer,
  type ContainerName,
  containerKey,
  containerText,
  isScratchKey,
  PACKS_PREFIX,
  packsOf,
  parseContainerKey,
  parseSnapshotKey,
  parseWriterKey,
  SCRATCH_PREFIX,
  SNAPSHOTS_PREFIX,
  scratchFolder,
  snapshotKey,
  WRITERS_PREFIX,
  writerKey,
} from './object-names.ts';

const WRITER = '0123456789abcdef';
const HASH = '00ff10e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b78';
const ID = { writer: WRITER, number: 0x1f, nonce: 'a1b2c3d4' };
const PACK_KEY = 'packs/0123456789abcdef/00000000001f-a1b2c3d4';
const LARGE_KEY = `${PACK_KEY}-${HASH}-7340033-sha256`;

const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array) => Buffer.from(array).toString('hex'));
const numbers = fc.nat({ max: 2 ** 48 - 1 });
const plain = { noNullPrototype: true };
const ids = fc.record({ writer: hex(8), number: numbers, nonce: hex(4) }, plain);
const digests = fc.record(
  { function: fc.constant('sha256' as const), hash: hex(32), sizeBytes: fc.maxSafeNat() },
  plain,
);

describe('containerKey', () => {
  it('keeps its layout, which is in buckets', () => {
    assert.equal(containerKey({ id: ID }), PACK_KEY);
    assert.equal(containerKey({ id: ID, digest: { function: 'sha256', hash: HASH, sizeBytes: 7_340_033 } }), LARGE_KEY);
  });

  it('law: is read as it was written', () => {
    const names: fc.Arbitrary<ContainerName> = fc.oneof(
      fc.record({ id: ids }, plain),
      fc.record({ id: ids, digest: digests }, plain),
    );
    fc.assert(fc.property(names, (name) => assert.deepEqual(parseContainerKey(containerKey(name)), name)));
  });

  it('law: the keys of a writer are in the order of their numbers', () => {
    fc.assert(
      fc.property(ids, numbers, digests, (id, number, digest) => {
        const a = containerKey({ id });
        const b = containerKey({ id: { ...id, number }, digest });
        if (id.number !== number) assert.equal(a < b, id.number < number);
        assert.ok(a.startsWith(packsOf(id.writer)) && b.startsWith(PACKS_PREFIX));
      }),
    );
  });
});

describe('parseContainerKey', () => {
  const foreign = [
    '',
    'packs/',
    `x${PACK_KEY}`,
    `${PACK_KEY}x`,
    `${PACK_KEY}-`,
    `${PACK_KEY}\n`,
    `${PACK_KEY}/`,
    PACK_KEY.toUpperCase(),
    PACK_KEY.replace('00000000001f', '00000000001F'),
    PACK_KEY.replace('00000000001f', '0000000001f'),
    PACK_KEY.replace('00000000001f', '000000000001f'),
    PACK_KEY.replace('-a1b2c3d4', ''),
    PACK_KEY.replace('a1b2c3d4', 'a1b2c3d'),
    PACK_KEY.replace(WRITER, 'x'.repeat(16)),
    PACK_KEY.replace('packs', 'snapshots'),
    LARGE_KEY.replace('sha256', 'sha257'),
    LARGE_KEY.replace('7340033', '07340033'),
    LARGE_KEY.replace('7340033', '-1'),
    LARGE_KEY.replace(HASH, HASH.slice(1)),
    LARGE_KEY.replace(HASH, HASH.toUpperCase()),
    `${LARGE_KEY}-more`,
    `${LARGE_KEY}\n`,
  ];
  for (const key of foreign) {
    it(`knows no container under ${JSON.stringify(key)}`, () => {
      assert.equal(parseContainerKey(key), undefined);
    });
  }
});

describe('beforeContainer', () => {
  it('keeps its layout, which is compared with keys in buckets', () => {
    assert.equal(beforeContainer(WRITER, 0x1f), 'packs/0123456789abcdef/00000000001f');
    assert.equal(beforeContainer(WRITER, -1), 'packs/0123456789abcdef/000000000000');
  });

  it('law: is before the keys with this number or a greater one, and after all others', () => {
    fc.assert(
      fc.property(ids, numbers, (id, number) => {
        for (const from of [number, id.number]) {
          assert.equal(containerKey({ id }) > beforeContainer(id.writer, from), id.number >= from);
        }
      }),
    );
  });
});

describe('containerText', () => {
  it('names writer, number and nonce', () => {
    assert.equal(containerText(ID), '0123456789abcdef/00000000001f-a1b2c3d4');
  });
});

describe('writerKey', () => {
  it('keeps its layout, which is in buckets', () => {
    assert.equal(writerKey(WRITER), 'writers/0123456789abcdef');
  });

  it('law: is read as it was written', () => {
    fc.assert(fc.property(hex(8), (writer) => assert.equal(parseWriterKey(writerKey(writer)), writer)));
  });

  for (const key of [
    '',
    WRITERS_PREFIX,
    `${WRITERS_PREFIX}${WRITER}/`,
    `${WRITERS_PREFIX}${WRITER}0`,
    `a${writerKey(WRITER)}`,
  ]) {
    it(`knows no writer under ${JSON.stringify(key)}`, () => {
      assert.equal(parseWriterKey(key), undefined);
    });
  }
});

describe('snapshotKey', () => {
  it('keeps its layout, which is in buckets', () => {
    assert.equal(snapshotKey(WRITER, 0x1f), 'snapshots/0123456789abcdef/00000000001f');
  });

  it('law: is read as it was written', () => {
    fc.assert(
      fc.property(hex(8), numbers, (writer, number) => {
        assert.deepEqual(parseSnapshotKey(snapshotKey(writer, number)), { writer, number });
      }),
    );
  });

  const whole = snapshotKey(WRITER, 0x1f);
  for (const key of [SNAPSHOTS_PREFIX, `${whole}0`, whole.slice(0, -1), `${whole}-a1b2c3d4`, PACK_KEY]) {
    it(`knows no snapshot under ${JSON.stringify(key)}`, () => {
      assert.equal(parseSnapshotKey(key), undefined);
    });
  }
});

describe('isScratchKey', () => {
  it('knows what commands try', () => {
    const folder = scratchFolder(new SystemRandom());
    assert.ok(folder.startsWith(SCRATCH_PREFIX));
    assert.equal(isScratchKey(`${folder}one`), true);
    assert.equal(isScratchKey(`${folder}two/three`), true);
  });

  for (const key of [
    SCRATCH_PREFIX,
    `doctor/${WRITER}`,
    `doctor/${WRITER}/`,
    `doctor/mine/one`,
    `a/doctor/${WRITER}/one`,
  ]) {
    it(`does not take ${JSON.stringify(key)} for it`, () => {
      assert.equal(isScratchKey(key), false);
    });
  }
});
