import assert from 'node:assert/strict';
import fc from 'fast-check';
import { noAbort, ofKind } from '../../../test/support/expectations.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { digestOf } from '../../digest/hasher.ts';
import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { RequestMetadata } from '../../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { SystemRandom } from '../../system/random.ts';
import { Operations } from '../operations.ts';
import { DEFAULT_PAGE_SIZE, instanceOfCollection, type ListRequest, listOperations } from './list-operations.ts';

const action = digestOf('sha256', Buffer.from('action'));
const main = parseInstanceName('main');

class World {
  readonly clock = new FakeClock();
  readonly operations = new Operations(this.clock, new SystemRandom(), {
    ...{ maxLive: 200_000, maxFinished: 200_000, finishedRetentionMs: 60_000, heartbeatMs: 30_000 },
  });
  isAllowed: (instance: InstanceName) => Promise<boolean> = async () => true;

  /** @returns their names, in order of creation. */
  create(count: number, instance = main): readonly string[] {
    return Array.from({ length: count }, () => this.operations.create({ instance, action }).name);
  }

  async page(request: Partial<ListRequest> = {}, signal = noAbort()) {
    const whole = { name: '', filter: '', pageSize: 0, pageToken: '', ...request };
    const page = await listOperations(this.operations, whole, this.isAllowed, signal);
    return { names: page.operations.map(({ name }) => name), next: page.nextPageToken };
  }

  /** All pages. @param between happens after each. */
  async pages(request: Partial<ListRequest>, between: () => void = () => undefined): Promise<readonly string[]> {
    const names: string[] = [];
    let pageToken = '';
    do {
      const page = await this.page({ ...request, pageToken });
      names.push(...page.names);
      pageToken = page.next;
      between();
    } while (pageToken !== '');
    return names;
  }
}

describe('instanceOfCollection', () => {
  for (const [name, instance] of [
    ['', undefined],
    ['operations', undefined],
    ['main', 'main'],
    ['main/operations', 'main'],
    ['a/b/operations', 'a/b'],
  ] as const) {
    it(`takes "${name}" for ${instance ?? 'all instances'}`, () => assert.equal(instanceOfCollection(name), instance));
  }

  it('refuses what is no instance name', () => {
    assert.throws(() => instanceOfCollection('a//b'), ofKind('invalid-argument'));
    assert.throws(() => instanceOfCollection('a/blobs/operations'), ofKind('invalid-argument'));
  });
});

