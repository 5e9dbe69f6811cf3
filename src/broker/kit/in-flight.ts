import type { Event, EventHeaders, NackOptions } from '../broker.ts';
import type { IncomingEvent } from './driver.ts';

/** Settles events with the broker. */
export interface Settlement<E extends IncomingEvent> {
  ack(event: E): Promise<void>;
  nack(event: E, delayMs: number): Promise<void>;
  /** Resolves when the event is where refused events go, or with `true` if the server has settled it by that. */
  reject(event: Event, from: E, reason: unknown): Promise<boolean>;
  /** These were in hand and will not be settled: they are for others. */
  release(events: readonly E[]): Promise<void>;
  /** An id for an event that came without. */
  nextId(): string;
}

/** Takes the events of a subscription: a callback, or an iteration. */
export interface EventTaker {
  /** The number of events that it would take now. */
  readonly demand: number;
  /** Never throws. */
  take(event: Event): void;
  /** The subscription has died. */
  fail?(error: unknown): void;
}

/** The parts of {@link InFlightEvents}. */
export interface InFlightInit<E extends IncomingEvent> {
  readonly topic: string;
  readonly maxInFlight: number;
  /** See `SubscribeOptions.maxWaiting`. */
  readonly maxWaiting: number;
  readonly taker: EventTaker;
  readonly settlement: Settlement<E>;
  /** An event was settled: there may be room for another. */
  readonly onRoom: () => void;
}

/** Resolved, for those who have nothing to wait for. */
export const settled: Promise<void> = Promise.resolve();

/**
 * Lets an event in hand wait, for those who handle events in turns. Events of brokers that are not made with the
 * kit lack it: they keep their places, and are refused in their broker's own way.
 */
export interface Deferrable {
  /** Gives its place to others, unless as many wait as may. */
  setAside(): void;
  /** Takes a place again, before any new event does. `undefined`: it has one. */
  resume(): Promise<void> | undefined;
  /** `reject` calls this instead, as long as the event is not settled. */
  onReject: ((event: Event, reason: unknown) => Promise<void>) | undefined;
}

/** The events of one subscription that are in hand, and the bound of their number. */
export class InFlightEvents<E extends IncomingEvent> {
  readonly topic: string;
  readonly #max: number;
  readonly #maxWaiting: number;
  readonly #taker: EventTaker;
  readonly #settlement: Settlement<E>;
  readonly #onRoom: () => void;
  readonly #inHand = new Set<InFlightEvent<E>>();
  /** The number of them that wait without a place. */
  #aside = 0;
  /** Those that have waited, and want a place again. */
  #resuming: Resuming<E>[] = [];
  #whenIdle: (() => void)[] = [];
  #stopped = false;

  constructor(init: InFlightInit<E>) {
    this.topic = init.topic;
    this.#max = init.maxInFlight;
    this.#maxWaiting = init.maxWaiting;
    this.#taker = init.taker;
    this.#settlement = init.settlement;
    this.#onRoom = init.onRoom;
  }

