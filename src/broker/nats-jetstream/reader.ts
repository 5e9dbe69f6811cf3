import { TenonError } from '../../errors/errors.ts';
import type { Backoff } from '../../internal/backoff.ts';
import { pause } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { Timer } from '../../runtime/runtime.ts';
import type { DriverSubscription, EventSink, IncomingEvent, ReceiveRequest } from '../kit/driver.ts';
import { FailureLog } from '../kit/failure-log.ts';
import type { DriverSetup } from '../kit/portable-broker.ts';
import type { Msg, NatsSubscription } from '../nats/library.ts';
import type { NatsLink } from '../nats/link.ts';
import { readHeaders } from '../nats/messages.ts';
import type { ConsumerConfig, JetStreamManager } from './library.ts';
import { assetName, isForbidden, isNotFound, millis, nanos, type StreamPlace, type Streams } from './streams.ts';

/** An event of a stream. */
export interface StoredEvent extends IncomingEvent {
  /** Its sequence in the stream. */
  readonly seq: number;
  /** The subject by which it is settled. */
  readonly reply: string;
}

/** The parts of a {@link PullReader}. */
export interface ReaderSetup extends DriverSetup {
  readonly link: NatsLink;
  readonly streams: Streams;
  readonly manager: () => Promise<JetStreamManager>;
  readonly request: ReceiveRequest;
  readonly sink: EventSink<StoredEvent>;
  /** See `NatsJetStreamBrokerOptions`. `undefined` if it was not given: then the consumer may have another. */
  readonly ackWaitMs: number | undefined;
  readonly from: 'now' | 'start';
}

const defaultAckWaitMs = 10_000;
const expiresMs = 30_000;
const heartbeatMs = 5_000;
/** Most events that are asked for and have not come. */
const maxPull = 256;
/** As many events are read ahead for a watch. */
const watchWindow = 64;
// A consumer without a name of a group is removed by the server when its reader was away for so long.
const inactiveMs = 300_000;
const noHeaders = Object.freeze({});
const ack = '+ACK';
const working = '+WPI';
/** Properties of a consumer without which it delivers no events, or not all of each, or not as often as is needed. */
const decisive = [
  'ack_policy',
  'max_deliver',
  'filter_subject',
  'deliver_subject',
  'headers_only',
  'backoff',
  'max_batch',
  'max_expires',
  'max_bytes',
  'priority_policy',
] as const satisfies readonly (keyof ConsumerConfig)[];
const backoff = { initialMs: 50, maxMs: 5_000 } as const;
const recoverMs = 50;
// A server that starts answers for its streams a moment later.
const warnAfter = 5;
const troubled = 'the stream of a subscription does not answer; it is tried again';

/**
 * Reads a topic through a consumer: the durable one of a group, or one of its own. It asks for as many events as it has
 * room for. A consumer that is gone is made again, behind the last event before which all were acknowledged.
 */
export class PullReader implements DriverSubscription<StoredEvent> {
  readonly batchesAcks = true;
  /** A third of the time after which others may take an event. */
  keepAliveMs: number | undefined;
  readonly #setup: ReaderSetup;
  readonly #isWatch: boolean;
  readonly #isDurable: boolean;
  readonly #ackWaitMs: number;
  readonly #ending = new AbortController();
  /** Delivered events that are not acknowledged, by their sequence: true for those in hand, false after a `nack`. */
  readonly #open = new Map<number, boolean>();
  readonly #log: FailureLog;
  readonly #forget: () => void;
  readonly #monitor: Timer;
  #name: string;
  #stream: StreamPlace | undefined;
  #subscription: NatsSubscription | undefined;
  /** A consumer was there: one that is made now is made again. */
  #wasThere = false;
  /** Events up to this one need not be delivered any more. */
  #floor = 0;
  #lastSeen = 0;
  #outstanding = 0;
  #delayed = 0;
  #heardAtMs: number;
  #isScheduled = false;
  #isRecovering = false;
  #attaching: Promise<void> = Promise.resolve();

