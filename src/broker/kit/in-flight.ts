import type { Event, EventHeaders, NackOptions } from '../broker.ts';
import type { IncomingEvent } from './driver.ts';
import { deliverAtHeader } from './scheduling.ts';

/** Settles events at the broker. */
export interface Settlement<E extends IncomingEvent> {
  ack(event: E): Promise<void>;
  nack(event: E, delayMs: number): Promise<void>;
  /** Resolves when the event is stored as a dead letter; with `true` if the server has settled it thereby. */
  reject(event: Event, from: E, reason: unknown): Promise<boolean>;
  /** Returns events to the broker that were not settled, for other receivers. */
  release(events: readonly E[]): Promise<void>;
  /** Makes an id for an event of a server that gives none. */
  nextId(): string;
}

/** Consumes the events of a subscription: a callback, or the queue of an iteration. */
export interface EventConsumer {
  /** The number of events that it accepts now. */
  readonly demand: number;
  /** Accepts an event. Never throws. */
  push(event: Event): unknown;
  /** Ends it with the error of its subscription. */
  fail?(error: unknown): void;
}

/** The parts of {@link InFlightEvents}. */
export interface InFlightInit<E extends IncomingEvent> {
  readonly topic: string;
  readonly maxInFlight: number;
  /** See `SubscribeOptions.maxWaiting`. */
  readonly maxWaiting: number;
  readonly consumer: EventConsumer;
  readonly settlement: Settlement<E>;
  /** Called when more events may be delivered, after one was settled or yielded its slot. */
  readonly onDemand: () => void;
}

// An event whose dead letter is refused would come back at once, without end.
const unstoredDelayMs = 1_000;

/** A resolved promise, for calls that have nothing to wait for. */
export const settled: Promise<void> = Promise.resolve();

/**
 * An event that can wait without a slot of `maxInFlight`, as `deliver` needs it for events of one key. Only brokers
 * made with the kit have such events.
 */
export interface Deferrable {
  /** Frees the event's slot for others that are in hand. With `maxWaiting` such events no new ones are delivered. */
  yieldSlot(): void;
  /** Resolves when the event has a slot again, before any new event gets one; `undefined` if it has one. */
  reclaimSlot(): Promise<void> | undefined;
  /** True if it is settled, or its session has ended: others may have it. */
  readonly isOver: boolean;
  /** False if the id was made by the kit: the event has another one when it is delivered again. */
  readonly hasOwnId: boolean;
  /** Called by `reject` in place of its own work, as long as the event is not settled. */
  onReject: ((event: Event, reason: unknown) => Promise<void>) | undefined;
}

/** See {@link Deferrable.yieldSlot}. Does nothing for an event of a broker that is not made with the kit. */
export function yieldSlot(event: Event & Partial<Deferrable>): void {
  event.yieldSlot?.();
}

/** See {@link Deferrable.reclaimSlot}. */
export function reclaimSlot(event: Event & Partial<Deferrable>): Promise<void> | undefined {
  return event.reclaimSlot?.();
}

/** The in-flight events of one subscription. Bounds their number by slots. */
export class InFlightEvents<E extends IncomingEvent> {
  readonly topic: string;
  readonly #max: number;
  readonly #maxWaiting: number;
  readonly #consumer: EventConsumer;
  readonly #settlement: Settlement<E>;
  readonly #onDemand: () => void;
  readonly #unsettled = new Set<InFlightEvent<E>>();
  /** The number of events that wait without a slot. */
  #yielded = 0;
  /** Events that wait to get a slot again. */
  #reclaiming: SlotClaim<E>[] = [];
  #whenIdle: (() => void)[] = [];
  #stopped = false;

  constructor(init: InFlightInit<E>) {
    this.topic = init.topic;
    this.#max = init.maxInFlight;
    this.#maxWaiting = init.maxWaiting;
    this.#consumer = init.consumer;
    this.#settlement = init.settlement;
    this.#onDemand = init.onDemand;
  }

