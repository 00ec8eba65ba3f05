import { DIGEST_FUNCTIONS, type DigestFunction } from '../../digest/digest-function.ts';
import { type InstanceName, parseInstanceName } from '../../digest/instance-name.ts';
import { ReapiError } from '../../errors.ts';
import type * as wire from '../../gen/gantry/v1/trace.ts';
import type { Amount, Requirement, WorkerOffer } from '../../platform/platform.ts';
import type { Arrival, ArrivalFinish, SlotChange, Trace, TracedAttempt } from './trace.ts';
import { ATTEMPT_ENDS, ENDS, MERGES, TRACE_VERSION } from './trace-encoder.ts';
import { decodeFrames } from './trace-frame.ts';

/** Most arrivals that are read: about 1 GiB of memory. */
const MAX_ARRIVALS = 2_000_000;

const KIB = 1024;

/**
 * The trace in the bytes of a file, up to `maxArrivals`. A last record that is cut off is left out.
 * @throws invalid-argument: it is no trace, or of a later version.
 */
export function decodeTrace(file: Uint8Array, maxArrivals = MAX_ARRIVALS): Trace {
  const decoder = new TraceDecoder();
  const frames = decodeFrames(file);
  for (;;) {
    const frame = frames.next();
    if (frame.done === true) return decoder.trace(frame.value);
    for (const record of frame.value) {
      // A server records for weeks: its file is of use even so.
      if (decoder.arrivals === maxArrivals && record.event?.$case === 'arrival') {
        return { ...decoder.trace(false), isPartial: true };
      }
      decoder.read(record);
    }
  }
}

class TraceDecoder {
  #startedAtMs: number | undefined;
  #nowMs = 0;
  readonly #texts: string[] = [''];
  readonly #needs: Requirement[] = [];
  readonly #offers: WorkerOffer[] = [];
  readonly #arrivals: (Omit<Arrival, 'finish'> & { finish?: ArrivalFinish })[] = [];
  readonly #slots: SlotChange[] = [];
  readonly #sizeClasses = new Map<string, number>();

  get arrivals(): number {
    return this.#arrivals.length;
  }