describe('listOperations', () => {
  it('ends a page before its texts make it larger than a message', async () => {
    const world = new World();
    const requestMetadata = RequestMetadata.fromPartial({
      targetId: '\u8a9e'.repeat(256),
      toolInvocationId: 'i'.repeat(256),
    });
    const attempt = { attempt: 1, slot: 's'.repeat(500), node: 'n', startedAtMs: 1 };
    const attempts = Array(5).fill({ ...attempt, end: { atMs: 2, how: 'worker-lost', cause: 'x'.repeat(512) } });
    for (let index = 0; index < 1000; index++) {
      const { name } = world.operations.create({ instance: main, action }, { requestMetadata });
      world.operations.finish(name, new Uint8Array(), attempts);
    }
    const { names, next } = await world.page({ pageSize: 1000 });
    assert.ok(names.length > 100 && names.length < 500 && next !== '', String(names.length));
    assert.equal((await world.pages({ pageSize: 1000 })).length, 1000);
  });

  it('gives the newest first, a page at a time, and no token with the last page (R-OP-03)', async () => {
    const world = new World();
    const names = world.create(5).toReversed();
    const first = await world.page({ pageSize: 2 });
    assert.deepEqual(first.names, names.slice(0, 2));
    const second = await world.page({ pageSize: 2, pageToken: first.next });
    assert.deepEqual(second.names, names.slice(2, 4));
    assert.deepEqual(await world.page({ pageSize: 2, pageToken: second.next }), { names: names.slice(4), next: '' });
    assert.deepEqual(await world.page({ pageSize: 5 }), { names, next: '' });
  });

  it('gives pages of a size of its own to whoever names none, and of a limited size to whoever wants more', async () => {
    const world = new World();
    world.create(2_001);
    assert.equal((await world.page()).names.length, DEFAULT_PAGE_SIZE);
    assert.equal((await world.page({ pageSize: 2_147_483_647 })).names.length, 1_000);
    await assert.rejects(world.page({ pageSize: -1 }), ofKind('invalid-argument'));
  });

  it('lists one instance, or those the caller may see, asking once for each (R-OP-06)', async () => {
    const world = new World();
    const other = world.create(2, parseInstanceName('other'));
    const mine = world.create(2);
    const asked: string[] = [];
    world.isAllowed = async (instance) => {
      asked.push(instance);
      return instance === main;
    };
    assert.deepEqual((await world.page()).names, mine.toReversed());
    assert.deepEqual(asked, ['main', 'other']);
    assert.deepEqual((await world.page({ name: 'other' })).names, []);
    world.isAllowed = async () => true;
    assert.deepEqual((await world.page({ name: 'other/operations' })).names, other.toReversed());
  });

  it('filters, and goes on behind the last one it gave', async () => {
    const world = new World();
    const names = world.create(9);
    for (const name of names.filter((_, at) => at % 2 === 0)) world.operations.advance(name, 'queued', '');
    const queued = names.filter((_, at) => at % 2 === 0).toReversed();
    assert.deepEqual(await world.pages({ filter: 'stage=QUEUED', pageSize: 2 }), queued);
    await assert.rejects(world.page({ filter: 'stage=' }), ofKind('invalid-argument'));
  });

  it('stays within the size of a message, but gives one operation at least', async () => {
    const world = new World();
    const names = world.create(6);
    for (const name of names) world.operations.finish(name, new Uint8Array(400_000));
    assert.equal((await world.page()).names.length, 2);
    assert.deepEqual(await world.pages({}), names.toReversed());
    const [large = ''] = world.create(1);
    world.operations.finish(large, new Uint8Array(3_000_000));
    assert.deepEqual((await world.page()).names, [large]);
  });

  it('looks at so many for one page only, and gives a token to go on with', async () => {
    const world = new World();
    const [oldest = ''] = world.create(100_001);
    world.operations.advance(oldest, 'queued', '');
    const first = await world.page({ filter: 'stage=QUEUED' });
    assert.deepEqual(first.names, []);
    assert.notEqual(first.next, '');
    assert.deepEqual((await world.page({ filter: 'stage=QUEUED', pageToken: first.next })).names, [oldest]);
  });

  it('ends when its caller leaves', async () => {
    const world = new World();
    world.create(1_000);
    await assert.rejects(world.page({ filter: 'done=true' }, AbortSignal.abort()), ofKind('cancelled'));
  });

  it('law: gives each operation once that was there all along, whatever comes and goes', async () => {
    const change = fc.record({ creates: fc.nat(2), finishes: fc.nat(9), deletes: fc.nat(9) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 3 }),
        async (changes, pageSize) => {
          const world = new World();
          const before = new Set(world.create(10));
          const later = new Set<string>();
          const remaining = [...changes];
          const listed = await world.pages({ pageSize }, () => {
            const next = remaining.shift();
            if (next === undefined) return;
            for (const name of world.create(next.creates)) later.add(name);
            const unfinished = [...before].filter((name) => world.operations.get(name).stage !== 'completed');
            const finished = unfinished[next.finishes];
            if (finished !== undefined) world.operations.finish(finished, new Uint8Array(1));
            const deleted = [...before][next.deletes];
            if (deleted === undefined) return;
            before.delete(deleted);
            void world.operations.delete(deleted, noAbort());
          });
          assert.equal(new Set(listed).size, listed.length);
          for (const name of before) assert.ok(listed.includes(name));
          for (const name of listed) assert.ok(!later.has(name));
        },
      ),
    );
  });
});
