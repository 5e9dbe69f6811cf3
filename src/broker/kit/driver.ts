import type { Code } from '../../errors/errors.ts';
import type { EventHeaders } from '../broker.ts';
import type { WireRules } from './name-encoding.ts';

/**
 * One server, as a {@link PortableBroker} uses it: it is opened and closed, takes events, hands out events by demand,
 * is told how they were settled, and says what its errors mean. Everything that is the same on every broker is done
 * above it: bounds, retries, batches of acknowledgements, endings, states and their logs.
 *
 * A driver may reject, or throw, with whatever its client library gives: `translate` says what it means. It logs
 * nothing that the contract reports.
 */
export interface BrokerDriver<E extends IncomingEvent = IncomingEvent> {
  /** The server's address: `host:port` without secrets, or a name for one that has no address. */
  readonly address: string;
  /**
   * Characters and sizes that the server takes. Read at each call: it may be known only once the server has answered.
   */
  readonly wire?: WireRules | undefined;
  /**
   * The driver ends its own calls when `timeoutMs` has passed without an answer; otherwise they are bounded above it.
   */
  readonly endsCalls?: boolean | undefined;
  /**
   * Events that go out in one `publish`: those of one turn of the event loop are collected up to so many. With 1 each
   * goes out at once.
   * @default 1
   */
  readonly maxBatch?: number | undefined;

  /** Resolves when the server answers. Rejects, and leaves nothing behind, if it does not. */
  open(host: DriverHost): Promise<void>;
  /**
   * Lets go of everything. Subscriptions have been closed before. May be called again, and while `open` is on its way.
   */
  close(): Promise<void> | void;
  /**
   * Sends events, in their order. What is returned stands for all of them, or, as an array, for each; nothing where the
   * server has them already. Rejects at once while the server is away: nothing is kept to be sent later.
   */
  publish(events: readonly OutgoingEvent[]): Promise<unknown> | readonly (Promise<unknown> | undefined)[] | undefined;
  /** Resolves when the subscription stands: what is published afterwards arrives at `sink`. */
  receive(request: ReceiveRequest, sink: EventSink<E>): Promise<DriverSubscription<E>>;
  /** Says what an error of its client library means. `TenonError`s are passed on as they are, and do not come here. */
  translate(error: unknown): ErrorMeaning;
  /** The object of the client library, while the driver is open. */
  unwrap(): unknown;
}

/** Is told by a driver about its connection. */
export interface DriverHost {
  /** The server does not answer any more, and the driver connects again by itself. May be said again. */
  away(error: unknown): void;
  /** The server answers again. */
  back(): void;
  /**
   * The connection has ended, and the driver does not make another: `close` and `open` are called with back-off, then
   * every subscription is received anew.
   */
  lost(error: unknown): void;
}

/** An event on its way to the server. */
export interface OutgoingEvent {
  /** As the server takes it. */
  readonly topic: string;
  /** As the server takes them, the order key among them. */
  readonly headers: EventHeaders;
  /** The caller's own: not to be changed, nor kept once the event has been sent. */
  readonly body: Uint8Array;
  readonly orderKey: string | undefined;
  /**
   * Set by a driver that keeps the event waiting: takes it back when the caller gives up. True if it was not published
   * then.
   */
  withdraw?: (() => boolean) | undefined;
}

/**
 * An event as the server hands it out. A driver adds what it knows it by: the same object is given back to be settled.
 */
export interface IncomingEvent {
  /** The server's name for it; the same at every attempt. Made up where the server has none. */
  readonly id?: string | undefined;
  /** As the server has them. */
  readonly headers: EventHeaders;
  /** Becomes the receiver's own. */
  readonly body: Uint8Array;
  /** The number of times that the server has handed it out, from 1; always 1 where it does not count. */
  readonly attempt: number;
}

/** Names the events to be received. */
export interface ReceiveRequest {
  /** As the server takes it. */
  readonly topic: string;
  /** Name of the group of which one member gets each event. */
  readonly queue: string | undefined;
  /** `watch` sees events without consuming them: it settles none. */
  readonly mode: 'consume' | 'watch';
  /** See `SubscribeOptions`. */
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  /** The call, for error messages. */
  readonly doing: string;
}

