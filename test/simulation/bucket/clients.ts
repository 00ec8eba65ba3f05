import { type Digest, digestKey } from '../../../src/digest/digest.ts';
import { digestOf } from '../../../src/digest/hasher.ts';
import { isKind, ReapiError } from '../../../src/errors.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { Machine } from './machine.ts';
import type { Model } from './model.ts';
import type { SimTime } from './sim-time.ts';

/** A blob that clients know. */
export interface SimBlob {
  readonly name: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** What clients stand on. */
export interface ClientsWorld {
  readonly time: SimTime;
  readonly random: SeededRandom;
  readonly model: Model;
  readonly blobs: readonly SimBlob[];
  readonly keys: readonly string[];
  readonly told: (text: string) => void;
  readonly violated: (violation: string) => void;
}

/** What a call may fail with: the server, or S3, is not well. Anything else has to be explained. */
const EXCUSES = ['unavailable', 'quota-exceeded', 'cancelled'] as const;

const NEVER = new AbortController().signal;

/** The blobs of a world: most are small, every eighth has an object of its own. */
export function makeBlobs(count: number, maxPackedBytes: number): readonly SimBlob[] {
  return Array.from({ length: count }, (_, number) => {
    const sizeBytes =
      number % 8 === 7 ? maxPackedBytes + 500 + number : 100 + ((number * 331) % (maxPackedBytes - 100));
    const bytes = Buffer.alloc(sizeBytes, `blob ${number} `);
    return { name: `blob ${number}`, digest: digestOf('sha256', bytes), bytes };
  });
}

/** Calls of clients, each checked against the model. */
export class Clients {
  readonly #world: ClientsWorld;
  calls = 0;
  acknowledged = 0;

  constructor(world: ClientsWorld) {
    this.#world = world;
  }

  /** Something a client may want of a server. */
  async doSomething(machine: Machine): Promise<void> {
    const { random, blobs, keys } = this.#world;
    const blob = blobs[random.between(0, blobs.length - 1)];
    const key = keys[random.between(0, keys.length - 1)];
    if (blob === undefined || key === undefined) return;
    this.calls++;
    const roll = random.fraction();
    if (roll < 0.3) return this.#putBlob(machine, blob);
    if (roll < 0.45) return this.#look(machine);
    if (roll < 0.65) return this.readBlob(machine, blob, false);
    if (roll < 0.8) return this.#write(machine, key, false);
    if (roll < 0.95) return this.readEntry(machine, key, false);
    return this.#write(machine, key, true);
  }

