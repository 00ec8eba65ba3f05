import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  DRIVEN_MATCHER,
  type drivenNeeds,
  drivenOffer,
  SchedulerDriver,
} from '../../../test/support/scheduler-driver.ts';

/** Six machines of five platforms; the last one can be one of two things. */
const FLEET: Readonly<Record<string, string>> = {
  'linux-x86': 'os=linux arch=amd64 ISA=x86-avx2 cores=32',
  'linux-arm': 'os=linux arch=aarch64 ISA=arm-neon cores=64',
  mac: 'os=macos arch=aarch64 ISA=arm-neon xcode=16.2',
  windows: 'os=windows arch=amd64 ISA=x86-avx2 ISA=x86-avx',
  freebsd: 'os=freebsd arch=amd64',
  'linux-or-wasi': 'os=linux arch=amd64 | os=wasi ISA=wasm32 runtime=wasmtime',
};

const MACHINES = Object.keys(FLEET);

function fleet(machines: readonly string[] = MACHINES): SchedulerDriver {
  const driver = new SchedulerDriver({ leaseTimeoutMs: 1e9, slotTimeoutMs: 1e9, platformGraceMs: 1_000 });
  driver.tickAt(0);
  driver.tickAt(1_000);
  for (const name of machines) come(driver, name);
  return driver;
}

function come(driver: SchedulerDriver, name: string, platform = FLEET[name] ?? ''): readonly string[] {
  return driver.sync(name, { node: name, platform });
}

/** Submits as many as there are machines, and answers who took one, in that order. */
function takersOf(platform: string, driver = fleet()): readonly string[] {
  const takers: string[] = [];
  for (const [index] of MACHINES.entries()) {
    driver.submit(`op ${index}`, { action: String(100 + index), platform });
    const task = driver.view.taskOf(`op ${index}`);
    const attempt = task?.attempts.at(-1);
    if (attempt !== undefined) takers.push(attempt.slot);
  }
  return takers;
}

describe('a fleet of several platforms', () => {
  const routes: readonly (readonly [string, string, readonly string[]])[] = [
    ['an action for one platform', 'os=macos', ['mac']],
    ['an action for one system goes to each machine of it', 'os=linux', ['linux-x86', 'linux-arm', 'linux-or-wasi']],
    [
      'an action that any of several platforms satisfy goes to whichever is free',
      'arch=amd64',
      ['linux-x86', 'windows', 'freebsd', 'linux-or-wasi'],
    ],
    ['an action that asks for nothing goes anywhere', '', MACHINES],
    ['all values of ISA are needed (R-PL-05, R-PL-07)', 'ISA=x86-64 ISA=x86-avx2', ['linux-x86', 'windows']],
    ['a third one narrows it further', 'ISA=x86-64 ISA=x86-avx2 ISA=x86-avx', ['windows']],
    ['the second alternative of an offer', 'os=wasi', ['linux-or-wasi']],
    ['alternatives are never mixed', 'os=linux runtime=wasmtime', []],
    ['a minimum (R-PL-07)', 'os=linux min-cores=40', ['linux-arm']],
    ['names that only matter to clients (R-PL-04)', 'os=freebsd persistentWorkerKey=x', ['freebsd']],
  ];
  for (const [what, platform, expected] of routes) {
    it(`${what}: [${platform}]`, () => assert.deepEqual(takersOf(platform), expected));
  }

  it('serves all its platforms at once, and nobody waits for another’s machine', () => {
    const driver = fleet();
    const wanted = {
      mac: 'os=macos',
      windows: 'os=windows',
      freebsd: 'os=freebsd',
      'linux-arm': 'os=linux ISA=arm-neon',
    };
    for (let round = 0; round < 3; round++) {
      for (const [name, platform] of Object.entries(wanted)) {
        driver.submit(`${name} ${round}`, { action: String(100 + round), instance: name, platform });
      }
    }
    for (const name of Object.keys(wanted)) assert.equal(driver.view.slot(name)?.hold?.work, `work of ${name} 0`);
    const { hold } = driver.view.slot('mac') ?? {};
    const platform = FLEET['mac'] ?? '';
    driver.sync('mac', { node: 'mac', platform, action: '100', lease: hold?.lease ?? '', completed: 'done' });
    assert.equal(driver.view.slot('mac')?.hold?.work, 'work of mac 1');
    assert.equal(driver.view.slot('windows')?.hold?.work, 'work of windows 0');
  });

  it('gives a machine that becomes free the first of all it could run', () => {
    const open = new SchedulerDriver();
    open.submit('mac', { action: '1', platform: 'os=macos' });
    open.submit('arm', { action: '2', platform: 'arch=aarch64', priority: 1 });
    open.submit('any', { action: '3', priority: 2 });
    open.submit('urgent', { action: '4', platform: 'os=windows', priority: -9 });
    assert.deepEqual(come(open, 'linux-arm')[0], 'arm executing');
    assert.deepEqual(come(open, 'freebsd')[0], 'any executing');
    assert.deepEqual(come(open, 'mac')[0], 'mac executing');
    assert.deepEqual(come(open, 'windows')[0], 'urgent executing');
  });

  it('refuses what no machine could ever run, naming the nearest and what it lacks', () => {
    const driver = fleet();
    assert.deepEqual(driver.submit('one', { platform: 'os=macos ISA=x86-64' }), ['one failed: no-such-platform']);
    assert.match(driver.errors[0]?.message ?? '', /the nearest worker is/);
  });
});

