import { fleetJson } from '../../admin/fleet-json.ts';
import { digestToWire } from '../../digest/digest.ts';
import { digestFunctionToWire } from '../../digest/digest-function.ts';
import { type ExplainActionResponse, FleetDefinition, type QuarantinedAction } from '../../gen/gantry/v1/fleet.ts';
import { type DigestFlags, type NamedDigest, parseDigestArgument } from './digest-argument.ts';
import { readableDuration } from './readable.ts';
import { CALL_TIMEOUT_MS } from './server-connection.ts';
import { jsonText, printable, type Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';
import { whyText } from './why-text.ts';
import { withFleet } from './with-fleet.ts';

/** What `gantry why` is asked about. */
export type WhySubject = { readonly operation: string } | { readonly action: NamedDigest };

/** An action with its instance name behind it; what is before that ends with the size, or the digest function. */
const WITH_INSTANCE = /^(?<digest>[^@]*[/-]\d+(?:-[a-z0-9]+)?)@(?<instance>.*)$/;

/** How long operation names are, at most: an instance name, and what follows it. */
const MAX_NAME_LENGTH = 1_024;

/**
 * Reads the name of an operation (`main/operations/…`), or an action as `parseDigestArgument` takes it, with `@INSTANCE` behind it if that is
 * how its instance name is given.
 * @throws UsageError.
 */
export function parseWhySubject(text: string, flags: DigestFlags): WhySubject {
  if (/(?:^|\/)operations\/[^/]+$/.test(text)) {
    if (text.length > MAX_NAME_LENGTH) throw new UsageError('that is too long for the name of an operation');
    return { operation: text };
  }
  return { action: parseActionArgument(text, flags) };
}

/** Reads an action: `HASH/SIZE`, `HASH/SIZE@INSTANCE` … @throws UsageError. */
export function parseActionArgument(text: string, flags: DigestFlags): NamedDigest {
  const { digest, instance } = WITH_INSTANCE.exec(text)?.groups ?? {};
  if (digest === undefined || instance === undefined) return parseDigestArgument(text, flags);
  if (flags.instance !== undefined && flags.instance !== instance) {
    throw new UsageError(`"${text}" and --instance give two instance names`);
  }
  return parseDigestArgument(digest, { ...flags, instance });
}

/** `gantry why`: prints why an operation, or every operation of an action, is where it is. @returns whether anything is known. @throws as the call does. */
export async function why(
  target: string,
  terminal: Terminal,
  subject: WhySubject,
  options: { readonly isJson: boolean; readonly signal: AbortSignal },
): Promise<boolean> {
  const { isJson, signal } = options;
  const { methods } = FleetDefinition;
  const limits = { signal, timeoutMs: CALL_TIMEOUT_MS };
  if ('operation' in subject) {
    const explanation = await withFleet(target, (client) =>
      client.unary(FleetDefinition, methods.explainOperation, subject, limits),
    );
    terminal.out(isJson ? messageText(explanation) : whyText(explanation));
    return true;
  }
  const { digest, instance } = subject.action;
  const request = {
    instanceName: instance,
    actionDigest: digestToWire(digest),
    digestFunction: digestFunctionToWire(digest.function),
  };
  const found = await withFleet(target, (client) =>
    client.unary(FleetDefinition, methods.explainAction, request, limits),
  );
  terminal.out(isJson ? messageText(found) : actionAnswer(found));
  return found.operations.length > 0 || found.quarantine !== undefined;
}

function actionAnswer({ operations, quarantine, text }: ExplainActionResponse): string {
  // Its text has the operations in a line each; one by one they tell more.
  if (operations.length === 0) return `${text.split('\n').map(printable).join('\n')}\n`;
  return [...(quarantine === undefined ? [] : [refusalText(quarantine)]), ...operations.map(whyText)].join('\n');
}

function refusalText({ leftSeconds, reason }: QuarantinedAction): string {
  return `The action is refused for another ${readableDuration(leftSeconds)}: ${printable(reason)}\n`;
}

/** A message as JSON that may be printed. */
export function messageText(message: object): string {
  return jsonText(JSON.parse(fleetJson(message)));
}
