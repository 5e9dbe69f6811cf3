import { backoffMs } from '../../internal/backoff.ts';
import type { LogFields, Logger } from '../../logger/logger.ts';
import { pause } from '../../runtime/bounded.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { DriverSubscription, EventSink, IncomingEvent } from './driver.ts';
import { FailureLog } from './failure-log.ts';

/** The parts of a {@link PollLoop}. */
export interface PollLoopInit<E extends IncomingEvent> {
  /** With `poll`. */
  readonly source: DriverSubscription<E>;
  readonly sink: EventSink<E>;
  /** The number of events that may wait at the driver. */
  readonly maxWaiting: number;
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  readonly logger: Logger;
  /** Whose events they are, for logs. */
  readonly fields: LogFields;
  /** The server said no, instead of being away. */
  isRefusal(error: unknown): boolean;
  /** The server can be asked now. */
  isConnected(): boolean;
}

const retry = { initialMs: 20, maxMs: 1_000 } as const;
const interruptEveryMs = 50;
// So many failures are more than an outage that is being noticed.
const saidAfter = 5;

/**
 * Polls a source for as many events as there is room for, one poll at a time, until it is stopped. Outlives outages.
 */
export class PollLoop<E extends IncomingEvent> {
  readonly #init: PollLoopInit<E>;
  /** Aborts when it is stopped. */
  readonly #ending = new AbortController();
  readonly #log: FailureLog;
  readonly #ended: Promise<void>;
  #wake: (() => void) | undefined;
  /** It was woken since it looked last. */
  #isAwake = false;
  #mayLag = true;
  #isPolling = false;
  #failures = 0;
  /** In a row, of a server that does not wait for events. */
  #emptyPolls = 0;

  constructor(init: PollLoopInit<E>) {
    this.#init = init;
    this.#log = new FailureLog(init.logger, init.fields);
    this.#ended = this.#run();
  }

  get #isStopped(): boolean {
    return this.#ending.signal.aborted;
  }

  /** There is room, or something to poll for. */
  wake(): void {
    this.#isAwake = true;
    this.#wake?.();
  }

  /** Ends a poll that waits, once. */
  interrupt(): void {
    if (this.#isPolling) this.#init.source.interrupt?.(0);
  }

  /** Resolves when nothing is polled any more. */
  async stop(): Promise<void> {
    const { runtime, source } = this.#init;
    this.#ending.abort();
    this.wake();
    let tried = 0;
    // The poll may not have begun to wait when it was told to end, so it is told again.
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

  /** Until the next poll of a server that does not wait, or until it is woken. */
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
    // Losing the connection is reported where it is noticed.
    if (this.#init.isRefusal(error)) {
      this.#log.failed('the broker refuses to hand out events; it is tried again', error);
    } else if (this.#init.isConnected() && this.#failures >= saidAfter) {
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
        this.#log.failed('a subscription could not find its place again; it is tried again', cause);
    }
  }
}
