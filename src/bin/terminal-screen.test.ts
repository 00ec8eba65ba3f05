import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { terminalScreen } from './terminal-screen.ts';

class FakeOutput extends EventEmitter {
  columns = 0;
  rows = 0;
}

class FakeInput extends EventEmitter {
  readonly calls: string[] = [];
  readonly isTTY: boolean;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  setRawMode(isRaw: boolean): void {
    this.calls.push(`raw ${isRaw}`);
  }

  resume(): void {
    this.calls.push('resume');
  }

  pause(): void {
    this.calls.push('pause');
  }
}

describe('terminalScreen', () => {
  let input: FakeInput;
  let output: FakeOutput;

  beforeEach(() => {
    input = new FakeInput(true);
    output = new FakeOutput();
  });

  it('is as large as the terminal says, or as usual', () => {
    const screen = terminalScreen(input, output);
    assert.deepEqual(screen.size(), { columns: 80, rows: 24 });
    output.columns = 120;
    output.rows = 40;
    assert.deepEqual(screen.size(), { columns: 120, rows: 40 });
  });

  it('tells of new sizes until that is ended', () => {
    let told = 0;
    const end = terminalScreen(input, output).onResize(() => told++);
    output.emit('resize');
    end();
    output.emit('resize');
    assert.deepEqual([told, output.listenerCount('resize')], [1, 0]);
  });

  it('takes keys one by one, and gives the terminal back as it was', () => {
    const keys: string[] = [];
    const end = terminalScreen(input, output).onKey((key) => keys.push(key));
    for (const bytes of ['q', '\x03', '\x1b[A']) input.emit('data', Buffer.from(bytes));
    end();
    assert.deepEqual(keys, ['q', '\x03', '\x1b[A']);
    assert.deepEqual(input.calls, ['raw true', 'resume', 'raw false', 'pause']);
    assert.equal(input.listenerCount('data'), 0);
  });

  it('leaves an input alone that is no terminal', () => {
    input = new FakeInput(false);
    terminalScreen(input, output).onKey(() => undefined)();
    assert.deepEqual(input.calls, []);
  });
});
