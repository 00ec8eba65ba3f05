import assert from 'node:assert/strict';
import { idOf, WRITERS } from '../../../test/support/bucket-content.ts';
import type { Orphan } from '../../cas/s3/bucket-orphans.ts';
import type { BucketSurvey, KnownWriter } from '../../cas/s3/bucket-survey.ts';
import { containerKey } from '../../cas/s3/object-names.ts';
import { orphansText, pruneJson, surveyText } from './prune-bucket-text.ts';

const NOW = 1_700_000_000_000;
const DAY = 86_400_000;
const MIB = 1024 ** 2;
const [A, B] = WRITERS;

const WRITER: KnownWriter = {
  writer: A,
  info: { key: `writers/${A}`, sizeBytes: 100, etag: '', modifiedMs: NOW - 30_000 },
  state: {
    writer: A,
    nonce: '0000aaaa',
    beat: 1,
    floor: 1,
    sequence: 1,
    done: {},
    refreshSeconds: 60,
    leaseSeconds: 900,
  },
  containers: 120,
};

const SURVEY: BucketSurvey = {
  bucket: 'b1',
  formatVersion: 1,
  nowMs: NOW,
  packs: 1_100,
  largeBlobs: 20,
  blobs: 500_000,
  entries: 4_000,
  bytes: 100 * MIB,
  liveBytes: 75 * MIB,
  condemned: [
    { key: 'packs/c', sizeBytes: MIB, sinceMs: NOW - 60_000 },
    { key: 'packs/d', sizeBytes: MIB, sinceMs: NOW - 3 * DAY },
  ],
  damagedPacks: ['packs/e'],
  writers: [WRITER, { ...WRITER, writer: B, state: undefined }],
  snapshots: [],
  scratch: [],
  foreign: { count: 2, bytes: MIB, names: ['fine', 'evil\x1b[2J'] },
  uploads: [],
};

const KEY = containerKey({ id: idOf(A, 1) });
const CONDEMNED: Orphan = { what: 'condemned', key: KEY, sizeBytes: MIB, sinceMs: NOW - 3 * DAY };
const UPLOAD: Orphan = {
  ...{ what: 'upload', key: KEY, sizeBytes: 0, sinceMs: NOW - 2 * DAY },
  upload: { key: KEY, id: 'u', startedMs: NOW - 2 * DAY },
};

describe('surveyText', () => {
  it('is a table, without what a terminal would obey', () => {
    assert.equal(
      surveyText(SURVEY),
      `\
versions       1 of the bucket, 1 of packs
holds          100.0 MiB in 1,100 packs and 20 large blobs
live           75.0 MiB (75.0 %): 500,000 blobs and 4,000 entries
server         ${A}: 120 objects, last heard of 30 s ago, refresh 1 min 0 s, lease 15 min 0 s
server         ${B}: 120 objects, last heard of 30 s ago; its state is damaged, so nothing condemned is removed
condemned      2.0 MiB in 2 objects, the first 3 d 0 h ago; servers delete them
DAMAGED        packs/e: its footer cannot be read; it stays
not Gantry's   2 objects of 1.0 MiB, which stay: fine, evil\\x1b[2J
`,
    );
  });

  it('tells of a bucket that nobody uses, and when what is condemned is left over', () => {
    const survey = { ...SURVEY, writers: [], damagedPacks: [], foreign: { count: 0, bytes: 0, names: [] } };
    const text = surveyText(survey);
    assert.match(text, /^server {9}none is known\ncondemned .*; servers delete them; left over after 2 d 0 h\n$/m);
    assert.match(surveyText({ ...survey, condemned: [] }), /^condemned {6}nothing$/m);
  });
});

describe('orphansText', () => {
  it('tells what was removed, and what it took', () => {
    const orphans = [UPLOAD, CONDEMNED];
    assert.equal(
      orphansText({ survey: SURVEY, orphans, removed: orphans, isDryRun: false }),
      `\
unfinished upload   ${KEY}: begun 2 d 0 h ago
condemned object    ${KEY}: condemned 3 d 0 h ago, 1.0 MiB
removed 2: 1.0 MiB, and the parts of 1 unfinished uploads
`,
    );
  });

  it('tells what is left if it was stopped', () => {
    const text = orphansText({ survey: SURVEY, orphans: [UPLOAD, CONDEMNED], removed: [], isDryRun: false });
    assert.equal(text, 'removed 0: 0 B; 2 are left\n');
  });

  it('tells what would be removed, the first few of each kind', () => {
    const orphans = Array.from({ length: 1_025 }, () => CONDEMNED);
    const text = orphansText({ survey: SURVEY, orphans, removed: [], isDryRun: true });
    assert.equal(text.split('\n').length, 23);
    assert.match(text, /\n… and 1,005 more\nwould remove 1,025: 1\.0 GiB; nothing was removed\n$/);
  });

  it('tells that there is nothing', () => {
    const text = orphansText({ survey: SURVEY, orphans: [], removed: [], isDryRun: true });
    assert.equal(text, 'nothing is left over\n');
  });
});

describe('pruneJson', () => {
  it('has all of it', () => {
    const orphans = [UPLOAD, CONDEMNED];
    const json = pruneJson({ survey: SURVEY, orphans, removed: [CONDEMNED], isDryRun: false });
    assert.deepEqual(json.orphans, [
      { what: 'upload', key: KEY, sizeBytes: 0, ageSeconds: 172_800, isRemoved: false },
      { what: 'condemned', key: KEY, sizeBytes: MIB, ageSeconds: 259_200, isRemoved: true },
    ]);
    assert.equal(json.freedBytes, MIB);
    assert.deepEqual(json.condemned, { count: 2, bytes: 2 * MIB, oldestSeconds: 259_200 });
    assert.deepEqual(
      json.writers.map(({ writer, silentSeconds, leaseSeconds }) => [writer, silentSeconds, leaseSeconds]),
      [
        [A, 30, 900],
        [B, 30, null],
      ],
    );
    assert.deepEqual([json.versions, json.packs, json.foreign], [{ bucket: 1, packs: 1 }, 1_100, SURVEY.foreign]);
  });
});
