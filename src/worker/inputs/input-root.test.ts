import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { MemoryWorkerStore } from '../../../test/support/memory-worker-store.ts';
import { type Digest, digestToWire, emptyDigest } from '../../digest/digest.ts';
import { isKind, ReapiError } from '../../errors.ts';
import { Directory } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { DirectoryCache, parseDirectory } from './directory-cache.ts';
import { FileCache } from './file-cache.ts';
import { FileFetcher } from './file-fetcher.ts';
import { InputRoots, type MaterializedRoot } from './input-root.ts';

const LIMITS = { maxDepth: 5, maxEntries: 1000, maxDirectoryBytes: 10_000 };

describe('InputRoots', () => {
  let folder: string;
  let store: MemoryWorkerStore;
  let fetcher: FileFetcher;
  let roots: InputRoots;
  const never = new AbortController().signal;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'input-root-'));
    store = new MemoryWorkerStore();
    const cache = new FileCache(join(folder, 'cache'), { maxBytes: 100_000, maxEntries: 2000 });
    fetcher = new FileFetcher(cache, { maxTransfers: 2 });
    roots = new InputRoots(new DirectoryCache({ maxBytes: 1e6, maxEntries: 100 }), cache, fetcher, LIMITS);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function directory(message: Parameters<typeof Directory.fromPartial>[0]): Digest {
    return store.seed(Directory.encode(Directory.fromPartial(message)).finish());
  }
  const file = (name: string, text: string, isExecutable = false) => ({
    name,
    digest: digestToWire(store.seed(text)),
    isExecutable,
  });
  function make(digest: Digest, name = 'root', signal = never): Promise<MaterializedRoot> {
    mkdirSync(join(folder, name));
    return roots.materialize(digest, join(folder, name), { store, patiently: (attempt) => attempt() }, signal);
  }
  const absent = (letter: string) => ({ hash: letter.repeat(64), sizeBytes: 5n });

  it('makes files, directories, empty ones too, and symlinks as they are (R-CM-11, R-CM-21, R-CM-22)', async () => {
    const sub = directory({ files: [file('tool', 'run', true), file('empty', '')] });
    const root = directory({
      files: [file('a', 'A'), file('large', 'L'.repeat(5000))],
      directories: [
        { name: 'none', digest: digestToWire(emptyDigest('sha256')) },
        { name: 'sub', digest: digestToWire(sub) },
      ],
      symlinks: [{ name: 'link', target: '../../x/./absent' }],
    });
    await make(root);
    const at = (path: string): string => join(folder, 'root', path);
    assert.equal(readFileSync(at('a'), 'utf8'), 'A');
    assert.equal(statSync(at('large')).size, 5000);
    assert.equal(statSync(at('sub/tool')).mode & 0o777, 0o555);
    assert.equal(statSync(at('sub/empty')).size, 0);
    assert.deepEqual(readdirSync(at('none')), []);
    assert.equal(statSync(at('sub')).mode & 0o300, 0o300, 'directories are writable');
    assert.equal(readlinkSync(at('link')), '../../x/./absent');
  });

  it('asks for nothing the second time', async () => {
    const root = directory({
      files: [file('a', 'A')],
      directories: [{ name: 'd', digest: digestToWire(directory({})) }],
    });
    await make(root);
    store.calls.length = 0;
    await make(root, 'second');
    assert.deepEqual(store.calls, []);
    assert.equal(lstatSync(join(folder, 'second/a')).ino, lstatSync(join(folder, 'root/a')).ino);
  });

  it('makes one call per level and one for all small files', async () => {
    const leaf = directory({ files: [file('x', '1'), file('y', '2')] });
    const middle = (name: string) =>
      directory({ files: [file(name, name)], directories: [{ name: 'leaf', digest: digestToWire(leaf) }] });
    const children = ['p', 'q'].map((name) => ({ name, digest: digestToWire(middle(name)) }));
    await make(directory({ directories: children }));
    assert.deepEqual(store.calls, ['readAll', 'readAll', 'readAll', 'readAll']);
    assert.equal(fetcher.counters.filesFetched, 4);
  });

  it('names every missing blob, directories and files, each once (R-EX-43, R-EX-45)', async () => {
    const root = directory({
      files: [{ name: 'f', digest: absent('a') }, { name: 'g', digest: absent('a') }, file('here', 'H')],
      directories: [{ name: 'd', digest: absent('d') }],
    });
    await assert.rejects(make(root), (error) => {
      assert.ok(isKind(error, 'missing-inputs'));
      assert.deepEqual(error.facts.missing?.map(({ hash }) => hash[0]).sort(), ['a', 'd']);
      return true;
    });
    const files = directory({
      files: [
        file('new', 'N'),
        { name: 'f', digest: absent('a') },
        { name: 'l', digest: { hash: 'b'.repeat(64), sizeBytes: 5000n } },
      ],
    });
    await assert.rejects(make(files, 'second'), (error) => {
      assert.ok(isKind(error, 'missing-inputs'));
      assert.deepEqual(error.facts.missing?.map(({ hash }) => hash[0]).sort(), ['a', 'b']);
      return true;
    });
  });

  it('refuses trees that are too deep, too many or too large (R-CM-10)', async () => {
    let deep = directory({});
    for (let level = 0; level < 6; level++)
      deep = directory({ directories: [{ name: 'd', digest: digestToWire(deep) }] });
    let wide = directory({ files: Array.from({ length: 11 }, (_, i) => file(`f${i}`, 'x')) });
    for (let level = 0; level < 2; level++) {
      const digest = digestToWire(wide);
      wide = directory({ directories: Array.from({ length: 10 }, (_, i) => ({ name: `d${i}`, digest })) });
    }
    const large = directory({ symlinks: [{ name: 'l', target: 'x'.repeat(10_000) }] });
    for (const [at, root] of [deep, wide, large].entries()) {
      await assert.rejects(make(root, `r${at}`), (error) => isKind(error, 'invalid-argument'));
    }
  });

  it('fetches a file once for two slots, and the second does not depend on the first', async () => {
    const root = directory({ files: [file('l', 'L'.repeat(5000))] });
    const gate = Promise.withResolvers<void>();
    store.before = (call) => (call === 'open' ? gate.promise : Promise.resolve());
    const first = make(root, 'first');
    const second = make(root, 'second');
    for (let turn = 0; turn < 10; turn++) await nextTurn();
    gate.resolve();
    await Promise.all([first, second]);
    assert.equal(store.calls.filter((call) => call === 'open').length, 1);

    const other = directory({ files: [file('m', 'M'.repeat(5000))] });
    let opens = 0;
    store.before = (call, signal) => {
      if (call !== 'open' || opens++ > 0) return Promise.resolve();
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new ReapiError('cancelled', 'c'))),
      );
    };
    const abort = new AbortController();
    const cancelled = make(other, 'third', abort.signal);
    while (opens === 0) await nextTurn();
    const waiting = make(other, 'fourth');
    for (let turn = 0; turn < 10; turn++) await nextTurn();
    abort.abort();
    await assert.rejects(cancelled, (error) => isKind(error, 'cancelled'));
    await waiting;
    assert.ok(existsSync(join(folder, 'fourth/m')));
    assert.deepEqual(readdirSync(join(folder, 'cache/v1/tmp')), []);
  });

  it('passes a failing store on, and leaves nothing half-made in the cache', async () => {
    const root = directory({ files: [file('a', 'A'), file('l', 'L'.repeat(5000))] });
    store.before = (call) =>
      call === 'open' ? Promise.reject(new ReapiError('unavailable', 'down')) : Promise.resolve();
    await assert.rejects(make(root), (error) => isKind(error, 'unavailable'));
    assert.deepEqual(readdirSync(join(folder, 'cache/v1/tmp')), []);
  });
});

