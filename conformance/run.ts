import { readFileSync } from 'node:fs';
import { parseRunArguments, type RunArguments, USAGE } from './arguments.ts';
import { Endpoint } from './endpoint.ts';
import { NO_DEVIATIONS, parseKnownDeviations } from './known-deviations.ts';
import { DEFAULT_PROFILE, type Profile, parseProfile } from './profile.ts';
import { exitCodeOf, formatJson, formatText } from './report.ts';
import { runSuite } from './run-suite.ts';
import { SUITE } from './suite.ts';

function loadProfile(args: RunArguments): Profile {
  const profile = args.profile === undefined ? DEFAULT_PROFILE : parseProfile(readFileSync(args.profile, 'utf8'));
  return args.instance === undefined ? profile : { ...profile, instance: args.instance };
}

async function main(args: RunArguments): Promise<number> {
  const profile = loadProfile(args);
  const ids = new Set(SUITE.map(({ id }) => id));
  const known = args.peer === undefined ? NO_DEVIATIONS : parseKnownDeviations(readFileSync(args.peer, 'utf8'), ids);
  const endpoint = new Endpoint(args.endpoint, profile);
  try {
    const cases = SUITE.filter(({ id }) => id.startsWith(args.only));
    const report = await runSuite(cases, { endpoint, profile }, known);
    process.stdout.write(args.format === 'json' ? formatJson(report) : formatText(report));
    return exitCodeOf(report);
  } finally {
    endpoint.close();
  }
}

try {
  process.exitCode = await main(parseRunArguments(process.argv.slice(2)));
} catch (cause) {
  // Not a verdict about the server: the run itself could not take place.
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n${USAGE}\n`);
  process.exitCode = 2;
}
