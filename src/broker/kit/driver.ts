import type { Code } from '../../errors/errors.ts';
import type { EventHeaders } from '../broker.ts';
import type { WireRules } from './name-encoding.ts';
import type { WildcardRules } from './wildcards.ts';

/**
 * Speaks to one kind of server, for a {@link PortableBroker}: opens and closes the connection, publishes events,
 * receives them by demand, settles them, and translates errors. The broker does everything that is the same on every
 * server: limits, retries, batches of acknowledgements, the end of subscriptions, states and their logs.
 *
 * A driver may reject or throw with the errors of its client library: `translate` is called with them. It logs nothing
 * that the contract reports.
 */
export interface BrokerDriver<E extends IncomingEvent = IncomingEvent> {
  /** The server's address: `host:port` without secrets, or a name for one that has no address. */
  readonly address: string;
  /**
   * The characters and sizes that the server accepts. Read at each call: the server may have to be asked for them
   * first.
   */
  readonly wire?: WireRules | undefined;
  /**
   * The wildcards of the server, for a driver that can subscribe to patterns of topics (`capabilities.wildcards`).
   */
  readonly wildcards?: WildcardRules | undefined;
  /**
   * True if the driver ends its calls itself after `timeoutMs` without an answer; otherwise the broker does.
   */
  readonly endsCalls?: boolean | undefined;
  /**
   * Most events in one `publish`: events that are published in one turn of the event loop are sent together.
   * @default 1, each event is sent at once
   */
  readonly maxBatch?: number | undefined;

  /** Connects. Resolves when the server has answered. If it rejects it must have released everything. */
  open(host: DriverHost): Promise<void>;
  /** Disconnects, after all subscriptions were closed. May be called again, and before `open` has ended. */
  close(): Promise<void> | void;
  /**
   * Sends events in order. Returns one promise for all, or an array with one for each; undefined for events that the
   * server has already. Rejects at once while the server is away, and does not send the events later.
   */
  publish(events: readonly OutgoingEvent[]): Promise<unknown> | readonly (Promise<unknown> | undefined)[] | undefined;
  /** Subscribes. Resolves when later events are delivered to `sink`. */
  receive(request: ReceiveRequest, sink: EventSink<E>): Promise<DriverSubscription<E>>;
  /** Called when a subscription has ended: its request will not be received again. */
  forget?(request: ReceiveRequest): void;
  /** Translates an error of the client library. Not called for `TenonError`s, which are passed on as they are. */
  translate(error: unknown): ErrorMeaning;
  /** Returns the object of the client library, while the driver is open. */
  unwrap(): unknown;
}

/** Receives a driver's reports about its connection. */
export interface DriverHost {
  /** Reports that the server no longer answers, and that the driver reconnects by itself. May be called again. */
  away(error: unknown): void;
  /** Reports that the server answers again. */
  back(): void;
  /**
   * Reports that the connection has ended, and that the driver does not reconnect: the broker calls `close` and `open`
   * with back-off, then `receive` for every subscription.
   */
  lost(error: unknown): void;
}

/** An event to be sent to the server. */
export interface OutgoingEvent {
  /** The topic, encoded for the server. */
  readonly topic: string;
  /** The headers, encoded for the server, with the order key. */
  readonly headers: EventHeaders;
  /** The body. It belongs to the caller: a driver must not change it, nor keep it once the event has been sent. */
  readonly body: Uint8Array;
  readonly orderKey: string | undefined;
  /**
   * Set by a driver while the event waits for room. Called when the caller gives up: true if the event will not be
   * published.
   */
  withdraw?: (() => boolean) | undefined;
}

/**
 * An event from the server. A driver adds the fields by which it settles it: the same object is passed to `ack` and the
 * other methods.
 */
export interface IncomingEvent {
  /**
   * The topic, as encoded for the server. Needed for events of a request with `isPattern`.
   * @default the topic of the request
   */
  readonly topic?: string | undefined;
  /** The server's id of the event, the same at every attempt. @default one made by the broker */
  readonly id?: string | undefined;
  /** The headers, as encoded for the server. */
  readonly headers: EventHeaders;
  /** The body. It belongs to the receiver. */
  readonly body: Uint8Array;
  /** The number of deliveries by the server, from 1; always 1 if the server does not count them. */
  readonly attempt: number;
}

/** Parameters of a subscription. */
export interface ReceiveRequest {
  /** The topic, encoded for the server; or a pattern of topics, in the server's wildcards. */
  readonly topic: string;
  /** True if `topic` is a pattern. The server may match too much: the broker filters the events. */
  readonly isPattern?: boolean | undefined;
  /** Name of the consumer group. */
  readonly queue: string | undefined;
  /**
   * `start`: a new group, or a subscriber without one, begins with the stored events. Only asked of brokers with the
   * capability `replay`.
   * @default as the options of the broker say
   */
  readonly from?: 'start' | undefined;
  /** `watch` receives events without consuming or settling them. */
  readonly mode: 'consume' | 'watch';
  /** See `SubscribeOptions`. */
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  /** The call, for error messages: `subscribe to "orders"`. */
  readonly doing: string;
}

