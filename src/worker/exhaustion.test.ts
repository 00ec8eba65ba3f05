import assert from 'node:assert/strict';
import { isKind, ReapiError } from '../errors.ts';
import { diskFailure, MachineTooSmall } from './exhaustion.ts';

describe('diskFailure', () => {
  const systemError = (code: string): Error => Object.assign(new Error(code), { code });

  for (const code of ['ENOSPC', 'EDQUOT', 'ENOMEM']) {
    it(`takes ${code} for a machine that is too small, which is RESOURCE_EXHAUSTED`, () => {
      const failure = diskFailure('the input root cannot be made', systemError(code));
      assert.ok(failure instanceof MachineTooSmall);
      assert.ok(isKind(failure, 'quota-exceeded'));
      assert.match(failure.message, new RegExp(`input root.*no room.*${code}`));
    });
  }

  it('takes other refusals for faults of the worker, which no patience mends', () => {
    const failure = diskFailure('x', systemError('EIO'));
    assert.ok(isKind(failure, 'internal'));
    assert.equal(failure.message, 'x (EIO)');
    assert.ok(isKind(diskFailure('x', new Error('odd')), 'internal'));
  });

  it('leaves failures of ours as they are', () => {
    const ours = new ReapiError('cancelled', 'c');
    assert.equal(diskFailure('x', ours), ours);
  });
});
