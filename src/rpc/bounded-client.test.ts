import assert from 'node:assert/strict';
import { Empty } from '../gen/google/protobuf/empty.ts';
import { BoundedClient } from './bounded-client.ts';
import type { CallOptions, RpcClient } from './client.ts';

const service = { fullName: 'test.Service' };
const method = { name: 'Method', requestType: Empty, responseType: Empty };
const options: CallOptions = { signal: new AbortController().signal };

/** Counts calls in flight; each ends when the test says so. */
class CountingClient {
  inFlight = 0;
  most = 0;
  isClosed = false;
  readonly ends: (() => void)[] = [];

  readonly client: RpcClient = {
    unary: async <Res>(_: unknown, { responseType }: { responseType: { decode(bytes: Uint8Array): Res } }) => {
      await this.#wait();
      return responseType.decode(new Uint8Array());
    },
    clientStream: async <Res>(_: unknown, { responseType }: { responseType: { decode(bytes: Uint8Array): Res } }) => {
      await this.#wait();
      return responseType.decode(new Uint8Array());
    },
    serverStream: <Res>(_: unknown, { responseType }: { responseType: { decode(bytes: Uint8Array): Res } }) =>
      this.#stream(() => responseType.decode(new Uint8Array())),
    close: () => {
      this.isClosed = true;
    },
  };

  async *#stream<Res>(make: () => Res): AsyncIterable<Res> {
    this.most = Math.max(this.most, ++this.inFlight);
    try {
      yield make();
      yield make();
    } finally {
      this.inFlight--;
    }
  }

  async #wait(): Promise<void> {
    this.most = Math.max(this.most, ++this.inFlight);
    await new Promise<void>((resolve) => this.ends.push(resolve));
    this.inFlight--;
  }
}

async function* noRequests(): AsyncIterable<Empty> {
  // A stream of nothing.
}

describe('BoundedClient', () => {
  it('lets sixteen calls run at once, the others after them', async () => {
    const counting = new CountingClient();
    const client = new BoundedClient(counting.client);
    const calls = Array.from({ length: 20 }, (_, index) =>
      index % 2 === 0
        ? client.unary(service, method, {}, options)
        : client.clientStream(service, method, noRequests(), options),
    );
    await new Promise(setImmediate);
    assert.equal(counting.inFlight, 16);
    while (counting.ends.length > 0) {
      counting.ends.shift()?.();
      await new Promise(setImmediate);
    }
    await Promise.all(calls);
    assert.equal(counting.most, 16);
  });

  it('counts a response stream until it ends or is left', async () => {
    const counting = new CountingClient();
    const client = new BoundedClient(counting.client);
    for (let round = 0; round < 20; round++) {
      for await (const message of client.serverStream(service, method, {}, options)) {
        assert.deepEqual(message, {});
        if (round % 2 === 0) break;
      }
    }
    assert.equal(counting.inFlight, 0);
  });

  it('gives up a call that waits for its turn when its signal aborts', async () => {
    const counting = new CountingClient();
    const client = new BoundedClient(counting.client);
    const running = Array.from({ length: 16 }, () => client.unary(service, method, {}, options));
    const abort = new AbortController();
    const waiting = client.unary(service, method, {}, { signal: abort.signal });
    abort.abort();
    await assert.rejects(waiting, /cancelled/);
    for (const end of counting.ends) end();
    await Promise.all(running);
  });

  it('closes the connection below', () => {
    const counting = new CountingClient();
    new BoundedClient(counting.client).close();
    assert.equal(counting.isClosed, true);
  });
});
