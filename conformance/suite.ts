import type { ConformanceCase } from './case.ts';
import { actionCacheCases } from './cases/action-cache.ts';
import { botsCases } from './cases/bots.ts';
import { byteStreamReadCases } from './cases/byte-stream-read.ts';
import { byteStreamWriteCases } from './cases/byte-stream-write.ts';
import { capabilitiesCases } from './cases/capabilities.ts';
import { casCases } from './cases/cas.ts';
import { executionErrorCases } from './cases/execution-errors.ts';
import { executionResultCases } from './cases/execution-results.ts';
import { healthReflectionCases } from './cases/health-reflection.ts';
import { operationsCases } from './cases/operations.ts';
import { treeCases } from './cases/tree.ts';
import { wireCases } from './cases/wire.ts';
import { workerCases } from './cases/worker.ts';
import { workerTroubleCases } from './cases/worker-trouble.ts';

/** Every case, in the order of the report. */
export const SUITE: readonly ConformanceCase[] = [
  ...capabilitiesCases,
  ...casCases,
  ...treeCases,
  ...byteStreamReadCases,
  ...byteStreamWriteCases,
  ...actionCacheCases,
  ...executionResultCases,
  ...executionErrorCases,
  ...operationsCases,
  ...workerCases,
  ...workerTroubleCases,
  ...botsCases,
  ...healthReflectionCases,
  ...wireCases,
];