  /** The number of events that may be handed out now. */
  get room(): number {
    if (this.#stopped || this.#resuming.length > 0) return 0;
    return Math.max(0, Math.min(this.#places, this.#taker.demand));
  }

  get #places(): number {
    return this.#max - this.#inHand.size + this.#aside;
  }

  /** The events in hand. */
  get events(): E[] {
    return Array.from(this.#inHand, ({ from }) => from);
  }

  deliver(from: E, headers: EventHeaders): void {
    const event = new InFlightEvent(this, from, headers);
    this.#inHand.add(event);
    this.#taker.take(event);
  }

  /** Takes no more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Resolves when nothing is in hand; when `signal` aborts it gives back what is. */
  async idle(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return this.release();
    if (this.#inHand.size === 0) return;
    let returned = settled;
    const onAbort = (): void => void (returned = this.release());
    signal?.addEventListener('abort', onAbort, { once: true });
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    signal?.removeEventListener('abort', onAbort);
    await returned;
  }

  /** Takes everything out of the hands of its receivers, for others: what they settle from now on is ignored. */
  release(): Promise<void> {
    const events = this.forget();
    return events.length === 0 ? settled : this.#settlement.release(events);
  }

  /** Takes everything out of the hands of its receivers; nobody is told. */
  forget(): E[] {
    const events = this.events;
    for (const event of this.#inHand) event.forget();
    this.#inHand.clear();
    this.#aside = 0;
    for (const { resolve } of this.#resuming.splice(0)) resolve();
    if (events.length > 0) this.#released();
    return events;
  }

  ack(event: InFlightEvent<E>): Promise<void> {
    this.#drop(event);
    const done = this.#settlement.ack(event.from);
    this.#released();
    return done;
  }

  nack(event: InFlightEvent<E>, delayMs: number): Promise<void> {
    this.#drop(event);
    const done = this.#settlement.nack(event.from, delayMs);
    this.#released();
    return done;
  }

  /** It stays in hand until it is where refused events go. One that cannot be brought there is given back. */
  async reject(event: InFlightEvent<E>, reason: unknown): Promise<void> {
    try {
      const isSettled = await this.#settlement.reject(event, event.from, reason);
      if (!this.#inHand.has(event)) return;
      if (!isSettled) return await this.ack(event);
      this.#drop(event);
      this.#released();
    } catch (error) {
      if (this.#inHand.has(event)) await this.nack(event, 0);
      throw error;
    }
  }

  /** Its place is for others. */
  setAside(event: InFlightEvent<E>): void {
    if (event.isAside || this.#aside >= this.#maxWaiting) return;
    event.isAside = true;
    this.#aside += 1;
    this.#released();
  }

  resume(event: InFlightEvent<E>): Promise<void> | undefined {
    if (!event.isAside) return undefined;
    if (this.#resuming.length === 0 && this.#places > 0) {
      this.#takePlace(event);
      return undefined;
    }
    return new Promise((resolve) => this.#resuming.push({ event, resolve }));
  }

  nextId(): string {
    return this.#settlement.nextId();
  }

  #takePlace(event: InFlightEvent<E>): void {
    event.isAside = false;
    this.#aside -= 1;
  }

  #drop(event: InFlightEvent<E>): void {
    this.#inHand.delete(event);
    if (event.isAside) this.#takePlace(event);
  }

  #released(): void {
    while (this.#resuming.length > 0 && this.#places > 0) {
      const { event, resolve } = this.#resuming.shift() as Resuming<E>;
      this.#takePlace(event);
      resolve();
    }
    if (this.#inHand.size === 0 && this.#whenIdle.length > 0) {
      const waiting = this.#whenIdle;
      this.#whenIdle = [];
      for (const resolve of waiting) resolve();
    }
    this.#onRoom();
  }
}

interface Resuming<E extends IncomingEvent> {
  readonly event: InFlightEvent<E>;
  readonly resolve: () => void;
}

/** An event in hand: it settles once. */
class InFlightEvent<E extends IncomingEvent> implements Event, Deferrable {
  readonly topic: string;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly attempt: number;
  /** As the driver knows it. */
  readonly from: E;
  /** It waits, and holds no place. */
  isAside = false;
  onReject: ((event: Event, reason: unknown) => Promise<void>) | undefined = undefined;
  #isSettled = false;
  #id: string | undefined;
  readonly #owner: InFlightEvents<E>;

  constructor(owner: InFlightEvents<E>, from: E, headers: EventHeaders) {
    this.#owner = owner;
    this.from = from;
    this.topic = owner.topic;
    this.headers = headers;
    this.body = from.body;
    this.attempt = from.attempt;
  }

  get id(): string {
    return (this.#id ??= this.from.id ?? this.#owner.nextId());
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

  setAside(): void {
    if (!this.#isSettled) this.#owner.setAside(this);
  }

  resume(): Promise<void> | undefined {
    return this.#isSettled ? undefined : this.#owner.resume(this);
  }

  forget(): void {
    this.#isSettled = true;
    this.isAside = false;
  }
}
