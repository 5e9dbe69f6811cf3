import type { ServiceIdentifier } from 'inversify';

import type { TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import type { ConnectionSecurityCapabilities, ConnectionSecurityOptions } from '../tls/connection.ts';

/** Headers of an event: text by name. Names are case-sensitive, and keep their case. */
export type EventHeaders = Readonly<Record<string, string>>;

/** An event to be published. */
export interface BrokerMessage {
  readonly headers: EventHeaders;
  /** The encoded event. The broker does not change it, and does not keep it once `publish` has resolved. */
  readonly body: Uint8Array;
}

/** Options of a negative acknowledgement. */
export interface NackOptions {
  /**
   * Time in milliseconds before the event is redelivered.
   * @default 0
   */
  readonly delayMs?: number | undefined;
}

/**
 * An event that was delivered to a receiver. It settles once: the first `ack`, `nack` or `reject` counts, later ones
 * are ignored. The event of a receiver that dies is redelivered to another, where the broker has the capability `ack`.
 */
export interface Event {
  /**
   * Identifies the event within its topic: the same at every attempt, and for every receiver of a persistent broker. An
   * event that is published again has another id.
   */
  readonly id: string;
  readonly topic: string;
  readonly headers: EventHeaders;
  /** The encoded event. It belongs to the receiver. */
  readonly body: Uint8Array;
  /** The number of times that this event was delivered, from 1. Always 1 without the capability `attempts`. */
  readonly attempt: number;
  /** Acknowledges the event: it was handled. Resolves when the broker has confirmed it. */
  ack(): Promise<void>;
  /** Returns the event for redelivery to any receiver of the group. It is dropped without the capability `nack`. */
  nack(options?: NackOptions): Promise<void>;
  /**
   * Moves the event to the dead-letter topic of its subscription, with `reason` in its headers; it is not redelivered.
   * Resolves when it is stored there. Rejects if that fails: the event is then nacked, where the broker can.
   */
  reject(reason?: unknown): Promise<void>;
}

/** Receives an event, and settles it. */
export type EventCallback = (event: Event) => void | Promise<void>;

/** Time-out and signal of one call of a broker. */
export interface BrokerCallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Time-out of the call in milliseconds. @default the broker's own */
  readonly timeoutMs?: number | undefined;
}

/** Options of publishing an event. */
export interface PublishOptions extends BrokerCallOptions {
  /**
   * The event is delivered after this time in milliseconds, and not before. Needs the capabilities `ack`, `nack` and
   * `delay`. Until then it is held for each group, and counts for the `maxWaiting` of its receivers.
   * @default 0
   */
  readonly delayMs?: number | undefined;
  /**
   * The event is dropped if it was not delivered within this time in milliseconds, after `delayMs`. Receivers look at
   * their own clocks.
   * @default without end
   */
  readonly ttlMs?: number | undefined;
  /** Key of the event. Events of one key are delivered in the order of publishing, with the capability `order`. */
  readonly orderKey?: string | undefined;
  /**
   * Waits while the broker is away, until the time-out, instead of failing at once. An event whose connection was lost
   * is sent again, and may come twice.
   * @default false
   */
  readonly waitForReady?: boolean | undefined;
}

/** Options of receiving events. */
export interface SubscribeOptions {
  /**
   * Name of a consumer group: each event is delivered to one member of it.
   * @default no group: every subscriber gets every event
   */
  readonly queue?: string | undefined;
  /**
   * Most events that are delivered and not settled: AMQP's prefetch count. The broker keeps the others.
   * @default 64
   */
  readonly maxInFlight?: number | undefined;
  /**
   * Most events of this subscription that wait for a delay or for their turn. They do not count for `maxInFlight`. With
   * so many of them no new ones are received.
   * @default 1_000
   */
  readonly maxWaiting?: number | undefined;
  /**
   * Topic to which rejected events are moved; `false` drops them.
   * @default '<topic>.dead-letter', with the topic of the event
   */
  readonly deadLetter?: string | false | undefined;
  /**
   * `start`: a queue that has not subscribed before, or a subscriber without one, begins with the stored events. Needs
   * the capability `replay`.
   * @default as the options of the broker say
   */
  readonly from?: 'start' | undefined;
  /** Stops the subscription. */
  readonly signal?: AbortSignal | undefined;
}

