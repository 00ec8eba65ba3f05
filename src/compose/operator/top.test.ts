import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { FleetWorld } from '../../../test/support/fleet-world.ts';
import { ENTER_SCREEN, LEAVE_SCREEN, type Screen } from './screen.ts';
import type { Terminal } from './terminal.ts';
import { top } from './top.ts';

/** A terminal that a test reads and resizes, and whose keys it presses. */
class FakeTerminal implements Terminal, Screen {
  readonly isTerminal = { out: true, err: true };
  readonly clock = new FakeClock();
  written = '';
  columns = 100;
  rows = 30;
  /** What becomes of frames. */
  take: () => Promise<boolean> = async () => true;
  #resized: (() => void) | undefined;
  #pressed: ((key: string) => void) | undefined;
  #changed = Promise.withResolvers<void>();

  readonly out = (text: string): void => {
    this.written += text;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  };

  readonly err = (): void => undefined;

  readonly writeOut = async (bytes: Uint8Array): Promise<boolean> => {
    this.out(Buffer.from(bytes).toString());
    return this.take();
  };

  size() {
    return { columns: this.columns, rows: this.rows };
  }

  onResize(handler: () => void) {
    this.#resized = handler;
    return () => {
      this.#resized = undefined;
    };
  }

  onKey(handler: (key: string) => void) {
    this.#pressed = handler;
    return () => {
      this.#pressed = undefined;
    };
  }

  press(key: string): void {
    this.#pressed?.(key);
  }

  resize(columns: number, rows: number): void {
    this.columns = columns;
    this.rows = rows;
    this.#resized?.();
  }

  /** Whether anybody still listens for keys or sizes. */
  get isWatched(): boolean {
    return this.#pressed !== undefined || this.#resized !== undefined;
  }

  /** Resolves when what is on the screen matches; forgets what was written until then. */
  async shows(pattern: RegExp): Promise<string> {
    for (;;) {
      if (pattern.test(this.written)) {
        const shown = this.written;
        this.written = '';
        return shown;
      }
      await this.#changed.promise;
    }
  }
}

