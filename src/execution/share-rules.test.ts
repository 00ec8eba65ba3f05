import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RequestMetadata } from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import { type ShareLevel, ShareRules, type ShareWeight } from './share-rules.ts';

const LEVELS: readonly ShareLevel[] = ['principal', 'correlated', 'invocation'];
const metadata = RequestMetadata.fromPartial({ toolInvocationId: 'build-1', correlatedInvocationsId: 'change-7' });

function idsOf(levels: readonly ShareLevel[], said: RequestMetadata | undefined): readonly string[] {
  return new ShareRules({ levels, weights: [] }).sharesOf('alice', said).map(({ id }) => id);
}

function weightOf(weights: readonly ShareWeight[], principal: string): number | undefined {
  return new ShareRules({ levels: ['principal'], weights }).sharesOf(principal, undefined)[0]?.weight;
}

describe('ShareRules', () => {
  it('name whoever asks at each configured level, from the outermost', () => {
    assert.deepEqual(idsOf(LEVELS, metadata), ['alice', 'change-7', 'build-1']);
    assert.deepEqual(idsOf(['invocation', 'principal'], metadata), ['build-1', 'alice']);
    assert.deepEqual(idsOf([], metadata), []);
  });

  it('let an invocation stand for itself where nothing is correlated', () => {
    const alone = RequestMetadata.fromPartial({ toolInvocationId: 'build-1' });
    assert.deepEqual(idsOf(LEVELS, alone), ['alice', 'build-1', 'build-1']);
  });

  it('give one place to whoever says nothing of itself', () => {
    assert.deepEqual(idsOf(LEVELS, undefined), ['alice', '', '']);
    assert.deepEqual(idsOf(LEVELS, RequestMetadata.fromPartial({})), ['alice', '', '']);
  });

  it('weigh 1 without a rule', () => {
    assert.equal(weightOf([], 'alice'), 1);
    assert.equal(weightOf([{ level: 'principal', id: 'bob', weight: 5 }], 'alice'), 1);
  });

  it('weigh by rules of their own level only', () => {
    assert.equal(weightOf([{ level: 'invocation', id: 'alice', weight: 5 }], 'alice'), 1);
  });

  it('weigh by the exact id, then by the longest beginning', () => {
    const weights: readonly ShareWeight[] = [
      { level: 'principal', id: '*', weight: 2 },
      { level: 'principal', id: 'ci-release*', weight: 8 },
      { level: 'principal', id: 'ci-*', weight: 4 },
      { level: 'principal', id: 'ci-release', weight: 16 },
    ];
    const of = (principal: string) => weightOf(weights, principal);
    assert.deepEqual([of('alice'), of('ci-1'), of('ci-release-2'), of('ci-release')], [2, 4, 8, 16]);
  });

  it('law: the order of rules does not matter where no two are for the same', () => {
    const ids = fc.uniqueArray(fc.constantFrom('*', 'a*', 'ab*', 'abc*', 'ab', 'abc', 'b*'));
    fc.assert(
      fc.property(ids, fc.constantFrom('', 'a', 'ab', 'abc', 'abcd', 'b'), (all, principal) => {
        const weights = all.map((id, index) => ({ level: 'principal' as const, id, weight: index + 2 }));
        assert.equal(weightOf(weights, principal), weightOf(weights.toReversed(), principal));
      }),
    );
  });
});
