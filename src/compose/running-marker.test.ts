import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/recording-log.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { RunningMarker } from './running-marker.ts';

describe('RunningMarker', () => {
  let clock: FakeClock;
  let path: string;
  let recorded: ReturnType<typeof recordingLog>;
  const open = () => new RunningMarker(path, clock, recorded.log);

  beforeEach(() => {
    clock = new FakeClock();
    recorded = recordingLog();
    path = join(temporaryFolder(), 'running');
  });

  it('is there while something runs, and a while longer', () => {
    const marker = open();
    assert.equal(marker.isSet, false);
    marker.note(true);
    assert.ok(existsSync(path));
    marker.note(false);
    clock.advance(4_999);
    assert.ok(existsSync(path));
    clock.advance(1);
    assert.ok(!existsSync(path));
    assert.equal(clock.armed, 0);
  });

  it('stays through a short pause', () => {
    const marker = open();
    marker.note(true);
    marker.note(false);
    clock.advance(4_000);
    marker.note(true);
    clock.advance(60_000);
    assert.ok(existsSync(path));
  });

  it('tells the next server that something was running, once', () => {
    open().note(true);
    const next = open();
    assert.equal(next.isSet, true);
    clock.advance(5_000);
    assert.equal(open().isSet, false);
  });

  it('goes at an orderly stop with nothing running, and stays otherwise', () => {
    const busy = open();
    busy.note(true);
    busy.stop();
    assert.ok(existsSync(path));
    const idle = open();
    idle.stop();
    assert.ok(!existsSync(path));
    assert.equal(clock.armed, 0);
  });

  it('warns when it cannot be written, and goes on', () => {
    path = join(temporaryFolder(), 'missing', 'running');
    open().note(true);
    assert.deepEqual(
      recorded.lines.map(({ msg }) => msg),
      ['the marker of running actions cannot be changed'],
    );
  });
});
