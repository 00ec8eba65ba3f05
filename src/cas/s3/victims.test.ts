import assert from 'node:assert/strict';
import fc from 'fast-check';
import { digestOf } from '../../digest/hasher.ts';
import { type Container, Containers } from './containers.ts';
import { chooseVictims, type VictimRules, type Victims } from './victims.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const NOW = 1_000_000;
const DAY = 86_400;
const OURS = '00'.repeat(8);
const THEIRS = 'ff'.repeat(8);
const DIGEST = digestOf('sha256', Buffer.from('large'));
const RULES: VictimRules = { packBytes: 32 * MIB, retentionSeconds: 0, maxBytes: 0 };

interface Facts {
  readonly sizeBytes: number;
  readonly ageSeconds?: number;
  readonly liveBytes?: number;
  readonly liveRows?: number;
  readonly writer?: string;
  readonly isLarge?: boolean;
}

/** A bucket in which only sizes and ages count. */
class Bucket {
  readonly containers = new Containers();
  #number = 0;

  add({ sizeBytes, ageSeconds = DAY, liveBytes = sizeBytes, liveRows = 1, ...facts }: Facts): Container {
    const id = { writer: facts.writer ?? OURS, number: this.#number++, nonce: 'a1a2a3a4' };
    const name = { id, ...(facts.isLarge === true && { digest: DIGEST }) };
    return Object.assign(this.containers.add(name, sizeBytes, NOW - ageSeconds), { liveBytes, liveRows });
  }

  many(count: number, facts: Facts): Container[] {
    return Array.from({ length: count }, () => this.add(facts));
  }

  choose(rules: Partial<VictimRules> = {}, now = NOW): readonly Victims[] {
    return chooseVictims([...this.containers], isOurs, now, { ...RULES, ...rules });
  }
}

function isOurs({ id }: Container): boolean {
  return id.writer === OURS;
}

function condemn(container: Container): void {
  container.condemned = { keepSinceSeconds: 0, learnedMs: 0, isAnnounced: false, publishedMs: undefined };
}

describe('chooseVictims', () => {
  it('leaves alone what is neither old nor too much, small nor garbage', () => {
    const bucket = new Bucket();
    bucket.add({ sizeBytes: 32 * MIB });
    bucket.add({ sizeBytes: 100 * MIB, isLarge: true });
    assert.deepEqual(bucket.choose({ retentionSeconds: 2 * DAY, maxBytes: 1000 * MIB }), []);
  });

  describe('by age', () => {
    it('takes what was written before the time of retention, and keeps what was used since', () => {
      const bucket = new Bucket();
      const old = bucket.add({ sizeBytes: MIB, ageSeconds: 10 * DAY });
      const older = bucket.add({ sizeBytes: 20 * MIB, ageSeconds: 11 * DAY, isLarge: true });
      bucket.add({ sizeBytes: 20 * MIB, ageSeconds: 10 * DAY - 1 });
      assert.deepEqual(bucket.choose({ retentionSeconds: 10 * DAY }), [
        { containers: [older, old], keepSinceSeconds: NOW - 10 * DAY },
      ]);
    });

    it('takes nothing when the clock is not yet as late as the time of retention', () => {
      const bucket = new Bucket();
      bucket.add({ sizeBytes: 20 * MIB, ageSeconds: NOW });
      assert.deepEqual(bucket.choose({ retentionSeconds: 10 * DAY }, 100), []);
    });
  });

  describe('by size', () => {
    it('takes the oldest until the rest is within the limit, and keeps what was used in the newer half of the time', () => {
      const bucket = new Bucket();
      bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 1000 });
      const second = bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 5000 });
      const first = bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 9001 });
      // Whole seconds: a condemnation has no room for halves.
      const expected = { containers: [first, second], keepSinceSeconds: NOW - 4501 };
      assert.deepEqual(bucket.choose({ maxBytes: 59 * MIB }), [expected]);
      assert.deepEqual(bucket.choose({ maxBytes: 60 * MIB })[0]?.containers, [first]);
      assert.deepEqual(bucket.choose({ maxBytes: 90 * MIB }), []);
    });

    it('counts what others have, but leaves it to them', () => {
      const bucket = new Bucket();
      bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 9000, writer: THEIRS });
      const ours = bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 8000 });
      bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 7000 });
      assert.deepEqual(bucket.choose({ maxBytes: 60 * MIB }), []);
      assert.deepEqual(bucket.choose({ maxBytes: 59 * MIB })[0]?.containers, [ours]);
    });

    it('does not count what is condemned', () => {
      const bucket = new Bucket();
      condemn(bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 9000 }));
      bucket.add({ sizeBytes: 30 * MIB, ageSeconds: 8000 });
      assert.deepEqual(bucket.choose({ maxBytes: 30 * MIB }), []);
    });

    it('takes the same of several of one age on every server, in whatever order it learned of them', () => {
      const names = [3, 1, 2].map((number) => ({ id: { writer: OURS, number, nonce: 'a1a2a3a4' } }));
      for (const order of [names, names.toReversed()]) {
        const containers = new Containers();
        for (const name of order) containers.add(name, 30 * MIB, NOW - DAY).liveBytes = 30 * MIB;
        const [victims] = chooseVictims([...containers], isOurs, NOW, { ...RULES, maxBytes: 60 * MIB });
        assert.deepEqual(
          victims?.containers.map(({ id }) => id.number),
          [1],
        );
      }
    });

    it('leaves alone what is so new that it would only be copied', () => {
      const bucket = new Bucket();
      bucket.many(3, { sizeBytes: 30 * MIB, ageSeconds: 599 });
      assert.deepEqual(bucket.choose({ maxBytes: MIB }), []);
      bucket.many(1, { sizeBytes: 30 * MIB, ageSeconds: 600 });
      assert.equal(bucket.choose({ maxBytes: MIB })[0]?.containers.length, 1);
    });
  });

  describe('by waste', () => {
    it('takes what is mostly garbage, once it is ten minutes old', () => {
      const bucket = new Bucket();
      const wasteful = bucket.add({ sizeBytes: 20 * MIB, liveBytes: 9 * MIB, ageSeconds: 600 });
      const copied = bucket.add({ sizeBytes: 20 * MIB, liveBytes: 0, liveRows: 0, ageSeconds: 600, isLarge: true });
      bucket.add({ sizeBytes: 20 * MIB, liveBytes: 0, ageSeconds: 599 });
      bucket.add({ sizeBytes: 20 * MIB, liveBytes: 10 * MIB });
      assert.deepEqual(bucket.choose(), [{ containers: [wasteful, copied], keepSinceSeconds: 0 }]);
    });

    it('does not take footers for garbage: with tiny blobs they are most of a pack', () => {
      const bucket = new Bucket();
      bucket.add({ sizeBytes: 65_536 * 45, liveBytes: 65_536 * 10, liveRows: 65_536 });
      assert.deepEqual(bucket.choose(), []);
    });
  });

  describe('small packs', () => {
    it('are put together when there are 16 of about the same size', () => {
      const bucket = new Bucket();
      const small = bucket.many(15, { sizeBytes: 100 * KIB, ageSeconds: 0 });
      bucket.many(15, { sizeBytes: 300 * KIB });
      assert.deepEqual(bucket.choose(), []);
      small.push(bucket.add({ sizeBytes: 200 * KIB }));
      assert.deepEqual(bucket.choose(), [{ containers: small, keepSinceSeconds: 0 }]);
    });

    it('are not put together with those of others: each server would copy its few for ever', () => {
      const bucket = new Bucket();
      bucket.many(15, { sizeBytes: 100 * KIB });
      bucket.many(15, { sizeBytes: 100 * KIB, writer: THEIRS });
      assert.deepEqual(bucket.choose(), []);
    });

    for (const [what, facts, packBytes] of [
      ['large blobs', { sizeBytes: 2 * MIB, isLarge: true }, 32 * MIB],
      ['packs of a quarter of the full size', { sizeBytes: MIB }, 4 * MIB],
      ['packs of 8 MiB, however large a full one is', { sizeBytes: 8 * MIB }, 512 * MIB],
      ['packs with very many rows, which would be as small again', { sizeBytes: MIB, liveRows: 16_384 }, 32 * MIB],
    ] as const) {
      it(`do not include ${what}`, () => {
        const bucket = new Bucket();
        bucket.many(20, facts);
        assert.deepEqual(bucket.choose({ packBytes }), []);
      });
    }
  });

  describe('in one round', () => {
    it('takes at most 256 MiB for each reason', () => {
      const bucket = new Bucket();
      const all = bucket.many(20, { sizeBytes: 30 * MIB, ageSeconds: 10 * DAY });
      const [expired] = bucket.choose({ retentionSeconds: DAY });
      assert.deepEqual(expired?.containers, all.slice(0, 8));
    });

    it('takes one however large it is', () => {
      const bucket = new Bucket();
      const all = bucket.many(2, { sizeBytes: 5000 * MIB, ageSeconds: 10 * DAY, isLarge: true });
      assert.deepEqual(bucket.choose({ retentionSeconds: DAY })[0]?.containers, all.slice(0, 1));
    });

    it('takes no more rows than can be listed at once', () => {
      const bucket = new Bucket();
      const all = bucket.many(9, { sizeBytes: 10 * MIB, liveRows: 65_536, ageSeconds: 10 * DAY });
      assert.deepEqual(bucket.choose({ retentionSeconds: DAY })[0]?.containers, all.slice(0, 4));
    });

    it('goes on with the rest by other rules when one has taken its share', () => {
      const bucket = new Bucket();
      const all = bucket.many(20, { sizeBytes: 30 * MIB, liveBytes: 0, ageSeconds: 10 * DAY });
      const victims = bucket.choose({ retentionSeconds: DAY });
      assert.deepEqual(
        victims.map(({ containers }) => containers),
        [all.slice(0, 8), all.slice(8, 16)],
      );
    });
  });

  const facts = fc.record({
    sizeBytes: fc.oneof(fc.nat({ max: 8 * MIB }), fc.nat({ max: 40 * MIB })),
    ageSeconds: fc.nat({ max: 20 * DAY }),
    liveShare: fc.double({ min: 0, max: 1, noNaN: true }),
    liveRows: fc.nat({ max: 65_536 }),
    isOurs: fc.boolean(),
    isLarge: fc.boolean(),
    state: fc.constantFrom('fine', 'fine', 'fine', 'condemned', 'damaged'),
  });
  const rules = fc.record({
    packBytes: fc.constantFrom(MIB, 32 * MIB, 512 * MIB),
    retentionSeconds: fc.constantFrom(0, DAY, 10 * DAY),
    maxBytes: fc.constantFrom(0, 1, 50 * MIB),
  });
  const buckets = fc.array(facts, { maxLength: 60, size: 'max' }).map((all) => {
    const bucket = new Bucket();
    for (const { liveShare, state, isOurs: ours, ...rest } of all) {
      const liveBytes = Math.floor(rest.sizeBytes * liveShare);
      const container = bucket.add({ ...rest, liveBytes, writer: ours ? OURS : THEIRS });
      if (state === 'condemned') condemn(container);
      container.isDamaged = state === 'damaged';
    }
    return bucket;
  });

  it('law: takes each at most once, nothing condemned, damaged or of others, and not too much at once', () => {
    fc.assert(
      fc.property(buckets, rules, (bucket, given) => {
        const seen = new Set<Container>();
        for (const { containers, keepSinceSeconds } of bucket.choose(given)) {
          assert.ok(containers.length > 0 && Number.isSafeInteger(keepSinceSeconds) && keepSinceSeconds >= 0);
          const bytes = containers.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
          const rows = containers.reduce((sum, { liveRows }) => sum + liveRows, 0);
          assert.ok(containers.length === 1 || (bytes <= 256 * MIB && rows <= 262_144));
          for (const container of containers) {
            assert.ok(!seen.has(container), 'taken twice');
            seen.add(container);
            assert.ok(isOurs(container) && container.condemned === undefined && !container.isDamaged);
          }
        }
      }),
    );
  });

  it('law: round after round it comes to an end, though everything is still used and is copied', () => {
    fc.assert(
      fc.property(buckets, rules, (bucket, given) => {
        for (let round = 0; ; round++) {
          assert.ok(round < 100, 'copying goes on for ever');
          const victims = bucket.choose(given);
          if (victims.length === 0) break;
          for (const { containers } of victims) copyForward(bucket, containers, given.packBytes);
        }
      }),
    );
  });
});

/** What `CopyForward` and `PackWriter` make of containers all of whose rows are needed: packs that are full by bytes or by rows. */
function copyForward(bucket: Bucket, containers: readonly Container[], packBytes: number): void {
  let bytes = 0;
  let rows = 0;
  const flush = (): void => {
    if (rows > 0) {
      bucket.add({ sizeBytes: bytes + rows * 35 + 62, liveBytes: bytes, liveRows: rows, ageSeconds: 0 });
    }
    bytes = 0;
    rows = 0;
  };
  for (const { digest, sizeBytes, liveBytes, liveRows } of containers) {
    if (digest !== undefined) {
      if (liveRows > 0) bucket.add({ sizeBytes, ageSeconds: 0, isLarge: true });
      continue;
    }
    bytes += liveBytes;
    rows += liveRows;
    if (bytes >= Math.min(packBytes, 16 * MIB) || rows >= 32_768) flush();
  }
  flush();
  for (const container of containers) bucket.containers.remove(container);
}
