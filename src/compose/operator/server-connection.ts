import { isKind, ReapiError } from '../../errors.ts';
import { AdminDefinition } from '../../gen/gantry/v1/admin.ts';
import { CONNECT_DEFAULTS, connect, type RpcClient } from '../../rpc/client.ts';

/** Longest time for a call whose answer is at hand. */
export const CALL_TIMEOUT_MS = 30_000;

/** Largest answer: all that is known of 10,000 slots, with what they run, is some 14 MiB, and fleets may be larger. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

/**
 * Connects to the server at `target` for as long as `work` takes.
 * @throws what `work` throws; where nobody answered, with the address.
 */
export async function withServer<T>(target: string, work: (client: RpcClient) => Promise<T>): Promise<T> {
  const client = connect(target, { ...CONNECT_DEFAULTS, maxReceiveMessageBytes: MAX_ANSWER_BYTES });
  try {
    return await work(client);
  } catch (error) {
    if (isKind(error, 'unavailable') || isKind(error, 'timed-out')) {
      throw ReapiError.wrap(error, `the server at ${target}`);
    }
    throw error;
  } finally {
    client.close();
  }
}

/** Makes clear which servers have `gantry.v1.Admin`. */
export async function withAdmin<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!isKind(error, 'unimplemented')) throw error;
    const message = `the server has no ${AdminDefinition.fullName}: it is an older Gantry or another program`;
    throw new ReapiError('unimplemented', message, { cause: error });
  }
}
