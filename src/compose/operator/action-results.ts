import { digestPath, digestToWire } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { isKind, ReapiError } from '../../errors.ts';
import {
  ActionCacheDefinition,
  GetActionResultRequest,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { AdminDefinition } from '../../gen/gantry/v1/admin.ts';
import type { Codec } from '../../rpc/methods.ts';
import { decodedText } from './decoded-text.ts';
import type { NamedDigest } from './digest-argument.ts';
import { CALL_TIMEOUT_MS, withAdmin, withServer } from './server-connection.ts';
import { printable, type Terminal } from './terminal.ts';

/** Messages as they are on the wire, so that fields of a newer schema are shown too. */
const AS_SENT: Codec<Uint8Array> = { encode: (bytes) => ({ finish: () => bytes }), decode: (bytes) => bytes };

/** `gantry ac get`: prints the action result, decoded. @throws result-not-found; as the call does. */
export async function printActionResult(
  target: string,
  terminal: Terminal,
  name: NamedDigest,
  signal: AbortSignal,
): Promise<void> {
  const method = {
    name: ActionCacheDefinition.methods.getActionResult.name,
    requestType: AS_SENT,
    responseType: AS_SENT,
  };
  const request = GetActionResultRequest.encode(GetActionResultRequest.fromPartial(addressOf(name))).finish();
  const bytes = await withServer(target, async (client) => {
    try {
      return await client.unary(ActionCacheDefinition, method, request, { signal, timeoutMs: CALL_TIMEOUT_MS });
    } catch (error) {
      if (isKind(error, 'not-found')) throw noResult(name, error);
      throw error;
    }
  });
  await terminal.writeOut(Buffer.from(decodedText('action-result', bytes)));
}

/** `gantry ac rm`: makes the server forget the result. @throws result-not-found; as the call does. */
export async function removeActionResult(
  target: string,
  terminal: Terminal,
  name: NamedDigest,
  signal: AbortSignal,
): Promise<void> {
  const { removed } = await withServer(target, (client) =>
    withAdmin(() =>
      client.unary(AdminDefinition, AdminDefinition.methods.removeActionResult, addressOf(name), {
        signal,
        timeoutMs: CALL_TIMEOUT_MS,
      }),
    ),
  );
  if (!removed) throw noResult(name);
  terminal.out(`removed the result of the action ${digestPath(name.digest)}${under(name)}\n`);
}

function addressOf({ instance, digest }: NamedDigest) {
  return {
    instanceName: instance,
    actionDigest: digestToWire(digest),
    digestFunction: digestFunctionToWire(digest.function),
  };
}

function noResult(name: NamedDigest, cause?: unknown): ReapiError {
  const message = `there is no result of the action ${digestPath(name.digest)}${under(name)}`;
  return new ReapiError('result-not-found', message, cause === undefined ? {} : { cause });
}

function under({ instance }: NamedDigest): string {
  return instance === '' ? '' : ` under the instance name "${printable(instance)}"`;
}
