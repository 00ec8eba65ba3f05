import { type Blob, blobOf } from '../../conformance/blobs.ts';
import {
  Action,
  Command,
  type Digest,
  Directory,
} from '../../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** What an action does. */
export interface ActionPlan {
  /** Unlike that of any other action; names its canary file too. */
  readonly name: string;
  readonly seconds: number;
  readonly exitCode: number;
  readonly doNotCache: boolean;
  /** Value of the platform property `pool`; absent: any worker. */
  readonly pool?: string;
  /** Runs before anything else of the script, but after the run was marked. */
  readonly first?: string;
}

/** An action and how it has to end. */
export interface ChaosAction {
  readonly plan: ActionPlan;
  readonly digest: Digest;
  /** All that has to be stored for it. */
  readonly blobs: readonly Blob[];
  readonly stdout: string;
  /** Digest of its only output file, `out.txt`. */
  readonly output: Digest;
}

/**
 * Marks its run in the canary file, copies its input to its output, sleeps, and marks its end.
 * @param canaries folder outside of every sandbox in which runs are marked. It is in the command line too, so that what outlives its
 * worker can be found.
 */
export function chaosAction(plan: ActionPlan, canaries: string): ChaosAction {
  const input = blobOf(`input of ${plan.name}\n`);
  const script = [
    'echo "begin $(date +%T.%3N) $PWD" >> "$CANARY"',
    ...(plan.first === undefined ? [] : [plan.first]),
    `echo "made by ${plan.name}"`,
    'cat input.txt > out.txt',
    `sleep ${plan.seconds}`,
    'echo end >> "$CANARY"',
    `exit ${plan.exitCode}`,
  ].join('; ');
  const platform = { properties: plan.pool === undefined ? [] : [{ name: 'pool', value: plan.pool }] };
  const command = blobOf(
    Command.encode(
      Command.fromPartial({
        arguments: ['/bin/sh', '-c', script, canaries],
        environmentVariables: [
          { name: 'CANARY', value: `${canaries}/${plan.name}` },
          { name: 'PATH', value: '/usr/bin:/bin' },
        ],
        outputPaths: ['out.txt'],
        platform,
      }),
    ).finish(),
  );
  const files = [{ name: 'input.txt', digest: input.digest }];
  const root = blobOf(Directory.encode(Directory.fromPartial({ files })).finish());
  const action = blobOf(
    Action.encode(
      Action.fromPartial({
        commandDigest: command.digest,
        inputRootDigest: root.digest,
        timeout: { seconds: 120n },
        doNotCache: plan.doNotCache,
        platform,
      }),
    ).finish(),
  );
  return {
    plan,
    digest: action.digest,
    blobs: [action, command, root, input],
    stdout: `made by ${plan.name}\n`,
    output: input.digest,
  };
}