  constructor(setup: ReaderSetup) {
    const { request, runtime, link, ackWaitMs = defaultAckWaitMs } = setup;
    const { topic, queue, mode } = request;
    this.#setup = setup;
    this.#log = new FailureLog(setup.logger, { broker: 'nats-jetstream', topic });
    this.#isWatch = mode === 'watch';
    this.#isDurable = queue !== undefined && !this.#isWatch;
    this.#ackWaitMs = ackWaitMs;
    this.keepAliveMs = this.#isWatch ? undefined : ackWaitMs / 3;
    this.#name = this.#isDurable ? `${assetName(queue as string)}_${assetName(topic)}` : this.#newName();
    this.#heardAtMs = runtime.clock.monotonicMs();
    this.#forget = link.onReconnect(() => this.#reattach());
    this.#monitor = runtime.timers.every(heartbeatMs, () => this.#onMonitor());
  }

  /** Resolves when later events are delivered. */
  async open(): Promise<void> {
    try {
      await this.#attach();
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  resume(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // In one request for all that are settled in this turn.
    this.#setup.runtime.timers.soon(() => {
      this.#isScheduled = false;
      this.#pull();
    });
  }

  get waiting(): number {
    return this.#delayed;
  }

  async ack(events: readonly StoredEvent[]): Promise<void> {
    const { connection } = this.#setup.link;
    // The server takes them in order: the answer to the last one is the answer to all.
    for (const { reply } of events.slice(0, -1)) connection.publish(reply, ack);
    const last = events.at(-1) as StoredEvent;
    try {
      await this.#tell(last.reply, ack);
      for (const { seq } of events) this.#open.delete(seq);
    } catch (error) {
      // They are not acknowledged, and come again.
      if (isForbidden(error)) for (const { seq } of events) this.#leave(seq);
      throw error;
    }
  }

