import { checkedOptions, checkNumber } from '../errors/checked-options.ts';
import { codeFrom, TenonError } from '../errors/errors.ts';
import { markReceived } from '../errors/received.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Random, Timers } from '../runtime/runtime.ts';
import { systemRandom, systemTimers } from '../runtime/system.ts';
import type { Broker, BrokerCallOptions, BrokerMessage, Event, Subscriber } from './broker.ts';
import { capabilitiesOf } from './kit/capabilities.ts';
import * as failures from './kit/failures.ts';

/** Options of a {@link Requester}. */
export interface RequesterOptions {
  /** Longest wait for a reply in milliseconds. @default 5_000 */
  readonly timeoutMs?: number | undefined;
  readonly random?: Random | undefined;
  readonly timers?: Timers | undefined;
}

/** Options of one request. */
export interface RequestEventOptions extends BrokerCallOptions {
  /** Key of the event. See `PublishOptions`. */
  readonly orderKey?: string | undefined;
}

/** Header with the topic to which the reply of an event is published. */
const replyToHeader = 'tenon-reply-to';
/** Header that is the same in a request and its reply. */
const requestIdHeader = 'tenon-request-id';
const failure = { code: 'tenon-reply-code', reason: 'tenon-reply-reason', message: 'tenon-reply-message' } as const;
/** Replies go nowhere else, whoever made the request. */
const replyPrefix = 'tenon.reply.';

interface Waiting {
  readonly resolve: (reply: Event) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Publishes events to which a subscriber replies, and waits for the replies: request and reply through the broker, for
 * services that have no address to reach. All requests share one topic for replies, to which it subscribes at the first
 * one. A request that was not delivered within its time-out is dropped (`ttlMs`).
 *
 * The first reply counts, and replies that come too late are ignored. FAILED_PRECONDITION (`broker.unsupported`) on a
 * broker with `replay`, where the topic for replies would remain.
 */
export class Requester {
  readonly #broker: Broker;
  readonly #timeoutMs: number;
  readonly #timers: Timers;
  readonly #replyTo: string;
  readonly #waiting = new Map<string, Waiting>();
  #subscribing: Promise<Subscriber> | undefined;
  #isClosed = false;
  #requests = 0;

  constructor(broker: Broker, options: RequesterOptions = {}) {
    checkedOptions('RequesterOptions', options);
    const { timeoutMs = 5_000, random = systemRandom, timers = systemTimers } = options;
    this.#broker = broker;
    this.#timeoutMs = timeoutMs;
    this.#timers = timers;
    this.#replyTo = replyPrefix + random.uuid();
  }

  /**
   * Publishes an event, and resolves with the first reply. Rejects with the error that the subscriber replied, with
   * DEADLINE_EXCEEDED (`broker.no_reply`) if there was no reply in time, and with the errors of `Broker.publish`.
   */
  async request(topic: string, message: BrokerMessage, options: RequestEventOptions = {}): Promise<Event> {
    const { timeoutMs = this.#timeoutMs, signal, orderKey } = options;
    checkNumber('timeoutMs', timeoutMs);
    const broker = String(this.#broker);
    const doing = `request from "${topic}"`;
    failures.assertNotAborted(broker, doing, options);
    this.#requests += 1;
    const id = String(this.#requests);
    const reply = new Promise<Event>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    reply.catch(() => undefined);
    const work = async (sending: AbortSignal): Promise<Event> => {
      await this.#subscribed();
      const headers = { ...message.headers, [replyToHeader]: this.#replyTo, [requestIdHeader]: id };
      const publishing = { signal: sending, timeoutMs, ttlMs: timeoutMs, orderKey };
      await this.#broker.publish(topic, { headers, body: message.body }, publishing);
      return reply;
    };
    try {
      return await bounded(work, {
        timers: this.#timers,
        timeoutMs,
        signal,
        onTimeout: (afterMs) => failures.noReply(broker, topic, afterMs),
        onAbort: (reason) => failures.cancelled(broker, doing, reason),
      });
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** Ends the subscription to replies. Requests that wait are CANCELLED. May be called again. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#endAll(this.#closed());
    const subscribing = this.#subscribing;
    this.#subscribing = undefined;
    await (await subscribing?.catch(() => undefined))?.unsubscribe();
  }

  #closed(): TenonError {
    return failures.cancelled(String(this.#broker), 'wait for replies', 'the requester was closed');
  }

  #endAll(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  async #subscribed(): Promise<void> {
    if (this.#isClosed) throw this.#closed();
    const subscribing = (this.#subscribing ??= this.#subscribe());
    try {
      await subscribing;
    } catch (error) {
      if (this.#subscribing === subscribing) this.#subscribing = undefined;
      throw error;
    }
  }

  async #subscribe(): Promise<Subscriber> {
    if (capabilitiesOf(this.#broker).replay) {
      const missing = 'replies need a broker that keeps no events of the past: their topic would remain there';
      throw failures.unsupported(String(this.#broker), this.#replyTo, [missing]);
    }
    const subscriber = await this.#broker.subscribe(this.#replyTo, (event) => this.#receive(event), {
      deadLetter: false,
    });
    void this.#follow(subscriber);
    return subscriber;
  }

  async #follow(subscriber: Subscriber): Promise<void> {
    const error = await subscriber.closed;
    this.#subscribing = undefined;
    // The next request subscribes again.
    this.#endAll(error ?? this.#closed());
  }

  #receive(event: Event): Promise<void> {
    const waiting = this.#waiting.get(event.headers[requestIdHeader] ?? '');
    const error = errorIn(event);
    if (error) waiting?.reject(error);
    else waiting?.resolve(event);
    return event.ack();
  }
}

/**
 * Replies to an event. Resolves with false for one that asks for no reply. A reply that nobody waits for any more is
 * ignored by its requester.
 */
export async function reply(broker: Broker, event: Event, message: BrokerMessage): Promise<boolean> {
  const to = event.headers[replyToHeader];
  const id = event.headers[requestIdHeader];
  // The header may come from anybody: it names no topic of the application.
  if (to === undefined || id === undefined || !to.startsWith(replyPrefix)) return false;
  await broker.publish(to, { headers: { ...message.headers, [requestIdHeader]: id }, body: message.body });
  return true;
}

/** Replies with an error, which the request rejects with: its code, its reason and its text. Otherwise as `reply`. */
export function replyError(broker: Broker, event: Event, error: unknown): Promise<boolean> {
  const { code, reason, message } = TenonError.from(error);
  const headers: Record<string, string> = { [failure.code]: String(code), [failure.message]: message };
  if (reason !== undefined) headers[failure.reason] = reason;
  return reply(broker, event, { headers, body: new Uint8Array() });
}

function errorIn({ headers }: Event): TenonError | undefined {
  const code = headers[failure.code];
  if (code === undefined) return undefined;
  const { [failure.reason]: reason, [failure.message]: message = '' } = headers;
  return markReceived(new TenonError({ code: codeFrom(Number(code)), reason, message }));
}
