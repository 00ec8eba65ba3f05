import type { Clock } from '../../system/clock.ts';
import { deadAfterMs } from './promises.ts';
import type { WriterState } from './writer-state.ts';

/** Another server on the same bucket, as far as it is known. */
export interface Peer {
  readonly writer: string;
  /** Of the object that holds its state, when it was last read. */
  etag: string;
  state: WriterState;
  /** All its containers below that number are known. */
  knownFloor: number;
  /** Containers that its state tells of have not been read yet. */
  hasNews: boolean;
  /** When its state was last seen to have changed, monotonic milliseconds. */
  changedMs: number;
}

/** The servers that share the bucket; as many as there are data folders that were ever used with it. */
export class Peers {
  readonly #clock: Clock;
  readonly #peers = new Map<string, Peer>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(writer: string): Peer | undefined {
    return this.#peers.get(writer);
  }

  /** A state that was read. */
  saw(state: WriterState, etag: string): Peer {
    const known = this.#peers.get(state.writer);
    const changedMs = this.#clock.monotonicMs();
    if (known !== undefined) {
      // A new start may not know how far it had told before.
      if (known.state.nonce !== state.nonce) known.knownFloor = 0;
      Object.assign(known, { state, etag, changedMs, hasNews: true });
      return known;
    }
    const peer: Peer = { writer: state.writer, etag, state, knownFloor: 0, hasNews: true, changedMs };
    this.#peers.set(state.writer, peer);
    return peer;
  }

  /** The state is no longer there. */
  gone(writer: string): void {
    this.#peers.delete(writer);
  }

  /** Whether nothing was heard of a writer for so long that others look after its containers. */
  isDead(writer: string): boolean {
    const peer = this.#peers.get(writer);
    if (peer === undefined) return true;
    return this.#clock.monotonicMs() - peer.changedMs >= deadAfterMs(peer.state.refreshSeconds * 1000);
  }

  /** Those that are not dead. */
  get live(): readonly Peer[] {
    return [...this.#peers.values()].filter(({ writer }) => !this.isDead(writer));
  }

  [Symbol.iterator](): IterableIterator<Peer> {
    return this.#peers.values();
  }
}