  async #putBlob(machine: Machine, blob: SimBlob): Promise<void> {
    const { time, model, told, violated } = this.#world;
    const { disk } = machine;
    told(`${machine.name}: put ${blob.name}`);
    const answer = await this.#ask(machine, `put ${blob.name}`, (tier) =>
      tier.blobs.putBytes(blob.digest, blob.bytes, NEVER),
    );
    if (answer === undefined || machine.disk !== disk) return;
    this.acknowledged++;
    told(`${machine.name}: has ${blob.name}`);
    if (!model.wasStored(blob.digest.hash))
      violated(`${machine.name} acknowledged ${blob.name}, which the bucket never had`);
    model.promised(machine, blob.digest.hash, time.monotonicMs());
  }

  async #look(machine: Machine): Promise<void> {
    const { time, random, model, blobs, told } = this.#world;
    const first = random.between(0, blobs.length - 1);
    const some = blobs.slice(first, first + 4);
    const digests = some.map(({ digest }) => digest);
    const answer = await this.#ask(machine, 'findMissing', (tier) => tier.blobs.findMissing(digests, NEVER));
    if (answer === undefined) return;
    const missing = new Set(answer.value.map(digestKey));
    const present = some.filter(({ digest }) => !missing.has(digestKey(digest)));
    told(`${machine.name}: of ${some.map(({ name }) => name)} there are ${present.map(({ name }) => name)}`);
    for (const { digest } of present) model.promised(machine, digest.hash, time.monotonicMs());
  }

  /** @param mustBeThere whatever was promised. */
  async readBlob(machine: Machine, { name, digest, bytes }: SimBlob, mustBeThere: boolean): Promise<void> {
    const { time, model, violated } = this.#world;
    const { promises } = machine;
    const answer = await this.#ask(machine, `read ${name}`, async (tier) => {
      try {
        return await tier.blobs.getBytes(digest, NEVER);
      } catch (error) {
        if (isKind(error, 'blob-not-found')) return undefined;
        throw error;
      }
    });
    if (answer === undefined) {
      if (mustBeThere) violated(`${machine.name} cannot read ${name}`);
      return;
    }
    if (answer.value === undefined) {
      const until = machine.promises === promises && model.isPromised(machine, digest.hash, time.monotonicMs());
      if (until) violated(`${machine.name} promised ${name} (${digest.hash.slice(0, 8)}) and does not have it`);
      else if (mustBeThere) violated(`${machine.name} lost ${name} (${digest.hash.slice(0, 8)})`);
    } else if (Buffer.compare(answer.value, bytes) !== 0) violated(`${machine.name} gives wrong bytes for ${name}`);
    else model.used(machine, digest.hash, time.monotonicMs());
  }

  async #write(machine: Machine, key: string, isRemoval: boolean): Promise<void> {
    const { time, model, told } = this.#world;
    const write = model.begin(machine, key, isRemoval, time.monotonicMs());
    model.knew(write, machine.newsMs);
    told(`${machine.name}: ${isRemoval ? 'remove' : 'put'} ${key}, value ${write.id}`);
    const answer = await this.#ask(machine, `write ${key}`, async (tier) => {
      if (isRemoval) return tier.entries.delete(key, NEVER);
      await tier.entries.put(key, Buffer.from(`${key}#${write.id}`), NEVER);
      return true;
    });
    write.endedMs = time.monotonicMs();
    write.isAcknowledged = answer?.value === true;
    if (write.isAcknowledged) this.acknowledged++;
    if (answer !== undefined) told(`${machine.name}: value ${write.id} of ${key}: ${answer.value}`);
  }

  /** @param reader as the model sees it. */
  async readEntry(
    machine: Machine,
    key: string,
    mustBeThere: boolean,
    reader: Machine | 'bucket' = machine,
  ): Promise<void> {
    const { time, model, violated } = this.#world;
    const beganMs = time.monotonicMs();
    // News that comes while it reads may or may not count.
    const { newsMs } = machine;
    const answer = await this.#ask(machine, `read ${key}`, (tier) => {
      return tier.entries.get(key, NEVER);
    });
    if (answer === undefined) return;
    const text = answer.value === undefined ? undefined : Buffer.from(answer.value.value).toString();
    const id = text === undefined ? undefined : Number(text.split('#')[1]);
    const wrong = model.checkRead(reader, key, id, { beganMs, newsMs });
    if (wrong !== undefined) violated(`${machine.name}: ${wrong}`);
    if (id === undefined && mustBeThere && model.mustHave(key, time.monotonicMs())) {
      violated(`${machine.name} lost ${key}`);
    }
  }

  /** Asks a server. @returns undefined if it is not there, or has an excuse. */
  async #ask<T>(
    machine: Machine,
    what: string,
    call: (tier: NonNullable<Machine['tier']>) => Promise<T>,
  ): Promise<{ readonly value: T } | undefined> {
    const { tier } = machine;
    if (tier === undefined) return undefined;
    try {
      return { value: await call(tier) };
    } catch (error) {
      const isExcused = error instanceof ReapiError && EXCUSES.some((kind) => kind === error.kind);
      this.#world.told(`${machine.name}: ${what} failed: ${error}`);
      if (!isExcused) this.#world.violated(`${machine.name}: ${what} failed: ${error}`);
      return undefined;
    }
  }
}