describe('top', () => {
  let world: FleetWorld;
  let terminal: FakeTerminal;
  let stopping: AbortController;

  beforeEach(async () => {
    world = new FleetWorld();
    await world.start();
    terminal = new FakeTerminal();
    stopping = new AbortController();
  });

  afterEach(() => world.stop());

  const start = (options: { readonly isOnce?: boolean } = {}) =>
    top(world.address, terminal, {
      ...{ screen: terminal, isOnce: options.isOnce ?? false, intervalMs: 1_000, signal: stopping.signal },
    });

  /** Moves the server's clock on once somebody waits for it. */
  const tick = async (): Promise<void> => {
    while (world.clock.armed === 0) await new Promise((resolve) => setImmediate(resolve));
    world.clock.advance(1_000);
  };

  it('takes the screen, and gives it back as it was at q', async () => {
    const running = start();
    const first = await terminal.shows(/0 slots on 0 nodes.*\p{Cc}\[\?2026l/su);
    assert.ok(first.startsWith(`${ENTER_SCREEN}\x1b[?2026h\x1b[H\x1b[1mgantry top`));
    terminal.press('x');
    terminal.press('q');
    await running;
    assert.ok(terminal.written.endsWith(LEAVE_SCREEN));
    assert.equal(terminal.isWatched, false);
  });

  for (const key of ['Q', '\x03', '\x04', '\x1b']) {
    it(`ends at ${JSON.stringify(key)}, too`, async () => {
      const running = start();
      await terminal.shows(/slots/);
      terminal.press(key);
      await running;
      assert.ok(terminal.written.endsWith(LEAVE_SCREEN));
    });
  }

  it('shows what changes, without clearing the screen', async () => {
    const running = start();
    await terminal.shows(/0 slots/);
    world.view.addSlot({ pool: world.view.addPool({ name: 'linux' }), isPolling: true });
    await tick();
    const frame = await terminal.shows(/1 slot on 1 node.*\p{Cc}\[\?2026l/su);
    assert.match(frame, /linux +1 +0 +1/);
    assert.equal(frame.includes('\x1b[2J'), false);
    terminal.press('q');
    await running;
  });

  it('keeps to a new size at once, and never fills a line to its last column', async () => {
    const running = start();
    await terminal.shows(/0 slots/);
    terminal.resize(20, 2);
    const frame = await terminal.shows(/\p{Cc}\[\?2026l/u);
    const lines = frame.replace(/\p{Cc}\[[?\d]*[a-zA-Z]/gu, '').split('\r\n');
    assert.deepEqual(lines, ['gantry top  127.0.…', '0 operations: 0 qu…']);
    terminal.press('q');
    await running;
  });

  it('gives the screen back at a signal', async () => {
    const running = start();
    await terminal.shows(/slots/);
    stopping.abort();
    await running;
    assert.ok(terminal.written.endsWith(LEAVE_SCREEN));
  });

  it('ends when nobody reads any more', async () => {
    terminal.take = async () => false;
    await start();
    assert.ok(terminal.written.endsWith(LEAVE_SCREEN));
  });

  it('fails when its terminal does', async () => {
    terminal.take = () => Promise.reject(new Error('input/output error'));
    await assert.rejects(start(), /input\/output error/);
    assert.ok(terminal.written.endsWith(LEAVE_SCREEN));
  });

  it('writes one frame at a time, and leaves out what came meanwhile', async () => {
    const gate = Promise.withResolvers<boolean>();
    terminal.take = () => gate.promise;
    const running = start();
    await terminal.shows(/0 slots/);
    for (const columns of [50, 60, 70]) terminal.resize(columns, 10);
    assert.equal(terminal.written, '');
    terminal.take = async () => true;
    gate.resolve(true);
    const frames = await terminal.shows(/\p{Cc}\[\?2026l/u);
    assert.equal(frames.split('\x1b[?2026h').length, 2);
    terminal.press('q');
    await running;
  });

  it('goes on showing what it knows when the server goes away, and asks again', async () => {
    const running = start();
    await terminal.shows(/0 slots/);
    await world.stop();
    await terminal.shows(/NO ANSWER from the server/);
    terminal.clock.advance(1_000);
    await terminal.shows(/NO ANSWER from the server/);
    terminal.press('q');
    await running;
    assert.ok(terminal.written.endsWith(LEAVE_SCREEN));
    assert.equal(terminal.clock.armed, 0);
  });

  it('marks what it shows when the server falls silent without going away, until it speaks again', async () => {
    const running = start();
    await terminal.shows(/0 slots/);
    terminal.clock.advance(10_999);
    terminal.clock.advance(1);
    await terminal.shows(/NO ANSWER from the server, this is what it said last; waiting for it/);
    await tick();
    const frame = await terminal.shows(/\p{Cc}\[\?2026l/u);
    assert.doesNotMatch(frame, /NO ANSWER/);
    terminal.press('q');
    await running;
    assert.equal(terminal.clock.armed, 0);
  });

  it('gives up a server that takes the connection and says nothing', async () => {
    const silent = createServer((socket) => socket.resume());
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const address = silent.address();
    assert.ok(address instanceof Object);
    const target = `127.0.0.1:${address.port}`;
    try {
      const running = top(target, terminal, {
        screen: terminal,
        isOnce: false,
        intervalMs: 1_000,
        signal: stopping.signal,
      });
      terminal.clock.advance(30_000);
      await assert.rejects(running, new RegExp(`the server at ${target}: no answer within 30 s`));
      assert.equal(terminal.written, '');
    } finally {
      silent.close();
    }
  });

  it('leaves the screen alone if there is no server', async () => {
    await world.stop();
    await assert.rejects(start(), /the server at 127\.0\.0\.1:\d+: /);
    assert.equal(terminal.written, '');
  });

  it('prints one snapshot as wide as the terminal if that is wanted', async () => {
    await start({ isOnce: true });
    assert.match(terminal.written, /^gantry top .*\n0 operations: .*\n0 slots on .*\n$/);
  });
});
