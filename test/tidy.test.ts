import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { CONFIGURATION_KEYS } from '../src/config/keys.ts';
import { codeOf, functionsOf, importsOf, placesOf, titlesOf, undocumentedExportsOf } from './support/source-scan.ts';

/** Hard stops of the style; what is shorter is better. */
const MAX_FILE_LINES = 500;
const MAX_FUNCTION_LINES = 70;
const MAX_PARAMETERS = 4;

const GROUND = ['errors.ts', 'gen', 'digest', 'system', 'descriptors'];

/** Folder of src (longest match wins) to what it may import from src, beside itself. ARCHITECTURE.md, "Who may import whom". */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'errors.ts': [],
  gen: [],
  digest: ['errors.ts', 'gen'],
  system: ['errors.ts'],
  descriptors: ['errors.ts', 'gen'],
  entries: GROUND,
  platform: GROUND,
  auth: GROUND,
  cas: [...GROUND, 'entries'],
  'action-cache': [...GROUND, 'cas', 'entries'],
  admin: [...GROUND, 'auth', 'cas', 'action-cache', 'entries', 'execution', 'execution/scheduler', 'platform'],
  logstream: [...GROUND, 'cas', 'entries'],
  asset: [...GROUND, 'cas', 'entries', 'platform'],
  execution: [...GROUND, 'cas', 'action-cache', 'logstream', 'platform', 'entries'],
  'execution/scheduler': ['errors.ts', 'digest', 'platform'],
  worker: [...GROUND, 'cas', 'platform'],
  rpc: [...GROUND, 'auth'],
  config: GROUND,
  web: GROUND,
  compose: [
    ...[...GROUND, 'entries', 'platform', 'auth', 'cas', 'action-cache', 'logstream', 'asset', 'execution', 'worker'],
    ...['admin', 'rpc', 'config', 'web'],
  ],
  bin: ['compose', 'config'],
};

/** Files at the edge inside core folders, and what they may import beyond their folder. */
const WIRE_FILE = /(?:-service|-bytes)\.ts$|^worker\/(?:.*\/)?remote-[^/]*\.ts$/;
const WIRE_IMPORTS = ['methods', 'call', 'status', 'client', 'any', 'byte-resource'].map((name) => `rpc/${name}.ts`);

