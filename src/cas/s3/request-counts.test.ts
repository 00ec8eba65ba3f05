import assert from 'node:assert/strict';
import { RequestCounts, S3_OPERATIONS } from './request-counts.ts';

const DONE = { seconds: 0.01, sentBytes: 0, receivedBytes: 0 };

describe('RequestCounts', () => {
  it('starts every operation at nothing', () => {
    const counts = new RequestCounts();
    assert.equal(counts.total, 0);
    for (const operation of S3_OPERATIONS) assert.equal(counts.of(operation).requests, 0);
  });

  it('adds up requests, bytes and times by operation', () => {
    const counts = new RequestCounts();
    counts.record('put', { ...DONE, sentBytes: 100 });
    counts.record('put', { ...DONE, sentBytes: 23 });
    counts.record('get', { ...DONE, receivedBytes: 7 });
    const { requests, sentBytes, receivedBytes, seconds } = counts.of('put');
    assert.deepEqual([requests, sentBytes, receivedBytes, seconds.count, seconds.sum], [2, 123, 0, 2, 0.02]);
    assert.equal(counts.of('get').receivedBytes, 7);
    assert.equal(counts.total, 3);
  });

  it('counts a failed request as a request, and under its code', () => {
    const counts = new RequestCounts();
    counts.record('get', { ...DONE, error: 'SlowDown' });
    counts.record('get', { ...DONE, error: 'SlowDown' });
    counts.record('get', DONE);
    assert.equal(counts.of('get').requests, 3);
    assert.deepEqual([...counts.of('get').errors], [['SlowDown', 2]]);
  });

  it('keeps a bounded number of codes, and goes on counting those it knows', () => {
    const counts = new RequestCounts();
    for (let code = 0; code < 1000; code++) counts.record('list', { ...DONE, error: `Code${code}` });
    counts.record('list', { ...DONE, error: 'Code3' });
    const { errors } = counts.of('list');
    assert.equal(errors.size, 65);
    assert.equal(errors.get('Code3'), 2);
    assert.equal(errors.get('other'), 936);
  });
});
