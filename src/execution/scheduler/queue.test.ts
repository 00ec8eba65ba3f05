import assert from 'node:assert/strict';
import { drivenNeeds, SchedulerDriver } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { type Demand, demandText } from './demand.ts';
import { DEFAULT_OPTIONS } from './options.ts';
import { Queue } from './queue.ts';

const none = parseInstanceName('');
const wishes = (platform: string) => ({ instance: none, needs: drivenNeeds(platform), avoids: [], sizeClass: 0 });

describe('demandText', () => {
  it('is equal for equal wishes, and differs by everything that a slot could treat differently', () => {
    const needs = drivenNeeds('OSFamily=linux cores=2');
    assert.equal(demandText(none, needs, [], 0), demandText(none, drivenNeeds('min-cores=2 os=Linux'), [], 0));
    const preferring = { ...needs, preferences: [{ name: 'rack', values: ['1'] }] };
    const texts = [
      demandText(none, needs, [], 0),
      demandText(none, drivenNeeds('OSFamily=linux cores=3'), [], 0),
      demandText(none, drivenNeeds('OSFamily=linux'), [], 0),
      demandText(none, { ...needs, legacyOutputs: true }, [], 0),
      demandText(none, preferring, [], 0),
      demandText(none, needs, ['bad'], 0),
      demandText(none, needs, [], 1),
      demandText(parseInstanceName('a'), needs, [], 0),
    ];
    assert.equal(new Set(texts).size, texts.length);
  });
});

describe('Queue', () => {
  it('has one demand for equal wishes, told of once', () => {
    const queue = new Queue<string, string>(DEFAULT_OPTIONS.fairness);
    const told: Demand<string, string>[] = [];
    queue.listen({
      onDemand: (demand) => told.push(demand),
      onPatienceOver: () => assert.fail(),
      onEmpty: () => assert.fail(),
    });
    const demand = queue.demandOf(wishes('OSFamily=linux'));
    assert.equal(queue.demandOf(wishes('os=linux')), demand);
    assert.deepEqual(told, [demand]);
    assert.deepEqual([...queue.allDemands], [demand]);
    assert.deepEqual([queue.size, queue.demands.size, queue.waryDemands.size], [0, 0, 0]);
  });

  it('forgets demands without tasks when there are too many', () => {
    const queue = new Queue<string, string>(DEFAULT_OPTIONS.fairness);
    for (let count = 0; count < 1_000; count++) queue.demandOf(wishes(`pool=${count}`));
    assert.ok([...queue.allDemands].length <= 256);
  });

  it('takes a task back whose demand was forgotten while it ran', () => {
    const driver = new SchedulerDriver({ maxOperations: 1_000 });
    driver.submit('first', { platform: 'pool=mine' });
    driver.sync('s', { platform: 'pool=mine' });
    driver.sync('s', { platform: 'pool=mine', lease: 'lease-0' });
    for (let count = 0; count < 300; count++) {
      driver.submit(`other ${count}`, { action: String(count + 100), platform: `pool=${count}` });
      driver.apply({ type: 'cancel', operation: `other ${count}` });
    }
    assert.deepEqual(driver.apply({ type: 'leave', slot: 's' }), ['first queued']);
    assert.deepEqual(driver.sync('t', { platform: 'pool=mine' }), [
      'first executing',
      't: lease-1 attempt 2, work of first',
    ]);
  });

  it('takes a task back with the demand that took the place of its own', () => {
    const driver = new SchedulerDriver({ maxOperations: 1_000 });
    const mine = { platform: 'pool=mine' };
    driver.submit('first', mine);
    driver.sync('s', mine);
    for (let count = 0; count < 300; count++) {
      driver.submit(`other ${count}`, { action: String(count + 100), platform: `pool=${count}` });
      driver.apply({ type: 'cancel', operation: `other ${count}` });
    }
    driver.submit('second', { ...mine, action: 'b' });
    driver.apply({ type: 'leave', slot: 's' });
    assert.deepEqual(
      [...driver.view.demands()].map(({ queued }) => queued),
      [2],
    );
    assert.deepEqual(driver.sync('t', mine)[0], 'first executing');
    assert.deepEqual(driver.sync('u', mine)[0], 'second executing');
  });

  it('adds up what is expected of its tasks, those without history as `unknownMs`', () => {
    const driver = new SchedulerDriver();
    driver.submit('one', { expectedMs: 2_500 });
    driver.nowMs = 5;
    driver.submit('two', { action: 'b' });
    const of = () =>
      [...driver.view.demands()].map(({ queuedWorkMs, oldestQueuedAtMs }) => [queuedWorkMs, oldestQueuedAtMs]);
    assert.deepEqual(of(), [[12_500, 0]]);
    driver.apply({ type: 'cancel', operation: 'one' });
    assert.deepEqual(of(), [[10_000, 5]]);
    driver.apply({ type: 'cancel', operation: 'two' });
    assert.deepEqual(of(), []);
  });
});