describe('a worker whose properties change when it reconnects', () => {
  it('gets what it can run now, and nothing it could run before', () => {
    const driver = fleet(['linux-x86']);
    come(driver, 'linux-x86', 'os=windows arch=amd64');
    assert.deepEqual(driver.submit('windows', { action: '1', platform: 'os=windows' })[0], 'windows executing');
    come(driver, 'linux-x86', 'os=windows arch=amd64');
    assert.deepEqual(driver.submit('linux', { action: '2', platform: 'os=linux' }), ['linux queued']);
    assert.deepEqual(driver.tickAt(2_000), ['linux failed: unavailable'], 'its old platform is gone for good');
  });

  it('takes what waited for such a machine', () => {
    const driver = fleet(['freebsd']);
    come(driver, 'mac');
    driver.submit('long', { action: '1', platform: 'os=macos' });
    driver.submit('two', { action: '2', platform: 'os=macos' });
    assert.deepEqual(come(driver, 'freebsd', 'os=macos xcode=16.2')[0], 'two executing');
  });

  it('finishes what it holds, whose result counts', () => {
    const driver = fleet(['mac']);
    driver.submit('one', { action: '1', platform: 'os=macos xcode=16.2' });
    const changed = { node: 'mac', platform: 'os=macos xcode=17', action: '1', lease: 'lease-0' };
    assert.deepEqual(driver.sync('mac', changed), ['mac: lease-0 attempt 1, work of one']);
    assert.deepEqual(driver.sync('mac', { ...changed, completed: 'done' })[0], 'record lease-0 done');
  });

  it('may grow another alternative', () => {
    const driver = fleet(['freebsd', 'linux-x86']);
    assert.deepEqual(driver.submit('early', { action: '1', platform: 'os=wasi' }), ['early failed: no-such-platform']);
    come(driver, 'linux-x86', `${FLEET['linux-x86']} | os=wasi ISA=wasm32`);
    assert.deepEqual(driver.submit('late', { action: '2', platform: 'os=wasi' })[0], 'late executing');
  });
});

describe('law: routing', () => {
  const WANTED = [
    '',
    'os=linux',
    'os=macos',
    'arch=amd64',
    'arch=aarch64',
    'ISA=x86-64 ISA=x86-avx2',
    'os=wasi',
    'min-cores=33',
  ];
  const step = fc.record({
    machine: fc.constantFrom(...MACHINES),
    becomes: fc.option(fc.constantFrom(...Object.values(FLEET)), { nil: undefined }),
    wanted: fc.constantFrom(...WANTED),
    submits: fc.boolean(),
  });

  it('nothing is started where it does not fit, and nothing waits while a machine that fits is free', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const driver = new SchedulerDriver({ leaseTimeoutMs: 1e9, slotTimeoutMs: 1e9, platformGraceMs: 1e9 });
        const offers = new Map<string, string>();
        for (const [index, { machine, becomes, wanted, submits }] of steps.entries()) {
          if (submits) driver.submit(`op ${index}`, { action: String(100 + index), platform: wanted });
          else {
            const hold = driver.view.slot(machine)?.hold;
            const platform = becomes ?? offers.get(machine) ?? FLEET[machine] ?? '';
            offers.set(machine, platform);
            const action = hold?.key.action.hash.replace(/^0+/, '');
            const held = hold && action ? { action, lease: hold.lease, completed: 'done' } : {};
            driver.sync(machine, { node: machine, platform, ...held });
          }
          check(driver, offers);
        }
      }),
    );
  });

  function check(driver: SchedulerDriver, offers: ReadonlyMap<string, string>): void {
    const fits = (machine: string, task: { readonly needs: ReturnType<typeof drivenNeeds> }): boolean =>
      DRIVEN_MATCHER.match(drivenOffer(offers.get(machine) ?? ''), task.needs).fits;
    const queued = [...driver.view.tasks()].filter(({ state }) => state === 'queued');
    for (const { name, task, isPolling, hold } of driver.view.slots()) {
      if (task !== undefined) assert.ok(fits(name, task), `${name} runs ${hold?.work}`);
      if (isPolling) assert.deepEqual(queued.filter((waiting) => fits(name, waiting)).length, 0, `${name} is free`);
    }
  }
});