/** Packages and the only folders of src that may use them; every other package may be used anywhere but in the scheduler. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  '@grpc/grpc-js': ['rpc'],
  'google-protobuf': ['descriptors'],
  commander: ['bin'],
  fastify: ['web'],
  pino: ['system'],
  'prom-client': ['system'],
  yaml: ['config', 'compose', 'bin'],
  zod: ['config'],
};

/** Calls that are not allowed in code, where they are, and what to use instead. */
const BANNED: readonly { readonly pattern: RegExp; readonly except: RegExp; readonly instead: string }[] = [
  { pattern: /\bDate\.now\b|\bnew Date\(\)/, except: /^src\/system\//, instead: 'Clock.nowMs' },
  { pattern: /\bperformance\.now\b|\bhrtime\b/, except: /^src\/system\//, instead: 'Clock.monotonicMs' },
  { pattern: /\bset(?:Timeout|Interval)\b|timers\/promises/, except: /^src\/system\//, instead: 'Clock.wakeAt' },
  { pattern: /\bMath\.random\b|\brandomUUID\b/, except: /^src\/system\//, instead: 'Random' },
  { pattern: /\bprocess\.env\b/, except: /^src\/config\/load\.ts$/, instead: 'the configuration' },
  { pattern: /\bconsole\.\w+/, except: /^src\/bin\//, instead: 'Log' },
  { pattern: /\bas unknown as\b/, except: /^$/, instead: 'a type that fits' },
  { pattern: /\bexport default\b/, except: /^$/, instead: 'a named export' },
  { pattern: /\bclass \w*(?:Manager|Handler|Processor)\b/, except: /^$/, instead: 'a name that says what it does' },
];

/** File names that say nothing. */
const EMPTY_NAMES = /^(?:index|utils?|helpers?|types|common|misc|lib)(?:\.|$)/;

const root = join(import.meta.dirname, '..');

/** Every file of the project that people write, relative to the root. */
const files = filesUnder('').filter((file) => !file.startsWith('src/gen/'));
const scripts = files.filter((file) => file.endsWith('.ts'));
const sources = scripts.filter((file) => file.startsWith('src/') && !file.endsWith('.test.ts'));
const tests = scripts.filter((file) => file.endsWith('.test.ts'));
/** Code that is no test: the program, its scripts and the conformance suite. */
const programs = scripts.filter((file) => !file.endsWith('.test.ts') && !file.startsWith('test/'));
const text = (file: string): string => readFileSync(join(root, file), 'utf8');

function filesUnder(folder: string): readonly string[] {
  const ignored = new Set(['node_modules', '.git', 'dist', '.cache', '.moon']);
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (ignored.has(entry.name) || /^bazel-/.test(entry.name)) return [];
    if (entry.isDirectory()) return filesUnder(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Fails with all complaints, one a line. */
function none(complaints: readonly string[]): void {
  assert.equal(complaints.length, 0, `\n${complaints.join('\n')}`);
}

/** Imports of other files of the project, relative to the root. */
function localImports(file: string) {
  return importsOf(text(file)).flatMap(({ specifier, line, clause }) =>
    specifier.startsWith('.') ? [{ line, clause, target: normalize(join(dirname(file), specifier)) }] : [],
  );
}

/** The entry of the table that a file under src belongs to. */
function folderOf(path: string): string | undefined {
  const names = Object.keys(MAY_IMPORT).filter((name) => path === name || path.startsWith(`${name}/`));
  return names.toSorted((a, b) => b.length - a.length)[0];
}

/** Why a file under src may not import another one; undefined if it may. Paths are relative to src. */
function refusal(importer: string, target: string): string | undefined {
  const from = folderOf(importer);
  if (from === undefined) return 'is in a folder that the table of imports does not know';
  const to = folderOf(target);
  const isWithin = (names: readonly string[]): boolean =>
    names.some((name) => target === name || target.startsWith(`${name}/`));
  if (
    isWithin([from, ...(MAY_IMPORT[from] ?? [])]) &&
    (to !== 'execution/scheduler' || /^(execution|compose|admin)/.test(from))
  ) {
    return undefined;
  }
  if (WIRE_FILE.test(importer) && isWithin([...WIRE_IMPORTS, 'auth'])) return undefined;
  return `may not import ${target}`;
}

describe('the table of imports', () => {
  for (const [importer, target, isAllowed] of [
    ['cas/uploads.ts', 'digest/digest.ts', true],
    ['cas/uploads.ts', 'rpc/methods.ts', false],
    ['cas/cas-service.ts', 'rpc/methods.ts', true],
    ['cas/cas-service.ts', 'rpc/grpc-js-server.ts', false],
    ['worker/inputs/remote-store.ts', 'rpc/client.ts', true],
    ['worker/worker.ts', 'execution/operations.ts', false],
    ['execution/scheduler-host.ts', 'execution/scheduler/events.ts', true],
    ['execution/scheduler/queue.ts', 'execution/operations.ts', false],
    ['execution/scheduler/queue.ts', 'system/clock.ts', false],
    ['rpc/call.ts', 'cas/blob-store.ts', false],
    ['bin/main.ts', 'rpc/client.ts', false],
    ['compose/roles.ts', 'bin/main.ts', false],
    ['nowhere/a.ts', 'errors.ts', false],
  ] as const) {
    it(`${isAllowed ? 'lets' : 'does not let'} ${importer} import ${target}`, () => {
      assert.equal(refusal(importer, target) === undefined, isAllowed);
    });
  }
});

describe('the project', () => {
  after(() => process.stdout.write(sizes()));

  it('imports in one direction', () => {
    none(
      sources.flatMap((file) =>
        localImports(file).flatMap(({ line, target }) => {
          const reason = target.startsWith('src/')
            ? refusal(file.slice(4), target.slice(4))
            : `may not import ${target}`;
          return reason === undefined ? [] : [`${file}:${line} ${reason}`];
        }),
      ),
    );
  });

  it('defines services only where they meet the wire', () => {
    const edge = /^src\/(?:rpc|compose)\//;
    none(
      sources
        .filter((file) => !edge.test(file) && !WIRE_FILE.test(file.slice(4)))
        .flatMap((file) =>
          localImports(file)
            .filter(({ target, clause }) => target.startsWith('src/gen/') && /\w+Definition\b/.test(clause))
            .map(({ line }) => `${file}:${line} imports a service definition`),
        ),
    );
  });

  it('keeps packages where they belong, and the scheduler free of all', () => {
    none(
      sources.flatMap((file) =>
        importsOf(text(file)).flatMap(({ specifier, line }) => {
          if (specifier.startsWith('.')) return [];
          const folders = PACKAGES[specifier];
          const isMisplaced = folders !== undefined && !folders.some((folder) => file.startsWith(`src/${folder}/`));
          if (!isMisplaced && !file.startsWith('src/execution/scheduler/')) return [];
          return [`${file}:${line} may not import ${specifier}`];
        }),
      ),
    );
  });

  it('has a conformance suite that knows nothing of this server but the schemas', () => {
    none(
      scripts
        .filter((file) => file.startsWith('conformance/'))
        .flatMap((file) =>
          localImports(file)
            .filter(({ target }) => !/^(?:conformance|src\/gen)\//.test(target))
            .map(({ line, target }) => `${file}:${line} may not import ${target}`),
        ),
    );
  });

  it(`keeps files to ${MAX_FILE_LINES} lines`, () => {
    none(scripts.filter((file) => linesOf(file) > MAX_FILE_LINES).map((file) => `${file} has ${linesOf(file)} lines`));
  });

  it(`keeps functions to ${MAX_FUNCTION_LINES} lines and ${MAX_PARAMETERS} parameters`, () => {
    none(
      programs.flatMap((file) =>
        functionsOf(codeOf(text(file)))
          .filter(({ lines, parameters }) => lines > MAX_FUNCTION_LINES || parameters > MAX_PARAMETERS)
          .map(({ line, lines, parameters }) => `${file}:${line} has ${lines} lines, ${parameters} parameters`),
      ),
    );
  });

  for (const { pattern, except, instead } of BANNED) {
    it(`uses ${instead} and not ${pattern.source}`, () => {
      none(
        sources
          .filter((file) => !except.test(file))
          .flatMap((file) => placesOf(codeOf(text(file)), pattern).map(({ line }) => `${file}:${line}`)),
      );
    });
  }

  it('has tests that neither sleep nor are switched off', () => {
    const pattern = /\b(?:describe|context|it)\.(?:only|skip)\b|\bxit\b|\bset(?:Timeout|Interval)\(/;
    const unit = tests.filter((file) => !/^src\/system\/|^test\/clients\//.test(file));
    none(
      unit.flatMap((file) =>
        placesOf(codeOf(text(file)), pattern).map((place) => `${file}:${place.line} ${place.text}`),
      ),
    );
  });

  it('has no to-do without the number of its issue', () => {
    const pattern = /\b(?:TOD[O]|FIXM[E]|XX[X])\b(?! ?\(#\d+\))/;
    none(scripts.flatMap((file) => placesOf(text(file), pattern).map(({ line }) => `${file}:${line}`)));
  });

  it('names files in kebab case, after what is in them', () => {
    none(
      scripts.filter((file) => !/^[a-z0-9-]+(?:\.test)?\.ts$/.test(basename(file)) || EMPTY_NAMES.test(basename(file))),
    );
    none(
      scripts.filter((file) =>
        dirname(file)
          .split('/')
          .some((name) => EMPTY_NAMES.test(name)),
      ),
    );
  });

  it('says of every export what it is', () => {
    none(
      programs.flatMap((file) =>
        undocumentedExportsOf(text(file)).map(({ line, text: statement }) => `${file}:${line} ${statement}`),
      ),
    );
  });

  it('has no file that only its own test uses', () => {
    const starts = scripts.filter((file) => file === 'src/bin/main.ts' || !file.startsWith('src/'));
    const othersTests = tests.flatMap((file) =>
      localImports(file).flatMap(({ target }) => (target === file.replace('.test.ts', '.ts') ? [] : [target])),
    );
    const alive = new Set([...starts, ...othersTests]);
    for (const file of alive) {
      if (scripts.includes(file)) for (const { target } of localImports(file)) alive.add(target);
    }
    none(sources.filter((file) => !alive.has(file)));
  });

  it('has no key of the configuration that nobody reads', () => {
    const readers = sources.filter((file) => /^src\/(?:compose|bin)\//.test(file));
    const code = readers.map((file) => codeOf(text(file))).join('\n');
    const names = CONFIGURATION_KEYS.map(({ path }) => path.at(-1) ?? '');
    none(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(code)));
  });

  it('comments its schemas', () => {
    const schemas = files.filter((file) => file.startsWith('remote-apis/') && file.endsWith('.proto'));
    assert.ok(schemas.length > 0);
    none(schemas.filter((file) => !/^\s*(?:\/\/|\/\*)/m.test(text(file))));
  });

  it('gives every page one title', () => {
    const pages = files.filter((file) => file.endsWith('.md'));
    none(
      pages.flatMap((file) =>
        titlesOf(text(file)).length === 1 ? [] : [`${file} has ${titlesOf(text(file)).length}`],
      ),
    );
  });

  it('knows no folder of the machine it was written on', () => {
    const pattern = new RegExp(['/work', '(?:main|shared)\\b'].join('/'));
    none(
      files
        .filter((file) => /\.(?:ts|cjs|json|md|ya?ml|sh|proto|bazel|bzl|service)$|Dockerfile$|run$/.test(file))
        .flatMap((file) => placesOf(text(file), pattern).map(({ line }) => `${file}:${line}`)),
    );
  });
});

/** Sizes to look at, which nothing enforces: the style aims at medians of 90 and 10 lines, and 90th percentiles of 250 and 35. */
function sizes(): string {
  const functions = sources.flatMap((file) => functionsOf(codeOf(text(file))).map(({ lines }) => lines));
  const rows = [
    ['source files', sources.map(linesOf)],
    ['functions', functions],
    ['test files', tests.map(linesOf)],
  ] as const;
  return rows
    .map(([what, values]) => {
      const sorted = values.toSorted((a, b) => a - b);
      const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
      return `    ${what}: ${sorted.length}, lines: median ${at(0.5)}, p90 ${at(0.9)}, most ${at(1)}\n`;
    })
    .join('');
}

function linesOf(file: string): number {
  return text(file).trimEnd().split('\n').length;
}
