import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BugError } from '../../errors.ts';
import { type Block, BlockWriter, MAX_BLOCK_BYTES, readBlocks } from './block-stream.ts';

/** A stream of two blocks, byte for byte; its checksums were computed by another program. */
const GOLDEN = {
  start: '000000000c000000bad6d67047414e545259425301000000',
  first: '070000000400000001a5577b726f7773',
  second: '090000000000000084d1dd3c',
  end: 'ff00000004000000a02575ac02000000',
};
const GOLDEN_STREAM = Buffer.from(Object.values(GOLDEN).join(''), 'hex');
const GOLDEN_BLOCKS = [
  { type: 7, payload: '726f7773' },
  { type: 9, payload: '' },
];

/** Yields pieces of at most so many bytes. @param released told when the reader lets go of it. */
async function* inChunks(bytes: Uint8Array, chunkBytes: number, released?: () => void): AsyncGenerator<Uint8Array> {
  try {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  } finally {
    released?.();
  }
}

interface Reading {
  readonly blocks: { type: number; payload: string }[];
  readonly error: unknown;
}

async function read(bytes: Uint8Array, chunkBytes = 5, maxBlockBytes = 1000): Promise<Reading> {
  const blocks: Reading['blocks'] = [];
  try {
    for await (const { type, payload } of readBlocks(inChunks(bytes, chunkBytes), { maxBlockBytes })) {
      blocks.push({ type, payload: Buffer.from(payload).toString('hex') });
    }
    return { blocks, error: undefined };
  } catch (error) {
    return { blocks, error };
  }
}

/** That reading ends with data-loss, after blocks that are the first ones of the stream. */
async function assertDamaged(bytes: Uint8Array, message: RegExp, why: string): Promise<void> {
  const { blocks, error } = await read(bytes);
  assert.throws(
    () => {
      throw error;
    },
    { kind: 'data-loss', message },
    why,
  );
  assert.deepEqual(blocks, GOLDEN_BLOCKS.slice(0, blocks.length), why);
}

