import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { ProgressLine } from './progress-line.ts';

const GIB = 1024 ** 3;

function world(isTerminal: boolean) {
  const clock = new FakeClock();
  const written: string[] = [];
  const line = new ProgressLine(
    {
      out: () => assert.fail('progress is no output'),
      err: (text) => written.push(text),
      writeOut: () => assert.fail('progress is no output'),
      isTerminal: { out: true, err: isTerminal },
      clock,
    },
    'checking',
  );
  return { clock, written, line };
}

describe('ProgressLine on a terminal', () => {
  it('rewrites one line with share, speed and the time that is left', () => {
    const { clock, written, line } = world(true);
    line.update({ doneBytes: 0, totalBytes: 10 * GIB });
    clock.advance(2_000);
    line.update({ doneBytes: GIB, totalBytes: 10 * GIB });
    assert.deepEqual(written, [
      '\rchecking: 0.0 % (0 B of 10.0 GiB)\x1b[K',
      '\rchecking: 10.0 % (1.0 GiB of 10.0 GiB), 512.0 MiB/s, 18 s left\x1b[K',
    ]);
  });

  it('shows at most five a second', () => {
    const { clock, written, line } = world(true);
    for (let doneBytes = 0; doneBytes < 100; doneBytes++) {
      line.update({ doneBytes, totalBytes: 100 });
      clock.advance(10);
    }
    assert.equal(written.length, 5);
  });

  it('takes the line away at the end, if there is one', () => {
    const { written, line } = world(true);
    line.end();
    assert.deepEqual(written, []);
    line.update({ doneBytes: 1, totalBytes: 2 });
    line.end();
    line.end();
    assert.deepEqual(written.slice(1), ['\r\x1b[K']);
  });

  it('measures the speed from what was done when it began to look', () => {
    const { clock, written, line } = world(true);
    line.update({ doneBytes: 5 * GIB, totalBytes: 10 * GIB });
    clock.advance(1_000);
    line.update({ doneBytes: 6 * GIB, totalBytes: 10 * GIB });
    assert.match(written[1] ?? '', /, 1\.0 GiB\/s, 4 s left/);
  });
});

describe('ProgressLine elsewhere', () => {
  it('writes a plain line every five seconds, and none about a short job', () => {
    const { clock, written, line } = world(false);
    for (let second = 0; second <= 11; second++) {
      line.update({ doneBytes: second * GIB, totalBytes: 20 * GIB });
      clock.advance(1_000);
    }
    line.end();
    assert.deepEqual(written, [
      'checking: 25.0 % (5.0 GiB of 20.0 GiB), 1.0 GiB/s, 15 s left\n',
      'checking: 50.0 % (10.0 GiB of 20.0 GiB), 1.0 GiB/s, 10 s left\n',
    ]);
  });
});
