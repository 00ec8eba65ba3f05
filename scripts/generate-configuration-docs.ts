import { writeFileSync } from 'node:fs';
import { configurationDocument } from '../src/config/document.ts';

/** Writes `docs/configuration.md` from the schema. Runs from the project's root. */
writeFileSync('docs/configuration.md', configurationDocument());
