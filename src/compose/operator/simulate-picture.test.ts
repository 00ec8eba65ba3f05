import assert from 'node:assert/strict';
import { TRACE_LIBRARY } from '../../../test/simulation/traces/library.ts';
import { TRACE_MATCHER } from '../../../test/simulation/traces/trace-builder.ts';
import { simulateTrace } from '../../execution/trace/simulate-trace.ts';
import { simulationPicture } from './simulate-picture.ts';

const report = simulateTrace(TRACE_LIBRARY['mixed platforms'](1), TRACE_MATCHER);

const count = (text: string, part: RegExp): number => [...text.matchAll(part)].length;

describe('simulationPicture', () => {
  const picture = simulationPicture(report, '4 workers, <fast> & "new"');

  it('is one XML element whose tags are closed in order', () => {
    const open: string[] = [];
    for (const [, slash, name, rest] of picture.matchAll(/<(\/?)([a-z]+)([^<>]*)>/g)) {
      if (slash === '/') assert.equal(open.pop(), name);
      else if (!rest?.endsWith('/')) open.push(name ?? '');
    }
    assert.deepEqual(open, []);
    assert.match(picture, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" viewBox="0 0 960 \d+"/);
  });

  it('has a title and a description for who cannot see it', () => {
    assert.match(picture, /role="img" aria-labelledby="title description"/);
    assert.match(picture, /<title id="title">4 workers, &#60;fast&#62; &#38; &#34;new&#34;<\/title>/);
    assert.match(
      picture,
      /<desc id="description">328 actions took [^<]+OSFamily=windows: up to 2 slots, [\d.]+ % used/,
    );
  });

  it('draws a lane for each pool, within the picture', () => {
    assert.equal(count(picture, /class="busy" d=/g), 4);
    assert.equal(count(picture, /class="queued" d=/g), 4);
    const numbers = [...picture.matchAll(/[MVH]([\d.]+)/g)].map(([, number]) => Number(number));
    assert.ok(numbers.length > 1000);
    assert.ok(numbers.every((number) => number >= 0 && number <= 960));
  });

  it('draws a slot that is always busy to the top of its lane', () => {
    const [pool] = report.pools;
    assert.ok(pool !== undefined);
    const lanes = { slots: [1, 1], busy: [1, 0], queued: [0, 3] };
    const drawn = simulationPicture({ ...report, pools: [{ ...pool, maxSlots: 1, maxQueued: 3, lanes }] }, 'x');
    // The lane is 96 high and its floor is at 188; the drawing is 832 wide and begins at 64.
    assert.match(drawn, /class="busy" d="M64,188V92H480V188H896V188Z"/);
    assert.match(drawn, /class="queued" d="M64,188H480V92H896"/);
  });

  it('can be read in light and in dark surroundings', () => {
    assert.match(picture, /@media \(prefers-color-scheme: dark\)/);
  });

  it('draws no more lanes than people can look at', () => {
    const [pool] = report.pools;
    assert.ok(pool !== undefined);
    const pools = Array.from({ length: 100 }, () => pool);
    assert.equal(count(simulationPicture({ ...report, pools }, 'x'), /class="busy" d=/g), 24);
  });

  it('draws an empty picture of nothing', () => {
    const empty = simulationPicture({ ...report, pools: [], actions: 0, makespanMs: 0 }, 'x');
    assert.ok(empty.startsWith('<svg ') && empty.endsWith('</svg>\n'));
    assert.doesNotMatch(empty, /NaN/);
  });
});
