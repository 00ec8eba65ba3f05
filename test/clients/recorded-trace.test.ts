import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDeclaredWorker } from './declared-worker.ts';
import { Gantry, gantryCommand, stopEverything } from './gantry.ts';
import { RemoteActions } from './remote-actions.ts';

const PROPERTIES = { OSFamily: 'linux', ISA: 'x86-64' };
const ACTIONS = 8;

describe('a server that records its scheduler', () => {
  after(stopEverything);

  it('leaves a trace that can be simulated with another fleet, as tables and as a picture', async () => {
    const server = await Gantry.start({
      role: 'server',
      config: { execution: { trace: { file: '$DATA_FOLDER/trace' } } },
    });
    const actions = new RemoteActions(server.grpcAddress);
    await startDeclaredWorker(server, { node: 'recorded', properties: PROPERTIES });
    const asked = { properties: PROPERTIES, invocation: 'the-build' };
    const executions = await Promise.all(Array.from({ length: ACTIONS }, () => actions.start('true', asked)));
    for (const execution of executions) assert.equal(await execution.worker(), 'recorded');
    actions.close();
    await server.stop();

    const [trace, picture] = [join(server.data, 'trace'), join(server.data, 'picture.svg')];
    const { exitCode, output } = await gantryCommand('simulate', trace, '--workers', '2', '--svg', picture);
    assert.equal(exitCode, 0, output);
    assert.match(output, /^fleet +2 workers$/m);
    assert.match(output, new RegExp(`^actions +${ACTIONS}$`, 'm'));
    assert.match(output, /SLOTS +USED +MOST QUEUED +POOL\n +2 +.* ISA=x86-64/);
    assert.match(output, new RegExp(`^ *${ACTIONS} .*the-build$`, 'm'));
    assert.ok(existsSync(picture));
    assert.match(readFileSync(picture, 'utf8'), /^<svg [\s\S]*<\/svg>\s*$/);

    const json = await gantryCommand('simulate', trace, '--json');
    assert.equal(json.exitCode, 0, json.output);
    const { actions: simulated, attempts, unfinished } = JSON.parse(json.output);
    assert.deepEqual({ simulated, attempts, unfinished }, { simulated: ACTIONS, attempts: ACTIONS, unfinished: 0 });
  });
});
