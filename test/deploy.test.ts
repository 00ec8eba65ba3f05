import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load.ts';
import { instructionsOf, unitSectionsOf } from './support/deploy-files.ts';

const root = join(import.meta.dirname, '..');
const deploy = join(root, 'deploy');
const text = (file: string): string => readFileSync(join(root, file), 'utf8');

/** The value of a key that stands once in a section. */
function only(unit: ReadonlyMap<string, readonly (readonly [string, string])[]>, section: string, key: string): string {
  const values = (unit.get(section) ?? []).filter(([name]) => name === key);
  assert.equal(values.length, 1, `${section} ${key}`);
  return values[0]?.[1] ?? '';
}

describe('deploy/Dockerfile', () => {
  const instructions = instructionsOf(text('deploy/Dockerfile'));
  const last = instructions.findLastIndex(({ name }) => name === 'FROM');
  const final = instructions.slice(last);
  const argumentOf = (name: string): string => final.findLast((each) => each.name === name)?.argument ?? '';

  it('builds in stages and copies only from stages it has', () => {
    const stages = instructions.flatMap(({ argument }) => / AS (\w+)$/.exec(argument)?.[1] ?? []);
    assert.ok(stages.length >= 2);
    const copied = instructions.flatMap(({ argument }) => /^--from=(\w+)/.exec(argument)?.[1] ?? []);
    assert.deepEqual(copied.toSorted(), stages.toSorted());
  });

  it('pins the major version of Node that package.json asks for', () => {
    const [, image = ''] =
      /NODE_IMAGE=(\S+)/.exec(instructions.find(({ name }) => name === 'ARG')?.argument ?? '') ?? [];
    const [, major] = /"node": ">=(\d+)/.exec(text('package.json')) ?? [];
    assert.match(image, new RegExp(`^node:${major}-`));
    for (const { argument } of instructions.filter(({ name }) => name === 'FROM')) {
      assert.ok(argument.startsWith(`$${'{NODE_IMAGE}'}`), argument);
    }
  });

  it('installs from the lock file only', () => {
    const installs = instructions.filter(
      ({ name, argument }) => name === 'RUN' && /\bnpm\b.*\b(ci|i|install)\b/.test(argument),
    );
    assert.equal(installs.length, 2);
    for (const { argument } of installs) assert.match(argument, /^npm ci\b/);
  });

  it('leaves development packages and the packaged Node out of the final image', () => {
    const stage = instructions.find(({ argument }) => argument.includes('--omit=dev'))?.argument ?? '';
    assert.match(stage, /rm -rf node_modules\/node\b/);
    assert.ok(final.every(({ name }) => name !== 'RUN' || !/npm/.test(name)));
  });

  it('copies only files that exist and that .dockerignore lets through', () => {
    const allowed = text('.dockerignore')
      .split('\n')
      .flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []));
    const copies = instructions.filter(({ name, argument }) => name === 'COPY' && !argument.startsWith('--from'));
    for (const { argument } of copies) {
      for (const source of argument.split(/\s+/).slice(0, -1)) {
        const path = source.replace(/^\.\//, '');
        assert.ok(readdirSync(root).includes(path), path);
        assert.ok(allowed.includes(path), path);
      }
    }
  });

  it('runs as a user without rights, on a folder that is its own', () => {
    assert.match(argumentOf('USER'), /^(?!root|0)\w+$/);
    const folder = argumentOf('VOLUME');
    assert.ok(argumentOf('ENV').includes(`GANTRY_DATA_FOLDER=${folder} `));
    assert.ok(
      final.some(
        ({ name, argument }) =>
          name === 'RUN' && argument.includes(`-o ${argumentOf('USER')}`) && argument.endsWith(folder),
      ),
    );
  });

  it('stops by SIGTERM, which reaches the program because no shell stands between', () => {
    assert.equal(argumentOf('STOPSIGNAL'), 'SIGTERM');
    for (const name of ['ENTRYPOINT', 'CMD']) {
      const words: unknown = JSON.parse(argumentOf(name));
      assert.ok(Array.isArray(words) && words.length > 0, name);
    }
    assert.equal(JSON.parse(argumentOf('ENTRYPOINT'))[0], 'node');
    assert.deepEqual(JSON.parse(argumentOf('CMD')), ['serve']);
  });

  it('asks the program itself for its health', () => {
    const [, command = ''] = /\bCMD\s+(\[.*\])$/.exec(argumentOf('HEALTHCHECK')) ?? [];
    assert.deepEqual(JSON.parse(command).slice(-1), ['health']);
    assert.match(argumentOf('HEALTHCHECK'), /--interval=\d+s --timeout=\d+s --start-period=\d+s --retries=\d+/);
  });

  it('sets variables that the configuration knows', () => {
    const environment = Object.fromEntries(
      argumentOf('ENV')
        .split(/\s+/)
        .map((each) => each.split('=', 2) as [string, string]),
    );
    const loaded = loadConfig({ environment });
    assert.ok(loaded.ok);
    assert.deepEqual(loaded.warnings, []);
    assert.deepEqual(loaded.config.listen, { grpc: '0.0.0.0:8980', http: '0.0.0.0:8981' });
    assert.equal(loaded.config.dataFolder, argumentOf('VOLUME'));
    assert.equal(argumentOf('EXPOSE'), '8980 8981');
  });
});