/** Takes the events of a subscription. */
export interface EventSink<E extends IncomingEvent = IncomingEvent> {
  /**
   * The number of events that may be delivered now. A driver that can holds to it. What is delivered beyond waits in
   * this process: up to `DriverSubscription.maxBacklog` of a server that does not wait.
   */
  readonly demand: number;
  /** It takes no more events. */
  readonly isStopped: boolean;
  deliver(event: E): void;
  /** There may be something to poll for sooner than the poll that waits would end. */
  wake(): void;
  /** Events that were delivered and are not settled: in hand, or waiting for it. */
  unsettled(): readonly E[];
  /** Events that were acknowledged, and of which the server is yet to be told. */
  settling(): readonly E[];
  /**
   * The session that the events were handed out in is over, and the server hands them out again: what was delivered
   * before can no longer be settled, and acknowledgements that were not sent are dropped. For servers that number
   * events by connection.
   */
  resetSession(): void;
  /**
   * The subscription has ended by a fault: it is received anew with back-off, or ends for good where `translate` says
   * that it is of no use.
   */
  fail(error: unknown): void;
}

/** Asks for a number of events. */
export interface PollRequest {
  /** Events at the most. */
  readonly count: number;
  /** Of these, so many that were not handed out before: the rest of the room is for events that come again. */
  readonly fresh: number;
  /** Nothing was polled for a while, or a poll failed: events may have passed. */
  readonly mayLag: boolean;
}

/**
 * One subscription of a driver. A server that sends by itself delivers to the sink; one that is asked has `poll`. What
 * it cannot do it leaves out: without `ack` the server has forgotten an event as soon as it was handed out.
 */
export interface DriverSubscription<E extends IncomingEvent = IncomingEvent> {
  /**
   * The next events. Waits for the first one, but only for some seconds, and no longer than until `interrupt`. Not
   * called again before it has ended. One that fails is repeated with back-off, after `recover`.
   */
  poll?(request: PollRequest): Promise<readonly E[]>;
  /**
   * A server that does not wait for events: after polls that gave none the next comes later and later, up to this much.
   */
  readonly pollIdleMs?: number | undefined;
  /**
   * Ends a poll that waits: with `tried` 0 if that is easily done; otherwise it must end, and this is called every 50
   * ms until it has, `tried` counting from 1.
   */
  interrupt?(tried: number): void;
  /** Finds its place again after a poll has failed with `error`. */
  recover?(error: unknown): Promise<void>;
  /** The demand has grown: for drivers that deliver by themselves. */
  resume?(): void;
  /**
   * Events that may wait in this process since the server does not wait for anybody; others are dropped, and reported.
   * @default no limit, for servers that send no more than `maxInFlight` and `maxWaiting` events that are not settled
   */
  readonly maxBacklog?: number | undefined;
  /** Events that the driver itself keeps to deliver them again later. They count as waiting. */
  readonly waiting?: number | undefined;

  /** Done with these. Rejected ones are tried again: for as long as the server is away, a few times if it refuses. */
  ack?(events: readonly E[]): Promise<unknown> | void;
  /** `ack` costs a round trip: what is acknowledged in one turn of the event loop is told together. */
  readonly batchesAcks?: boolean | undefined;
  /**
   * To be handed out again, not before `delayMs`. A server that could not be told hands it out again all the same: that
   * is logged, and no error.
   */
  nack?(event: E, delayMs: number): Promise<void> | void;
  /** Refused for good: the server has dead letters of its own (`capabilities.deadLetter`). */
  reject?(event: E, reason: unknown): Promise<void>;
  /** These were in hand and will not be settled: they are for others. If that fails it is logged. */
  release?(events: readonly E[]): Promise<void> | void;
  /**
   * Says to the server that these are still in hand. Called every `keepAliveMs`; after a failure `recover` is called.
   */
  keepAlive?(events: readonly E[]): Promise<void>;
  readonly keepAliveMs?: number | undefined;

  /** No event is delivered any more once this has ended. */
  stop(): Promise<void> | void;
  /**
   * Leaves nothing behind but what others are to have. Everything has been settled or released. If that fails it is
   * logged.
   */
  close(): Promise<void> | void;
}

/** The meaning of a client library's error to a caller. */
export interface ErrorMeaning {
  /** The server is away, or did not answer in time, or said no. */
  readonly kind: 'unreachable' | 'timeout' | 'refused';
  /**
   * Code of a refusal.
   * @default INTERNAL
   */
  readonly code?: Code | undefined;
  /**
   * The words of the server.
   * @default the text of the error
   */
  readonly said?: string | undefined;
  /**
   * The error to show as the cause.
   * @default the error itself
   */
  readonly cause?: unknown;
  /** It does not pass by itself: a subscription that fails with it ends. */
  readonly isFinal?: boolean | undefined;
}