  read({ afterMs, event }: wire.TraceRecord): void {
    this.#nowMs += afterMs;
    if (event?.$case === 'header') {
      this.#header(event.value);
      return;
    }
    if (this.#startedAtMs === undefined) throw wrong('does not begin with a header');
    switch (event?.$case) {
      case 'text':
        this.#texts.push(event.value);
        return;
      case 'needs':
        this.#needs.push(this.#requirement(event.value));
        return;
      case 'offer':
        this.#offers.push(this.#offer(event.value));
        return;
      case 'arrival':
        this.#arrivals.push(this.#arrival(event.value));
        return;
      case 'slot':
        this.#slots.push(this.#slot(event.value));
        return;
      case 'slotLeft':
        this.#slots.push({
          ...{ type: 'left', atMs: this.#nowMs },
          ...{ slot: this.#text(event.value.name), isLost: event.value.isLost },
        });
        return;
      case 'finish':
        this.#finish(event.value);
        return;
      // A record of a later minor version: it can be left out.
      case undefined:
        return;
    }
  }

  trace(isTruncated: boolean): Trace {
    if (this.#startedAtMs === undefined) throw wrong('has no header: this is not a trace');
    return { startedAtMs: this.#startedAtMs, arrivals: this.#arrivals, slots: this.#slots, isTruncated };
  }

  #header({ version, startedAtMs }: wire.TraceHeader): void {
    if (this.#startedAtMs !== undefined) throw wrong('has a second header');
    if (version !== TRACE_VERSION) throw wrong(`is of version ${version}; this program reads version ${TRACE_VERSION}`);
    this.#startedAtMs = Number(startedAtMs);
  }

  #arrival(message: wire.TraceArrival): Arrival {
    const { expectedMs, sizeClass, after, delayMs, runMs } = message;
    return {
      atMs: this.#nowMs,
      key: Buffer.from(message.key).toString('hex'),
      instance: this.#instance(message.instance),
      needs: numbered(this.#needs, message.needs - 1, 'requirement'),
      priority: message.priority,
      merge: nameOf(MERGES, message.merge),
      shares: message.shares.map(({ id, weight }) => ({ id: this.#text(id), weight: weightOf(weight) })),
      mnemonic: this.#text(message.mnemonic),
      inputBytes: message.inputKib * KIB,
      ...(expectedMs !== undefined && { expectedMs }),
      ...(sizeClass !== undefined && { sizeClass }),
      ...(after.length > 0 && { after, delayMs }),
      ...(runMs !== undefined && { runMs }),
    };
  }

  #slot(message: wire.TraceSlot): SlotChange {
    const slot = this.#text(message.name);
    const offer = numbered(this.#offers, message.offer - 1, 'offer');
    this.#sizeClasses.set(slot, offer.sizeClass ?? 0);
    const [node, prefix] = [this.#text(message.node), this.#instance(message.prefix)];
    return { type: 'there', atMs: this.#nowMs, slot, node, offer, prefix };
  }

  #finish({ arrival, end, attempts }: wire.TraceFinish): void {
    const atMs = this.#nowMs;
    const finished = numbered(this.#arrivals, arrival, 'arrival');
    finished.finish = { atMs, how: nameOf(ENDS, end), attempts: attempts.map((each) => this.#attempt(each)) };
  }

  #attempt({ slot: name, startedBeforeMs, heldMs, end }: wire.TraceAttempt): TracedAttempt {
    const slot = this.#text(name);
    const how = nameOf(ATTEMPT_ENDS, end);
    const sizeClass = this.#sizeClasses.get(slot) ?? 0;
    return { slot, sizeClass, startedAtMs: this.#nowMs - startedBeforeMs, heldMs, how };
  }

  #requirement(message: wire.TraceNeeds): Requirement {
    const { properties, preferences, takes, digestFunction, legacyOutputs } = message;
    return {
      properties: this.#properties(properties),
      digestFunction: this.#digestFunction(digestFunction),
      legacyOutputs,
      ...(preferences.length > 0 && { preferences: this.#properties(preferences) }),
      ...(takes.length > 0 && { takes: this.#amounts(takes) }),
    };
  }

  #offer(message: wire.TraceOffer): WorkerOffer {
    const { alternatives, digestFunctions, legacyOutputs, capacity, sizeClass } = message;
    return {
      alternatives: alternatives.map(({ properties }) => ({ properties: this.#properties(properties) })),
      digestFunctions: digestFunctions.map((name) => this.#digestFunction(name)),
      legacyOutputs,
      ...(capacity.length > 0 && { capacity: this.#amounts(capacity) }),
      ...(sizeClass > 0 && { sizeClass }),
    };
  }

  #properties(properties: readonly wire.TraceProperty[]): Requirement['properties'] {
    return properties.map(({ name, values }) => ({
      name: this.#text(name),
      values: values.map((value) => this.#text(value)),
    }));
  }

  #amounts(amounts: readonly wire.TraceAmount[]): readonly Amount[] {
    return amounts.map(({ name, amount }) => ({ name: this.#text(name), amount }));
  }

  #digestFunction(number: number): DigestFunction {
    const name = this.#text(number);
    const found = DIGEST_FUNCTIONS.find((each) => each === name);
    if (found === undefined) throw wrong('names a digest function that is not known');
    return found;
  }

  #instance(number: number): InstanceName {
    return parseInstanceName(this.#text(number));
  }

  #text(number: number): string {
    return numbered(this.#texts, number, 'text');
  }
}

function weightOf(weight: number): number {
  if (weight === 0) return 1;
  if (!(weight > 0 && Number.isFinite(weight))) throw wrong('has a share with a weight that is not above 0');
  return weight;
}

function numbered<T>(things: readonly T[], index: number, what: string): T {
  const thing = things[index];
  if (thing === undefined) throw wrong(`refers to a ${what} that it does not define`);
  return thing;
}

function nameOf<Name extends string>(pairs: readonly (readonly [Name, number])[], value: number): Name {
  const pair = pairs.find(([, each]) => each === value);
  if (pair === undefined) throw wrong(`has the value ${value}, which is not known`);
  return pair[0];
}

function wrong(what: string): ReapiError {
  return new ReapiError('invalid-argument', `the trace ${what}`);
}
