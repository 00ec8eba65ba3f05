import { existsSync } from 'node:fs';
import type { Context } from 'mocha';

/** Set to 1, a developer's machine may lack the tools; CI never sets it. */
const ALLOW_MISSING = 'GANTRY_ALLOW_MISSING_CLIENTS';

/** Skips, visibly, or fails when a program that a test needs is absent. */
export function requireTool(context: Context, name: string, file: string): void {
  if (existsSync(file)) return;
  if (process.env[ALLOW_MISSING] === '1') context.skip();
  throw new Error(`${name} is not installed (${file}); ${ALLOW_MISSING}=1 skips its tests`);
}