describe('the units of systemd', () => {
  const units = readdirSync(deploy).filter((file) => file.endsWith('.service'));

  it('are a server and a worker', () =>
    assert.deepEqual(units.toSorted(), ['gantry-worker.service', 'gantry.service']));

  for (const file of units) {
    describe(file, () => {
      const unit = unitSectionsOf(text(`deploy/${file}`));
      const service = (key: string): string => only(unit, 'Service', key);

      it('has the sections of a service', () => assert.deepEqual([...unit.keys()], ['Unit', 'Service', 'Install']));

      it('waits until the program says that it is ready', () => {
        assert.equal(service('Type'), 'notify');
        assert.equal(service('NotifyAccess'), 'all');
      });

      it('starts Node itself, so that signals arrive, with a role and a configuration', () => {
        assert.match(
          service('ExecStart'),
          /^\/usr\/bin\/node .*\/dist\/bin\/main\.js (server|worker) --config \/etc\/gantry\/\w+\.yaml$/,
        );
      });

      it('stops the main process first and leaves it more time than its own grace', () => {
        assert.equal(service('KillMode'), 'mixed');
        const example = / --config \/etc\/gantry\/(\w+\.yaml)$/.exec(service('ExecStart'))?.[1] ?? '';
        const loaded = loadConfig({ file: join(deploy, example), environment: {} });
        assert.ok(loaded.ok);
        const [, amount, unitName] = /^(\d+)(s|min)$/.exec(service('TimeoutStopSec')) ?? [];
        const seconds = Number(amount) * (unitName === 'min' ? 60 : 1);
        assert.ok(seconds > loaded.config.stop.graceSeconds);
      });

      it('runs as its own user in a folder that systemd makes', () => {
        assert.match(service('User'), /^gantry/);
        assert.equal(service('Environment'), `GANTRY_DATA_FOLDER=/var/lib/${service('StateDirectory')}`);
      });

      for (const [key, value] of [
        ['NoNewPrivileges', 'yes'],
        ['ProtectSystem', 'strict'],
        ['ProtectHome', 'yes'],
        ['PrivateTmp', 'yes'],
        ['PrivateDevices', 'yes'],
        ['ProtectKernelTunables', 'yes'],
        ['ProtectKernelModules', 'yes'],
        ['RestrictSUIDSGID', 'yes'],
        ['LockPersonality', 'yes'],
        ['CapabilityBoundingSet', ''],
      ] as const) {
        it(`closes the service in: ${key}=${value}`, () => assert.equal(service(key), value));
      }

      it('leaves memory of the runtime writable and executable, which its compiler needs', () => {
        assert.ok(!unit.get('Service')?.some(([key]) => key === 'MemoryDenyWriteExecute'));
      });
    });
  }

  it('let only the worker manage groups of processes', () => {
    assert.equal(only(unitSectionsOf(text('deploy/gantry-worker.service')), 'Service', 'Delegate'), 'yes');
    assert.ok(
      !unitSectionsOf(text('deploy/gantry.service'))
        .get('Service')
        ?.some(([key]) => key === 'Delegate'),
    );
  });
});

describe('the example configurations', () => {
  const examples = readdirSync(deploy).filter((file) => /\.(ya?ml|json)$/.test(file));

  it('exist', () => assert.ok(examples.length >= 3));

  for (const file of examples) {
    it(`load: ${file}`, () => {
      const loaded = loadConfig({ file: join(deploy, file), environment: {} });
      assert.ok(loaded.ok, JSON.stringify(loaded));
      assert.deepEqual(loaded.warnings, []);
    });
  }
});
