import assert from 'node:assert/strict';
import { fakeCall } from '../../test/support/fake-call.ts';
import { type ErrorKind, isKind } from '../errors.ts';
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthListResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../gen/grpc/health/v1/health.ts';
import { HealthState } from '../system/health-state.ts';
import { type HealthLimits, healthMethods } from './health-service.ts';
import type { Messages } from './methods.ts';

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = ServingStatus;

function failsWith(kind: ErrorKind): (error: unknown) => boolean {
  return (error) => isKind(error, kind);
}

describe('healthMethods', () => {
  let state: HealthState;
  let abort: AbortController;

  beforeEach(() => {
    state = new HealthState();
    abort = new AbortController();
  });

  async function call(name: string, request: Uint8Array): Promise<Uint8Array> {
    const method = healthMethods(state, { maxListedServices: 2 }).find((one) => one.path.endsWith(`/${name}`));
    assert.ok(method?.kind === 'unary');
    return method.handle(request, fakeCall());
  }

  async function check(service: string): Promise<number> {
    const answer = await call('Check', HealthCheckRequest.encode({ service }).finish());
    return HealthCheckResponse.decode(answer).status;
  }

  function watching(limits: Partial<HealthLimits> = {}): (service: string) => AsyncIterator<Uint8Array> {
    const method = healthMethods(state, limits).find((one) => one.path === '/grpc.health.v1.Health/Watch');
    assert.ok(method?.kind === 'server-streaming');
    return (service) => {
      const messages: Messages = method.handle(
        HealthCheckRequest.encode({ service }).finish(),
        fakeCall({ signal: abort.signal }),
      );
      return messages[Symbol.asyncIterator]();
    };
  }

  async function next(stream: AsyncIterator<Uint8Array>): Promise<number | undefined> {
    const { done, value } = await stream.next();
    return done === true ? undefined : HealthCheckResponse.decode(value).status;
  }

  it('checks one service, and the server by the empty name', async () => {
    state.set('', true);
    state.set('a', false);
    assert.equal(await check(''), SERVING);
    assert.equal(await check('a'), NOT_SERVING);
  });

  it('answers not-found to a check of an unknown service', async () => {
    await assert.rejects(check('nobody'), failsWith('not-found'));
  });

  it('lists all services', async () => {
    state.set('', true);
    state.set('a', false);
    const answer = HealthListResponse.decode(await call('List', new Uint8Array()));
    assert.deepEqual(answer.statuses, { '': { status: SERVING }, a: { status: NOT_SERVING } });
  });

  it('refuses to list more services than the limit', async () => {
    for (const service of ['a', 'b', 'c']) state.set(service, true);
    await assert.rejects(call('List', new Uint8Array()), failsWith('quota-exceeded'));
  });

  it('watches: the state now, then each change', async () => {
    state.set('a', true);
    const stream = watching()('a');
    assert.equal(await next(stream), SERVING);
    const changed = next(stream);
    state.set('a', false);
    assert.equal(await changed, NOT_SERVING);
  });

  it('tells a slow watcher only the latest state', async () => {
    state.set('a', true);
    const stream = watching()('a');
    assert.equal(await next(stream), SERVING);
    state.set('a', false);
    state.set('a', true);
    state.set('a', false);
    assert.equal(await next(stream), NOT_SERVING);
  });

  it('keeps watching a service that is not known yet', async () => {
    const stream = watching()('late');
    assert.equal(await next(stream), SERVICE_UNKNOWN);
    const changed = next(stream);
    state.set('late', true);
    assert.equal(await changed, SERVING);
  });

  it('ends a waiting watch when the call ends', async () => {
    const stream = watching()('a');
    await next(stream);
    const waiting = next(stream);
    abort.abort();
    await assert.rejects(waiting, failsWith('cancelled'));
  });

  it('refuses a watcher above the limit, until another leaves', async () => {
    const watch = watching({ maxWatchers: 1 });
    const first = watch('a');
    await next(first);
    await assert.rejects(next(watch('a')), failsWith('quota-exceeded'));
    await first.return?.();
    assert.equal(await next(watch('a')), SERVICE_UNKNOWN);
  });
});
