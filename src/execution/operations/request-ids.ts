import { cutText } from '../../action-cache/misses/cut-text.ts';
import type { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** What the build tool says an action belongs to (R-XC-01), cut to a limited length; empty where it said nothing. */
export interface RequestIds {
  /** Name of the build tool. */
  readonly tool: string;
  /** One run of it. */
  readonly invocation: string;
  /** Runs that belong together. */
  readonly correlated: string;
  readonly mnemonic: string;
  readonly target: string;
}

/** Of a client that said nothing. */
export const NO_IDS: RequestIds = { tool: '', invocation: '', correlated: '', mnemonic: '', target: '' };

/** Longest id that is kept, in characters: ids are UUIDs, and the labels of nearly all targets are shorter. */
const MAX_ID_LENGTH = 256;

/** Different texts that are kept once for all operations that have them: those of a few builds at a time. */
const MAX_SHARED_TEXTS = 4096;

/** Cuts an id as those of operations are, so that it can be compared with them. */
export function cutId(text: string): string {
  return cutText(text, MAX_ID_LENGTH);
}

/** Takes the ids out of request metadata. Operations of one build share their texts: a queue of 100,000 has few different ones. */
export class RequestIdReader {
  readonly #texts = new Map<string, string>();

  /** Those of one call; `NO_IDS` itself if there are none. */
  read(metadata: RequestMetadata | undefined): RequestIds {
    if (metadata === undefined) return NO_IDS;
    const ids = {
      tool: this.#shared(metadata.toolDetails?.toolName ?? ''),
      invocation: this.#shared(metadata.toolInvocationId),
      correlated: this.#shared(metadata.correlatedInvocationsId),
      mnemonic: this.#shared(metadata.actionMnemonic),
      target: this.#shared(metadata.targetId),
    };
    return Object.values(ids).some((id) => id !== '') ? ids : NO_IDS;
  }

  #shared(text: string): string {
    if (text === '') return '';
    const cut = cutId(text);
    const known = this.#texts.get(cut);
    if (known !== undefined) return known;
    if (this.#texts.size >= MAX_SHARED_TEXTS) this.#texts.clear();
    this.#texts.set(cut, cut);
    return cut;
  }
}
