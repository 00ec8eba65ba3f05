import { digestToWire } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { AdminDefinition } from '../../gen/gantry/v1/admin.ts';
import type { NamedDigest } from './digest-argument.ts';
import { CALL_TIMEOUT_MS, withAdmin, withServer } from './server-connection.ts';
import { jsonText, printable, type Terminal } from './terminal.ts';

/** `gantry why-miss`: prints why an action was not answered from the cache. @throws as the call does. */
export async function whyMiss(
  target: string,
  terminal: Terminal,
  { digest, instance, isInstanceGiven }: NamedDigest,
  options: { readonly isJson: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const request = {
    actionDigest: digestToWire(digest),
    digestFunction: digestFunctionToWire(digest.function),
    ...(isInstanceGiven && { instanceName: instance }),
  };
  const { reportJson, text } = await withServer(target, (client) =>
    withAdmin(() =>
      client.unary(AdminDefinition, AdminDefinition.methods.explainMiss, request, {
        signal: options.signal,
        timeoutMs: CALL_TIMEOUT_MS,
      }),
    ),
  );
  const lines = text.trimEnd().split('\n').map(printable);
  terminal.out(options.isJson ? jsonText(JSON.parse(reportJson)) : `${lines.join('\n')}\n`);
}
