import type { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';

/** What the build tool calls an action, for people: `//app:server (CppCompile)`; empty if it does not say. */
export function workTitle(metadata: RequestMetadata | undefined): string {
  const target = metadata?.targetId ?? '';
  const mnemonic = metadata?.actionMnemonic ?? '';
  if (target === '') return mnemonic;
  return mnemonic === '' ? target : `${target} (${mnemonic})`;
}
