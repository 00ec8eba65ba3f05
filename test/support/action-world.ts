import { resultFromMessage } from '../../src/action-cache/action-store.ts';
import { CompleteActionStore } from '../../src/action-cache/complete-action-store.ts';
import { EntryActionStore, resultEntryKey } from '../../src/action-cache/entry-action-store.ts';
import { lookUpResult, type ObservedResults, removeResult } from '../../src/action-cache/look-up-result.ts';
import type { Miss } from '../../src/action-cache/misses/miss.ts';
import { MissHistory } from '../../src/action-cache/misses/miss-history.ts';
import { storeResult } from '../../src/action-cache/store-result.ts';
import { MemoryBlobStore } from '../../src/cas/memory-blob-store.ts';
import type { ActionKey } from '../../src/digest/action-key.ts';
import { type Digest, digestToWire } from '../../src/digest/digest.ts';
import { digestOf } from '../../src/digest/hasher.ts';
import { parseInstanceName } from '../../src/digest/instance-name.ts';
import { MemoryEntryStore } from '../../src/entries/memory-entry-store.ts';
import { ReapiError } from '../../src/errors.ts';
import {
  Action,
  ActionResult,
  Command,
  Directory,
  RequestMetadata,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { Semaphore } from '../../src/system/semaphore.ts';
import { noAbort } from './expectations.ts';
import { FakeClock } from './fake-clock.ts';

type Partial<Message> = Message extends { fromPartial(value: infer Value): unknown } ? Value : never;

/** What an action is made of; everything has a default. */
export interface ActionParts {
  readonly action?: Partial<typeof Action>;
  readonly command?: Partial<typeof Command>;
  /** Contents by path, directories separated by slashes. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A blob store that can lose blobs, and notes what it is asked and what it reads. */
export class ForgetfulStore extends MemoryBlobStore {
  /** Hashes of each question for presence. */
  readonly asked: (readonly string[])[] = [];
  readonly read: string[] = [];
  readonly forgotten = new Set<string>();

  override async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    this.asked.push(digests.map(({ hash }) => hash));
    const lost = digests.filter(({ hash }) => this.forgotten.has(hash));
    return [...lost, ...(await super.findMissing(digests, signal))];
  }

  override getBytes(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    this.read.push(digest.hash);
    if (this.forgotten.has(digest.hash)) return Promise.reject(new ReapiError('blob-not-found', 'forgotten'));
    return super.getBytes(digest, signal);
  }
}

/** A cache of actions with its history, over memory stores, as a server joins them. */
export class ActionWorld {
  readonly clock = new FakeClock();
  readonly blobs = new ForgetfulStore({ maxBytes: 10_000_000 });
  readonly entries = new MemoryEntryStore({ clock: this.clock, maxBytes: 1_000_000, maxEntryBytes: 100_000 });
  readonly history: MissHistory;
  readonly results: ObservedResults;
  readonly actions: CompleteActionStore;

  constructor(options: { readonly maxActions?: number; readonly maxAgeMs?: number } = {}) {
    this.history = new MissHistory(this.clock, { maxActions: options.maxActions ?? 100 });
    const stored = new EntryActionStore(this.entries, { clock: this.clock, maxAgeMs: options.maxAgeMs ?? 0 });
    this.actions = new CompleteActionStore(stored, this.blobs, new Semaphore(2), {
      maxTreeBytes: 10_000,
      maxTreeDirectories: 100,
      maxTreeDepth: 10,
      maxDirectoryBytes: 10_000,
      treeCacheBytes: 100_000,
    });
    this.results = { actions: this.actions, observer: this.history };
  }

  async put(content: string | Uint8Array): Promise<Digest> {
    const bytes = Buffer.from(content);
    const digest = digestOf('sha256', bytes);
    await this.blobs.putBytes(digest, bytes, noAbort());
    return digest;
  }

  /** Stores an action with all that belongs to it. */
  async action({ action, command, files = {} }: ActionParts = {}): Promise<Digest> {
    const commandDigest = await this.put(
      Command.encode(Command.fromPartial({ arguments: ['cc'], ...command })).finish(),
    );
    const inputRootDigest = await this.inputs(files);
    const digests = { commandDigest: digestToWire(commandDigest), inputRootDigest: digestToWire(inputRootDigest) };
    return this.put(Action.encode(Action.fromPartial({ ...digests, ...action })).finish());
  }

  /** Stores an input tree. */
  async inputs(files: Readonly<Record<string, string>>): Promise<Digest> {
    const names = new Map<string, Record<string, string>>();
    const directory = Directory.fromPartial({});
    for (const [path, content] of Object.entries(files)) {
      const [name = '', ...rest] = path.split('/');
      if (rest.length > 0) names.set(name, { ...names.get(name), [rest.join('/')]: content });
      else directory.files.push({ ...EMPTY_FILE, name, digest: digestToWire(await this.put(content)) });
    }
    for (const [name, below] of names) {
      directory.directories.push({ name, digest: digestToWire(await this.inputs(below)) });
    }
    return this.put(Directory.encode(directory).finish());
  }

  key(action: Digest, instance = ''): ActionKey {
    return { instance: parseInstanceName(instance), action };
  }

  /** The reason of a miss, or undefined for a hit. */
  async look(key: ActionKey, metadata?: RequestMetadata): Promise<Miss | undefined> {
    const result = await lookUpResult(this.results, key, metadata, noAbort());
    return result === undefined ? this.history.find(key)?.miss : undefined;
  }

  /** Stores a result as a service does. */
  async store(key: ActionKey, result: Partial<typeof ActionResult> = {}, metadata?: RequestMetadata): Promise<void> {
    const stores = { actions: this.actions, blobs: this.blobs };
    const options = { maxResultBytes: 10_000, worker: 'w', signal: noAbort() };
    await storeResult(stores, key, resultFromMessage(ActionResult.fromPartial(result)), options);
    this.history.stored(key, metadata);
  }

  remove(key: ActionKey): Promise<boolean> {
    return removeResult(this.results, key, noAbort());
  }

  /** The store makes room, and says so as it does. */
  async evict(key: ActionKey, ageSeconds = 60): Promise<void> {
    const name = resultEntryKey(key);
    await this.entries.delete(name, noAbort());
    this.history.evicted(digestOf('sha256', Buffer.from(name)).hash, ageSeconds);
  }
}

const EMPTY_FILE = { isExecutable: false, nodeProperties: undefined };

/** What a build tool says of an action. */
export function metadataOf(targetId: string, mnemonic = 'Compile', configurationId = ''): RequestMetadata {
  return RequestMetadata.fromPartial({ targetId, actionMnemonic: mnemonic, configurationId, toolInvocationId: 'i' });
}
