import type { Digest } from '../../digest/digest.ts';
import type { Random } from '../../system/random.ts';
import { digestFromName, fileName } from '../blob-file-name.ts';

/*
 * How objects in the bucket are called. Keys are relative to the configured prefix.
 *
 *     format                                             what the bucket holds, and which bucket it is
 *     writers/<writer>                                   what a server tells the others; replaced every refresh
 *     packs/<writer>/<number>-<nonce>                    many small blobs and entries, with a footer
 *     packs/<writer>/<number>-<nonce>-<hash>-<size>-<function>   one large blob; its name is its footer
 *     snapshots/<writer>/<number>                        an index as of some moment
 *     doctor/<random>/…                                  what commands try; they remove it again
 *
 * Writer, number and nonce are 16, 12 and 8 hex digits. A writer numbers what it writes, so that the others need to list only what is
 * new; the nonce is new at each start, so that two processes with copies of one data folder never write the same name. No object under
 * `packs/` is ever written twice.
 */

/** What names an object under `packs/`: a container. */
export interface ContainerId {
  /** Which data folder it comes from: 16 hex digits. */
  readonly writer: string;
  /** One more for each object of a writer, below 2^48. */
  readonly number: number;
  /** Which start of the writer: 8 hex digits. */
  readonly nonce: string;
}

/** What the key of an object under `packs/` says. `digest` is set for a large blob. */
export interface ContainerName {
  readonly id: ContainerId;
  readonly digest?: Digest;
}

/** Key of the object that says what the bucket holds. */
export const FORMAT_KEY = 'format';

/** Where all containers are. */
export const PACKS_PREFIX = 'packs/';

/** Where the states of the writers are. */
export const WRITERS_PREFIX = 'writers/';

/** Where snapshots of the index are. */
export const SNAPSHOTS_PREFIX = 'snapshots/';

/** Where commands put what they try, each in a folder of its own: `scratchFolder`. */
export const SCRATCH_PREFIX = 'doctor/';

const CONTAINER = /^packs\/(?<writer>[0-9a-f]{16})\/(?<number>[0-9a-f]{12})-(?<nonce>[0-9a-f]{8})(?:-(?<blob>.+))?$/;
const WRITER = /^writers\/(?<writer>[0-9a-f]{16})$/;
const SCRATCH = /^doctor\/[0-9a-f]{16}\/./;
const SNAPSHOT = /^snapshots\/(?<writer>[0-9a-f]{16})\/(?<number>[0-9a-f]{12})$/;

/** Key of a container. */
export function containerKey({ id, digest }: ContainerName): string {
  const start = `${PACKS_PREFIX}${id.writer}/${hexNumber(id.number)}-${id.nonce}`;
  return digest === undefined ? start : `${start}-${fileName(digest)}`;
}

/** What the key of a container says, or undefined if it is none. */
export function parseContainerKey(key: string): ContainerName | undefined {
  const groups = CONTAINER.exec(key)?.groups;
  if (groups === undefined) return undefined;
  const { writer = '', number = '', nonce = '', blob } = groups;
  const id = { writer, number: Number.parseInt(number, 16), nonce };
  if (blob === undefined) return { id };
  const digest = digestFromName(blob);
  return digest === undefined ? undefined : { id, digest };
}

/** Begins the keys of all containers of a writer. */
export function packsOf(writer: string): string {
  return `${PACKS_PREFIX}${writer}/`;
}

/** All keys of a writer's containers with this number or a greater one are greater than it. */
export function beforeContainer(writer: string, number: number): string {
  return `${packsOf(writer)}${hexNumber(Math.max(0, number))}`;
}

/** Names a container within one bucket, also in maps. */
export function containerText({ writer, number, nonce }: ContainerId): string {
  return `${writer}/${hexNumber(number)}-${nonce}`;
}

/** Orders containers, the same on every server: a copy comes after what it is a copy of. */
export function compareContainers(a: ContainerId, b: ContainerId): number {
  if (a.number !== b.number) return a.number - b.number;
  const [left, right] = [containerText(a), containerText(b)];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** Key of a writer's state. */
export function writerKey(writer: string): string {
  return `${WRITERS_PREFIX}${writer}`;
}

/** The writer whose state has that key, or undefined. */
export function parseWriterKey(key: string): string | undefined {
  return WRITER.exec(key)?.groups?.['writer'];
}

/** Key of a writer's snapshot. */
export function snapshotKey(writer: string, number: number): string {
  return `${SNAPSHOTS_PREFIX}${writer}/${hexNumber(number)}`;
}

/** What the key of a snapshot says, or undefined if it is none. */
export function parseSnapshotKey(key: string): { readonly writer: string; readonly number: number } | undefined {
  const { writer, number } = SNAPSHOT.exec(key)?.groups ?? {};
  return writer === undefined || number === undefined ? undefined : { writer, number: Number.parseInt(number, 16) };
}

/** A folder for one run of a command; whatever is in it counts as left behind after a day. */
export function scratchFolder(random: Pick<Random, 'token'>): string {
  return `${SCRATCH_PREFIX}${random.token(8)}/`;
}

/** Whether a command tried something there. */
export function isScratchKey(key: string): boolean {
  return SCRATCH.test(key);
}

function hexNumber(number: number): string {
  return number.toString(16).padStart(12, '0');
}
