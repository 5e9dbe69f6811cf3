import type { Logger } from '../../logger/logger.ts';
import { Receiver, settled, type Settlement, type Taker } from './receiver.ts';
import type { Frame } from './redis-frame.ts';

/** What a {@link Backlog} is told. */
export interface BacklogOptions {
  readonly topic: string;
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  readonly maxBacklog: number;
  readonly taker: Taker;
  readonly logger: Logger;
}

// Nobody is told: such a broker has forgotten the event.
const forgotten: Settlement<undefined> = { ack: () => settled, nack: () => settled, giveBack: () => settled };

/** The receiving end of a subscription whose broker sends whether there is room or not. */
export class Backlog {
  readonly #options: BacklogOptions;
  readonly #receiver: Receiver<undefined>;
  #frames: Frame[] = [];
  #head = 0;
  #pumping = false;
  #dropped = 0;
  #whenEmpty: (() => void)[] = [];

  constructor(options: BacklogOptions) {
    const { topic, maxInFlight, maxWaiting, taker } = options;
    this.#options = options;
    this.#receiver = new Receiver({
      topic,
      maxInFlight,
      maxWaiting,
      taker,
      settlement: forgotten,
      onRoom: () => this.#soon(),
    });
  }

  get #size(): number {
    return this.#frames.length - this.#head;
  }

  add(frame: Frame): void {
    if (this.#size === 0 && !this.#pumping && this.#receiver.room > 0) {
      this.#pumping = true;
      this.#receiver.hand(undefined, frame.headers, frame.body, 1);
      this.#pumping = false;
      return;
    }
    if (this.#size >= this.#options.maxBacklog) this.#drop();
    else this.#frames.push(frame);
  }

  /** Hands out what there is room for. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#size > 0 && this.#receiver.room > 0) {
      const frame = this.#frames[this.#head] as Frame;
      this.#head += 1;
      this.#receiver.hand(undefined, frame.headers, frame.body, 1);
    }
    this.#pumping = false;
    if (this.#size > 0) return;
    this.#frames = [];
    this.#head = 0;
    this.#caughtUp();
  }

  /** Hands out what has arrived, then resolves when nothing is in hand. When `signal` aborts, what is left is dropped. */
  async finish(signal?: AbortSignal): Promise<void> {
    const end = (): void => this.end();
    if (signal?.aborted) end();
    signal?.addEventListener('abort', end, { once: true });
    if (this.#size > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
    this.#receiver.stop();
    await this.#receiver.idle(signal);
    signal?.removeEventListener('abort', end);
  }

  /** Drops everything. */
  end(): void {
    this.#frames = [];
    this.#head = 0;
    this.#receiver.stop();
    void this.#receiver.giveBack();
    this.#caughtUp();
  }

  #soon(): void {
    if (this.#size === 0 || this.#pumping) return;
    queueMicrotask(() => this.pump());
  }

  #drop(): void {
    this.#dropped += 1;
    if (this.#dropped > 1) return;
    const { topic, maxBacklog, logger } = this.#options;
    logger.warn('events are dropped: the subscriber is slower than its events come', { topic, maxBacklog });
  }

  #caughtUp(): void {
    if (this.#dropped > 0) {
      const { topic, logger } = this.#options;
      logger.warn('the subscriber has caught up with its events', { topic, dropped: this.#dropped });
      this.#dropped = 0;
    }
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }
}
