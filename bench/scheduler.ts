import { performance } from 'node:perf_hooks';
import { parseInstanceName } from '../src/digest/instance-name.ts';
import { createScheduler } from '../src/execution/scheduler/scheduler.ts';
import { DEFAULT_RULES } from '../src/platform/lexicon.ts';
import { RuleMatcher } from '../src/platform/matcher.ts';

const MATCHER = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
const ROOT = parseInstanceName('');
const DEMANDS = { digestFunction: 'sha256', legacyOutputs: false } as const;
const SLOTS = 200;
const ROUNDS = 50_000;

const OFFERS = ['linux', 'macos'].map((os) => ({
  alternatives: [
    MATCHER.parseOffer([
      { name: 'os', value: os },
      { name: 'arch', value: 'x86-64' },
    ]),
  ],
  digestFunctions: ['sha256'] as const,
  legacyOutputs: true,
}));
const NEEDS = ['linux', 'macos'].map((os) => MATCHER.parse([{ name: 'OSFamily', value: os }], DEMANDS));

/** Mean microseconds of `apply` for submit and for sync with a completion, while `queued` tasks wait for busy slots. */
function measure(queued: number): { readonly submitUs: number; readonly syncUs: number } {
  const scheduler = createScheduler<number, number>(MATCHER);
  const held = new Map<string, { readonly lease: string; readonly action: string }>();
  let submitted = 0;
  let submitMs = 0;
  let syncMs = 0;
  const keyOf = (hash: string) => ({ instance: ROOT, action: { function: 'sha256' as const, hash, sizeBytes: 1 } });
  const submit = (): void => {
    const number = submitted++;
    const needs = NEEDS[number % 2] ?? NEEDS[0];
    if (needs === undefined) return;
    const key = keyOf(number.toString(16).padStart(64, '0'));
    const [operation, priority, merge] = [`o${number}`, number % 7, 'any' as const];
    const startMs = performance.now();
    scheduler.apply({ type: 'submit', operation, key, needs, priority, merge, work: number }, 0);
    submitMs += performance.now() - startMs;
  };
  const sync = (number: number): void => {
    const slot = `s${number}`;
    const offer = OFFERS[number % 2] ?? OFFERS[0];
    const lease = held.get(slot);
    if (offer === undefined) return;
    const completed = { result: 1, isWorkerFault: false };
    const holding = lease && { lease: lease.lease, action: keyOf(lease.action).action, completed };
    const node = `n${number >> 3}`;
    const facts = { slot, node, offer, instancePrefix: ROOT, prefersIdle: false };
    const startMs = performance.now();
    const effects = scheduler.apply({ type: 'sync', ...facts, ...(holding ? { holding } : {}) }, 0);
    syncMs += performance.now() - startMs;
    for (const effect of effects) {
      if (effect.type === 'record') scheduler.apply({ type: 'recorded', lease: effect.lease }, 0);
      if (effect.type === 'orders' && effect.hold) {
        held.set(slot, { lease: effect.hold.lease, action: effect.hold.key.action.hash });
      }
    }
  };
  for (let count = 0; count < queued + SLOTS; count++) submit();
  for (let number = 0; number < SLOTS; number++) sync(number);
  submitMs = 0;
  syncMs = 0;
  for (let round = 0; round < ROUNDS; round++) {
    submit();
    sync(round % SLOTS);
  }
  return { submitUs: (submitMs * 1000) / ROUNDS, syncUs: (syncMs * 1000) / ROUNDS };
}

measure(1_000);
for (const queued of [1_000, 10_000]) {
  const { submitUs, syncUs } = measure(queued);
  console.log(`${queued} queued, ${SLOTS} slots: submit ${submitUs.toFixed(2)} µs, sync ${syncUs.toFixed(2)} µs`);
}
