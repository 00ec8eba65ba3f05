import { type Authorizer, demand } from '../auth/authorizer.ts';
import { ANONYMOUS } from '../auth/principal.ts';
import { parseInstanceName } from '../digest/instance-name.ts';
import { fleetJson } from './fleet-json.ts';
import { DEFAULT_LISTED, type FleetSnapshots, MAX_LISTED } from './fleet-snapshots.ts';
import { type ExplanationSource, OperationExplanations } from './operation-explanations.ts';

/**
 * What HTTP shows of the scheduler, as JSON. HTTP asks nobody who they are, so whoever comes is anonymous and needs `operate`
 * as in `gantry.v1.Fleet`.
 */
export class FleetPages {
  readonly #snapshots: Pick<FleetSnapshots<never>, 'get'>;
  readonly #explanations: OperationExplanations;
  readonly #authorizer: Authorizer;

  constructor(snapshots: Pick<FleetSnapshots<never>, 'get'>, source: ExplanationSource, authorizer: Authorizer) {
    this.#snapshots = snapshots;
    this.#explanations = new OperationExplanations(source);
    this.#authorizer = authorizer;
  }

  /** A snapshot. @throws denied. */
  async fleet({ limit, hasNodes }: { limit: number | undefined; hasNodes: boolean }): Promise<string> {
    await demand(this.#authorizer, ANONYMOUS, 'operate', parseInstanceName(''));
    return fleetJson(this.#snapshots.get({ limit: Math.min(limit ?? DEFAULT_LISTED, MAX_LISTED), hasNodes }));
  }

  /** Why an operation is where it is. @throws operation-not-found; denied. */
  async explain(operation: string, signal: AbortSignal): Promise<string> {
    const found = await this.#explanations.find(operation, signal);
    await demand(this.#authorizer, ANONYMOUS, 'operate', found.key.instance);
    return fleetJson(await found.explain());
  }
}
