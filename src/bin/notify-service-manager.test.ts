import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { notifyServiceManager } from './notify-service-manager.ts';

describe('notifyServiceManager', () => {
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-notify-'));
  });

  after(() => rmSync(folder, { recursive: true }));

  it('passes the state to the helper program', async () => {
    const program = join(folder, 'notify');
    writeFileSync(program, `#!/bin/sh\necho "$@" > '${folder}/told'\n`);
    chmodSync(program, 0o755);
    assert.equal(await notifyServiceManager('READY=1', { isAwaited: true, program }), undefined);
    assert.equal(readFileSync(join(folder, 'told'), 'utf8'), 'READY=1\n');
  });

  it('runs nothing unless somebody waits', async () => {
    assert.equal(
      await notifyServiceManager('READY=1', { isAwaited: false, program: join(folder, 'absent') }),
      undefined,
    );
  });

  it('says what went wrong instead of failing', async () => {
    const problem = await notifyServiceManager('STOPPING=1', { isAwaited: true, program: join(folder, 'absent') });
    assert.match(problem ?? '', /cannot tell the service manager STOPPING=1: .*ENOENT/);
  });
});
