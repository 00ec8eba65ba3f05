import type { BlobStore } from '../cas/blob-store.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { type Digest, digestFromWire, digestPath } from '../digest/digest.ts';
import { isKind, ReapiError } from '../errors.ts';
import { Action, Command, type Platform } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type InputSketch, LargestInputs } from '../platform/locality.ts';
import type { PlatformMatcher, Requirement } from '../platform/platform.ts';
import type { ExecutionWork } from './execution-work.ts';

/** Limits on what clients ask for. */
export interface PrepareOptions {
  /** Time for an action that names none (R-EX-19). */
  readonly defaultTimeoutMs: number;
  /** Above it an action is refused (R-EX-19). */
  readonly maxTimeoutMs: number;
  /** Largest Action or Command message. */
  readonly maxMessageBytes: number;
  /** Names accepted in `output_node_properties` (R-CM-06). */
  readonly nodeProperties: readonly string[];
}

/** An action that is ready to be queued. */
export interface PreparedAction {
  readonly work: Omit<ExecutionWork, 'requestMetadata'>;
  readonly needs: Requirement;
  /** Its largest inputs, if some are large enough to look for nodes that have them. */
  readonly inputs?: InputSketch;
}

/** Lists the blobs below an input root that are absent, each once. `largest` is told of every file, each once. */
export type MissingInputs = (root: Digest, signal: AbortSignal, largest?: LargestInputs) => Promise<readonly Digest[]>;

/** Turns an action digest into work and a requirement, or says what is wrong with it. */
export class ActionPreparer {
  readonly #store: BlobStore;
  readonly #matcher: PlatformMatcher;
  readonly #missingInputs: MissingInputs;
  readonly #options: PrepareOptions;

  constructor(store: BlobStore, matcher: PlatformMatcher, missingInputs: MissingInputs, options: PrepareOptions) {
    this.#store = store;
    this.#matcher = matcher;
    this.#missingInputs = missingInputs;
    this.#options = options;
  }

  /** The Action. @throws missing-inputs if it is not in the store; invalid-argument if it is no Action. */
  async load(key: ActionKey, signal: AbortSignal): Promise<Action> {
    return this.#message('the Action', Action, key.action, signal);
  }

  /**
   * @throws missing-inputs with every absent blob (R-EX-43); invalid-argument (R-EX-19, R-CM-03, R-CM-06, R-CM-13);
   * no-such-platform for a property the policy refuses.
   */
  async prepare(key: ActionKey, action: Action, signal: AbortSignal): Promise<PreparedAction> {
    const fn = key.action.function;
    const timeoutMs = this.#timeout(action);
    const commandDigest = digestFromWire(fn, action.commandDigest, 'Action.command_digest');
    const root = digestFromWire(fn, action.inputRootDigest, 'Action.input_root_digest');
    const command = await this.#message('the Command', Command, commandDigest, signal);
    this.#checkCommand(command);
    const largest = new LargestInputs();
    const missing = await this.#missingInputs(root, signal, largest);
    if (missing.length > 0) throw missingInputs(missing);
    const timeout = { seconds: BigInt(Math.floor(timeoutMs / 1000)), nanos: Math.round((timeoutMs % 1000) * 1e6) };
    return {
      work: { key, action: { ...action, timeout }, timeoutMs },
      needs: this.#requirement(key, action, command),
      ...(largest.sketch.length > 0 && { inputs: largest.sketch }),
    };
  }

  #requirement(key: ActionKey, action: Action, command: Command): Requirement {
    // The Action's if it is set at all, else the Command's; never a mixture (R-PL-01, R-PL-02).
    const platform: Platform | undefined = action.platform ?? command.platform;
    const legacyOutputs =
      command.outputPaths.length === 0 && command.outputFiles.length + command.outputDirectories.length > 0;
    return this.#matcher.parse(platform?.properties ?? [], { digestFunction: key.action.function, legacyOutputs });
  }

  #timeout(action: Action): number {
    const { timeout } = action;
    if (timeout === undefined) return this.#options.defaultTimeoutMs;
    const timeoutMs = Number(timeout.seconds) * 1000 + timeout.nanos / 1e6;
    if (timeoutMs < 0) {
      throw new ReapiError('invalid-argument', 'Action.timeout is negative', { field: 'timeout' });
    }
    if (timeoutMs > this.#options.maxTimeoutMs) {
      const message = `Action.timeout is ${timeoutMs / 1000} s; at most ${this.#options.maxTimeoutMs / 1000} s are allowed`;
      throw new ReapiError('invalid-argument', message, { field: 'timeout' });
    }
    // Clients also send zero for "none".
    return timeoutMs === 0 ? this.#options.defaultTimeoutMs : timeoutMs;
  }

  #checkCommand(command: Command): void {
    if (command.arguments.length === 0 || command.arguments[0] === '') {
      throw new ReapiError('invalid-argument', 'Command.arguments is empty', { field: 'arguments' });
    }
    for (const name of command.outputNodeProperties) {
      if (this.#options.nodeProperties.includes(name)) continue;
      const message = `the node property "${name}" is not supported; known: ${this.#options.nodeProperties.join(', ')}`;
      throw new ReapiError('invalid-argument', message, { field: 'output_node_properties' });
    }
    const depth = depthWithinRoot(command.workingDirectory, 0, 'working_directory');
    const outputs = [...command.outputPaths, ...command.outputFiles, ...command.outputDirectories];
    for (const path of outputs) depthWithinRoot(path, depth, 'output_paths');
  }

  async #message<T>(
    what: string,
    codec: { decode(bytes: Uint8Array): T },
    digest: Digest,
    signal: AbortSignal,
  ): Promise<T> {
    if (digest.sizeBytes > this.#options.maxMessageBytes) {
      const message = `${what} has ${digest.sizeBytes} bytes; at most ${this.#options.maxMessageBytes} are allowed`;
      throw new ReapiError('too-large', message);
    }
    let bytes: Uint8Array;
    try {
      bytes = await this.#store.getBytes(digest, signal);
    } catch (error) {
      if (isKind(error, 'blob-not-found')) throw missingInputs([digest]);
      throw ReapiError.wrap(error, `reading ${what}`);
    }
    try {
      return codec.decode(bytes);
    } catch (error) {
      throw new ReapiError('invalid-argument', `${what} does not decode`, { cause: error });
    }
  }
}

function missingInputs(missing: readonly Digest[]): ReapiError {
  const first = missing.slice(0, 3).map(digestPath).join(', ');
  const message = `${missing.length} input blob${missing.length === 1 ? ' is' : 's are'} missing: ${first}`;
  return new ReapiError('missing-inputs', message, { missing });
}

/**
 * `..` is fine as long as the path stays inside the input root: BuildStream sends such paths (R-CM-03).
 * @param from how deep below the root the path begins. @returns how deep it ends. @throws invalid-argument.
 */
function depthWithinRoot(path: string, from: number, field: string): number {
  const wrong = (why: string): ReapiError =>
    new ReapiError('invalid-argument', `Command.${field}: "${path}" ${why}`, { field });
  if (path.includes('\0')) throw wrong('has a NUL character');
  if (path.startsWith('/')) throw wrong('is absolute');
  let depth = from;
  for (const segment of path.split('/')) {
    if (segment === '' || segment === '.') continue;
    depth += segment === '..' ? -1 : 1;
    if (depth < 0) throw wrong('leaves the input root');
  }
  return depth;
}
