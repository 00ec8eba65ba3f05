import { isKind, ReapiError } from '../../errors.ts';
import { FleetDefinition } from '../../gen/gantry/v1/fleet.ts';
import type { RpcClient } from '../../rpc/client.ts';
import { withServer } from './server-connection.ts';

/** Connects to `gantry.v1.Fleet` at `target` for as long as `work` takes. @throws as `withServer`; makes clear which servers have it. */
export async function withFleet<T>(target: string, work: (client: RpcClient) => Promise<T>): Promise<T> {
  try {
    return await withServer(target, work);
  } catch (error) {
    if (!isKind(error, 'unimplemented')) throw error;
    const message = `the server has no ${FleetDefinition.fullName}: it is an older Gantry or another program`;
    throw new ReapiError('unimplemented', message, { cause: error });
  }
}
