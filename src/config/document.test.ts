import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { configurationDocument } from './document.ts';
import { FLAG_KEYS } from './flags.ts';
import { CONFIGURATION_KEYS } from './keys.ts';

describe('configurationDocument', () => {
  const text = configurationDocument();
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));

  it('has one row for every key, with its variable', () => {
    assert.equal(rows.length, CONFIGURATION_KEYS.length);
    for (const key of CONFIGURATION_KEYS) {
      assert.ok(
        rows.some((row) => row.startsWith(`| \`${key.path.join('.')}\` |`)),
        key.environment,
      );
      assert.ok(text.includes(`\`${key.environment}\``), key.environment);
    }
  });

  it('names every flag', () => {
    for (const flag of FLAG_KEYS) assert.ok(text.includes(flag.syntax.replaceAll('|', '\\|')), flag.syntax);
  });

  it('keeps every row to five cells', () => {
    for (const row of rows) assert.equal(row.split(/(?<!\\)\|/).length, 7, row);
  });

  it('is what docs/configuration.md says; else run: npm run generate', () => {
    assert.equal(readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8'), text);
  });
});
