import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isKind } from '../../errors.ts';
import { orderInPageToken, pageTokenOf } from './page-token.ts';

const scope = { name: 'main', filter: 'done=true' };
const refused = (error: unknown) => isKind(error, 'invalid-argument') && error.facts.field === 'page_token';

describe('page tokens', () => {
  it('law: give back the order they were made of', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (order) => {
        assert.equal(orderInPageToken(pageTokenOf(order, scope), scope), order);
      }),
    );
  });

  it('belong to one name and filter, however these are put together', () => {
    const token = pageTokenOf(5, scope);
    for (const other of [
      { name: 'main', filter: '' },
      { name: 'other', filter: 'done=true' },
      { name: 'maind', filter: 'one=true' },
    ]) {
      assert.throws(() => orderInPageToken(token, other), refused);
    }
  });

  it('law: nothing else is taken for one', () => {
    const good = pageTokenOf(5, scope);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String(),
          fc.nat(good.length - 1).map((at) => good.slice(0, at)),
        ),
        (text) => {
          assert.throws(() => orderInPageToken(text, scope), refused);
        },
      ),
    );
    assert.throws(() => orderInPageToken(`${good}=`, scope), refused);
  });
});
