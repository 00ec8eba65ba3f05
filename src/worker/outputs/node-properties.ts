import type { Stats } from 'node:fs';
import { ReapiError } from '../../errors.ts';
import type { NodeProperties } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { timestampOf } from '../wire-time.ts';

/** Node properties this worker can report, as Capabilities announces them (R-CM-06). */
export const NODE_PROPERTIES: readonly string[] = ['mtime', 'unix_mode'];

/** Which node properties the command asked for. */
export interface PropertyWishes {
  readonly mtime: boolean;
  readonly unixMode: boolean;
}

/** @throws invalid-argument for a name that is not supported (R-CM-06). */
export function parsePropertyWishes(names: readonly string[]): PropertyWishes {
  const unknown = names.find((name) => !NODE_PROPERTIES.includes(name));
  if (unknown !== undefined) {
    throw new ReapiError('invalid-argument', `the node property "${unknown}" is not supported`, {
      field: 'output_node_properties',
    });
  }
  return { mtime: names.includes('mtime'), unixMode: names.includes('unix_mode') };
}

/** Undefined when nothing was asked for (R-CM-31). */
export function nodePropertiesOf(wishes: PropertyWishes, stat: Stats): NodeProperties | undefined {
  if (!wishes.mtime && !wishes.unixMode) return undefined;
  return {
    properties: [],
    mtime: wishes.mtime ? timestampOf(stat.mtimeMs) : undefined,
    unixMode: wishes.unixMode ? stat.mode & 0o7777 : undefined,
  };
}
