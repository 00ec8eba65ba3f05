import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeTrace } from '../../test/simulation/traces/encode-trace.ts';
import { TRACE_LIBRARY } from '../../test/simulation/traces/library.ts';
import { TraceBuilder } from '../../test/simulation/traces/trace-builder.ts';
import { runProgram } from '../../test/support/operator-world.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';

describe('gantry simulate', () => {
  let folder: string;
  let file: string;

  beforeEach(async () => {
    folder = temporaryFolder();
    file = join(folder, 'trace');
    writeFileSync(file, await encodeTrace(TRACE_LIBRARY['diamond builds'](1)));
  });

  const simulate = (...flags: readonly string[]) => runProgram(['simulate', file, ...flags]);

  async function makespan(...flags: readonly string[]): Promise<number> {
    const { code, out, err } = await simulate('--json', ...flags);
    assert.deepEqual([code, err], [0, '']);
    return Number(Reflect.get(JSON.parse(out), 'makespanMs'));
  }

  it('plays the recorded fleet', async () => {
    const { code, out, err } = await simulate();
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /^fleet {5}as recorded$/m);
    assert.match(out, /^policy {4}configured$/m);
  });

  it('plays another fleet, and says for programs what came of it', async () => {
    const { out } = await simulate('--workers', '3', '--slots', '2', '--json');
    const report = JSON.parse(out);
    assert.equal(report.fleet, '3 workers with 2 slots each');
    assert.equal(report.pools[0].maxSlots, 6);
    assert.equal(report.unfinished, 0);
  });

  it('plays faster workers', async () => {
    assert.ok((await makespan('--speed', '2')) < (await makespan()) * 0.6);
  });

  it('goes by another policy and by other values of the configuration', async () => {
    writeFileSync(file, await encodeTrace(TRACE_LIBRARY['long tail'](1)));
    const fleet = ['--workers', '2', '--slots', '4'];
    const [configured, fifo] = [await makespan(...fleet), await makespan(...fleet, '--policy', 'fifo')];
    const shortSighted = await makespan(...fleet, '--set', 'execution.fairness.longestFirst=0');
    assert.ok(configured < fifo);
    assert.ok(configured < shortSighted);
  });

  it('takes policy from a configuration file', async () => {
    writeFileSync(file, await encodeTrace(TRACE_LIBRARY['long tail'](1)));
    const config = join(folder, 'gantry.yaml');
    writeFileSync(config, 'execution: { fairness: { longestFirst: 0 } }\n');
    const fleet = ['--workers', '2', '--slots', '4'];
    const set = ['--set', 'execution.fairness.longestFirst=0'];
    assert.equal(await makespan(...fleet, '--config', config), await makespan(...fleet, ...set));
  });

  it('draws a picture', async () => {
    const svg = join(folder, 'out.svg');
    assert.equal((await simulate('--svg', svg)).code, 0);
    assert.match(readFileSync(svg, 'utf8'), /<title id="title">as recorded, policy configured<\/title>/);
  });

  it('fails when work is left that nobody could do', async () => {
    const builder = new TraceBuilder();
    builder.worker('w', 1, ['linux']);
    const [waiting] = [builder.action({ invocation: 'a', runMs: 10 })];
    builder.action({ invocation: 'a', runMs: 10, after: [waiting] });
    const trace = builder.build();
    // What it waits for is itself: a trace that somebody made wrongly.
    const arrivals = trace.arrivals.map((arrival) =>
      arrival.after === undefined ? arrival : { ...arrival, after: [1] },
    );
    writeFileSync(file, await encodeTrace({ ...trace, arrivals }));
    const { code, out } = await simulate();
    assert.equal(code, 1);
    assert.match(out, /1 never ended/);
  });

  for (const [what, flags, message] of [
    ['a policy there is none of', ['--policy', 'best'], /Allowed choices are configured, fair/],
    ['slots without workers', ['--slots', '2'], /--slots goes with --workers/],
    ['no number of workers', ['--workers', 'many'], /--workers: "many" is not a number from 1/],
    ['no workers', ['--workers', '0'], /--workers: "0" is not a number from 1/],
    ['a speed of nothing', ['--speed', '0'], /--speed: "0" is not a number from 0\.001/],
    ['a setting without a value', ['--set', 'x'], /--set: "x" is not KEY=VALUE/],
    ['a key it does not go by', ['--set', 'store.maxSizeBytes=1'], /no key that a simulation goes by/],
    ['shares, which were recorded', ['--set', 'execution.fairness.levels=[]'], /no key that a simulation goes by/],
    ['a misspelt key', ['--set', 'execution.fairness.longstFirst=1'], /did you mean execution\.fairness\.longestFirst/],
    ['a value out of range', ['--set', 'execution.retries.maxAttempts=0'], /--set: execution\.retries\.maxAttempts/],
    ['a picture where none can be', ['--svg', '/nowhere/out.svg'], /cannot be written \(ENOENT\)/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { code, err } = await simulate(...flags);
      assert.equal(code, 2);
      assert.match(err, message);
    });
  }

  it('refuses a file that is missing, and one that is no trace', async () => {
    const missing = await runProgram(['simulate', join(folder, 'none')]);
    assert.equal(missing.code, 2);
    assert.match(missing.err, /cannot be read \(ENOENT\)/);
    writeFileSync(file, 'some text that is no trace at all');
    const other = await simulate('--svg', join(folder, 'out.svg'));
    assert.equal(other.code, 1);
    assert.match(other.err, /not a trace/);
    assert.equal(existsSync(join(folder, 'out.svg')), false);
  });
});
