import { parseArgs } from 'node:util';

/** What the command line says. */
export interface RunArguments {
  readonly endpoint: string;
  readonly instance: string | undefined;
  readonly profile: string | undefined;
  readonly peer: string | undefined;
  readonly format: 'text' | 'json';
  /** Run only cases whose id starts with this. */
  readonly only: string;
}

/** How to call the program. */
export const USAGE =
  'usage: npm run conformance -- --endpoint HOST:PORT [--instance NAME] [--profile FILE] [--peer FILE]' +
  ' [--format text|json] [--only ID-PREFIX]';

/** @throws TypeError for an unknown option, a missing endpoint, or an unknown format. */
export function parseRunArguments(args: readonly string[]): RunArguments {
  const text = { type: 'string' } as const;
  const options = { endpoint: text, instance: text, profile: text, peer: text, format: text, only: text };
  const { values } = parseArgs({ args: [...args], options, strict: true });
  if (values.endpoint === undefined) throw new TypeError('--endpoint is required');
  const format = values.format ?? 'text';
  if (format !== 'text' && format !== 'json') throw new TypeError(`--format must be text or json, not ${format}`);
  const { endpoint, instance, profile, peer } = values;
  return { endpoint, instance, profile, peer, format, only: values.only ?? '' };
}
