import assert from 'node:assert/strict';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { isKind } from '../../errors.ts';
import { SystemRandom } from '../../system/random.ts';
import { BotSessions, parentOf } from './bot-sessions.ts';

const main = parseInstanceName('main');
const isInvalid = (error: unknown): boolean => isKind(error, 'invalid-argument');

function world(options: { readonly maxBots?: number; readonly resumeMs?: number } = {}) {
  const clock = new FakeClock(1_000_000);
  const expired: string[] = [];
  const sessions = new BotSessions(clock, new SystemRandom(), (bot) => expired.push(bot.id), {
    timeoutMs: 60_000,
    maxBots: 10,
    resumeMs: 0,
    ...options,
  });
  return { clock, expired, sessions };
}

describe('BotSessions', () => {
  it('names sessions below their parent (R-RW-01)', () => {
    const { sessions } = world();
    const bot = sessions.create(main, 'b');
    assert.match(bot.session, /^main\/[0-9a-f-]+$/);
    assert.equal(parentOf(bot.session), 'main');
    assert.equal(parentOf(sessions.create(parseInstanceName(''), 'b').session), '');
    assert.equal(sessions.find(bot.session, 'b'), bot);
    assert.equal(sessions.find(bot.session, ''), bot);
  });

  it('makes earlier sessions of a bot invalid, and keeps what it holds (R-RW-01)', () => {
    const { sessions } = world();
    const { session, leases } = sessions.create(main, 'b');
    const again = sessions.create(main, 'b');
    assert.equal(again.leases, leases);
    assert.throws(() => sessions.find(session, 'b'), isInvalid);
    assert.equal(sessions.find(again.session, 'b'), again);
  });

  it('takes bots of other parents for other bots', () => {
    const { sessions } = world();
    const one = sessions.create(main, 'b');
    const other = sessions.create(parseInstanceName('other'), 'b');
    assert.notEqual(one.leases, other.leases);
    assert.equal(sessions.find(one.session, 'b'), one);
  });

  it('refuses sessions it did not make, and sessions of other bots (R-RW-02)', () => {
    const { sessions } = world();
    const { session } = sessions.create(main, 'b');
    assert.throws(() => sessions.find('main/none', 'b'), isInvalid);
    assert.throws(() => sessions.find('', ''), isInvalid);
    assert.throws(() => sessions.find(session, 'c'), isInvalid);
  });

  for (const [what, id] of [
    ['no id', ''],
    ['an endless id', 'b'.repeat(2000)],
  ] as const) {
    it(`refuses a bot with ${what} (R-RW-01)`, () => {
      assert.throws(() => world().sessions.create(main, id), isInvalid);
    });
  }

  it('has a limit for bots, not for their sessions', () => {
    const { sessions } = world({ maxBots: 1 });
    sessions.create(main, 'b');
    sessions.create(main, 'b');
    assert.throws(
      () => sessions.create(main, 'c'),
      (error) => isKind(error, 'quota-exceeded'),
    );
    sessions.close(sessions.create(main, 'b'));
    assert.equal(sessions.create(main, 'c').id, 'c');
  });

  it('ends the session of a bot that does not call in time (R-RW-04)', () => {
    const { clock, expired, sessions } = world();
    const bot = sessions.create(main, 'b');
    sessions.enter(bot);
    assert.equal(sessions.leave(bot), 1_060_000);
    clock.advance(59_999);
    assert.equal(sessions.find(bot.session, 'b'), bot);
    clock.advance(1);
    assert.deepEqual(expired, ['b']);
    assert.throws(() => sessions.find(bot.session, 'b'), isInvalid);
    assert.equal(clock.armed, 0);
  });

  it('ends a session whose first call came to nothing', () => {
    const { clock, expired, sessions } = world();
    sessions.create(main, 'b');
    clock.advance(60_000);
    assert.deepEqual(expired, ['b']);
  });

  it('tells the end of a session in wall time, and keeps to its own', () => {
    const { clock, expired, sessions } = world();
    clock.jump(3_600_000);
    assert.equal(sessions.leave(sessions.create(main, 'b')), 1_000_000 + 3_600_000 + 60_000);
    clock.jump(3_600_000);
    clock.advance(59_999);
    assert.deepEqual(expired, []);
  });

  it('lets no session end while a call is open', () => {
    const { clock, expired, sessions } = world();
    const bot = sessions.create(main, 'b');
    sessions.leave(bot);
    clock.advance(30_000);
    sessions.enter(bot);
    clock.advance(90_000);
    assert.deepEqual(expired, []);
    sessions.leave(bot);
    clock.advance(60_000);
    assert.deepEqual(expired, ['b']);
  });

  it('ends sessions in the order of their last calls', () => {
    const { clock, expired, sessions } = world();
    const bots = ['a', 'b', 'c'].map((id) => sessions.create(main, id));
    for (const bot of bots) sessions.leave(bot);
    clock.advance(10_000);
    for (const bot of bots.slice(0, 1)) sessions.leave(bot);
    clock.advance(50_000);
    assert.deepEqual(expired, ['b', 'c']);
    clock.advance(10_000);
    assert.deepEqual(expired, ['b', 'c', 'a']);
  });

  it('knows which call of a bot is the newest', () => {
    const { sessions } = world();
    const bot = sessions.create(main, 'b');
    const first = bot.session;
    const call = sessions.enter(bot);
    assert.equal(sessions.isNewest(bot, first, call), true);
    const later = sessions.enter(bot);
    assert.equal(sessions.isNewest(bot, first, call), false);
    sessions.create(main, 'b');
    assert.equal(sessions.isNewest(bot, first, later), false);
    sessions.close(bot);
    assert.equal(sessions.isNewest(bot, bot.session, later), false);
  });

  it('ends none any more once it has stopped', () => {
    const { clock, expired, sessions } = world();
    const bot = sessions.create(main, 'b');
    sessions.leave(bot);
    sessions.stop();
    sessions.leave(bot);
    clock.advance(600_000);
    assert.deepEqual([expired, clock.armed], [[], 0]);
  });

  describe('with sessions of a former server', () => {
    it('goes on with them for a while after its start', () => {
      const old = world().sessions.create(main, 'b').session;
      const { clock, sessions } = world({ resumeMs: 120_000 });
      const bot = sessions.find(old, 'b');
      assert.deepEqual([bot.id, bot.parent, bot.session], ['b', 'main', old]);
      assert.equal(sessions.find(old, 'b'), bot);
      sessions.enter(bot);
      const another = world().sessions.create(main, 'c').session;
      clock.advance(120_000);
      assert.throws(() => sessions.find(another, 'c'), isInvalid);
      assert.equal(sessions.find(old, 'b'), bot);
    });

    it('does not when a newer session took their place, or when they are its own and over', () => {
      const former = world().sessions;
      const first = former.create(main, 'b').session;
      const second = former.create(main, 'b').session;
      const { sessions } = world({ resumeMs: 120_000 });
      sessions.find(second, 'b');
      assert.throws(() => sessions.find(first, 'b'), isInvalid);
      const own = sessions.create(main, 'c');
      sessions.close(own);
      assert.throws(() => sessions.find(own.session, 'c'), isInvalid);
    });

    it('does not with names that no server of ours made, or without knowing the bot', () => {
      const { sessions } = world({ resumeMs: 120_000 });
      const old = world().sessions.create(main, 'b').session;
      assert.throws(() => sessions.find('main/2f1c9d1e-8a51-4f6e-9d3b-0d6e2f5f7a11', 'b'), isInvalid);
      assert.throws(() => sessions.find(old, ''), isInvalid);
    });
  });
});
