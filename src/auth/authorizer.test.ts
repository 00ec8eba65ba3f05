import assert from 'node:assert/strict';
import { parseInstanceName } from '../digest/instance-name.ts';
import { ReapiError } from '../errors.ts';
import { type Authorizer, demand, OpenAuthorizer, type Permission, ReadOnlyAuthorizer } from './authorizer.ts';
import { ANONYMOUS, EMBEDDED_WORKER } from './principal.ts';

const MAIN = parseInstanceName('main');
const ALL: readonly Permission[] = [
  ...(['cas:read', 'cas:write', 'ac:read', 'ac:write'] as const),
  ...(['execute', 'worker', 'operate', 'admin'] as const),
];
const NOBODY: Authorizer = { allows: () => Promise.resolve(false) };
const BROKEN: Authorizer = { allows: () => Promise.reject(new ReapiError('unavailable', 'no policy service')) };

async function allowed(authorizer: Authorizer): Promise<Permission[]> {
  const answers = await Promise.all(ALL.map((what) => authorizer.allows(ANONYMOUS, what, MAIN)));
  return ALL.filter((_, index) => answers[index]);
}

describe('OpenAuthorizer', () => {
  it('allows everything', async () => assert.deepEqual(await allowed(new OpenAuthorizer()), ALL));
});

describe('ReadOnlyAuthorizer', () => {
  it('leaves reading and operating of what the inner one allows', async () => {
    assert.deepEqual(await allowed(new ReadOnlyAuthorizer(new OpenAuthorizer())), ['cas:read', 'ac:read', 'operate']);
  });

  it('never allows more than the inner one', async () => {
    assert.deepEqual(await allowed(new ReadOnlyAuthorizer(NOBODY)), []);
  });

  it('throws if the inner one cannot tell', async () => {
    await assert.rejects(new ReadOnlyAuthorizer(BROKEN).allows(ANONYMOUS, 'cas:read', MAIN), /no policy service/);
  });
});

describe('demand', () => {
  it('passes what is allowed', async () => {
    assert.equal(await demand(new OpenAuthorizer(), ANONYMOUS, 'execute', MAIN), undefined);
  });

  it('throws denied, which says who, what and where, and not what exists there', async () => {
    await assert.rejects(demand(NOBODY, EMBEDDED_WORKER, 'cas:write', MAIN), {
      kind: 'denied',
      message: 'embedded-worker may not use cas:write under the instance name "main"',
    });
  });

  it('lets through the error of an authorizer that cannot tell, instead of allowing', async () => {
    await assert.rejects(demand(BROKEN, ANONYMOUS, 'cas:read', MAIN), { kind: 'unavailable' });
  });
});
