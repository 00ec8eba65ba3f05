import type { ActionKey } from '../../digest/action-key.ts';
import { digestFromKey, digestKey } from '../../digest/digest.ts';
import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';

/**
 * A lease's name on the wire. It says all that a server needs to know the work again which a former one gave out, because a
 * bot that comes back has nothing else of it (adoption): `<lease>.<slot>.<function>.<hash>.<size>[.<instance>]`. The instance
 * is what follows the bot's parent, in hex. Only characters that a request header's name may have (R-RW-15).
 */
export interface LeaseName {
  /** The scheduler's name for it, without a dot. May be of a former server. */
  readonly lease: string;
  /** Number of the bot's slot that had it. */
  readonly slot: number;
  readonly key: ActionKey;
}

/** Longest id that is looked at: a lease, a hash and an instance name in hex. */
const MAX_ID_CHARACTERS = 2048;

const SLOT_NUMBER = /^(0|[1-9]\d{0,5})$/;
const HEX = /^(?:[0-9a-f]{2})+$/;

/** The id of a lease that a bot below `parent` holds. */
export function formatLeaseId({ lease, slot, key }: LeaseName, parent: InstanceName): string {
  const below = parent === '' ? key.instance : key.instance.slice(parent.length).replace(/^\//, '');
  const parts = [lease, String(slot), ...digestKey(key.action).split('/')];
  if (below !== '') parts.push(Buffer.from(below).toString('hex'));
  return parts.join('.');
}

/** What an id says; undefined if no server of ours made it. */
export function parseLeaseId(id: string, parent: InstanceName): LeaseName | undefined {
  if (id.length > MAX_ID_CHARACTERS) return undefined;
  const [lease = '', slot = '', fn = '', hash = '', size = '', below = '', ...rest] = id.split('.');
  if (lease === '' || !SLOT_NUMBER.test(slot) || (below !== '' && !HEX.test(below)) || rest.length > 0)
    return undefined;
  try {
    const action = digestFromKey(`${fn}/${hash}/${size}`);
    const instance = [parent, Buffer.from(below, 'hex').toString('utf8')].filter((part) => part !== '').join('/');
    return { lease, slot: Number(slot), key: { instance: parseInstanceName(instance), action } };
  } catch (error) {
    if (error instanceof ReapiError) return undefined;
    throw error;
  }
}
