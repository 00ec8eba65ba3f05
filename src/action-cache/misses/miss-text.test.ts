import assert from 'node:assert/strict';
import type { Miss, NotCachedCause, SkipCause } from './miss.ts';
import type { MissReport, PreviousAction } from './miss-report.ts';
import { missSentence, missText } from './miss-text.ts';

const AT = Date.UTC(2026, 10, 21, 12, 0, 0);
const TIME = '2026-11-21T12:00:00Z';
const BLOB = { function: 'sha256', hash: 'ab', sizeBytes: 7 };
const HISTORY = { sinceMs: AT, actions: 3, maxActions: 10 };
const report = (parts: Partial<MissReport> = {}): MissReport => ({
  action: BLOB,
  instance: '',
  isCached: false,
  history: HISTORY,
  ...parts,
});
const previous = (difference: Partial<PreviousAction['difference']>): PreviousAction => ({
  action: { ...BLOB, hash: 'cd' },
  instance: '',
  seenMs: AT,
  match: 'same-outputs',
  difference: { differences: [], more: [], unavailable: [], ...difference },
});

/** Exhaustive, so that a new reason needs a sentence and a line here. */
const SENTENCES: { readonly [Reason in Miss['reason']]: readonly [Extract<Miss, { reason: Reason }>, RegExp] } = {
  'never-seen': [{ reason: 'never-seen' }, /^no result of this action has been stored here/],
  'other-instance': [{ reason: 'other-instance', instance: 'main', atMs: AT }, /under the instance name "main"/],
  'other-function': [{ reason: 'other-function', function: 'blake3', atMs: AT }, /digest function blake3 before/],
  evicted: [{ reason: 'evicted', atMs: AT, ageSeconds: 7200 }, /evicted at 2026-11-21T12:00:00Z .* used for 2 hours/],
  expired: [{ reason: 'expired', writtenMs: AT, maxAgeMs: 864e5 * 3 }, /older than results may become \(3 days\)/],
  incomplete: [
    { reason: 'incomplete', blob: BLOB, role: { kind: 'stdout' }, absent: 3 },
    /but its stdout is gone: blob ab\/7 \(and 2 more\)\.$/,
  ],
  damaged: [{ reason: 'damaged', what: 'the thing' }, /^the thing cannot be read back/],
  'too-large': [{ reason: 'too-large', what: 'the thing' }, /^the thing .* beyond the limits/],
  'not-cached': [
    { reason: 'not-cached', because: { kind: 'exit-code', exitCode: 3 }, atMs: AT },
    /not cached: the command ended with exit code 3/,
  ],
  removed: [{ reason: 'removed', atMs: AT }, /removed by an operator at 2026/],
  lost: [{ reason: 'lost', seenMs: AT }, /was there at 2026.* no eviction of it is known/],
  skipped: [{ reason: 'skipped', because: 'skip-cache-lookup' }, /the client said skip_cache_lookup/],
};

const CAUSES: { readonly [Kind in NotCachedCause['kind']]: RegExp } = {
  'exit-code': /exit code 1/,
  'do-not-cache': /do_not_cache/,
  'too-large': /larger than what may be stored/,
  'store-refused': /no room/,
  'store-failed': /could not write it/,
  'timed-out': /longer than its timeout/,
  cancelled: /cancelled/,
  'not-queued': /^it was tried before .* no worker offers its platform/,
  'worker-failed': /the worker could not/,
  invalid: /not valid/,
};

