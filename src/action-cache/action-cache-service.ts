import { type Authorizer, demand, type Permission } from '../auth/authorizer.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { ActionKey } from '../digest/action-key.ts';
import { type Digest, digestFromWire, digestPath } from '../digest/digest.ts';
import { resolveDigestFunction } from '../digest/digest-function.ts';
import type { InstanceNames } from '../digest/instance-name.ts';
import { isKind, ReapiError } from '../errors.ts';
import {
  Action,
  ActionCacheDefinition,
  type DigestFunction_Value,
  GetActionResultRequest,
  UpdateActionResultRequest,
  type Digest as WireDigest,
} from '../gen/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Call } from '../rpc/call.ts';
import { decode, type Method, methodPath } from '../rpc/methods.ts';
import { asBuffer, WireReader, WireType } from '../system/protobuf-wire.ts';
import { type ActionStore, resultFromBytes, type StoredResult } from './action-store.ts';
import { inlineOutputs } from './inline-outputs.ts';
import { lookUpResult } from './look-up-result.ts';
import { storeCauseOf } from './misses/miss.ts';
import type { ResultObserver } from './misses/result-observer.ts';
import { storeResult } from './store-result.ts';

/** Collaborators and limits of the service. */
export interface ActionCacheOptions {
  readonly authorizer: Authorizer;
  readonly instances: InstanceNames;
  /** Largest answer, inlined bytes included (R-AC-04, R-XC-05). */
  readonly maxMessageBytes: number;
  /** Largest result that is stored (R-AC-06). */
  readonly maxResultBytes: number;
  /** Whether an update needs its Action and Command in the CAS (R-AC-07). */
  readonly requireAction: boolean;
  /** Largest Action message that is read for that. */
  readonly maxActionBytes: number;
  /** Is told of lookups and of results that are stored, or are not. */
  readonly observer: ResultObserver;
}

const { methods } = ActionCacheDefinition;

/** Number of `action_result` in UpdateActionResultRequest. */
const ACTION_RESULT = 3;

/** GetActionResult and UpdateActionResult (R-AC). `actions` is the store that answers complete results only. */
export function actionCacheMethods(actions: ActionStore, blobs: BlobStore, options: ActionCacheOptions): Method[] {
  const service = new ActionCacheService(actions, blobs, options);
  return [
    {
      kind: 'unary',
      path: methodPath(ActionCacheDefinition, methods.getActionResult),
      handle: (request, call) => service.get(request, call),
    },
    {
      kind: 'unary',
      path: methodPath(ActionCacheDefinition, methods.updateActionResult),
      handle: (request, call) => service.update(request, call),
    },
  ];
}

class ActionCacheService {
  readonly #actions: ActionStore;
  readonly #blobs: BlobStore;
  readonly #options: ActionCacheOptions;

  constructor(actions: ActionStore, blobs: BlobStore, options: ActionCacheOptions) {
    this.#actions = actions;
    this.#blobs = blobs;
    this.#options = options;
  }

  async get(encoded: Uint8Array, call: Call): Promise<Uint8Array> {
    const request = decode(GetActionResultRequest, encoded);
    const key = await this.#admit(request, 'ac:read', call);
    const results = { actions: this.#actions, observer: this.#options.observer };
    const result = await lookUpResult(results, key, call.requestMetadata, call.signal);
    if (result === undefined) {
      throw new ReapiError('result-not-found', `no result for the action ${digestPath(key.action)}`);
    }
    const hints = {
      stdout: request.inlineStdout,
      stderr: request.inlineStderr,
      files: request.inlineOutputFiles,
    };
    const source = {
      store: this.#blobs,
      digestFunction: key.action.function,
      maxBytes: this.#options.maxMessageBytes,
    };
    return (await inlineOutputs(result, hints, source, call.signal)).bytes;
  }

  async update(encoded: Uint8Array, call: Call): Promise<Uint8Array> {
    const request = decode(UpdateActionResultRequest, encoded);
    const key = await this.#admit(request, 'ac:write', call);
    const result = resultOf(encoded);
    const { observer } = this.#options;
    try {
      if (this.#options.requireAction) await this.#checkAction(key.action, call.signal);
      const stored = await storeResult({ actions: this.#actions, blobs: this.#blobs }, key, result, {
        maxResultBytes: this.#options.maxResultBytes,
        worker: call.requestMetadata?.toolDetails?.toolName || 'unknown client',
        signal: call.signal,
      });
      observer.stored(key, call.requestMetadata);
      return stored.bytes;
    } catch (error) {
      observer.notStored(key, storeCauseOf(error), call.requestMetadata);
      throw error;
    }
  }

  async #admit(
    request: { instanceName: string; actionDigest: WireDigest | undefined; digestFunction: DigestFunction_Value },
    permission: Permission,
    call: Call,
  ): Promise<ActionKey> {
    const instance = this.#options.instances.resolve(request.instanceName);
    await demand(this.#options.authorizer, call.principal, permission, instance);
    const fn = resolveDigestFunction(request.digestFunction, request.actionDigest?.hash.length);
    return { instance, action: digestFromWire(fn, request.actionDigest, 'action_digest') };
  }

  /** @throws missing-inputs unless Action and Command are in the CAS; invalid-argument if the blob is no Action. */
  async #checkAction(digest: Digest, signal: AbortSignal): Promise<void> {
    if (digest.sizeBytes > this.#options.maxActionBytes) {
      throw new ReapiError('too-large', `an Action of ${digest.sizeBytes} bytes`, { field: 'action_digest' });
    }
    const command = await this.#commandOf(digest, signal);
    if ((await this.#blobs.findMissing([command], signal)).length > 0) throw missing('Command', command);
  }

  async #commandOf(digest: Digest, signal: AbortSignal): Promise<Digest> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#blobs.getBytes(digest, signal);
    } catch (error) {
      if (isKind(error, 'blob-not-found')) throw missing('Action', digest);
      throw error;
    }
    try {
      return digestFromWire(digest.function, Action.decode(bytes).commandDigest, 'Action.command_digest');
    } catch (error) {
      throw new ReapiError('invalid-argument', 'action_digest names no Action', {
        field: 'action_digest',
        cause: error,
      });
    }
  }
}

/** The encoded result as it stands in the request, so that unknown fields survive; the last one counts. */
function resultOf(request: Uint8Array): StoredResult {
  const reader = new WireReader(asBuffer(request));
  let bytes: Uint8Array | undefined;
  while (reader.next()) {
    if (reader.is(ACTION_RESULT, WireType.delimited)) bytes = reader.bytes();
  }
  if (bytes === undefined) {
    throw new ReapiError('invalid-argument', 'action_result is required', { field: 'action_result' });
  }
  return resultFromBytes(bytes);
}

function missing(what: string, digest: Digest): ReapiError {
  const message = `the ${what} ${digestPath(digest)} is not in the CAS; upload it before its result`;
  return new ReapiError('missing-inputs', message, { missing: [digest] });
}
