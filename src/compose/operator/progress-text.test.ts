import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { ProgressText } from './progress-text.ts';

function world(isTerminal: boolean) {
  const clock = new FakeClock();
  const written: string[] = [];
  const text = new ProgressText({
    err: (chunk) => void written.push(chunk),
    isTerminal: { out: true, err: isTerminal },
    clock,
  });
  return { clock, written, text };
}

describe('ProgressText on a terminal', () => {
  it('shows the first text at once and rewrites it', () => {
    const { clock, written, text } = world(true);
    text.show('one');
    clock.advance(200);
    text.show('two');
    assert.deepEqual(written, ['\rone\x1b[K', '\rtwo\x1b[K']);
  });

  it('leaves out what comes within a fifth of a second', () => {
    const { clock, written, text } = world(true);
    assert.equal(text.isDue, true);
    text.show('one');
    clock.advance(199);
    assert.equal(text.isDue, false);
    text.show('two');
    assert.deepEqual(written, ['\rone\x1b[K']);
  });

  it('takes the line away, once, and only if there is one', () => {
    const { written, text } = world(true);
    text.show(undefined);
    assert.deepEqual(written, []);
    text.show('one');
    text.show(undefined);
    text.show(undefined);
    assert.deepEqual(written, ['\rone\x1b[K', '\r\x1b[K']);
  });
});

describe('ProgressText elsewhere', () => {
  it('writes a line at most every five seconds, and none of what is over before', () => {
    const { clock, written, text } = world(false);
    text.show('one');
    clock.advance(5_000);
    text.show('two');
    text.show('three');
    clock.advance(5_000);
    text.show('four');
    assert.deepEqual(written, ['two\n', 'four\n']);
  });

  it('has no line to take away', () => {
    const { clock, written, text } = world(false);
    clock.advance(5_000);
    text.show('one');
    text.show(undefined);
    assert.deepEqual(written, ['one\n']);
  });
});