/** Receives the events of a driver's subscription. */
export interface EventSink<E extends IncomingEvent = IncomingEvent> {
  /**
   * The number of events that may be delivered now. A driver should not exceed it. Events beyond it wait in this
   * process, up to `DriverSubscription.maxBacklog`.
   */
  readonly demand: number;
  /** True if no more events are accepted. */
  readonly isStopped: boolean;
  deliver(event: E): void;
  /** Ends a poll that waits, and polls again: there may be events. */
  wake(): void;
  /** Returns the events that were delivered and are not settled. */
  unsettled(): readonly E[];
  /** Returns the events that were acknowledged, and whose acknowledgement the server has not confirmed. */
  settling(): readonly E[];
  /**
   * Discards all delivered events: they can no longer be settled, and unconfirmed acknowledgements are dropped. Called
   * after a reconnect by drivers of servers that number events by connection, and redeliver them.
   */
  resetSession(): void;
  /**
   * Reports that the subscription has failed: it is made again with back-off, or ends if `translate` calls the error
   * final.
   */
  fail(error: unknown): void;
}

/** Parameters of a poll. */
export interface PollRequest {
  /** Most events to return. */
  readonly count: number;
  /** Most events among them that were not delivered before; the others may be redelivered ones. */
  readonly fresh: number;
  /** True after a pause or a failed poll: the subscription may be behind. */
  readonly mayLag: boolean;
}

/**
 * One subscription of a driver. A server that pushes delivers to the sink; for one that is polled it has `poll`.
 * Methods that the server has no operation for are absent: without `ack` it has forgotten an event as soon as it
 * delivered it.
 */
export interface DriverSubscription<E extends IncomingEvent = IncomingEvent> {
  /**
   * Returns the next events. Waits for the first one, for some seconds at most, and not after `interrupt`. Not called
   * again before it has ended. After a failure `recover` is called, and the poll repeated with back-off.
   */
  poll?(request: PollRequest): Promise<readonly E[]>;
  /**
   * Longest pause between polls without events, of a server whose polls do not wait. The pause grows up to it.
   */
  readonly pollIdleMs?: number | undefined;
  /**
   * Ends a poll that waits. `tried` 0 is a hint, which may be ignored. Otherwise the poll must end: `tried` counts from
   * 1, and the call is repeated every 50 ms until it has.
   */
  interrupt?(tried: number): void;
  /** Restores the subscription at the server after a poll or `keepAlive` has failed with `error`. */
  recover?(error: unknown): Promise<void>;
  /** Called when the demand has grown, for servers that push. */
  resume?(): void;
  /**
   * Most events that wait in this process, for a server that sends without regard to the demand. Further ones are
   * dropped, and the loss is logged.
   * @default no limit, for servers that send at most `maxInFlight` and `maxWaiting` unsettled events
   */
  readonly maxBacklog?: number | undefined;
  /** The number of events that the driver keeps for later redelivery. They count for `maxWaiting`. */
  readonly waiting?: number | undefined;

  /** Acknowledges events. A failure is repeated: for as long as the server is away, a few times if it refuses. */
  ack?(events: readonly E[]): Promise<unknown> | void;
  /** True if acknowledgements of one turn of the event loop are sent in one call, to save round trips. */
  readonly batchesAcks?: boolean | undefined;
  /** Returns an event for redelivery after `delayMs`. A failure is only logged: the server redelivers it anyway. */
  nack?(event: E, delayMs: number): Promise<void> | void;
  /** Moves an event to the server's own dead letters (`capabilities.deadLetter`). */
  reject?(event: E, reason: unknown): Promise<void>;
  /** Returns events that will not be settled, for other receivers. A failure is logged. */
  release?(events: readonly E[]): Promise<void> | void;
  /**
   * Extends the server's time-out for events that are not settled. Called every `keepAliveMs`; after a failure
   * `recover` is called.
   */
  keepAlive?(events: readonly E[]): Promise<void>;
  readonly keepAliveMs?: number | undefined;

  /** Stops receiving. No event is delivered once it has resolved. */
  stop(): Promise<void> | void;
  /** Removes the subscription at the server, after all events were settled or released. A failure is logged. */
  close(): Promise<void> | void;
}

/** The meaning of a client library's error. */
export interface ErrorMeaning {
  /** `unreachable`: the server is away. `timeout`: it did not answer in time. `refused`: it rejected the call. */
  readonly kind: 'unreachable' | 'timeout' | 'refused';
  /**
   * Code of a refusal.
   * @default INTERNAL
   */
  readonly code?: Code | undefined;
  /**
   * The words of the server; or why it cannot be reached and what to do, where that is known.
   * @default the text of the error
   */
  readonly said?: string | undefined;
  /**
   * The error to show as the cause.
   * @default the error itself
   */
  readonly cause?: unknown;
  /** True if trying again is of no use: a subscription that fails with this error ends. */
  readonly isFinal?: boolean | undefined;
}