describe('missSentence', () => {
  for (const [reason, [miss, expected]] of Object.entries(SENTENCES)) {
    it(`has a sentence for ${reason}`, () => assert.match(missSentence(miss), expected));
  }

  for (const [kind, expected] of Object.entries(CAUSES)) {
    it(`says that a result was not cached because of ${kind}`, () => {
      const because = { kind, exitCode: 1 } as NotCachedCause;
      assert.match(missSentence({ reason: 'not-cached', because, atMs: AT }), expected);
    });
  }

  it('says why the cache was passed by', () => {
    const sentence = (because: SkipCause): string => missSentence({ reason: 'skipped', because });
    assert.match(sentence('do-not-cache'), /the action says do_not_cache\.$/);
    assert.match(sentence('failed-result'), /a command that failed/);
  });

  it('says what a blob was to the result', () => {
    const sentence = (role: Extract<Miss, { reason: 'incomplete' }>['role']): string =>
      missSentence({ reason: 'incomplete', blob: BLOB, role, absent: 1 });
    assert.match(sentence({ kind: 'output-file', path: 'a' }), /the output "a" is gone: blob ab\/7\.$/);
    assert.match(sentence({ kind: 'tree', path: 'd' }), /the list of files of the output directory "d"/);
    assert.match(sentence({ kind: 'tree-file', path: 'd', tree: BLOB }), /a file in the output directory "d"/);
    assert.match(
      sentence({ kind: 'tree-file', path: 'd', tree: BLOB, within: 'x/y' }),
      /the file "x\/y" in the output directory "d"/,
    );
    assert.match(sentence({ kind: 'root-directory', path: 'd' }), /a part of the output directory "d"/);
  });

  it('says times in a unit that fits', () => {
    const age = (ageSeconds: number): string => missSentence({ reason: 'evicted', atMs: AT, ageSeconds });
    for (const [seconds, expected] of [
      [59, '59 seconds'],
      [90, '1.5 minutes'],
      [5400, '1.5 hours'],
      [86_400, '24 hours'],
      [172_800, '2 days'],
    ] as const) {
      assert.match(age(seconds), new RegExp(`for ${expected}\\.$`));
    }
  });
});

describe('missText', () => {
  it('tells the whole story', () => {
    const text = missText(
      report({
        instance: 'main',
        isCached: true,
        miss: { reason: 'never-seen' },
        missedMs: AT,
        storedMs: AT,
        origin: { targetId: '//a:b', mnemonic: 'CppLink', configurationId: 'k8', invocationId: 'i' },
        previous: previous({
          differences: [
            { part: 'arguments', name: '3', before: '-O0', after: '-O2' },
            { part: 'environment', name: 'PATH', after: '/bin' },
            { part: 'timeout', name: '', before: '5 s' },
          ],
          more: [{ part: 'inputs', count: 4 }],
          unavailable: [{ side: 'before', what: 'Directory lib/', blob: BLOB }],
        }),
      }),
    );
    assert.equal(
      text,
      `Action ab/7, instance name "main"
Target //a:b (CppLink), configuration k8

Missed at ${TIME}: no result of this action has been stored here, as far as the history reaches.
A complete result is in the cache now, stored at ${TIME}.

The previous action of the same target, mnemonic and outputs is cd/7, seen at ${TIME}.
What differs, before → after:
  argument 3: "-O0" → "-O2"
  environment variable PATH: added, "/bin"
  timeout: removed, was "5 s"
  and at least 4 more of this kind: input
  Directory lib/ of the previous action cannot be read any more: blob ab/7

(The history reaches back to ${TIME} and holds 3 of at most 10 actions.)
`,
    );
  });

  it('says when nothing is known, and what asking now gave', () => {
    assert.match(missText(report()), /^No miss of it is known\.$/m);
    assert.match(missText(report({ isCached: true })), /a result is in the cache now\.$/m);
    const text = missText(report({ miss: { reason: 'removed', atMs: AT }, storedMs: AT }));
    assert.match(text, /^Looked up now: its result was removed/m);
    assert.match(text, /^A result was last stored at 2026/m);
  });

  it('says when the nearest action is no twin, and when nothing that counts differs', () => {
    const nearest = { ...previous({}), match: 'same-target' } as const;
    assert.match(missText(report({ previous: nearest })), /No earlier action .* the nearest is cd\/7/);
    assert.match(missText(report({ previous: nearest })), /merely encoded differently/);
  });

  it('shows nothing that a terminal would take for a command', () => {
    const evil = 'a\u001b[2J\r\nb\u202ec';
    const text = missText(
      report({
        instance: evil,
        origin: { targetId: evil, mnemonic: evil, configurationId: evil, invocationId: evil },
        miss: { reason: 'damaged', what: evil },
        previous: previous({
          differences: [{ part: 'inputs', name: evil, before: evil, after: evil }],
          unavailable: [{ side: 'after', what: evil, blob: { ...BLOB, function: evil } }],
        }),
      }),
    );
    for (const char of ['\u001b', '\r', '\u202e']) assert.ok(!text.includes(char));
    assert.match(text, /a\\u\{1b\}\[2J\\u\{d\}\\u\{a\}b\\u\{202e\}c/);
  });
});