  async nack({ seq, reply }: StoredEvent, delayMs: number): Promise<void> {
    this.#leave(seq);
    if (delayMs > 0) {
      this.#delayed += 1;
      this.#setup.runtime.timers.after(delayMs, () => {
        this.#delayed -= 1;
        this.resume();
      });
    }
    await this.#tell(reply, delayMs > 0 ? `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}` : '-NAK');
  }

  async release(events: readonly StoredEvent[]): Promise<void> {
    await Promise.all(events.map((event) => this.nack(event, 0)));
  }

  async keepAlive(events: readonly StoredEvent[]): Promise<void> {
    const { connection } = this.#setup.link;
    for (const { reply } of events) connection.publish(reply, working);
    await this.#look();
  }

  async stop(): Promise<void> {
    const subscription = this.#subscription;
    this.#end();
    if (!subscription || subscription.isClosed()) return;
    // What the server has sent already is received, and given back.
    subscription.drain().catch(() => undefined);
    await this.#setup.link.settle();
  }

  async close(): Promise<void> {
    const { link, manager } = this.#setup;
    // It may be made anew, and then has not been stopped.
    if (!this.#isEnded) await this.stop();
    if (this.#isDurable || !this.#stream || !link.current) return;
    await (await manager()).consumers.delete(this.#stream.name, this.#name);
  }

  #end(): void {
    this.#ending.abort();
    this.#forget();
    this.#monitor.cancel();
    this.#subscription = undefined;
  }

  #newName(): string {
    return `tenon-${this.#setup.runtime.random.uuid()}`;
  }

  get #isEnded(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Finds or makes the stream and the consumer, and asks for events on a subject of its own. One at a time. */
  #attach(): Promise<void> {
    const next = this.#attaching.then(() => this.#attachNow());
    this.#attaching = next.catch(() => undefined);
    return next;
  }

  async #attachNow(): Promise<void> {
    const { streams, request, link, ackWaitMs, logger, manager } = this.#setup;
    // With the first look at a new connection, what was known of the streams is forgotten.
    const { consumers } = await manager();
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    const { topic } = request;
    const stream = await streams.of(topic);
    if (this.#stream && stream.created !== this.#stream.created) this.#onNewStream(stream);
    this.#stream = stream;
    if (this.#isWatch && this.#wasThere) {
      // One that acknowledges nothing goes on where it is told to.
      consumers.delete(stream.name, this.#name).catch(() => undefined);
      this.#name = this.#newName();
    }
    const checked = ackWaitMs === undefined ? decisive : ([...decisive, 'ack_wait'] as const);
    const { info, isNew } = await streams.consumer(stream, this.#name, this.#config(), checked);
    if (isNew && this.#wasThere && !this.#isWatch) {
      const fields = { topic, stream: stream.name, consumer: this.#name, from: this.#floorNow + 1 };
      logger.warn('the consumer was gone, and is made again', fields);
    }
    const { ack_floor: acked, delivered, num_ack_pending: pending, config } = info;
    // A group may have another time than was meant.
    if (!this.#isWatch && config.ack_wait) this.keepAliveMs = millis(config.ack_wait) / 3;
    this.#floor = pending === 0 ? delivered.stream_seq : acked.stream_seq;
    if (!this.#wasThere) this.#lastSeen = this.#floor;
    this.#wasThere = true;
    const { connection } = link;
    if (this.#isEnded) return;
    const inbox = `_INBOX.${this.#newName()}`;
    this.#subscription = connection.subscribe(inbox, {
      callback: (error, msg) => {
        if (error) this.#setup.sink.fail(error);
        else this.#onMessage(msg);
      },
    });
    this.#outstanding = 0;
    this.#heardAtMs = this.#setup.runtime.clock.monotonicMs();
    await link.flush();
    this.#log.succeeded();
    this.resume();
  }

  /** The stream is another one: what was delivered was of the one before, and means nothing to it. */
  #onNewStream({ name }: StreamPlace): void {
    const { sink, logger, request } = this.#setup;
    logger.error('the stream was gone with its events, and is made again', { topic: request.topic, stream: name });
    sink.resetSession();
    this.#open.clear();
    this.#floor = 0;
    this.#lastSeen = 0;
  }

  /** The event is not in hand any more, and comes again: without a group, to this reader. */
  #leave(seq: number): void {
    if (this.#isDurable) this.#open.delete(seq);
    else this.#open.set(seq, false);
  }

  /** Without a group it is known exactly which events are done; with one, the server knows it for all members. */
  get #floorNow(): number {
    if (this.#isDurable) return this.#floor;
    let first = this.#lastSeen + 1;
    for (const seq of this.#open.keys()) first = Math.min(first, seq);
    return first - 1;
  }

  #config(): ConsumerConfig {
    const { request, from } = this.#setup;
    const start: ConsumerConfig = this.#wasThere
      ? { deliver_policy: 'by_start_sequence', opt_start_seq: this.#floorNow + 1 }
      : { deliver_policy: from === 'start' ? 'all' : 'new' };
    const common = { ...start, filter_subject: request.topic, max_deliver: -1 } as const;
    const own = { name: this.#name, inactive_threshold: nanos(inactiveMs) };
    if (this.#isWatch) return { ...common, ...own, ack_policy: 'none', mem_storage: true };
    const who = this.#isDurable ? { durable_name: this.#name } : own;
    return { ...common, ...who, ack_policy: 'explicit', ack_wait: nanos(this.#ackWaitMs), max_ack_pending: -1 };
  }

  /** Asks for as many events as there is room for, less those that were asked for already. */
  #pull(): void {
    const { link, sink, request } = this.#setup;
    const { current } = link;
    const subscription = this.#subscription;
    if (this.#isEnded || !current || !subscription || !this.#stream) return;
    const wanted = this.#isWatch ? (sink.demand > 0 ? watchWindow : 0) : sink.demand;
    const most = Math.min(maxPull, request.maxWaiting - this.#delayed);
    const free = Math.min(wanted, most) - this.#outstanding;
    // While some are on their way, room is gathered for a request that is worth it.
    const least = this.#outstanding === 0 ? 1 : Math.ceil(Math.min(maxPull, request.maxInFlight) / 4);
    if (free < least) return;
    this.#outstanding += free;
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream.name}.${this.#name}`;
    const limits = { batch: free, expires: nanos(expiresMs), idle_heartbeat: nanos(heartbeatMs) };
    current.publish(subject, JSON.stringify(limits), { reply: subscription.getSubject() });
  }

  #onMessage(msg: Msg): void {
    const { runtime, sink } = this.#setup;
    const { reply = '' } = msg;
    this.#heardAtMs = runtime.clock.monotonicMs();
    if (!reply.startsWith('$JS.ACK.')) return this.#onStatus(msg);
    // $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<of the consumer>.<time>.<pending>, or two more before.
    const parts = reply.split('.');
    const at = parts.length >= 11 ? 6 : 4;
    const [attempt, seq] = [Number(parts[at]), Number(parts[at + 1])];
    this.#outstanding = Math.max(0, this.#outstanding - 1);
    const isKnown = this.#open.get(seq) === true;
    if (seq > this.#lastSeen) this.#lastSeen = seq;
    // It came again, and is done: without a group this reader knows that.
    else if (!isKnown && !this.#isDurable && !this.#open.has(seq)) return this.#drop(reply);
    // It came again though it is in hand: its acknowledgement counts for both.
    if (isKnown) return this.resume();
    if (!this.#isWatch) this.#open.set(seq, true);
    const headers = readHeaders(msg) ?? noHeaders;
    sink.deliver({ id: `${parts[at + 3]}-${seq}`, headers, body: msg.data, attempt, seq, reply });
    if (this.#outstanding === 0) this.resume();
  }

  /** An event that this reader has acknowledged came again, as its consumer was made again. */
  #drop(reply: string): void {
    if (!this.#isWatch) this.#setup.link.current?.publish(reply, ack);
    this.resume();
  }

  #onStatus(msg: Msg): void {
    const { code = 0, description = '' } = msg.headers ?? {};
    if (code === 100) return;
    const left = Number(msg.headers?.get('Nats-Pending-Messages') || this.#outstanding);
    this.#outstanding = Math.max(0, this.#outstanding - left);
    // The request has run its time.
    if (code === 404 || code === 408) this.resume();
    else this.#recover(`${code} ${description}`.trim());
  }

  /** The server says every few seconds that a request stands. One of which it says nothing is forgotten. */
  #onMonitor(): void {
    const { link, runtime } = this.#setup;
    const isSilent = runtime.clock.monotonicMs() - this.#heardAtMs > 2 * heartbeatMs;
    if (this.#outstanding > 0 && link.current && isSilent) this.#recover('no heartbeat came');
  }

  /** Looks how far the group is, and whether its consumer is there. */
  async #look(): Promise<void> {
    if (!this.#stream || this.#isEnded || this.#isRecovering) return;
    try {
      const { consumers } = await this.#setup.manager();
      const { ack_floor: acked } = await consumers.info(this.#stream.name, this.#name);
      this.#floor = Math.max(this.#floor, acked.stream_seq);
    } catch (error) {
      if (isForbidden(error)) return this.#setup.sink.fail(error);
      if (!isNotFound(error)) throw error;
      this.#recover('it was not found');
    }
  }

  async #reattach(): Promise<void> {
    try {
      await this.#attach();
    } catch (error) {
      // Without a connection the next one does it.
      if (!this.#setup.link.current || this.#isEnded) return;
      if (isHopeless(error)) this.#setup.sink.fail(error);
      else this.#recover(error);
    }
  }

  /** Makes what is gone again, with back-off, for as long as there is a connection. */
  #recover(reason: unknown): void {
    if (this.#isRecovering || this.#isEnded) return;
    this.#isRecovering = true;
    const { runtime, streams, request, sink, link, logger } = this.#setup;
    logger.debug('a consumer does not answer as it should', { topic: request.topic, consumer: this.#name, reason });
    const { signal } = this.#ending;
    const attach = async (): Promise<void> => {
      // Without a connection the next one does it.
      if (!link.current || this.#isEnded) return;
      streams.forget(request.topic);
      await this.#attach();
    };
    const onFailure = (error: unknown, _delayMs: number, { failures }: Backoff): void => {
      if (isHopeless(error)) throw error;
      if (link.current && failures >= warnAfter) this.#log.failed(troubled, error);
    };
    // A consumer that is removed again and again is not made without pause.
    void pause(runtime.timers, recoverMs * (1 + runtime.random.next()), signal)
      .then(() => retrying(attach, { runtime, backoff, signal, keepAlive: false, onFailure }))
      .catch((error: unknown) => {
        if (!this.#isEnded) sink.fail(error);
      })
      .finally(() => (this.#isRecovering = false));
  }

  async #tell(reply: string, word: string): Promise<void> {
    await this.#setup.link.connection.request(reply, word, { timeout: this.#setup.timeoutMs });
  }
}

/** True for an error that another attempt does not change: another consumer of the name, a right that is lacking. */
function isHopeless(error: unknown): boolean {
  return TenonError.is(error) || isForbidden(error);
}