/** A subscription that is established. */
export interface Subscriber {
  readonly topic: string;
  readonly options: SubscribeOptions;
  /**
   * Stops receiving, then resolves when all delivered events are settled. If `signal` aborts it resolves at once, and
   * the broker redelivers them to others, where it can. May be called again.
   */
  unsubscribe(signal?: AbortSignal): Promise<void>;
  /**
   * Resolves when the subscription has ended: with undefined after `unsubscribe`, an abort of its signal or
   * `disconnect`; otherwise with the error that ended it, such as a deleted queue or missing rights. An outage does not
   * end it.
   */
  readonly closed: Promise<TenonError | undefined>;
}

/** Options that every broker has. */
export interface BrokerOptions extends ConnectionSecurityOptions {
  /** Address of the broker: `host:port`, several separated by commas. */
  readonly address?: string | undefined;
  /** Time-out of each call in milliseconds. */
  readonly timeoutMs?: number | undefined;
}

/** The state of a broker's connection. */
export interface BrokerStatus {
  /**
   * `away`: the connection was lost, and is being made again. `closed`: before `connect` and after `disconnect`.
   */
  readonly state: 'connected' | 'away' | 'closed';
  /** The time of the last change of state, by the monotonic clock. */
  readonly sinceMs: number;
  /** The last error of the connection. */
  readonly lastError?: TenonError | undefined;
}

/**
 * Capabilities of a broker; a static of its class. If they depend on its options, the static is a function of them, and
 * the instance has the capabilities in force as a property. `deliver` makes up for missing ones where it can.
 */
export interface BrokerCapabilities extends ConnectionSecurityCapabilities {
  /** Events are stored for subscribers that are away, of a group that has subscribed before. */
  readonly persistent: boolean;
  /** An event that is not acknowledged is redelivered, also when its receiver died. */
  readonly ack: boolean;
  /** `nack` causes redelivery. */
  readonly nack: boolean;
  /** `delayMs` of `nack` is respected. */
  readonly delay: boolean;
  /** Each event is delivered to one member of a `queue`. */
  readonly groups: boolean;
  /**
   * Events that a member of a group has not settled are redelivered to other members when it leaves or dies. Otherwise
   * they wait until it comes back.
   * @default true
   */
  readonly durableOnMemberDeath?: boolean | undefined;
  /**
   * An event waits for whichever member of a group has room first. Otherwise it is assigned to one of them.
   * @default true
   */
  readonly competing?: boolean | undefined;
  /** `attempt` counts deliveries. */
  readonly attempts: boolean;
  /** The server has dead-letter queues of its own. */
  readonly deadLetter: boolean;
  /**
   * Name of the queue for which dead letters are stored, whoever else has subscribed to their topic.
   * @default dead letters are stored as other events are
   */
  readonly deadLetterQueue?: string | undefined;
  /** Events of a topic are delivered in the order of publishing. */
  readonly order: boolean;
  /** A subscription can begin with events of the past. */
  readonly replay: boolean;
  /**
   * A subscription can be to a pattern of topics.
   * @default false
   */
  readonly wildcards?: boolean | undefined;
  /** Other processes receive the events. */
  readonly shared: boolean;
}

