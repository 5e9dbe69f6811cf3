import { backoffMs } from '../../internal/backoff.ts';
import type { LogFields, Logger } from '../../logger/logger.ts';
import { pause } from '../../runtime/bounded.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { DriverSubscription, EventSink, IncomingEvent } from './driver.ts';
import { FailureLog } from './failure-log.ts';

/** The parts of a {@link PollLoop}. */
export interface PollLoopInit<E extends IncomingEvent> {
  /** A subscription with `poll`. */
  readonly source: DriverSubscription<E>;
  readonly sink: EventSink<E>;
  /** Most events that wait at the driver. */
  readonly maxWaiting: number;
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  readonly logger: Logger;
  /** Fields of each log line: the broker and the topic. */
  readonly fields: LogFields;
  /** True if the server refused, instead of being away. */
  isRefusal(error: unknown): boolean;
  isConnected(): boolean;
}

const retry = { initialMs: 20, maxMs: 1_000 } as const;
const interruptEveryMs = 50;
// Fewer failures in a row are logged at debug: an outage is often noticed only after the first polls have failed.
const warnAfter = 5;

/**
 * Polls a source for as many events as its sink demands, one poll at a time, until it is stopped. Goes on after
 * outages.
 */
export class PollLoop<E extends IncomingEvent> {
  readonly #init: PollLoopInit<E>;
  /** Aborts when it is stopped. */
  readonly #ending = new AbortController();
  readonly #log: FailureLog;
  readonly #ended: Promise<void>;
  #wake: (() => void) | undefined;
  /** True if it was woken since the last poll. */
  #isAwake = false;
  #mayLag = true;
  #isPolling = false;
  #failures = 0;
  /** Polls in a row without events, of a server whose polls do not wait. */
  #emptyPolls = 0;

  constructor(init: PollLoopInit<E>) {
    this.#init = init;
    this.#log = new FailureLog(init.logger, init.fields);
    this.#ended = this.#run();
  }

  get #isStopped(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Polls soon: the demand has grown, or there may be events. */
  wake(): void {
    this.#isAwake = true;
    this.#wake?.();
  }

  /** Ends a poll that waits. */
  interrupt(): void {
    if (this.#isPolling) this.#init.source.interrupt?.(0);
  }

  /** Stops polling. Resolves when the last poll has ended. */
  async stop(): Promise<void> {
    const { runtime, source } = this.#init;
    this.#ending.abort();
    this.wake();
    let tried = 0;
    // Repeated, as the poll may not have begun to wait at the first interrupt.
    const interrupt = (): void => {
      if (this.#isPolling) source.interrupt?.((tried += 1));
    };
    interrupt();
    const timer = runtime.timers.every(interruptEveryMs, interrupt);
    await this.#ended;
    timer.cancel();
  }

  async #run(): Promise<void> {
    const { sink, source, maxWaiting } = this.#init;
    while (!this.#isStopped) {
      this.#isAwake = false;
      const count = sink.demand;
      if (count === 0) {
        await this.#sleep();
        continue;
      }
      try {
        const fresh = Math.min(count, Math.max(0, maxWaiting - (source.waiting ?? 0)));
        const events = await this.#poll({ count, fresh, mayLag: this.#mayLag });
        if (this.#isStopped && source.release) await source.release(events);
        else for (const event of events) sink.deliver(event);
        this.#mayLag = false;
        this.#failures = 0;
        this.#log.succeeded();
        if (events.length > 0) this.#emptyPolls = 0;
        else if (fresh === 0) await this.#sleep();
        else if (source.pollIdleMs !== undefined) await this.#idle(source.pollIdleMs);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #poll(request: Parameters<NonNullable<DriverSubscription<E>['poll']>>[0]): Promise<readonly E[]> {
    this.#isPolling = true;
    try {
      return (await this.#init.source.poll?.(request)) ?? [];
    } finally {
      this.#isPolling = false;
    }
  }

  async #sleep(): Promise<void> {
    this.#mayLag = true;
    if (this.#isAwake || this.#isStopped) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  /** Waits with back-off before the next poll of a server whose polls do not wait. */
  async #idle(maxMs: number): Promise<void> {
    const { timers, random } = this.#init.runtime;
    this.#emptyPolls += 1;
    const delayMs = backoffMs(this.#emptyPolls, () => random.next(), { initialMs: Math.min(20, maxMs), maxMs });
    const timer = timers.after(delayMs, () => this.wake());
    await this.#sleep();
    timer.cancel();
  }

  async #recover(error: unknown): Promise<void> {
    const { logger, runtime, source, fields } = this.#init;
    this.#failures += 1;
    this.#mayLag = true;
    // The loss of the connection is logged elsewhere.
    if (this.#init.isRefusal(error)) {
      this.#log.failed('the broker refuses to deliver events; it is tried again', error);
    } else if (this.#init.isConnected() && this.#failures >= warnAfter) {
      this.#log.failed('events cannot be read; it is tried again', error);
    } else {
      logger.debug('events could not be read; it is tried again', { ...fields, failures: this.#failures, error });
    }
    await pause(
      runtime.timers,
      backoffMs(this.#failures, () => runtime.random.next(), retry),
      this.#ending.signal,
    );
    if (this.#isStopped) return;
    try {
      await source.recover?.(error);
    } catch (cause) {
      if (this.#init.isConnected())
        this.#log.failed('a subscription could not resume after a failed poll; it is tried again', cause);
    }
  }
}
