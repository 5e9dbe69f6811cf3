import type { Broker, EventHeaders } from '../broker/broker.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { TenonError } from '../errors/errors.ts';
import { Backoff } from '../internal/backoff.ts';
import { ConsoleLogger } from '../logger/console.ts';
import type { Logger } from '../logger/logger.ts';
import { pause } from '../runtime/bounded.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import type { OutboxLease, OutboxStore, StoredOutboxEvent } from './outbox.ts';

/** Options of an {@link OutboxDispatcher}. */
export interface OutboxDispatcherOptions {
  /** Most events that are published at once. @default 100 */
  readonly maxBatch?: number | undefined;
  /** Longest time in milliseconds until a committed event is seen, if the store does not tell of it. @default 1_000 */
  readonly pollMs?: number | undefined;
  readonly runtime?: Runtime | undefined;
  readonly logger?: Logger | undefined;
}

const dedupeKeyHeader = 'tenon-dedupe-key';

/** Errors with which a broker refuses an event itself: publishing it again is of no use. */
const hopeless: ReadonlySet<string> = new Set(['broker.invalid_topic', 'broker.invalid_headers', 'broker.too_large']);

/**
 * Publishes the events of an outbox. Of several processes one does so at a time.
 *
 * An event is removed when the broker has confirmed it. If the process dies in between, it is published again, with the
 * same `tenon-dedupe-key`. Events of one order key are published one after another. What the broker will never take is
 * logged as an error and set aside.
 */
export class OutboxDispatcher {
  readonly #store: Pick<OutboxStore<never>, 'lead'>;
  readonly #broker: Broker;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #maxBatch: number;
  readonly #pollMs: number;
  readonly #backoff: Backoff;
  #ending: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(store: Pick<OutboxStore<never>, 'lead'>, broker: Broker, options: OutboxDispatcherOptions = {}) {
    checkedOptions('OutboxDispatcherOptions', options, { maxBatch: { min: 1, isWhole: true } });
    const { maxBatch = 100, pollMs = 1_000, runtime = systemRuntime } = options;
    this.#store = store;
    this.#broker = broker;
    this.#runtime = runtime;
    this.#logger = options.logger ?? new ConsoleLogger({ level: 'warn' });
    this.#maxBatch = maxBatch;
    this.#pollMs = pollMs;
    this.#backoff = new Backoff(runtime.random, { initialMs: 100, maxMs: 10_000 });
  }

  /** Begins to publish. May be called again. */
  start(): void {
    if (this.#ending) return;
    const ending = new AbortController();
    this.#ending = ending;
    this.#running = this.#run(ending.signal);
  }

  /** Ends after the events that are being published. Resolves when they are confirmed and removed, or have failed. */
  async stop(): Promise<void> {
    this.#ending?.abort();
    this.#ending = undefined;
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let lease: OutboxLease | undefined;
      try {
        lease = await this.#store.lead(signal);
        await this.#dispatch(lease, signal);
      } catch (error) {
        if (!signal.aborted) this.#logger.warn('the outbox cannot be read; it is tried again', { error });
      }
      await lease?.release();
      if (!signal.aborted) await pause(this.#runtime.timers, this.#backoff.failed(), signal);
    }
  }

  /**
   * Publishes from the oldest event to the newest. What fails, and what follows it under its key, is left behind until
   * the back-off is over; the others go on.
   */
  async #dispatch(lease: OutboxLease, signal: AbortSignal): Promise<void> {
    const { clock, timers } = this.#runtime;
    let left: LeftBehind | undefined;
    while (!signal.aborted) {
      if (left && clock.monotonicMs() >= left.untilMs) left = undefined;
      const events = await lease.read(this.#maxBatch, left?.after);
      if (events.length === 0) {
        if (!left) this.#backoff.succeeded();
        const waitMs = left ? Math.min(this.#pollMs, left.untilMs - clock.monotonicMs()) : this.#pollMs;
        await lease.changed(Math.max(1, waitMs), signal);
        continue;
      }
      const { keys } = left ?? { keys: new Set<string>() };
      const { published, refused, error } = await this.#publish(events, keys);
      if (published.length > 0) await lease.remove(published);
      for (const [id, reason] of refused) await lease.setAside(id, reason);
      if (left) left.after = events.at(-1)?.id ?? left.after;
      if (error === undefined) continue;
      if (isAway(error)) {
        this.#logger.warn('events of the outbox could not be published; it is tried again', { error });
        await pause(timers, this.#backoff.failed(), signal);
        left = undefined;
      } else if (!left) {
        this.#logger.warn('some events of the outbox could not be published; they are tried again', { error });
        left = { after: events.at(-1)?.id, keys, untilMs: clock.monotonicMs() + this.#backoff.failed() };
      }
    }
  }

  /** Publishes events, those of one key one after another: after a failure the later ones of its key are held. */
  async #publish(events: readonly StoredOutboxEvent[], heldKeys: Set<string>): Promise<Published> {
    const outcome: Published = { published: [], refused: [], error: undefined };
    const chains = new Map<string, Promise<boolean>>();
    const all = events.map((event) => {
      const { orderKey } = event;
      if (orderKey === undefined) return this.#send(event, outcome);
      if (heldKeys.has(orderKey)) return Promise.resolve(false);
      const before = chains.get(orderKey);
      const done = before ? before.then((isFine) => isFine && this.#send(event, outcome)) : this.#send(event, outcome);
      chains.set(orderKey, done);
      return done;
    });
    await Promise.all(all);
    for (const [key, done] of chains) if (!(await done)) heldKeys.add(key);
    return outcome;
  }

  /** Resolves with true if later events of its key may be published. */
  async #send(event: StoredOutboxEvent, outcome: Published): Promise<boolean> {
    const { topic, body, orderKey, eventId, id } = event;
    const headers: EventHeaders = { [dedupeKeyHeader]: eventId, ...event.headers };
    try {
      await this.#broker.publish(topic, { headers, body }, { orderKey });
      outcome.published.push(id);
      return true;
    } catch (error) {
      if (!TenonError.is(error) || !hopeless.has(error.reason ?? '')) {
        outcome.error = error;
        return false;
      }
      this.#logger.error('an event of the outbox is set aside: the broker refuses it', { topic, eventId, error });
      outcome.refused.push([id, error.message]);
      return true;
    }
  }
}

/** Errors that concern every event. */
const away: ReadonlySet<string> = new Set(['broker.unreachable', 'broker.not_connected', 'broker.timeout']);

function isAway(error: unknown): boolean {
  return TenonError.is(error) && away.has(error.reason ?? '');
}

/** Events that could not be published, and are read again after a time. */
interface LeftBehind {
  /** The position behind which others are read. */
  after: string | undefined;
  /** The keys whose events are held. */
  readonly keys: Set<string>;
  readonly untilMs: number;
}

interface Published {
  readonly published: string[];
  readonly refused: (readonly [id: string, reason: string])[];
  error: unknown;
}