/**
 * Publishes events to topics, and subscribes to them. `docs/broker.md` has the delivery contract: at least once with
 * the capability `ack`, at most once without it; on a persistent broker no event is lost once `publish` has resolved.
 *
 * Methods may be called concurrently. While the broker is away `connect` and `publish` reject with UNAVAILABLE
 * (`broker.unreachable`), naming broker and address; the event was not published as far as is known. With
 * `waitForReady` that is after the time-out of the call. Subscriptions
 * survive an outage. A call past its time-out is DEADLINE_EXCEEDED (`broker.timeout`), an aborted one CANCELLED
 * (`call.cancelled`). Before `connect` and after `disconnect` calls reject with FAILED_PRECONDITION
 * (`broker.not_connected`). A call that the server refuses, for lack of rights or memory, is `broker.refused`, with the
 * server's words. A subscription that needs a missing capability is FAILED_PRECONDITION (`broker.unsupported`); a topic
 * is a text of at least one character (`broker.invalid_topic`), `maxInFlight` at least one (`broker.invalid_options`).
 *
 * Words of a topic are separated by dots. A subscription may have wildcards among them, with the capability
 * `wildcards`: `*` is any one word, and `>` at the end one or more. A topic to publish to has none
 * (`broker.invalid_topic`). Topics whose last word is `dead-letter` are matched only by patterns that end in it too.
 *
 * A topic or header that cannot be written for the server is INVALID_ARGUMENT (`broker.invalid_topic`,
 * `broker.invalid_headers`), an event over the server's limit RESOURCE_EXHAUSTED (`broker.too_large`).
 */
export interface Broker {
  /** The options in force. */
  readonly options: BrokerOptions;
  /** The address of the server: `host:port`, or a name for a broker without one. */
  readonly address: string;
  readonly status: BrokerStatus;
  /**
   * Calls `listener` after each change of `status.state`. Returns a function that ends this.
   * @default the broker cannot tell
   */
  onStatus?(listener: () => void): () => void;
  /** Capabilities of this instance. @default those of its class */
  readonly capabilities?: BrokerCapabilities | undefined;
  /**
   * Changes options. FAILED_PRECONDITION (`broker.started`) while connected, and (`broker.unsupported`) for TLS or
   * credentials that its capabilities do not take: they would not be in force.
   */
  init(options: BrokerOptions): void;
  /** Connects. Resolves when the server has answered. May be called again. */
  connect(options?: BrokerCallOptions): Promise<void>;
  /**
   * Resolves when no event waits for a subscriber, for its next attempt, or for the end of its handler. For tests.
   * @default the broker cannot say
   */
  settled?(): Promise<void>;
  /** Ends every subscription and closes the connection. May be called again. */
  disconnect(): Promise<void>;
  /**
   * True for the name of a header on which the server acts: `publish` refuses it, and dead letters are made without it.
   * @default no header is
   */
  isControlHeader?(name: string): boolean;
  /** Publishes an event. Resolves when the server has it, whether or not it was handled. */
  publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void>;
  /**
   * **Push**: calls `callback` for each event, with up to `maxInFlight` events that are not settled. If the callback
   * throws or rejects, the error is logged and the event is nacked. Resolves when the subscription is established:
   * later events are received.
   */
  subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber>;
  /**
   * **Pull**: iterates over events, each of which is delivered when `next()` asks for it, and must be settled by the
   * reader. Leaving the iteration releases events that were not settled. The first `next()` opens the subscription.
   */
  pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event>;
  /**
   * **Watch**: iterates over events without consuming them: groups are not affected, and `ack`, `nack` and `reject` do
   * nothing. A reader that falls too far behind misses the oldest events.
   */
  watch(topic: string, options?: Omit<SubscribeOptions, 'queue'>): AsyncIterable<Event>;
  /**
   * Returns the client library's object, for features that this contract lacks; `undefined` if there is none, and
   * before `connect`.
   */
  unwrap(): unknown;
  /** The name under which the broker is bound: `nats`. */
  toString(): string;
}
/** Container key of the {@link Broker}. */
export const Broker: ServiceIdentifier<Broker> = token('broker', 'Broker');
