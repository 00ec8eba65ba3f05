import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';

/**
 * Writes `src/gen/descriptors.ts`: the schemas under `remote-apis` with all they import, compiled by buf into one
 * FileDescriptorSet. As a string in a module it is there wherever the program is, with no file to look up.
 * Runs from the project's root, after `buf generate`, which empties the folder.
 */
const TARGET = 'src/gen/descriptors.ts';

/** Characters of base64 a line; keeps differences readable. */
const LINE_LENGTH = 110;

const set = execFileSync('node_modules/.bin/buf', [
  'build',
  '--as-file-descriptor-set',
  '--exclude-source-info',
  '--output',
  '-#format=binpb',
]);
const lines = set.toString('base64').match(new RegExp(`.{1,${LINE_LENGTH}}`, 'g')) ?? [];

mkdirSync('src/gen', { recursive: true });
writeFileSync(
  TARGET,
  [
    '// Written by scripts/generate-descriptors.ts. Do not edit.',
    '',
    '/** The schemas under remote-apis and all they import: a google.protobuf.FileDescriptorSet in base64. */',
    'export const fileDescriptorSet: string = [',
    ...lines.map((line) => `  '${line}',`),
    "].join('');",
    '',
  ].join('\n'),
);
