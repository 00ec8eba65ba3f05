import { ReapiError } from '../../errors.ts';

/** Largest state of a writer that is read. */
export const MAX_STATE_BYTES = 64 * 1024;

/** Sequence numbers and numbers of containers are below it: they have 6 bytes. */
const NUMBER_END = 2 ** 48;

/** No server is configured to rely on anything longer, in seconds; a state that says so would keep all others from deleting. */
const MAX_SECONDS = 30 * 86_400;

/** Version of what is written. */
const VERSION = 1;

/** What a server tells the others that share its bucket, under `writers/`. */
export interface WriterState {
  /** 16 hex digits. */
  readonly writer: string;
  /** Of the process that published it: 8 hex digits. */
  readonly nonce: string;
  /** Changes with every publication, so that others see that the writer lives. */
  readonly beat: number;
  /** All containers with lower numbers are there, or will never be. */
  readonly floor: number;
  /** The greatest sequence number the writer has given or seen. */
  readonly sequence: number;
  /**
   * Of other writers, the last state whose news this one has dealt with: `<nonce>-<beat>` by writer. Everything that had been condemned then
   * it has copied what it needs of.
   */
  readonly done: Readonly<Record<string, string>>;
  /** What the writer knows of others it relies on for that long. */
  readonly refreshSeconds: number;
  /** What the writer promised it holds for that long. */
  readonly leaseSeconds: number;
}

const STATE_NAME = /^(?<nonce>[0-9a-f]{8})-(?<beat>[0-9]{1,16})$/;

/** How others name a state in their `done`. */
export function stateName({ nonce, beat }: Pick<WriterState, 'nonce' | 'beat'>): string {
  return `${nonce}-${beat}`;
}

/** Whether a state is the other one, or a later one of the same process. Both as `stateName` gives them. */
export function isSinceState(state: string, other: string): boolean {
  const [one, two] = [STATE_NAME.exec(state)?.groups, STATE_NAME.exec(other)?.groups];
  return one !== undefined && one['nonce'] === two?.['nonce'] && Number(one['beat']) >= Number(two?.['beat']);
}

/** As bytes of the object. */
export function encodeWriterState(state: WriterState): Uint8Array {
  return Buffer.from(JSON.stringify({ version: VERSION, ...state }));
}

/** @throws data-loss if it is none; precondition if a newer version wrote it. */
export function decodeWriterState(bytes: Uint8Array): WriterState {
  const value = jsonOf(bytes);
  const version = numberIn(value, 'version', Number.MAX_SAFE_INTEGER);
  if (version > VERSION) {
    const message = `a server of a newer version (${version}) shares the bucket; this one knows up to ${VERSION}`;
    throw new ReapiError('precondition', message);
  }
  const { writer, nonce } = value;
  if (typeof writer !== 'string' || !/^[0-9a-f]{16}$/.test(writer)) throw damaged();
  if (typeof nonce !== 'string' || !/^[0-9a-f]{8}$/.test(nonce)) throw damaged();
  return {
    writer,
    nonce,
    beat: numberIn(value, 'beat', Number.MAX_SAFE_INTEGER),
    floor: numberIn(value, 'floor', NUMBER_END),
    sequence: numberIn(value, 'sequence', NUMBER_END - 1),
    refreshSeconds: numberIn(value, 'refreshSeconds', MAX_SECONDS),
    leaseSeconds: numberIn(value, 'leaseSeconds', MAX_SECONDS),
    done: doneIn(value),
  };
}

function doneIn({ done = {} }: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  if (typeof done !== 'object' || done === null) throw damaged();
  const states: Record<string, string> = {};
  for (const [writer, state] of Object.entries(done)) {
    if (!/^[0-9a-f]{16}$/.test(writer) || typeof state !== 'string' || !STATE_NAME.test(state)) throw damaged();
    states[writer] = state;
  }
  return states;
}

function jsonOf(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    if (typeof value === 'object' && value !== null) return { ...value };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw damaged();
}

function numberIn(value: Readonly<Record<string, unknown>>, name: string, max: number): number {
  const found = value[name];
  if (typeof found === 'number' && Number.isSafeInteger(found) && found >= 0 && found <= max) return found;
  throw damaged();
}

function damaged(): ReapiError {
  return new ReapiError('data-loss', 'the state of a writer in the bucket is damaged');
}
