import assert from 'node:assert/strict';
import { isKind } from '../../errors.ts';
import { Worker } from '../../gen/google/devtools/remoteworkers/v1test2/worker.ts';
import { DEFAULT_RULES } from '../../platform/lexicon.ts';
import { RuleMatcher } from '../../platform/matcher.ts';
import { alternativesOf, capacityOf, MAX_CAPACITY, Machines } from './bot-offer.ts';

const matcher = new RuleMatcher({ rules: DEFAULT_RULES, unknown: 'exact' });
const pair = (key: string, value: string) => ({ key, value });
const isInvalid = (error: unknown): boolean => isKind(error, 'invalid-argument');

/** Whether a bot with this worker may run an action with these properties. */
function runs(worker: Worker, platform: Record<string, string | readonly string[]>): boolean {
  const asked = Object.entries(platform).flatMap(([name, values]) =>
    [values].flat().map((value) => ({ name, value: String(value) })),
  );
  const needs = matcher.parse(asked, { digestFunction: 'sha256', legacyOutputs: false });
  const offer = {
    alternatives: alternativesOf(matcher, worker),
    digestFunctions: ['sha256' as const],
    legacyOutputs: true,
  };
  return matcher.match(offer, needs).fits;
}

describe('capacityOf', () => {
  it('is 1 unless the bot says otherwise (R-RW-13)', () => {
    assert.equal(capacityOf(undefined), 1);
    assert.equal(capacityOf(Worker.fromPartial({ configs: [pair('DockerImage', '')] })), 1);
    assert.equal(capacityOf(Worker.fromPartial({ configs: [pair('capacity', '16')] })), 16);
  });

  for (const value of ['', '0', '-1', '1.5', 'many', '0x10', String(MAX_CAPACITY + 1)]) {
    it(`refuses ${JSON.stringify(value)}`, () => {
      assert.throws(() => capacityOf(Worker.fromPartial({ configs: [pair('capacity', value)] })), isInvalid);
    });
  }
});

describe('alternativesOf', () => {
  it('offers what the primary device has, and none of the others (R-RW-12)', () => {
    const devices = [{ properties: [pair('OSFamily', 'linux')] }, { properties: [pair('phone', 'yes')] }];
    const worker = Worker.fromPartial({ devices });
    assert.equal(runs(worker, { OSFamily: 'Linux' }), true);
    assert.equal(runs(worker, { phone: 'yes' }), false);
  });

  it('offers the properties of the worker and what it can set up, but not the capacity', () => {
    const worker = Worker.fromPartial({
      properties: [pair('pool', 'fast')],
      configs: [pair('capacity', '4'), pair('runner', 'bwrap')],
    });
    assert.equal(runs(worker, { pool: 'fast', runner: 'bwrap' }), true);
    assert.equal(runs(worker, { capacity: '4' }), false);
  });

  it('takes a repeated key for any of its values (R-RW-12)', () => {
    const device = {
      properties: [pair('os', 'linux'), pair('os', 'ubuntu'), pair('ISA', 'x86-64'), pair('ISA', 'x86-avx2')],
    };
    const worker = Worker.fromPartial({ devices: [device] });
    for (const os of ['linux', 'ubuntu']) {
      assert.equal(runs(worker, { OSFamily: os, ISA: ['x86-64', 'x86-avx2'] }), true, os);
    }
    assert.equal(runs(worker, { OSFamily: 'macos' }), false);
    assert.equal(runs(worker, { ISA: 'arm-a64' }), false);
  });

  it('offers a bot that says nothing to actions that ask for nothing', () => {
    assert.equal(runs(Worker.fromPartial({}), {}), true);
    assert.equal(alternativesOf(matcher, undefined).length, 1);
  });

  for (const [what, properties] of [
    ['too many alternatives', Array.from({ length: 70 }, (_, number) => pair('os', `os-${number}`))],
    ['an amount that is none', [pair('cores', 'many')]],
    ['a key without a name', [pair('', 'x')]],
    [
      // 64 alternatives of thousands of properties each: a list made anew for every property would take seconds.
      'many alternatives of many properties',
      [
        ...Array.from({ length: 64 }, (_, number) => pair('os', `os-${number}`)),
        ...Array.from({ length: 7_000 }, (_, number) => pair(`p${number}`, 'v')),
      ],
    ],
    ['endless properties', Array(5_000).fill(pair('name', 'another value'))],
    ['two names of one thing that disagree', [pair('os', 'linux'), pair('OSFamily', 'macos')]],
  ] as const) {
    it(`refuses ${what}`, () => {
      const worker = Worker.fromPartial({ devices: [{ properties: [...properties] }] });
      assert.throws(() => alternativesOf(matcher, worker), isInvalid);
    });
  }
});

describe('a bot with endless other devices', () => {
  it('is refused: what it says is kept while it lives', () => {
    const devices = [{}, { properties: Array(5_000).fill(pair('name', 'another value')) }];
    assert.throws(() => alternativesOf(matcher, Worker.fromPartial({ devices })), isInvalid);
    assert.throws(() => alternativesOf(matcher, Worker.fromPartial({ devices: Array(70_000).fill({}) })), isInvalid);
  });
});

describe('Machines', () => {
  const machines = new Machines(matcher, ['sha256']);
  const worker = (cores: string): Worker =>
    Worker.fromPartial({ devices: [{ properties: [pair('cores', cores)] }], configs: [pair('capacity', '2')] });

  it('reads capacity and offer, and what the slots of the machine share', () => {
    const { capacity, offer } = machines.read(worker('8'), undefined);
    assert.equal(capacity, 2);
    assert.deepEqual(offer.capacity, [{ name: 'cores', amount: 8 }]);
    assert.deepEqual([offer.digestFunctions, offer.legacyOutputs], [['sha256'], true]);
  });

  it('has the same machine while a bot says the same, or nothing', () => {
    const known = machines.read(worker('8'), undefined);
    assert.equal(machines.read(worker('8'), known), known);
    assert.equal(machines.read(undefined, known), known);
    assert.notEqual(machines.read(worker('4'), known), known);
  });

  it('takes a bot that never said anything for a machine without properties', () => {
    assert.deepEqual(machines.read(undefined, undefined).offer.alternatives, [{ properties: [] }]);
  });
});
