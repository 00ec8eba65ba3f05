import assert from 'node:assert/strict';
import { drivenOffer } from '../../../test/support/scheduler-driver.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { poolText } from './pool.ts';

const none = parseInstanceName('');

describe('poolText', () => {
  it('is equal for equal offers, however they were made', () => {
    const [one, two] = ['ISA=x86-64 OSFamily=linux', 'os=Linux arch=amd64'];
    assert.equal(poolText(none, drivenOffer(one)), poolText(none, drivenOffer(two)));
  });

  it('differs by everything that decides what runs there', () => {
    const offer = drivenOffer('OSFamily=linux cores=4');
    const others = [
      drivenOffer('OSFamily=linux cores=8'),
      drivenOffer('OSFamily=linux'),
      drivenOffer('OSFamily=linux cores=4|OSFamily=wasi'),
      drivenOffer('OSFamily=linux cores=4', 1),
      { ...offer, legacyOutputs: true },
      { ...offer, digestFunctions: [] },
      { ...offer, capacity: [{ name: 'cores', amount: 2 }] },
    ];
    const texts = [offer, ...others].map((each) => poolText(none, each));
    texts.push(poolText(parseInstanceName('a'), offer));
    assert.equal(new Set(texts).size, texts.length);
  });

  it('takes class 0 for none', () => {
    const { sizeClass: _, ...offer } = drivenOffer('OSFamily=linux');
    assert.equal(poolText(none, offer), poolText(none, { ...offer, sizeClass: 0 }));
  });
});
