import type { TenonError } from '../../errors/errors.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import type { Event, EventHeaders, NackOptions } from '../broker.ts';
import { settled } from '../kit/in-flight.ts';

/** One attempt of a handler, for a handler that wants to know when nobody waits for it any more. */
export interface HandlerAttempt {
  /** The time at which the attempt is given up, by the monotonic clock; `Infinity` if it is not. */
  readonly deadline: number;
  /** Aborts when the attempt is given up, or its subscription is ended at once. It is made when it is first read. */
  readonly signal: AbortSignal;
  /** Set by a handler: called when `signal` would abort. It costs less than a signal. */
  onAbort: ((reason: TenonError) => void) | undefined;
}

/** The failure of an attempt. */
export interface AttemptFailure {
  readonly error: unknown;
}

class Attempt implements HandlerAttempt {
  onAbort: ((reason: TenonError) => void) | undefined = undefined;
  readonly event: Event;
  readonly deadline: number;
  readonly end: (failure: AttemptFailure | undefined) => void;
  #controller: AbortController | undefined;
  #reason: TenonError | undefined;

  constructor(event: Event, deadline: number, end: (failure: AttemptFailure | undefined) => void) {
    this.event = event;
    this.deadline = deadline;
    this.end = end;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort(reason: TenonError): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.onAbort?.(reason);
    this.#controller?.abort(reason);
  }
}

/** The parts of {@link RunningAttempts}. */
export interface RunningAttemptsInit {
  readonly timeoutMs: number;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  /** Called when an attempt is given up, before its handler hears of it. Makes the error. */
  readonly timedOut: (event: Event) => TenonError;
  /** Called when the handler of an attempt that was given up has ended. */
  readonly onLateEnd: () => void;
}

/** The attempts that run. Gives up those that take too long, with one timer for all. */
export class RunningAttempts {
  readonly #init: RunningAttemptsInit;
  /** In the order in which they are due: all have the same time. */
  readonly #running = new Set<Attempt>();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(init: RunningAttemptsInit) {
    this.#init = init;
  }

  /** Runs a handler of an event. Resolves with its failure, or that of the time-out; with undefined if it succeeds. */
  run(event: Event, handler: (attempt: HandlerAttempt) => Promise<void>): Promise<AttemptFailure | undefined> {
    return new Promise((resolve) => {
      const attempt = new Attempt(event, this.#init.runtime.clock.monotonicMs() + this.#init.timeoutMs, resolve);
      this.#running.add(attempt);
      this.#arm(attempt);
      void this.#watch(attempt, handler);
    });
  }

  /** Leaves no timer behind, once the attempts that run have ended. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelIfDone();
  }

  /** Tells all handlers that their subscription was ended at once. Their attempts end as the handlers do. */
  abort(reason: TenonError): void {
    for (const attempt of this.#running) attempt.abort(reason);
  }

  async #watch(attempt: Attempt, handler: (attempt: HandlerAttempt) => Promise<void>): Promise<void> {
    let failure: AttemptFailure | undefined;
    try {
      await handler(attempt);
    } catch (error) {
      failure = { error };
    }
    if (!this.#running.delete(attempt)) return this.#init.onLateEnd();
    attempt.end(failure);
    if (this.#isStopped) this.#cancelIfDone();
  }

  #cancelIfDone(): void {
    if (this.#running.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm({ deadline }: Attempt): void {
    if (this.#timer || deadline === Number.POSITIVE_INFINITY) return;
    const { clock, timers } = this.#init.runtime;
    this.#timer = timers.after(deadline - clock.monotonicMs(), () => this.#giveUpDue());
  }

  #giveUpDue(): void {
    this.#timer = undefined;
    const nowMs = this.#init.runtime.clock.monotonicMs();
    for (const attempt of this.#running) {
      if (attempt.deadline > nowMs) return this.#arm(attempt);
      this.#running.delete(attempt);
      const error = this.#init.timedOut(attempt.event);
      attempt.end({ error });
      attempt.abort(error);
    }
  }
}

/** The parts of a {@link OneAttempt}. */
export interface OneAttemptInit {
  /** The event as it was delivered. */
  readonly event: Event;
  /** Objects of events whose attempt is over. */
  readonly ended: WeakSet<Event>;
  readonly reject: (reason: unknown) => Promise<void>;
}

/**
 * An event for one of several attempts in this process: an object of its own, so that a handler of an attempt that is
 * over, which may still work, settles nothing.
 */
export class OneAttempt implements Event {
  readonly id: string;
  readonly topic: string;
  readonly headers: EventHeaders;
  readonly body: Uint8Array;
  readonly attempt: number;
  readonly #init: OneAttemptInit;

  constructor(init: OneAttemptInit) {
    const { id, topic, headers, body, attempt } = init.event;
    this.id = id;
    this.topic = topic;
    this.headers = headers;
    this.body = body;
    this.attempt = attempt;
    this.#init = init;
  }

  ack(): Promise<void> {
    return this.#isOver ? settled : this.#init.event.ack();
  }

  nack(options?: NackOptions): Promise<void> {
    return this.#isOver ? settled : this.#init.event.nack(options);
  }

  reject(reason?: unknown): Promise<void> {
    return this.#isOver ? settled : this.#init.reject(reason);
  }

  get #isOver(): boolean {
    return this.#init.ended.has(this);
  }
}
