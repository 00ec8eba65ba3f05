import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import {
  Action,
  ActionResult,
  type DeepPartial,
  Digest,
} from '../src/gen/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  BotSession,
  BotStatus,
  BotsDefinition,
  CreateBotSessionRequest,
  Lease,
  LeaseState,
  UpdateBotSessionRequest,
} from '../src/gen/google/devtools/remoteworkers/v1test2/bots.ts';
import { bytesOf, freshName, readAll, readName } from './blobs.ts';
import type { CaseContext } from './case.ts';
import type { CallOptions } from './endpoint.ts';
import { ownPlatform, type Property, until } from './errands.ts';
import { present } from './expect.ts';

const { createBotSession, updateBotSession } = BotsDefinition.methods;
const REAPI = 'build.bazel.remote.execution.v2';

/** Deadline of calls that may wait for work, in milliseconds. */
const POLL_MS = 3_000;

/** Plays a bot that runs nothing, whose pool no other worker is in. */
export class SuiteBot {
  readonly context: CaseContext;
  readonly platform: readonly Property[];
  /** As the server sent it last. */
  session: BotSession;

  /** @param fields what is special about the bot. @param like a bot whose platform this one shares. */
  constructor(context: CaseContext, fields: DeepPartial<BotSession> = {}, like?: SuiteBot) {
    this.context = context;
    this.platform = like?.platform ?? ownPlatform(context);
    const properties = this.platform.map(({ name, value }) => ({ key: name, value }));
    this.session = BotSession.fromPartial({
      botId: `conformance-${freshName()}`,
      status: BotStatus.OK,
      ...fields,
      worker: { devices: [{ handle: 'conformance', properties }], ...fields.worker },
    });
  }

  /** Begins a session without asking for work, so that actions for its pool are not refused. */
  async begin(): Promise<this> {
    this.session = await this.create({ status: BotStatus.INITIALIZING });
    return this;
  }

  /** One CreateBotSession with the session as it is, but for `fields`. */
  async create(fields: DeepPartial<BotSession> = {}, options: CallOptions = {}): Promise<BotSession> {
    const botSession = { ...this.session, ...fields };
    const request = CreateBotSessionRequest.fromPartial({ parent: this.context.profile.instance, botSession });
    return await this.context.endpoint.unary(BotsDefinition, createBotSession, request, options);
  }

  /** One UpdateBotSession with the session as it is, but for `fields`. What comes back is not kept. */
  async update(fields: DeepPartial<BotSession> = {}, name = this.session.name): Promise<BotSession> {
    const botSession = { ...this.session, status: BotStatus.OK, ...fields };
    const request = UpdateBotSessionRequest.fromPartial({
      name,
      botSession,
      updateMask: ['leases', 'status'],
    });
    return await this.context.endpoint.unary(BotsDefinition, updateBotSession, request, { deadlineMs: POLL_MS });
  }

  /** Reports these leases and keeps the answer. */
  async report(leases: readonly Lease[], fields: DeepPartial<BotSession> = {}): Promise<readonly Lease[]> {
    this.session = await this.update({ ...fields, leases: [...leases] });
    return this.session.leases;
  }

  /** Asks until there are so many leases, and says that it has taken them. */
  async takeLeases(count = 1): Promise<readonly Lease[]> {
    const leases = await until(this.context, 'work for the bot', async () => {
      const known = this.session.leases.map((lease) => ({ ...lease, state: LeaseState.ACTIVE }));
      const listed = await this.report(known);
      return listed.length >= count ? listed : undefined;
    });
    return leases;
  }
}

/** The lease when the bot has taken it. */
export function active(lease: Lease): Lease {
  return { ...lease, state: LeaseState.ACTIVE };
}

/** The lease when the bot is done with it, with a result or a status that is not OK. */
export function completed(lease: Lease, end: DeepPartial<ActionResult> | { readonly code: number }): Lease {
  if ('code' in end) {
    return Lease.fromPartial({ ...lease, state: LeaseState.COMPLETED, status: { code: end.code, message: 'said' } });
  }
  const value = ActionResult.encode(ActionResult.fromPartial(end)).finish();
  const result = { typeUrl: `type.googleapis.com/${REAPI}.ActionResult`, value };
  return Lease.fromPartial({ ...lease, state: LeaseState.COMPLETED, status: { code: status.OK }, result });
}

/** The Action that a lease is about: in it, or in the store if the lease has its digest. */
export async function actionOf(context: CaseContext, { payload }: Lease): Promise<Action> {
  const { typeUrl, value } = present(payload, 'payload');
  if (typeUrl.endsWith(`/${REAPI}.Action`)) return Action.decode(value);
  assert.ok(typeUrl.endsWith(`/${REAPI}.Digest`), `the payload is ${typeUrl}`);
  return Action.decode(bytesOf(await readAll(context, readName(context, Digest.decode(value)))));
}
