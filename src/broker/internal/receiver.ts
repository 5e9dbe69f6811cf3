import type { Event, EventHeaders, NackOptions } from '../broker.ts';

/** What settling means to a broker. `Ref` is what it knows an event by. */
export interface Settlement<Ref> {
  ack(ref: Ref): Promise<void>;
  nack(ref: Ref, delayMs: number): Promise<void>;
  /** These were in hand and will not be settled: they are for others. */
  giveBack(refs: readonly Ref[]): Promise<void>;
}

/** Who takes the events of a subscription: a callback, or an iteration. */
export interface Taker {
  /** How many it would take now. */
  readonly wanted: number;
  /** Never throws. */
  take(event: Event): void;
}

/** What a {@link Receiver} is made of. */
export interface ReceiverInit<Ref> {
  readonly topic: string;
  readonly maxInFlight: number;
  /** See `SubscribeOptions.maxWaiting`. */
  readonly maxWaiting: number;
  readonly taker: Taker;
  readonly settlement: Settlement<Ref>;
  /** An event was settled: there may be room for another. */
  readonly onRoom: () => void;
}

export const settled = Promise.resolve();

/** An event in hand that can wait without one of the places of `maxInFlight`. Events of brokers that do not know of it keep theirs. */
export interface CanWait {
  /** Gives its place to others, unless as many wait as may. */
  setAside(): void;
  /** Takes a place again, before any new event does. `undefined`: it has one. */
  resume(): Promise<void> | undefined;
}

/** The receiving end of one subscription: knows which events are in hand, and keeps their number bounded. */
export class Receiver<Ref> {
  readonly topic: string;
  readonly #max: number;
  readonly #maxWaiting: number;
  readonly taker: Taker;
  readonly #settlement: Settlement<Ref>;
  readonly #onRoom: () => void;
  readonly #held = new Set<Held<Ref>>();
  /** How many of them wait without a place. */
  #aside = 0;
  /** Those that have waited, and want a place again. */
  #resuming: Resuming<Ref>[] = [];
  #whenIdle: (() => void)[] = [];
  #stopped = false;

  constructor(init: ReceiverInit<Ref>) {
    this.topic = init.topic;
    this.#max = init.maxInFlight;
    this.#maxWaiting = init.maxWaiting;
    this.taker = init.taker;
    this.#settlement = init.settlement;
    this.#onRoom = init.onRoom;
  }

  /** How many events may be handed out now. */
  get room(): number {
    if (this.#stopped || this.#resuming.length > 0) return 0;
    return Math.max(0, Math.min(this.#places, this.taker.wanted));
  }

  get #places(): number {
    return this.#max - this.#held.size + this.#aside;
  }

  get isStopped(): boolean {
    return this.#stopped;
  }

  /** What is in hand. */
  get refs(): Ref[] {
    return Array.from(this.#held, (held) => held.ref);
  }

  hand(ref: Ref, headers: EventHeaders, body: Uint8Array, attempt: number): void {
    const held = new Held(this, ref, headers, body, attempt);
    this.#held.add(held);
    this.taker.take(held);
  }

  /** Takes no more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Resolves when nothing is in hand; when `signal` aborts it gives back what is. */
  async idle(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return this.giveBack();
    if (this.#held.size === 0) return;
    let returned = settled;
    const onAbort = (): void => void (returned = this.giveBack());
    signal?.addEventListener('abort', onAbort, { once: true });
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    signal?.removeEventListener('abort', onAbort);
    await returned;
  }

  /** Takes everything out of the hands of the receiver: what it settles from now on is ignored. */
  giveBack(): Promise<void> {
    if (this.#held.size === 0) return settled;
    const refs: Ref[] = [];
    for (const held of this.#held) {
      held.forget();
      refs.push(held.ref);
    }
    this.#held.clear();
    this.#aside = 0;
    for (const { resolve } of this.#resuming.splice(0)) resolve();
    this.#released();
    return this.#settlement.giveBack(refs);
  }

  ack(held: Held<Ref>): Promise<void> {
    this.#drop(held);
    const done = this.#settlement.ack(held.ref);
    this.#released();
    return done;
  }

  nack(held: Held<Ref>, delayMs: number): Promise<void> {
    this.#drop(held);
    const done = this.#settlement.nack(held.ref, delayMs);
    this.#released();
    return done;
  }

  /** Its place is for others. */
  setAside(held: Held<Ref>): void {
    if (held.isAside || this.#aside >= this.#maxWaiting) return;
    held.isAside = true;
    this.#aside += 1;
    this.#released();
  }

  resume(held: Held<Ref>): Promise<void> | undefined {
    if (!held.isAside) return undefined;
    if (this.#resuming.length === 0 && this.#places > 0) {
      this.#takePlace(held);
      return undefined;
    }
    return new Promise((resolve) => this.#resuming.push({ held, resolve }));
  }

  #takePlace(held: Held<Ref>): void {
    held.isAside = false;
    this.#aside -= 1;
  }

  #drop(held: Held<Ref>): void {
    this.#held.delete(held);
    if (held.isAside) this.#takePlace(held);
  }

  #released(): void {
    while (this.#resuming.length > 0 && this.#places > 0) {
      const { held, resolve } = this.#resuming.shift() as Resuming<Ref>;
      this.#takePlace(held);
      resolve();
    }
    if (this.#held.size === 0 && this.#whenIdle.length > 0) {
      const waiting = this.#whenIdle;
      this.#whenIdle = [];
      for (const resolve of waiting) resolve();
    }
    this.#onRoom();
  }
}

interface Resuming<Ref> {
  readonly held: Held<Ref>;
  readonly resolve: () => void;
}

/** An event in hand: it settles once. */
class Held<Ref> implements Event, CanWait {
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly attempt: number;
  readonly ref: Ref;
  readonly topic: string;
  /** It waits, and holds no place. */
  isAside = false;
  #receiver: Receiver<Ref> | undefined;

  constructor(receiver: Receiver<Ref>, ref: Ref, headers: EventHeaders, body: Uint8Array, attempt: number) {
    this.#receiver = receiver;
    this.ref = ref;
    this.topic = receiver.topic;
    this.headers = headers;
    this.body = body;
    this.attempt = attempt;
  }

  ack(): Promise<void> {
    const receiver = this.#receiver;
    if (!receiver) return settled;
    this.#receiver = undefined;
    return receiver.ack(this);
  }

  nack(options?: NackOptions): Promise<void> {
    const receiver = this.#receiver;
    if (!receiver) return settled;
    this.#receiver = undefined;
    const delayMs = options?.delayMs ?? 0;
    return receiver.nack(this, delayMs > 0 ? delayMs : 0);
  }

  setAside(): void {
    this.#receiver?.setAside(this);
  }

  resume(): Promise<void> | undefined {
    return this.#receiver?.resume(this);
  }

  forget(): void {
    this.#receiver = undefined;
    this.isAside = false;
  }
}
