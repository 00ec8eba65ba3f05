import assert from 'node:assert/strict';
import type { Requirement, WorkerOffer } from '../platform/platform.ts';
import { offerText, requirementText } from './platform-text.ts';

const NEEDS: Requirement = { properties: [], digestFunction: 'sha256', legacyOutputs: false };
const OFFER: WorkerOffer = { alternatives: [{ properties: [] }], digestFunctions: ['sha256'], legacyOutputs: false };
const LINUX = {
  properties: [
    { name: 'ISA', values: ['x86-64', 'x86-avx2'] },
    { name: 'OSFamily', values: ['linux'] },
  ],
};

describe('requirementText', () => {
  it('lists properties and what is taken', () => {
    const takes = [{ name: 'cores', amount: 2 }];
    assert.equal(requirementText({ ...NEEDS, ...LINUX, takes }), 'ISA=x86-64,x86-avx2 OSFamily=linux cores:2');
    assert.equal(requirementText({ ...NEEDS, takes }), 'cores:2');
  });

  it('has a word for no demands, and an end', () => {
    assert.equal(requirementText(NEEDS), 'any');
    const long = requirementText({ ...NEEDS, properties: [{ name: 'x', values: ['y'.repeat(10_000)] }] });
    assert.equal(long.length, 501);
  });
});

describe('offerText', () => {
  it('lists alternatives and what slots share', () => {
    const wasm = { properties: [{ name: 'ISA', values: ['wasm32'] }] };
    const capacity = [{ name: 'cores', amount: 8 }];
    assert.equal(
      offerText({ ...OFFER, alternatives: [LINUX, wasm], capacity }),
      'ISA=x86-64,x86-avx2 OSFamily=linux or ISA=wasm32 cores:8',
    );
    assert.equal(offerText(OFFER), 'any');
  });
});
