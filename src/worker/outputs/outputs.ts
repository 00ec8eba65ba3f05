import { lstatSync, type Stats, statSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { digestToWire } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { ReapiError, throwIfAborted } from '../../errors.ts';
import {
  ActionResult,
  type Command,
  Command_OutputDirectoryFormat,
  type OutputSymlink,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { nodePropertiesOf, type PropertyWishes, parsePropertyWishes } from './node-properties.ts';
import { type OutputBlob, unreadable } from './output-files.ts';
import { makeParents, PATHS_PER_TURN, realInside, resolveInRoot } from './output-paths.ts';
import { collectFile, collectTree, type OutputLimits, type TreeCollection, targetOf } from './output-tree.ts';

/** Which list an output was asked for in; it decides what types are allowed and where symlinks go. */
type OutputKind = 'path' | 'file' | 'directory';

/** An output the command names. */
interface Wanted {
  readonly kind: OutputKind;
  /** As the command spells it; results repeat it to the letter (R-CM-27). */
  readonly path: string;
  /** Relative to the input root; '' is the root. */
  readonly inRoot: string;
  /** The list, for messages. */
  readonly field: string;
}

/** What the command left behind. */
export interface CollectedOutputs {
  /** Only the lists of outputs are set. */
  readonly result: ActionResult;
  /** What the lists refer to. */
  readonly blobs: readonly OutputBlob[];
}

/** The outputs of one command: checked before it runs, collected afterwards. */
export class Outputs {
  readonly #wanted: readonly Wanted[];
  readonly #wishes: PropertyWishes;
  readonly #wantsDirectories: boolean;

  /** @throws invalid-argument: absolute, escaping, or with unknown node properties (R-CM-03, R-CM-06). */
  constructor(command: Command) {
    this.#wanted = wantedOf(command);
    this.#wishes = parsePropertyWishes(command.outputNodeProperties);
    // An unknown format counts as TREE_ONLY; the tree digest is returned in every case (R-CM-30).
    this.#wantsDirectories =
      command.outputDirectoryFormat === Command_OutputDirectoryFormat.DIRECTORY_ONLY ||
      command.outputDirectoryFormat === Command_OutputDirectoryFormat.TREE_AND_DIRECTORY;
  }

  /** Makes the parent directories of all outputs (R-CM-20). @param root a real path. @throws as `makeParents`. */
  prepare(root: string, signal: AbortSignal): Promise<void> {
    return makeParents(root, this.#wanted, signal);
  }

  /**
   * Classifies and hashes what is there; what is not there is left out (R-CM-23).
   * @param root a real path.
   * @throws precondition: a wrong type (R-CM-24), too much; invalid-argument: a symlink that leads out; cancelled.
   */
  async collect(
    root: string,
    digestFunction: DigestFunction,
    limits: OutputLimits,
    signal: AbortSignal,
  ): Promise<CollectedOutputs> {
    const blobs: OutputBlob[] = [];
    const budget = { entries: limits.maxEntries, keptBytes: limits.maxKeptBytes };
    const collection: TreeCollection = { digestFunction, wishes: this.#wishes, limits, blobs, budget, signal };
    const result = ActionResult.create();
    const parents: Parents = new Map();
    let done = 0;
    for (const wanted of this.#wanted) {
      try {
        const path = realPathOf(root, wanted, parents);
        if (path !== undefined) await this.#add(result, wanted, path, collection);
      } catch (error) {
        throw naming(wanted, unreadable(error));
      }
      if (++done % PATHS_PER_TURN !== 0) continue;
      await nextTurn();
      throwIfAborted(signal);
    }
    return { result, blobs };
  }

  async #add(result: ActionResult, wanted: Wanted, path: string, collection: TreeCollection): Promise<void> {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (stat.isSymbolicLink()) this.#addSymlink(result, wanted, path, stat);
    else if (stat.isFile()) await addFile(result, wanted, path, collection);
    else if (stat.isDirectory()) await this.#addDirectory(result, wanted, path, collection);
    else throw wrongType(wanted, 'a socket, pipe or device');
  }

  #addSymlink(result: ActionResult, wanted: Wanted, path: string, stat: Stats): void {
    const nodeProperties = nodePropertiesOf(this.#wishes, stat);
    const link: OutputSymlink = { path: wanted.path, target: targetOf(path), nodeProperties };
    const target = typeOfTarget(path);
    if (wanted.kind === 'path') result.outputSymlinks.push(link);
    if (wanted.kind === 'file' && target === 'directory') throw wrongType(wanted, 'a symlink to a directory');
    if (wanted.kind === 'directory' && target === 'file') throw wrongType(wanted, 'a symlink to a file');
    // Clients of before 2.1 and Bazel before 6.3 read only these two lists (R-CM-25, T-18).
    if (target === 'directory' || (wanted.kind === 'directory' && target === undefined)) {
      result.outputDirectorySymlinks.push(link);
    } else if (target === 'file' || wanted.kind === 'file') result.outputFileSymlinks.push(link);
  }

  async #addDirectory(result: ActionResult, wanted: Wanted, path: string, collection: TreeCollection): Promise<void> {
    if (wanted.kind === 'file') throw wrongType(wanted, 'a directory');
    const { tree, nodes, root } = await collectTree(path, collection);
    collection.blobs.push(tree);
    // A client that reads Directory messages needs all of them in the CAS (T-40).
    if (this.#wantsDirectories) collection.blobs.push(...nodes);
    result.outputDirectories.push({
      path: wanted.path,
      treeDigest: digestToWire(tree.digest),
      isTopologicallySorted: true,
      rootDirectoryDigest: this.#wantsDirectories ? digestToWire(root) : undefined,
    });
  }
}

async function addFile(result: ActionResult, wanted: Wanted, path: string, collection: TreeCollection): Promise<void> {
  if (wanted.kind === 'directory') throw wrongType(wanted, 'a file');
  const file = await collectFile(path, collection);
  result.outputFiles.push({ path: wanted.path, contents: new Uint8Array(0), ...file });
}

/** If `output_paths` is set the two older lists do not count (R-CM-05). A path named twice is reported once. */
function wantedOf(command: Command): Wanted[] {
  const isModern = command.outputPaths.length > 0;
  const lists: readonly (readonly [OutputKind, readonly string[]])[] = isModern
    ? [['path', command.outputPaths]]
    : [
        ['file', command.outputFiles],
        ['directory', command.outputDirectories],
      ];
  return lists.flatMap(([kind, paths]) =>
    [...new Set(paths)].map((path) => ({
      kind,
      path,
      inRoot: resolveInRoot(command.workingDirectory, path, fieldOf(kind)),
      field: fieldOf(kind),
    })),
  );
}

function fieldOf(kind: OutputKind): string {
  return { path: 'output_paths', file: 'output_files', directory: 'output_directories' }[kind];
}

/** Real paths of the parents met so far: outputs often share theirs. */
type Parents = Map<string, string | undefined>;

/** The output itself is not followed; its parents are, inside the root. */
function realPathOf(root: string, { inRoot, field }: Wanted, parents: Parents): string | undefined {
  if (inRoot === '') return realInside(root, '', field);
  const slash = inRoot.lastIndexOf('/');
  const above = inRoot.slice(0, Math.max(0, slash));
  if (!parents.has(above)) parents.set(above, realInside(root, above, field));
  const parent = parents.get(above);
  return parent === undefined ? undefined : `${parent}/${inRoot.slice(slash + 1)}`;
}

function typeOfTarget(path: string): 'file' | 'directory' | undefined {
  let stat: Stats | undefined;
  try {
    stat = statSync(path, { throwIfNoEntry: false });
  } catch {
    // A loop, or a parent without permission: it dangles as far as anyone can tell.
    return undefined;
  }
  if (stat === undefined) return undefined;
  return stat.isDirectory() ? 'directory' : 'file';
}

/** What the action did wrong, with the output at which it did. */
function naming({ field, path }: Wanted, error: ReapiError): ReapiError {
  if (error.kind !== 'precondition' || error.facts.field !== undefined) return error;
  return ReapiError.wrap(error, `${field}: "${path}"`);
}

function wrongType(wanted: Wanted, actual: string): ReapiError {
  const { field, path } = wanted;
  return new ReapiError('precondition', `${field}: "${path}" is ${actual}`, { field });
}
