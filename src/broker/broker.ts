import type { ServiceIdentifier } from 'inversify';

import type { TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';

/** Headers of an event: text by name. Names are kept as written and compared as written. */
export type EventHeaders = Readonly<Record<string, string>>;

/** An event to be published. */
export interface BrokerMessage {
  readonly headers: EventHeaders;
  /** The encoded event. Not changed, and not kept once `publish` has resolved. */
  readonly body: Uint8Array;
}

/** Options of putting an event back. */
export interface NackOptions {
  /**
   * Not before this many milliseconds.
   * @default 0
   */
  readonly delayMs?: number | undefined;
}

/**
 * An event in the hands of one receiver. It settles once: the first `ack`, `nack` or `reject` counts, later ones are
 * ignored. A receiver that dies without one of them leaves it to another, where the broker can.
 */
export interface Event {
  /**
   * Tells it from others of its topic: the same at every attempt, and for every receiver of a broker that is
   * persistent. Not the same again when the event is published again.
   */
  readonly id: string;
  readonly topic: string;
  readonly headers: EventHeaders;
  /** Owned by the receiver. */
  readonly body: Uint8Array;
  /**
   * The number of times that this event has been handed out, from 1. Brokers that cannot count say so by always giving
   * 1.
   */
  readonly attempt: number;
  /** Done with it. Resolves when the broker knows. */
  ack(): Promise<void>;
  /** Give it out again, to any receiver of the group. Dropped where the broker cannot (`capabilities.nack`). */
  nack(options?: NackOptions): Promise<void>;
  /**
   * Refused for good: it goes to the dead-letter topic of its subscription, with `reason` in its headers, and is not
   * handed out again. Resolves when it is stored there. If that fails it rejects, and the event is given back where the
   * broker can.
   */
  reject(reason?: unknown): Promise<void>;
}

/** Takes an event. Settling it is its own business, except as the subscription's options say. */
export type EventCallback = (event: Event) => void | Promise<void>;

/** Bounds of one call of a broker. */
export interface BrokerCallOptions {
  readonly signal?: AbortSignal | undefined;
  /** @default the broker's own time-out */
  readonly timeoutMs?: number | undefined;
}

/** Options of publishing an event. */
export interface PublishOptions extends BrokerCallOptions {
  /** Events of one key are handed out in the order they were published, where the broker keeps order. */
  readonly orderKey?: string | undefined;
}

/** Options of receiving events. */
export interface SubscribeOptions {
  /**
   * Name of a group of which one member gets each event.
   * @default no group: every subscriber gets every event
   */
  readonly queue?: string | undefined;
  /**
   * Events handed out and not settled yet, at the most. The bound holds back the broker, not memory.
   * @default 64
   */
  readonly maxInFlight?: number | undefined;
  /**
   * Events that this subscription has and that wait: for a delay, or for their turn. They are not among those of
   * `maxInFlight`; with so many of them no new ones are taken.
   * @default 1_000
   */
  readonly maxWaiting?: number | undefined;
  /**
   * Topic of events that are rejected; `false` drops them.
   * @default '<topic>.dead-letter'
   */
  readonly deadLetter?: string | false | undefined;
  /** Stops the subscription. */
  readonly signal?: AbortSignal | undefined;
}

/** A standing subscription. */
export interface Subscriber {
  readonly topic: string;
  readonly options: SubscribeOptions;
  /**
   * Takes no more events, then resolves when those in hand are settled; if `signal` aborts, at once, and the broker
   * hands them to others where it can. May be called again.
   */
  unsubscribe(signal?: AbortSignal): Promise<void>;
  /**
   * Resolves when the subscription has ended: with nothing if it was ended by `unsubscribe`, its signal or
   * `disconnect`, with the error of which it died otherwise (a queue that was deleted, a right that was taken away). An
   * outage ends none.
   */
  readonly closed: Promise<TenonError | undefined>;
}

/** Options that every broker has. */
export interface BrokerOptions {
  /** `host:port`, several by commas. */
  readonly address?: string | undefined;
  /** Bound of each call in milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** The state of a broker's connection. */
export interface BrokerStatus {
  /**
   * `away`: connected once, and the broker does not answer at the moment. `closed`: before `connect` and after
   * `disconnect`.
   */
  readonly state: 'connected' | 'away' | 'closed';
  /** Since this time of the monotonic clock. */
  readonly sinceMs: number;
  /** The last thing that went wrong. */
  readonly lastError?: TenonError | undefined;
}

/**
 * The abilities of a broker: a static of its class. One whose options decide has a static function of them instead, and
 * `capabilities` of its own. What a broker lacks and the framework can do, the framework does.
 */
export interface BrokerCapabilities {
  /** Events wait for subscribers that are away (of a group that has subscribed before). */
  readonly persistent: boolean;
  /** An event not acknowledged is handed out again, also when its receiver died. */
  readonly ack: boolean;
  /** `nack` hands the event out again. */
  readonly nack: boolean;
  /** `delayMs` of `nack` is kept. */
  readonly delay: boolean;
  /** Only one member of a `queue` gets an event. */
  readonly groups: boolean;
  /** `attempt` counts. */
  readonly attempts: boolean;
  /** Dead letters are the server's own business. */
  readonly deadLetter: boolean;
  /** Events of a topic arrive in the order they were published. */
  readonly order: boolean;
  /** A subscription may begin in the past. */
  readonly replay: boolean;
  /** Other processes take part. */
  readonly shared: boolean;
}

/**
 * Events by topic. The delivery contract stands in `docs/broker.md`: at least once where `capabilities.ack` says so, at
 * most once elsewhere, never silently lost once `publish` has resolved on a persistent broker.
 *
 * May be called concurrently. A broker that is away is UNAVAILABLE (`broker.unreachable`) from `connect` and `publish`,
 * naming broker and address; nothing was published then as far as is known. Subscriptions survive an outage and go on
 * by themselves. A call past its time is DEADLINE_EXCEEDED (`broker.timeout`), an aborted one CANCELLED
 * (`call.cancelled`). Before `connect` and after `disconnect` calls reject with FAILED_PRECONDITION
 * (`broker.not_connected`). What a broker itself refuses (no rights, no memory) is `broker.refused`, with its own
 * words. A subscription that asks for what the broker cannot do is FAILED_PRECONDITION (`broker.unsupported`); a topic
 * is a text of at least one character (`broker.invalid_topic`), `maxInFlight` at least one (`broker.invalid_options`).
 * A topic or header that a server takes in no way, however it is written, is INVALID_ARGUMENT (`broker.invalid_topic`,
 * `broker.invalid_headers`), an event over its limit RESOURCE_EXHAUSTED (`broker.too_large`).
 */
export interface Broker {
  /** The options in force. */
  readonly options: BrokerOptions;
  /** The address that it is connected to: `host:port`, or a name for one that has no address. */
  readonly address: string;
  readonly status: BrokerStatus;
  /** The capabilities of this one, where its options decide them. Otherwise those of its class hold. */
  readonly capabilities?: BrokerCapabilities | undefined;
  /** Changes options. FAILED_PRECONDITION (`broker.started`) while connected. */
  init(options: BrokerOptions): void;
  /** Resolves when the broker answers. May be called again. */
  connect(options?: BrokerCallOptions): Promise<void>;
  /** Ends every subscription and lets go of the connection. May be called again. */
  disconnect(): Promise<void>;
  /** Resolves when the broker has the event (not when someone handled it). */
  publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
  /**
   * **Push**: calls `callback` for each event, up to `maxInFlight` at once. A callback that throws or rejects does not
   * settle the event by that; the error is reported to the logger, and the event is nacked. Resolves when the
   * subscription stands: what is published afterwards arrives.
   */
  subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
  /**
   * **Pull**: hands out the next event only when asked, and each must be settled by hand. Leaving the iteration gives
   * back what was not settled. The subscription stands once the first `next()` was called.
   */
  pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
  /**
   * **Watch**: sees events go by without consuming them: groups are not affected, `ack`, `nack` and `reject` do
   * nothing. A reader that lags more than a bounded number behind misses the oldest ones.
   */
  watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
  /**
   * The object of the client library, for what this contract does not have; `undefined` where there is none, and before
   * `connect`.
   */
  unwrap(): unknown;
  /** The name it is bound by: `nats`. */
  toString(): string;
}
/** Container key of the {@link Broker}. */
export const Broker: ServiceIdentifier<Broker> = token('broker', 'Broker');
