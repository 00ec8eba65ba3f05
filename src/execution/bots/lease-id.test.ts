import assert from 'node:assert/strict';
import fc from 'fast-check';
import { digestOf } from '../../digest/hasher.ts';
import { parseInstanceName } from '../../digest/instance-name.ts';
import { formatLeaseId, parseLeaseId } from './lease-id.ts';

const action = digestOf('sha256', Buffer.from('action'));
const root = parseInstanceName('');
const hash = action.hash;

describe('formatLeaseId', () => {
  it('says lease, slot and action', () => {
    const key = { instance: parseInstanceName('main'), action };
    const id = formatLeaseId({ lease: 'ab12-7', slot: 3, key }, parseInstanceName('main'));
    assert.equal(id, `ab12-7.3.sha256.${hash}.6`);
  });

  it('adds what the instance has below the parent of the bot', () => {
    const key = { instance: parseInstanceName('main/x'), action };
    assert.equal(formatLeaseId({ lease: 'l', slot: 0, key }, parseInstanceName('main')), `l.0.sha256.${hash}.6.78`);
    assert.equal(formatLeaseId({ lease: 'l', slot: 0, key }, root), `l.0.sha256.${hash}.6.6d61696e2f78`);
  });

  it('makes ids that may be part of the name of a header (R-RW-15)', () => {
    const key = { instance: parseInstanceName('Ä b'), action };
    assert.match(formatLeaseId({ lease: 'ab12-7', slot: 3, key }, root), /^[0-9a-z_.-]+$/);
  });
});

describe('parseLeaseId', () => {
  const segment = fc.stringMatching(/^[A-Za-z0-9 é_-]{1,8}$/);
  const names = fc.array(segment, { maxLength: 3 });

  it('law: finds in an id what was put into it', () => {
    fc.assert(
      fc.property(names, names, fc.nat(1023), fc.stringMatching(/^[0-9a-f]{1,8}-\d{1,5}$/), (up, down, slot, lease) => {
        const parent = parseInstanceName(up.join('/'));
        const name = { lease, slot, key: { instance: parseInstanceName([...up, ...down].join('/')), action } };
        assert.deepEqual(parseLeaseId(formatLeaseId(name, parent), parent), name);
      }),
    );
  });

  for (const [what, id] of [
    ['nothing', ''],
    ['an id of another server', '2f1c9d1e-8a51-4f6e-9d3b-0d6e2f5f7a11'],
    ['no lease', `.0.sha256.${hash}.6`],
    ['a slot that is no number', `l.x.sha256.${hash}.6`],
    ['a slot with a leading zero', `l.01.sha256.${hash}.6`],
    ['an unknown function', `l.0.sha0.${hash}.6`],
    ['a hash that is none', 'l.0.sha256.abc.6'],
    ['no size', `l.0.sha256.${hash}.`],
    ['an instance that is not hex', `l.0.sha256.${hash}.6.xyz`],
    ['an instance that is not well-formed', `l.0.sha256.${hash}.6.2f2f`],
    ['more than there is', `l.0.sha256.${hash}.6.78.9`],
    ['an endless id', `l.0.sha256.${hash}.6.${'78'.repeat(2000)}`],
  ] as const) {
    it(`does not take ${what} for one of ours`, () => {
      assert.equal(parseLeaseId(id, root), undefined);
    });
  }
});
