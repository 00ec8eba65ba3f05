import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { temporaryFolder } from './support/temporary-folder.ts';

const MAIN = join(import.meta.dirname, '../src/bin/main.ts');
const ANY_PORT = ['--listen', '127.0.0.1:0', '--http', '127.0.0.1:0'];

/** `gantry` as a process, run from its sources. */
class Program {
  readonly #child: ChildProcess;
  readonly #end: Promise<number | NodeJS.Signals | null>;
  out = '';
  err = '';
  #onOut = (): void => undefined;

  constructor(...args: string[]) {
    const home = temporaryFolder();
    this.#child = spawn(process.execPath, [MAIN, ...args], {
      env: { HOME: home },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
      this.#onOut();
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
    this.#end = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        resolve(signal ?? code);
        this.#onOut();
      });
    });
    running.push(this);
  }

  /** The exit code, or the signal that ended it. */
  end(): Promise<number | NodeJS.Signals | null> {
    return this.#end;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** The READY line's fields. */
  async ready(): Promise<Readonly<Record<string, string>>> {
    for (;;) {
      const line = /^READY (.*)$/m.exec(this.out)?.[1];
      if (line !== undefined) return Object.fromEntries(line.split(' ').map((field) => field.split('=', 2)));
      assert.equal(this.#child.exitCode, null, this.err);
      await new Promise<void>((resolve) => {
        this.#onOut = resolve;
      });
    }
  }
}

const running: Program[] = [];

describe('gantry as a process', () => {
  afterEach(async () => {
    for (const program of running.splice(0)) {
      program.signal('SIGKILL');
      await program.end();
    }
  });

  it('says where it serves, answers, refuses a second owner of its ports and folder, and ends at SIGTERM', async () => {
    const data = join(temporaryFolder(), 'data');
    const server = new Program('server', ...ANY_PORT, '--data', data);
    const { grpc, http, data: told } = await server.ready();
    assert.ok(grpc !== undefined && http !== undefined);
    assert.equal(told, data);
    assert.match(server.out, new RegExp(`^ {2}build --remote_executor=grpc://${grpc}$`, 'm'));
    assert.equal((await fetch(`http://${http}/readyz`)).status, 200);

    const other = join(temporaryFolder(), 'other');
    const others = {
      health: new Program('health', '--server', grpc, '--timeout-seconds', '60'),
      port: new Program('server', '--listen', grpc, '--http', '127.0.0.1:0', '--data', other),
      folder: new Program('server', ...ANY_PORT, '--data', data),
    };
    const codes = await Promise.all(Object.values(others).map((program) => program.end()));
    assert.deepEqual(codes, [0, 1, 1]);
    assert.equal(others.health.out, 'SERVING\n');
    assert.ok(others.port.err.includes(`gantry: cannot listen on ${grpc}: `), others.port.err);
    assert.match(others.port.err, /address already in use/);
    assert.equal(others.folder.err, `gantry: the data folder "${data}" cannot be used: another process is using it\n`);

    server.signal('SIGTERM');
    assert.equal(await server.end(), 0);
  });

  it('stops with its embedded worker at SIGTERM, whatever half requests are open', async () => {
    const data = join(temporaryFolder(), 'data');
    const server = new Program('serve', ...ANY_PORT, '--slots', '1', '--data', data);
    const { http } = await server.ready();
    const metrics = await (await fetch(`http://${http}/metrics`)).text();
    assert.match(metrics, /^gantry_embedded_worker_ready 1$/m);
    assert.match(metrics, /^gantry_embedded_worker_restarts 0$/m);
    assert.match(metrics, /^gantry_store_limit_bytes \d+$/m);
    const [host, port] = (http ?? '').split(':');
    const half = connect(Number(port), host);
    half.on('error', () => undefined);
    half.write('GET /livez HTTP/1.1\r\n');
    server.signal('SIGTERM');
    assert.equal(await server.end(), 0, server.err);
    half.destroy();
  });

  it('ends with a failure at the second signal', async () => {
    const server = new Program('server', ...ANY_PORT, '--data', join(temporaryFolder(), 'data'));
    const { grpc } = await server.ready();
    // A call that nobody ends keeps a graceful stop waiting.
    const [host, port] = (grpc ?? '').split(':');
    const client = connectHttp2(`http://${host}:${port}`);
    client.on('error', () => undefined);
    const call = client.request({
      ':method': 'POST',
      ':path': '/google.bytestream.ByteStream/Write',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    call.on('error', () => undefined);
    const goaway = new Promise<void>((resolve) => client.once('goaway', () => resolve()));
    // Whoever is answered here was read after the call above.
    await new Promise<void>((resolve) => client.ping(() => resolve()));
    server.signal('SIGTERM');
    await goaway;
    server.signal('SIGTERM');
    assert.equal(await server.end(), 1);
    client.destroy();
  });

  it('refuses a wrong flag with exit code 2, and a data folder that is a file with 1', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    const flag = new Program('serve', '--lisen', 'x');
    const folder = new Program('server', ...ANY_PORT, '--data', file);
    assert.deepEqual([await flag.end(), await folder.end()], [2, 1]);
    assert.match(flag.err, /Did you mean --listen\?/);
    assert.ok(folder.err.startsWith(`gantry: creating the data folder "${file}" failed`), folder.err);
  });
});
