import type { Event, EventHeaders, NackOptions } from '../broker.ts';
import { settled } from '../kit/in-flight.ts';

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