function written(blocks: readonly Block[]): Buffer {
  const writer = new BlockWriter();
  return Buffer.concat([...blocks.flatMap(({ type, payload }) => writer.block(type, payload)), ...writer.end()]);
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

function fromHex(...parts: readonly string[]): Buffer {
  return Buffer.from(parts.join(''), 'hex');
}

describe('BlockWriter', () => {
  it('keeps its layout, which is on disks and in buckets', () => {
    const writer = new BlockWriter();
    const hex = (chunks: Uint8Array[]): string => Buffer.concat(chunks).toString('hex');
    assert.equal(hex(writer.block(7, Buffer.from('rows'))), GOLDEN.start + GOLDEN.first);
    assert.equal(hex(writer.block(9, Buffer.alloc(0))), GOLDEN.second);
    assert.equal(hex(writer.end()), GOLDEN.end);
  });

  it('hands payloads over without copying them', () => {
    const payload = Buffer.from('rows');
    assert.equal(new BlockWriter().block(7, payload).at(-1), payload);
  });

  it('refuses types that are not for its users, and payloads above the limit', () => {
    const writer = new BlockWriter();
    for (const type of [0, 255, 256, -1]) assert.throws(() => writer.block(type, Buffer.alloc(0)), BugError);
    assert.throws(() => writer.block(1, new Uint8Array(MAX_BLOCK_BYTES + 1)), BugError);
  });

  it('takes nothing after its end', () => {
    const writer = new BlockWriter();
    writer.end();
    assert.throws(() => writer.block(1, Buffer.alloc(0)), BugError);
    assert.throws(() => writer.end(), BugError);
  });
});

describe('readBlocks', () => {
  it('reads a stream that was written by hand, in chunks of any size', async () => {
    for (const chunkBytes of [1, 2, 7, 12, 24, GOLDEN_STREAM.length]) {
      assert.deepEqual(await read(GOLDEN_STREAM, chunkBytes), { blocks: GOLDEN_BLOCKS, error: undefined });
    }
  });

  it('reads a stream without blocks', async () => {
    assert.deepEqual(await read(written([])), { blocks: [], error: undefined });
  });

  it('law: gives back what was written', async () => {
    const blocks = fc.array(
      fc.record({ type: fc.integer({ min: 1, max: 254 }), payload: fc.uint8Array({ maxLength: 60 }) }),
      { maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(blocks, fc.integer({ min: 1, max: 100 }), async (made, chunkBytes) => {
        const { blocks: found, error } = await read(written(made), chunkBytes);
        assert.equal(error, undefined);
        const expected = made.map(({ type, payload }) => ({ type, payload: Buffer.from(payload).toString('hex') }));
        assert.deepEqual(found, expected);
      }),
    );
  });

  it('shows every flipped bit, and yields no block that has one', async () => {
    for (let bit = 0; bit < GOLDEN_STREAM.length * 8; bit++) {
      await assertDamaged(flipped(GOLDEN_STREAM, bit), /./, `bit ${bit}`);
    }
  });

  it('shows every length at which a stream is cut off', async () => {
    for (let bytes = 0; bytes < GOLDEN_STREAM.length; bytes++) {
      await assertDamaged(GOLDEN_STREAM.subarray(0, bytes), /too early/, `${bytes} bytes`);
    }
  });

  const { start, first, second, end } = GOLDEN;
  const wrongs: readonly (readonly [string, Buffer, RegExp])[] = [
    ['a byte after the end', fromHex(start, first, second, end, '00'), /something follows its end/],
    ['a stream after the end', Buffer.concat([GOLDEN_STREAM, GOLDEN_STREAM]), /something follows its end/],
    ['no start', fromHex(first, second, end), /block 0 is of type 7/],
    ['two starts', fromHex(start, start), /block 0 is of type 0/],
    ['a missing block', fromHex(start, second, end), /block 0 does not have its checksum/],
    ['a repeated block', fromHex(start, first, first), /block 1 does not have its checksum/],
    // The checksums of these three were computed by another program.
    ['another version', fromHex('000000000c0000005479636247414e545259425302000000'), /version 2/],
    ['another magic', fromHex('000000000c000000abe7060747414e545259425801000000'), /does not begin like one/],
    ['another count', fromHex(start, first, second, 'ff00000004000000c542c91403000000'), /2 blocks and should have 3/],
  ];
  for (const [what, bytes, message] of wrongs) {
    it(`refuses ${what}`, async () => {
      await assertDamaged(bytes, message, what);
    });
  }

  it('refuses a block above the limit without waiting for its bytes', async () => {
    const stream = written([{ type: 7, payload: Buffer.alloc(1001) }]);
    const { blocks, error } = await read(stream.subarray(0, 24 + 12));
    assert.deepEqual(blocks, []);
    assert.match(String(error), /block 0 has 1001 bytes/);
    assert.equal((await read(stream, 100, 1001)).error, undefined);
  });

  it('needs no chunk after the next one was asked for', async () => {
    for (const chunkBytes of [1, 12, 13, 36]) {
      async function* overwriting(): AsyncGenerator<Uint8Array> {
        for await (const chunk of inChunks(Uint8Array.from(GOLDEN_STREAM), chunkBytes)) {
          yield chunk;
          chunk.fill(0xff);
        }
      }
      const payloads: string[] = [];
      for await (const { payload } of readBlocks(overwriting(), { maxBlockBytes: 10 })) {
        payloads.push(Buffer.from(payload).toString());
      }
      assert.deepEqual(payloads, ['rows', '']);
    }
  });

  it('yields a block as soon as its last byte has come', async () => {
    let askedFor = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for await (const chunk of inChunks(GOLDEN_STREAM, 1)) {
        askedFor++;
        yield chunk;
      }
    }
    const blocks = readBlocks(counted(), { maxBlockBytes: 10 });
    await blocks.next();
    assert.equal(askedFor, (start.length + first.length) / 2);
    await blocks.return();
  });

  it('lets go of the chunks when its reader stops and when they are damaged', async () => {
    let released = 0;
    const chunks = (bytes: Uint8Array) => inChunks(bytes, 5, () => released++);
    for await (const { type } of readBlocks(chunks(GOLDEN_STREAM), { maxBlockBytes: 10 })) {
      assert.equal(type, 7);
      break;
    }
    assert.equal(released, 1);
    await assert.rejects(readBlocks(chunks(flipped(GOLDEN_STREAM, 64)), { maxBlockBytes: 10 }).next());
    assert.equal(released, 2);
  });

  it('hands on what the chunks throw', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield GOLDEN_STREAM.subarray(0, 30);
      throw new RangeError('no more');
    }
    await assert.rejects(readBlocks(failing(), { maxBlockBytes: 10 }).next(), new RangeError('no more'));
  });
});
