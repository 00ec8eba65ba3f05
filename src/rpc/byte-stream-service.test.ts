import assert from 'node:assert/strict';
import { callClientStreaming, callServerStreaming, callUnary } from '../../test/support/call-method.ts';
import { ofKind } from '../../test/support/expectations.ts';
import { fakeCall } from '../../test/support/fake-call.ts';
import { ByteStreamDefinition } from '../gen/google/bytestream/bytestream.ts';
import type { ByteRange } from '../system/byte-stream.ts';
import type { ByteResource } from './byte-resource.ts';
import { byteStreamMethods } from './byte-stream-service.ts';

const { read, write, queryWriteStatus } = ByteStreamDefinition.methods;

/** A resource for names with its prefix, which notes what it is asked. */
class NotingResource implements ByteResource {
  readonly seen: unknown[] = [];
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  claims(name: string): boolean {
    return name.startsWith(this.#prefix);
  }

  async *read(name: string, range: ByteRange): AsyncGenerator<Uint8Array> {
    this.seen.push([name, range]);
    yield Buffer.from('first');
    yield Buffer.alloc(0);
    yield Buffer.from('second');
  }

  async write(name: string, parts: Parameters<ByteResource['write']>[1]): Promise<number> {
    let sizeBytes = 0;
    for await (const { offset, data, isLast } of parts) {
      this.seen.push([name, offset, Buffer.from(data).toString(), isLast]);
      sizeBytes += data.length;
    }
    return sizeBytes;
  }

  async status(name: string): Promise<{ committedBytes: number; isComplete: boolean }> {
    this.seen.push(name);
    return { committedBytes: 7, isComplete: true };
  }
}

describe('byteStreamMethods', () => {
  const one = new NotingResource('one/');
  const two = new NotingResource('two/');
  const methods = byteStreamMethods([one, two]);

  beforeEach(() => {
    one.seen.length = 0;
    two.seen.length = 0;
  });

  it('asks the resource that claims the name', async () => {
    assert.deepEqual(await callUnary(methods, queryWriteStatus, { resourceName: 'two/x' }), {
      committedSize: 7n,
      complete: true,
    });
    assert.deepEqual([one.seen, two.seen], [[], ['two/x']]);
  });

  it('passes empty chunks on as signs of life (R-BS-18)', async () => {
    const responses = await callServerStreaming(methods, read, {
      resourceName: 'one/x',
      readOffset: 2n,
      readLimit: 3n,
    });
    assert.deepEqual(
      responses.map(({ data }) => Buffer.from(data).toString()),
      ['first', '', 'second'],
    );
    assert.deepEqual(one.seen, [['one/x', { offset: 2, limit: 3 }]]);
  });

  it('gives the parts of an upload with their offsets', async () => {
    const requests = [
      { resourceName: 'one/x', writeOffset: 5n, data: Buffer.from('ab') },
      { writeOffset: 7n, data: Buffer.from('c'), finishWrite: true },
    ];
    assert.equal((await callClientStreaming(methods, write, requests)).committedSize, 3n);
    assert.deepEqual(one.seen, [
      ['one/x', 5, 'ab', false],
      ['one/x', 7, 'c', true],
    ]);
  });

  it('refuses a name that nothing claims, and one that differs from the routing header (R-BS-06)', async () => {
    const call = fakeCall({ header: () => 'one/y' });
    for (const [resourceName, context] of [
      ['three/x', fakeCall()],
      ['one/x', call],
    ] as const) {
      const calls = [
        callUnary(methods, queryWriteStatus, { resourceName }, context),
        callServerStreaming(methods, read, { resourceName }, context),
        callClientStreaming(methods, write, [{ resourceName }], context),
      ];
      for (const refused of calls) await assert.rejects(refused, ofKind('invalid-argument'));
    }
  });
});