  /** The number of events that may be delivered now. Each of them may have to wait for its turn. */
  get room(): number {
    if (this.#stopped || this.#reclaiming.length > 0) return 0;
    return Math.max(0, Math.min(this.#freeSlots, this.#maxWaiting - this.#yielded, this.#consumer.demand));
  }

  get #freeSlots(): number {
    return this.#max - this.#unsettled.size + this.#yielded;
  }

  /** The events that are not settled. */
  get events(): E[] {
    return Array.from(this.#unsettled, ({ from }) => from);
  }

  deliver(from: E, headers: EventHeaders, topic = this.topic): void {
    const event = new InFlightEvent(this, from, headers, topic);
    this.#unsettled.add(event);
    this.#consumer.push(event);
  }

  /** Accepts no more events. */
  stop(): void {
    this.#stopped = true;
  }

  /** Resolves when all events are settled. When `signal` aborts, it releases those that are not. */
  async idle(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return this.release();
    if (this.#unsettled.size === 0) return;
    let returned = settled;
    const onAbort = (): void => void (returned = this.release());
    signal?.addEventListener('abort', onAbort, { once: true });
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    signal?.removeEventListener('abort', onAbort);
    await returned;
  }

  /** Releases all events to the broker. Their receivers can no longer settle them. */
  release(): Promise<void> {
    const events = this.forget();
    return events.length === 0 ? settled : this.#settlement.release(events);
  }

  /** Forgets all events, without telling the broker. Their receivers can no longer settle them. */
  forget(): E[] {
    const events = this.events;
    for (const event of this.#unsettled) event.forget();
    this.#unsettled.clear();
    this.#yielded = 0;
    for (const { resolve } of this.#reclaiming.splice(0)) resolve();
    if (events.length > 0) this.#onSlotFree();
    return events;
  }

  ack(event: InFlightEvent<E>): Promise<void> {
    this.#drop(event);
    const done = this.#settlement.ack(event.from);
    this.#onSlotFree();
    return done;
  }

  nack(event: InFlightEvent<E>, delayMs: number): Promise<void> {
    this.#drop(event);
    const done = this.#settlement.nack(event.from, delayMs);
    this.#onSlotFree();
    return done;
  }

  /** Keeps the event in flight until it is stored as a dead letter. If that fails, the event is nacked. */
  async reject(event: InFlightEvent<E>, reason: unknown): Promise<void> {
    try {
      const isSettled = await this.#settlement.reject(event, event.from, reason);
      if (!this.#unsettled.has(event)) return;
      if (!isSettled) return await this.ack(event);
      this.#drop(event);
      this.#onSlotFree();
    } catch (error) {
      if (this.#unsettled.has(event)) await this.nack(event, unstoredDelayMs);
      throw error;
    }
  }

  yieldSlot(event: InFlightEvent<E>): void {
    if (event.hasYielded) return;
    event.hasYielded = true;
    this.#yielded += 1;
    this.#onSlotFree();
  }

  reclaimSlot(event: InFlightEvent<E>): Promise<void> | undefined {
    if (!event.hasYielded) return undefined;
    if (this.#reclaiming.length === 0 && this.#freeSlots > 0) {
      this.#occupySlot(event);
      return undefined;
    }
    return new Promise((resolve) => this.#reclaiming.push({ event, resolve }));
  }

  nextId(): string {
    return this.#settlement.nextId();
  }

  #occupySlot(event: InFlightEvent<E>): void {
    event.hasYielded = false;
    this.#yielded -= 1;
  }

  #drop(event: InFlightEvent<E>): void {
    this.#unsettled.delete(event);
    if (event.hasYielded) this.#occupySlot(event);
  }

  #onSlotFree(): void {
    while (this.#reclaiming.length > 0 && this.#freeSlots > 0) {
      const { event, resolve } = this.#reclaiming.shift() as SlotClaim<E>;
      this.#occupySlot(event);
      resolve();
    }
    if (this.#unsettled.size === 0 && this.#whenIdle.length > 0) {
      const waiting = this.#whenIdle;
      this.#whenIdle = [];
      for (const resolve of waiting) resolve();
    }
    this.#onDemand();
  }
}

interface SlotClaim<E extends IncomingEvent> {
  readonly event: InFlightEvent<E>;
  readonly resolve: () => void;
}

/** An event that was delivered and is not settled. It settles once. */
class InFlightEvent<E extends IncomingEvent> implements Event, Deferrable {
  readonly topic: string;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly attempt: number;
  /** The driver's event. */
  readonly from: E;
  /** True if it waits without a slot. */
  hasYielded = false;
  onReject: ((event: Event, reason: unknown) => Promise<void>) | undefined = undefined;
  #isSettled = false;
  #id: string | undefined;
  readonly #owner: InFlightEvents<E>;

  constructor(owner: InFlightEvents<E>, from: E, headers: EventHeaders, topic: string) {
    this.#owner = owner;
    this.from = from;
    this.topic = topic;
    this.headers = headers;
    this.body = from.body;
    // The delivery before it was due was no attempt.
    this.attempt = headers[deliverAtHeader] === undefined ? from.attempt : Math.max(1, from.attempt - 1);
  }

  get id(): string {
    return (this.#id ??= this.from.id ?? this.#owner.nextId());
  }

  get hasOwnId(): boolean {
    return this.from.id !== undefined;
  }

  ack(): Promise<void> {
    if (this.#isSettled) return settled;
    this.#isSettled = true;
    return this.#owner.ack(this);
  }

  nack(options?: NackOptions): Promise<void> {
    if (this.#isSettled) return settled;
    this.#isSettled = true;
    const delayMs = options?.delayMs ?? 0;
    return this.#owner.nack(this, delayMs > 0 ? delayMs : 0);
  }

  reject(reason?: unknown): Promise<void> {
    if (this.#isSettled) return settled;
    if (this.onReject) return this.onReject(this, reason);
    this.#isSettled = true;
    return this.#owner.reject(this, reason);
  }

  get isOver(): boolean {
    return this.#isSettled;
  }

  yieldSlot(): void {
    if (!this.#isSettled) this.#owner.yieldSlot(this);
  }

  reclaimSlot(): Promise<void> | undefined {
    return this.#isSettled ? undefined : this.#owner.reclaimSlot(this);
  }

  forget(): void {
    this.#isSettled = true;
    this.hasYielded = false;
  }
}
