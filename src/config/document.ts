import { FLAG_KEYS } from './flags.ts';
import { CONFIGURATION_KEYS, CONFIGURATION_SECTIONS, type ConfigurationKey } from './keys.ts';

const INTRODUCTION = `# Configuration

<!-- Written by scripts/generate-configuration-docs.ts from src/config. Do not edit. -->

Gantry runs without any configuration. What you want to change can be set in three places, each over the one before:

1. a YAML or JSON file, named by \`--config FILE\` or the variable \`GANTRY_CONFIG\`;
2. environment variables: \`GANTRY_\` and the key in upper snake case, so \`store.maxSizeBytes\` is \`GANTRY_STORE_MAX_SIZE_BYTES\`; lists and alternatives are written as YAML, for example \`GANTRY_INSTANCE_NAMES='{kind: list, names: [main]}'\`; an empty variable counts as not set;
3. the flags named below.

One file can serve all roles. An unknown key is an error that names the nearest known one; \`gantry config check FILE\` reports everything that is wrong, with line and column, and \`gantry config print\` shows the result with all defaults.

Units are in the names. A *size* is a number of bytes, or a number with \`B\`, \`kB\`, \`MB\`, \`GB\`, \`TB\` (powers of 1000) or \`KiB\`, \`MiB\`, \`GiB\`, \`TiB\` (powers of 1024): \`maxSizeBytes: 50GiB\`.

A *secret* is never written into the file: it is \`{ env: NAME }\` or \`{ file: PATH }\`, and read when it is needed. Its own variable may hold it, which is then the \`NAME\`.
`;

/** The reference of all keys, as Markdown. */
export function configurationDocument(): string {
  const parts = [
    INTRODUCTION,
    chapter('Top level', 'Keys outside any section.', []),
    ...CONFIGURATION_SECTIONS.map(({ path, description }) => chapter(`\`${path.join('.')}\``, description, path)),
  ];
  return `${parts.join('\n')}`;
}

function chapter(title: string, description: string, path: readonly string[]): string {
  const keys = CONFIGURATION_KEYS.filter((key) => key.path.slice(0, -1).join('.') === path.join('.'));
  const head = ['| key | type | default | range | meaning |', '|---|---|---|---|---|'];
  return [`## ${title}`, '', description, '', ...head, ...keys.map(row), ''].join('\n');
}

function row(key: ConfigurationKey): string {
  const name = `\`${key.path.join('.')}\``;
  const flag = FLAG_KEYS.find((each) => each.path === key.path.join('.'));
  const ways = [...(flag === undefined ? [] : [`\`${flag.syntax}\``]), `\`${key.environment}\``].join(', ');
  const cells = [name, key.type, `\`${key.default}\``, key.range, `${key.description} Also: ${ways}.`];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
