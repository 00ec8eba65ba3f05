import { once } from 'node:events';
import { type Agent, type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { systemCode } from '../../src/errors.ts';
import { type Clock, sleep } from '../../src/system/clock.ts';
import { turns } from './deferred.ts';
import type { S3Operation } from './faulty-s3-operation.ts';
import type { Fault } from './faulty-s3-plan.ts';

/** What an exchange needs beside the two ends of the client's connection. */
export interface ExchangeOptions {
  readonly upstream: { readonly host: string; readonly port: number };
  readonly agent: Agent;
  readonly clock: Clock;
  readonly operation: S3Operation;
  /** To send instead of the client's headers: names and values in turn. */
  readonly headers: readonly string[];
  /** Instead of the server's `Date`; undefined leaves it. */
  readonly date: string | undefined;
  /** Told when the fault happens. */
  readonly injected: (kind: Fault['kind']) => void;
}

/** How it ended: with a whole answer, with a fault or because the client left, or because the server failed. */
export type ExchangeEnd = 'answered' | 'broken-off' | 'upstream-failed';

/** Where a body is cut, and how. */
interface Cut {
  readonly kind: 'reset' | 'stall' | 'truncate';
  readonly afterBytes: number;
}

/** Headers that concern one connection and not the message. */
const OF_CONNECTION = /^(?:connection|keep-alive)$/i;

/** Enough for a reader in this process, and mostly for one in another. */
const TURNS_BEFORE_BREAKING = 50;

/** One request and its answer on their way through the proxy. Bytes are streamed both ways at the pace of the slower side. */
export class FaultyS3Exchange {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #options: ExchangeOptions;
  readonly #over = new AbortController();
  #held: PromiseWithResolvers<void> | undefined;
  /** Whether the server, asked to, told the client to send its body. */
  #isContinued = false;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, options: ExchangeOptions) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#options = options;
    // Whoever reads the body learns of its end, too; an error that nobody listens to would end the process.
    incoming.on('error', () => this.#end());
    outgoing.on('close', () => this.#end());
  }

  /** Lets no byte pass in either direction from now on. */
  hold(): void {
    this.#held ??= Promise.withResolvers();
  }

  /** Ends a `hold`. */
  release(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }

  /** Breaks the client's connection so that the client notices at once; the request to the server goes with it. */
  reset(): void {
    this.#incoming.socket.resetAndDestroy();
    this.#end();
  }

  /** Sends the request on and the answer back. Rejects only for a mistake of the proxy itself. */
  async run(fault: Fault | undefined): Promise<ExchangeEnd> {
    try {
      await this.#exchange(fault);
      return 'answered';
    } catch (cause) {
      if (this.#outgoing.writableFinished) return 'answered';
      if (this.#over.signal.aborted) return 'broken-off';
      this.reset();
      if (systemCode(cause) === undefined) throw cause;
      return 'upstream-failed';
    }
  }

  async #exchange(fault: Fault | undefined): Promise<void> {
    const cut = cutOf(fault, 'request');
    const hasBody = lengthOf(this.#incoming) !== 0;
    if (cut !== undefined && !hasBody) await this.#break(cut.kind);
    await this.#passage();
    const upstream = this.#open();
    const answered = once(upstream, 'response', { signal: this.#over.signal });
    const sent = this.#send(upstream, hasBody ? cut : undefined);
    sent.catch((cause: Error) => upstream.destroy(cause));
    const [answer]: IncomingMessage[] = await answered;
    if (answer !== undefined) await this.#answer(answer, fault);
    // What the server did not want to read before it answered, it will not read now.
    if (!this.#incoming.complete) this.#end();
    if (this.#isForbidden()) this.#incoming.destroy();
    await sent;
  }

  #open(): ClientRequest {
    const { upstream, agent, headers } = this.#options;
    const { method = 'GET', url = '/' } = this.#incoming;
    // `Host` stays the client's: the client has signed it.
    const all = pairs(headers).filter(([name]) => !OF_CONNECTION.test(name));
    const isSilent = lengthOf(this.#incoming) === 0 && this.#incoming.headers['content-length'] === undefined;
    if (isSilent && /^(?:POST|PUT)$/.test(method)) all.push(['Content-Length', '0']);
    const sent = request({ ...upstream, agent, method, path: url, headers: all.flat(), setHost: false });
    // Also after the answer: a server that has answered early need not read the rest.
    sent.on('error', () => undefined);
    sent.on('continue', () => {
      this.#isContinued = true;
      this.#outgoing.writeContinue();
    });
    const giveUp = (): void => {
      sent.destroy();
      // A request that was answered does nothing when destroyed; its connection is of no use if it is not at its end.
      if (!sent.writableFinished) sent.socket?.destroy();
    };
    this.#over.signal.addEventListener('abort', giveUp, { once: true });
    return sent;
  }

  async #send(upstream: ClientRequest, cut: Cut | undefined): Promise<void> {
    const length = lengthOf(this.#incoming);
    if (length !== 0) upstream.flushHeaders();
    try {
      for await (const chunk of this.#through(this.#incoming.iterator({ destroyOnReturn: false }), length, cut)) {
        if (upstream.destroyed || this.#outgoing.writableEnded) break;
        await written(upstream, chunk, this.#over.signal);
      }
      if (this.#incoming.readableEnded) upstream.end();
    } finally {
      this.#incoming.resume();
    }
  }

  async #answer(answer: IncomingMessage, fault: Fault | undefined): Promise<void> {
    await this.#passage();
    if (fault?.kind === 'fail-after') {
      for await (const _ of answer);
      return await this.#break('reset', 'fail-after');
    }
    if (fault?.kind === 'slow-first-byte') {
      this.#options.injected(fault.kind);
      await sleep(this.#options.clock, fault.ms, this.#over.signal);
    }
    const hasBody = this.#incoming.method !== 'HEAD' && lengthOf(answer) !== 0;
    const cut = cutOf(fault, 'response');
    if (cut !== undefined && !hasBody) await this.#break(cut.kind);
    const isObject = this.#options.operation === 'GetObject' && /^20[06]$/.test(`${answer.statusCode}`);
    const changed = isObject && hasBody ? this.#changed(answer, fault) : undefined;
    this.#writeHead(answer, changed?.length);
    if (cut !== undefined) this.#outgoing.flushHeaders();
    for await (const chunk of this.#through(changed?.bytes ?? answer, changed?.length ?? lengthOf(answer), cut)) {
      await written(this.#outgoing, chunk, this.#over.signal);
      this.#over.signal.throwIfAborted();
    }
    this.#outgoing.end();
    if (!this.#outgoing.writableFinished) await once(this.#outgoing, 'finish', { signal: this.#over.signal });
  }

  /** The body of an object with other bytes, or fewer. */
  #changed(answer: IncomingMessage, fault: Fault | undefined) {
    const length = lengthOf(answer) ?? 0;
    if (length === 0 || (fault?.kind !== 'shorten' && fault?.kind !== 'corrupt')) return undefined;
    this.#options.injected(fault.kind);
    if (fault.kind === 'corrupt') return { bytes: flipped(answer, Math.min(fault.atByte, length - 1)), length };
    const shorter = Math.min(fault.afterBytes, length - 1);
    return { bytes: limited(answer, shorter), length: shorter };
  }

  #writeHead(answer: IncomingMessage, length: number | undefined): void {
    const { date } = this.#options;
    const headers = pairs(answer.rawHeaders).flatMap(([name, value]) => {
      if (OF_CONNECTION.test(name)) return [];
      if (length !== undefined && /^content-length$/i.test(name)) return [name, `${length}`];
      return date !== undefined && /^date$/i.test(name) ? [name, date] : [name, value];
    });
    if (this.#isForbidden()) headers.push('Connection', 'close');
    this.#outgoing.writeHead(answer.statusCode ?? 502, answer.statusMessage, headers);
  }

  async *#through(bytes: AsyncIterable<Buffer>, length: number | undefined, cut: Cut | undefined) {
    const at = Math.min(cut?.afterBytes ?? 0, length === undefined ? Number.POSITIVE_INFINITY : length - 1);
    let due = cut;
    let passed = 0;
    for await (const chunk of bytes) {
      await this.#passage();
      const before = due !== undefined && passed + chunk.length > at ? at - passed : chunk.length;
      if (before > 0) yield chunk.subarray(0, before);
      passed += chunk.length;
      if (due === undefined || before === chunk.length) continue;
      await this.#break(due.kind);
      due = undefined;
      yield chunk.subarray(before);
    }
    if (due !== undefined) await this.#break(due.kind);
  }

  /** Resolves if the exchange goes on after that, and rejects if not. */
  async #break(kind: Cut['kind'], why: Fault['kind'] = kind): Promise<void> {
    // A reset also destroys what the other side has not yet read; so that it reads something, it gets a little time.
    if (kind !== 'stall') await turns(TURNS_BEFORE_BREAKING);
    this.#over.signal.throwIfAborted();
    this.#options.injected(why);
    if (kind === 'reset') this.reset();
    if (kind === 'stall') this.hold();
    if (kind === 'truncate') {
      this.#incoming.socket.end();
      this.#end();
    }
    await this.#passage();
  }

  /** Waits while held. */
  async #passage(): Promise<void> {
    while (this.#held !== undefined) await this.#held.promise;
    this.#over.signal.throwIfAborted();
  }

  /** Whether the client was not told to send its body: neither that nor anything else will come on this connection. */
  #isForbidden(): boolean {
    return this.#incoming.headers.expect !== undefined && !this.#isContinued;
  }

  #end(): void {
    this.#over.abort();
    this.release();
  }
}

function cutOf(fault: Fault | undefined, of: 'request' | 'response'): Cut | undefined {
  if (fault?.kind === 'truncate' && of === 'response') return fault;
  return (fault?.kind === 'reset' || fault?.kind === 'stall') && fault.of === of ? fault : undefined;
}

/** Bytes of the body; undefined if only its end will tell. */
function lengthOf(message: IncomingMessage): number | undefined {
  if (message.headers['transfer-encoding'] !== undefined) return undefined;
  const length = message.headers['content-length'];
  if (length !== undefined) return Number(length);
  // An answer without either goes on until the connection ends, unless its status forbids a body.
  const isRequest = message.statusCode === undefined || message.statusCode === null;
  return isRequest || message.statusCode === 204 || message.statusCode === 304 ? 0 : undefined;
}

function pairs(headers: readonly string[]): (readonly [string, string])[] {
  return headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1] ?? ''] as const] : []));
}

async function* flipped(bytes: AsyncIterable<Buffer>, atByte: number): AsyncGenerator<Buffer> {
  let passed = 0;
  for await (const chunk of bytes) {
    const at = atByte - passed;
    const old = chunk[at];
    if (old !== undefined) chunk[at] = old ^ 1;
    passed += chunk.length;
    yield chunk;
  }
}

/** Reads all, so that the connection to the server stays usable. */
async function* limited(bytes: AsyncIterable<Buffer>, limit: number): AsyncGenerator<Buffer> {
  let left = limit;
  for await (const chunk of bytes) {
    const part = chunk.subarray(0, left);
    left -= part.length;
    if (part.length > 0) yield part;
  }
}

/** Resolves when the system has the bytes, or nobody wants them any more: what was written before a fault is not lost by it. */
async function written(to: Writable, chunk: Uint8Array, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      to.off('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    to.on('close', done);
    signal.addEventListener('abort', done);
    to.write(chunk, done);
  });
}
