import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { AttemptEnd, AttemptRecord } from './events.ts';
import { attemptsText, blockText, explanationText } from './explanation-text.ts';
import type { Block, Explanation } from './view.ts';

const NOW = 1_000_000;

const QUEUED: Omit<Explanation, 'text'> = {
  state: 'queued',
  rank: 3,
  competitors: 40,
  blocks: [{ kind: 'all-busy', slots: 12 }],
  expectedStartMs: NOW + 120_000,
  attempts: [],
};

function attempt(number: number, node: string, how?: AttemptEnd['how'], cause = ''): AttemptRecord {
  const startedAtMs = NOW - 60_000;
  const begun = { attempt: number, slot: `${node}/thread=0`, node, startedAtMs };
  return how === undefined ? begun : { ...begun, end: { atMs: NOW - 1_000, how, cause } };
}

const LOST = attempt(1, 'node=a', 'worker-lost');

describe('explanationText', () => {
  const texts: readonly (readonly [Partial<Explanation>, string])[] = [
    [{}, '3rd of 40 in line for 12 busy slots; expected to start in about 2 min.'],
    [
      { attempts: [LOST] },
      '3rd of 40 in line for 12 busy slots; expected to start in about 2 min. Attempt 1 was lost: worker node=a fell silent.',
    ],
    [
      { rank: 1, competitors: 1, blocks: [{ kind: 'all-busy', slots: 1 }], expectedStartMs: undefined },
      'Next in line for 1 busy slot.',
    ],
    [{ rank: undefined, competitors: undefined, blocks: [], expectedStartMs: undefined }, 'In line.'],
    [
      { blocks: [{ kind: 'no-such-worker', text: 'no worker satisfies the platform: ISA wants arm64' }] },
      'No worker satisfies the platform: ISA wants arm64.',
    ],
    [
      { rank: 1, competitors: 2, blocks: [{ kind: 'pool-empty', pool: 'mac', untilMs: NOW + 300_000 }] },
      '1st of 2 in line; expected to start in about 2 min. The pool "mac" could run it and has no worker now; it waits for one for another 5 min.',
    ],
    [
      { blocks: [{ kind: 'drained', slots: 4, reason: 'new kernel' }, ...QUEUED.blocks], expectedStartMs: NOW - 5 },
      '3rd of 40 in line for 12 busy slots; expected to start any moment. 4 slots that fit take no new work (new kernel).',
    ],
    [
      {
        expectedStartMs: undefined,
        blocks: [
          { kind: 'turn', share: 'nightly', running: 2 },
          { kind: 'resource', resource: 'cores', wanted: 8, mostFree: 3.5 },
          { kind: 'avoids-nodes', nodes: ['node=a'] },
        ],
      },
      '3rd of 40 in line. The share "nightly", which runs 2 now, has a better claim. No node has enough cores free: it needs 8, at most 3.5 is left.',
    ],
    [{ state: 'executing', attempts: [attempt(1, 'node=a')] }, 'It runs on worker node=a for 1 min.'],
    [{ state: 'executing', attempts: [] }, 'It runs.'],
    [
      { state: 'executing', attempts: [LOST, { ...attempt(2, ''), startedAtMs: NOW }] },
      'It runs as attempt 2 on a worker without a name as of now. Attempt 1 was lost: worker node=a fell silent.',
    ],
    [
      { state: 'executing', attempts: [attempt(1, 'node=a'), { ...attempt(2, 'node=b'), startedAtMs: NOW - 7_000 }] },
      'It runs on worker node=a for 1 min, and on worker node=b for 7 s.',
    ],
    [{ state: 'recording', attempts: [attempt(1, 'node=a', 'success')] }, 'It has run; its result is being stored.'],
  ];
  for (const [facts, text] of texts) {
    it(`says: ${text}`, () => assert.equal(explanationText({ ...QUEUED, ...facts }, NOW), text));
  }

  it('counts in the English way', () => {
    const place = (rank: number) =>
      explanationText({ ...QUEUED, rank, competitors: 5_000, blocks: [], expectedStartMs: undefined }, NOW);
    const places = [1, 2, 3, 4, 11, 12, 13, 21, 101, 111, 1_002].map((rank) => place(rank).split(' ')[0]);
    assert.deepEqual(places, [
      ...['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '101st', '111th', '1,002nd'],
    ]);
  });

  it('rounds expected starts to one unit', () => {
    const at = (seconds: number) => explanationText({ ...QUEUED, expectedStartMs: NOW + seconds * 1_000 }, NOW);
    const waits = [1, 59.4, 59.6, 3_569, 3_571, 7_300, 500_000].map(
      (seconds) => /about (.*)\.$/.exec(at(seconds))?.[1],
    );
    assert.deepEqual(waits, ['1 s', '59 s', '1 min', '59 min', '1 h', '2 h', '6 days']);
  });

  it('law: is a few sentences of bounded length, whatever names and reasons hold', () => {
    const text = fc.string({ maxLength: 2_000 });
    const block: fc.Arbitrary<Block> = fc.oneof(
      fc.record({ kind: fc.constant('no-such-worker' as const), text }),
      fc.record({ kind: fc.constant('avoids-nodes' as const), nodes: fc.array(text, { maxLength: 50 }) }),
      fc.record({ kind: fc.constant('turn' as const), share: text, running: fc.nat() }),
      fc.record({ kind: fc.constant('drained' as const), slots: fc.nat(), reason: text }),
    );
    const facts = { blocks: fc.array(block), rank: fc.nat(), cause: text, node: text };
    fc.assert(
      fc.property(fc.record(facts), ({ blocks, rank, cause, node }) => {
        const attempts = [1, 2, 3].map((number) => attempt(number, node, 'worker-fault', cause));
        const said = explanationText({ ...QUEUED, blocks, rank, attempts }, NOW);
        assert.ok(said.length < 3_500 && /[.!?…]$/.test(said), said);
      }),
    );
  });
});

describe('blockText', () => {
  const blocks: readonly (readonly [Block, string])[] = [
    [{ kind: 'no-such-worker', text: 'no worker has it' }, 'no worker has it'],
    [{ kind: 'pool-empty', pool: 'mac', untilMs: NOW }, 'the pool "mac" could run it and has no worker now'],
    [
      { kind: 'pool-empty', pool: 'mac', untilMs: NOW + 500 },
      'the pool "mac" could run it and has no worker now; it waits for one for another 1 s',
    ],
    [
      { kind: 'pool-empty', pool: 'mac', untilMs: Number.POSITIVE_INFINITY },
      'the pool "mac" could run it and has no worker now',
    ],
    [{ kind: 'all-busy', slots: 1 }, 'the only slot that fits is busy'],
    [{ kind: 'all-busy', slots: 1_200 }, 'all 1,200 slots that fit are busy'],
    [{ kind: 'drained', slots: 1, reason: '' }, '1 slot that fits takes no new work'],
    [{ kind: 'drained', slots: 2, reason: 'x' }, '2 slots that fit take no new work (x)'],
    [
      { kind: 'resource', resource: 'memory', wanted: 8 * 1024 ** 3, mostFree: 7.99 * 1024 ** 3 },
      'no node has enough memory free: it needs 8Gi, at most 7.9Gi is left',
    ],
    [
      { kind: 'avoids-nodes', nodes: ['a', 'b'] },
      'it keeps off a, b because of what happened there, while another worker may do',
    ],
    [
      { kind: 'avoids-nodes', nodes: ['a', 'b', 'c', 'd', 'e'] },
      'it keeps off a, b, c and 2 more nodes because of what happened there, while another worker may do',
    ],
    [{ kind: 'turn', share: 'bob', running: 0 }, 'the share "bob", which runs 0 now, has a better claim'],
  ];
  for (const [block, text] of blocks) {
    it(`says of ${block.kind}: ${text}`, () => assert.equal(blockText(block, NOW), text));
  }
});

describe('attemptsText', () => {
  for (const [how, cause, text] of [
    ['success', '', ''],
    ['failure', 'exit code 1', 'Attempt 1 failed on worker n: exit code 1.'],
    ['exhausted', 'killed for memory', 'Attempt 1 ran out of memory or disk on worker n: killed for memory.'],
    ['worker-fault', 'no space left.', 'Attempt 1 ended with a fault of worker n: no space left.'],
    ['worker-lost', '', 'Attempt 1 was lost: worker n fell silent.'],
    ['worker-lost', 'it restarted', 'Attempt 1 was lost with worker n: it restarted.'],
    ['cancelled', '', 'Attempt 1 on worker n was cancelled.'],
    ['superseded', '', 'Attempt 1 on worker n was given up, as another one was faster.'],
  ] as const) {
    it(`says of ${how}: ${text}`, () => assert.equal(attemptsText([attempt(1, 'n', how, cause)]), text));
  }

  it('tells of endings of other versions', () => {
    const strange = { attempt: 1, node: 'n', end: { how: 'evaporated', cause: 'heat' } };
    assert.equal(attemptsText([strange]), 'Attempt 1 on worker n ended as evaporated: heat.');
    const counted = [strange, strange, attempt(3, 'n', 'cancelled')];
    assert.match(attemptsText(counted), /^There were 2 earlier attempts: 2 evaporated\. /);
  });

  it('says nothing before the first attempt has ended', () => {
    assert.equal(attemptsText([]), '');
    assert.equal(attemptsText([attempt(1, 'n')]), '');
  });

  it('tells of two, and counts more than that', () => {
    const success = attempt(2, 'b', 'success');
    assert.equal(
      attemptsText([attempt(1, 'a', 'worker-lost'), success]),
      'Attempt 1 was lost: worker a fell silent. Attempt 2 succeeded on worker b.',
    );
    const attempts = [
      attempt(1, 'a', 'worker-lost'),
      attempt(2, 'b', 'worker-fault'),
      attempt(3, 'c', 'worker-lost'),
      attempt(4, 'd', 'exhausted'),
      attempt(5, 'e'),
    ];
    assert.equal(
      attemptsText(attempts),
      'There were 3 earlier attempts: 2 lost with the worker, 1 ended by a fault of the worker. Attempt 4 ran out of memory or disk on worker d.',
    );
  });
});
