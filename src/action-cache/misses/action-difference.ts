import type { BlobStore } from '../../cas/blob-store.ts';
import { type Digest, digestFromWire, emptyDigest, sameDigest } from '../../digest/digest.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { Action, Command, type Platform } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type DifferenceBounds, DifferenceList } from './difference-list.ts';
import { compareInputs } from './input-difference.ts';
import { MessageReader } from './message-reader.ts';
import type { ActionDifference } from './miss-report.ts';

/** Bounds on one comparison. */
export interface DifferenceLimits extends DifferenceBounds {
  /** Pairs of directories that are read. */
  readonly maxDirectories: number;
  /** Largest Action, Command or Directory that is read. */
  readonly maxMessageBytes: number;
}

/** Two actions, the earlier one first. */
export interface ActionPair {
  readonly before: Digest;
  readonly after: Digest;
}

/**
 * What differs between two actions: command, platform, outputs, limits, and the inputs by path. Orders that mean
 * nothing are no difference, so actions with different digests may have none.
 * A message that is not what it should be counts as one that cannot be read.
 * @throws unavailable; cancelled.
 */
export async function differenceOf(
  store: BlobStore,
  { before, after }: ActionPair,
  limits: DifferenceLimits,
  signal: AbortSignal,
): Promise<ActionDifference> {
  const list = new DifferenceList(limits);
  if (sameDigest(before, after)) return list.finish();
  const reader = new MessageReader(store, list, { maxMessageBytes: limits.maxMessageBytes, signal });
  const [old, current] = await Promise.all([
    reader.read('before', 'Action', actionCodec(before.function), before),
    reader.read('after', 'Action', actionCodec(after.function), after),
  ]);
  if (old === undefined || current === undefined) return list.finish();
  compareActions(old.message, current.message, list);
  await compareCommandsOf(reader, old, current, list);
  // Digests of different functions say nothing about each other.
  if (before.function !== after.function) return list.finish();
  await compareInputs(reader, { before: old.root, after: current.root }, list, limits.maxDirectories);
  return list.finish();
}

/** An Action with the digests in it. */
export interface LoadedAction {
  readonly message: Action;
  readonly command: Digest;
  readonly root: Digest;
}

/** Decodes Actions of a digest function. @throws invalid-argument for a malformed digest. */
export function actionCodec(fn: DigestFunction): { decode(bytes: Uint8Array): LoadedAction } {
  return {
    decode(bytes) {
      const message = Action.decode(bytes);
      const { commandDigest, inputRootDigest } = message;
      return {
        message,
        command: digestFromWire(fn, commandDigest, 'Action.command_digest'),
        root:
          inputRootDigest === undefined
            ? emptyDigest(fn)
            : digestFromWire(fn, inputRootDigest, 'Action.input_root_digest'),
      };
    },
  };
}

function compareActions(before: Action, after: Action, list: DifferenceList): void {
  const seconds = ({ timeout }: Action): string | undefined =>
    timeout && `${Number(timeout.seconds) + timeout.nanos / 1e9} s`;
  const salt = (action: Action): string | undefined =>
    action.salt.length === 0 ? undefined : Buffer.from(action.salt).toString('hex');
  list.compare('timeout', '', seconds(before), seconds(after));
  list.compare('do-not-cache', '', String(before.doNotCache), String(after.doNotCache));
  list.compare('salt', '', salt(before), salt(after));
}

async function compareCommandsOf(
  reader: MessageReader,
  old: LoadedAction,
  current: LoadedAction,
  list: DifferenceList,
): Promise<void> {
  const [before, after] = await Promise.all([
    reader.read('before', 'Command', Command, old.command),
    reader.read('after', 'Command', Command, current.command),
  ]);
  if (before === undefined || after === undefined) return;
  compareArguments(before.arguments, after.arguments, list);
  const environment = ({ environmentVariables }: Command): Map<string, string> =>
    new Map(environmentVariables.map(({ name, value }) => [name, value]));
  list.compareAll('environment', environment(before), environment(after));
  // The Action's if it is set at all, else the Command's (R-PL-01).
  list.compareAll(
    'platform',
    propertiesOf(old.message.platform ?? before.platform),
    propertiesOf(current.message.platform ?? after.platform),
  );
  list.compare('working-directory', '', before.workingDirectory, after.workingDirectory);
  const outputs = (command: Command): Map<string, string> => new Map(outputPaths(command).map((path) => [path, path]));
  list.compareAll('output-paths', outputs(before), outputs(after));
  const formats = (command: Command): Map<string, string> =>
    new Map([
      ['output_directory_format', String(command.outputDirectoryFormat)],
      ['output_node_properties', [...command.outputNodeProperties].sort().join(', ')],
    ]);
  list.compareAll('output-format', formats(before), formats(after));
}

/** The outputs a command declares, in either way, sorted. */
export function outputPaths(command: Command): string[] {
  return [...new Set([...command.outputPaths, ...command.outputFiles, ...command.outputDirectories])].sort();
}

/** Only the first argument that differs: after one more or less in the middle all others differ as well. */
function compareArguments(before: readonly string[], after: readonly string[], list: DifferenceList): void {
  const length = Math.max(before.length, after.length);
  for (let index = 0; index < length; index++) {
    if (before[index] === after[index]) continue;
    list.compare('arguments', String(index), before[index], after[index]);
    return;
  }
}

/** A name may have several values: all of them count, in whatever order. */
function propertiesOf(platform: Platform | undefined): Map<string, string> {
  const values = new Map<string, string[]>();
  for (const { name, value } of platform?.properties ?? []) values.set(name, [...(values.get(name) ?? []), value]);
  return new Map([...values].map(([name, list]) => [name, list.sort().join(', ')]));
}