describe('parseDirectory', () => {
  const parse = (message: Parameters<typeof Directory.fromPartial>[0]): unknown => {
    const bytes = Directory.encode(Directory.fromPartial(message)).finish();
    return parseDirectory({ ...emptyDigest('sha256'), sizeBytes: bytes.length }, bytes);
  };
  const digest = { hash: 'a'.repeat(64), sizeBytes: 1n };

  for (const name of ['', '.', '..', 'a/b', '/', 'a\0', 'x'.repeat(256)]) {
    it(`refuses the name ${JSON.stringify(name.slice(0, 8))} for anything (R-CM-08)`, () => {
      assert.throws(
        () => parse({ files: [{ name, digest }] }),
        (error) => isKind(error, 'invalid-argument'),
      );
      assert.throws(
        () => parse({ directories: [{ name, digest }] }),
        (error) => isKind(error, 'invalid-argument'),
      );
      assert.throws(
        () => parse({ symlinks: [{ name, target: 't' }] }),
        (error) => isKind(error, 'invalid-argument'),
      );
    });
  }

  it('refuses a name that occurs twice, whatever it names (R-CM-08)', () => {
    assert.throws(() => parse({ files: [{ name: 'a', digest }], symlinks: [{ name: 'a', target: 't' }] }));
    assert.throws(() =>
      parse({
        directories: [
          { name: 'a', digest },
          { name: 'a', digest },
        ],
      }),
    );
  });

  it('takes unsorted names, names that differ by case, and odd ones', () => {
    assert.ok(parse({ files: ['b', 'a', 'A', '...', '-x', ' '].map((name) => ({ name, digest })) }));
  });

  it('refuses what is no Directory, and digests that are none', () => {
    assert.throws(
      () => parseDirectory(emptyDigest('sha256'), Uint8Array.from([0x0a, 0xff])),
      (error) => isKind(error, 'invalid-argument'),
    );
    assert.throws(
      () => parse({ files: [{ name: 'a', digest: { hash: 'zz', sizeBytes: 1n } }] }),
      (error) => isKind(error, 'invalid-argument'),
    );
    assert.throws(
      () => parse({ files: [{ name: 'a' }] }),
      (error) => isKind(error, 'invalid-argument'),
    );
  });
});
