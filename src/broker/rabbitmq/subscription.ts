import { InFlight } from '../../internal/in-flight.ts';
import { endsWithin, pause } from '../../runtime/bounded.ts';
import type { Timers } from '../../runtime/runtime.ts';
import { QueueConsumer, type ReceivedMessage } from '../../rabbitmq/consumer.ts';
import { Copies } from '../../rabbitmq/copies.ts';
import type { LinkPair } from '../../rabbitmq/link-pair.ts';
import { attemptOf, headersOf, idOf, topicOf } from '../../rabbitmq/messages.ts';
import type { Queues, Topology } from '../../rabbitmq/topology.ts';
import type { DriverSubscription, EventSink, IncomingEvent, ReceiveRequest } from '../kit/driver.ts';
import { mismatchOf } from './errors.ts';

/** An event, with the message that settles it. */
export interface Delivery extends IncomingEvent {
  readonly id: string;
  readonly received: ReceivedMessage;
}

/** The parts of a {@link RabbitMqSubscription}. */
export interface SubscriptionSetup {
  readonly pair: LinkPair;
  readonly topology: Topology;
  readonly queues: Queues;
  readonly request: ReceiveRequest;
  readonly sink: EventSink<Delivery>;
  readonly timers: Timers;
  /** Makes an id for a message without one. */
  readonly nextId: () => string;
}

const closeMs = 1_000;

/** Receives the events of a queue. For its next attempt an event is published again, with the number of the attempt. */
export class RabbitMqSubscription implements DriverSubscription<Delivery> {
  readonly #setup: SubscriptionSetup;
  readonly #closing = new AbortController();
  #consumer!: QueueConsumer;
  /** Events that are being published again, and those that wait in this process to be. */
  readonly #returning = new InFlight();
  /** Events that are being moved to the queue for redelivery. */
  readonly #moving = new InFlight();
  readonly #copies: Copies;
  #waiting = 0;
  /** True once its channel is over: RabbitMQ gives what it had not settled to others. */
  #isOver = false;

  constructor(setup: SubscriptionSetup) {
    this.#setup = setup;
    this.#copies = new Copies(setup.pair.copies);
  }

  async open(): Promise<this> {
    const { pair, queues, request, sink } = this.#setup;
    const { maxInFlight, maxWaiting, mode } = request;
    // An iteration asks for its first event after this.
    const isPull = mode === 'consume' && sink.demand < maxInFlight;
    // Events that are returned have room of the prefetch count. A pull has none.
    const demand = (): number => sink.demand - (isPull ? 0 : this.#returning.count);
    this.#consumer = await QueueConsumer.open({
      link: pair.link,
      queue: queues.main,
      aside: queues.redelivery,
      prefetch: maxInFlight,
      maxMore: maxWaiting,
      isPull,
      noAck: mode === 'watch',
      demand: () => (this.#waiting < maxWaiting ? demand() : 0),
      onMessage: (received) => this.#receive(received),
      onFailure: (error) => {
        this.#isOver = true;
        sink.fail(error);
      },
    });
    return this;
  }

  resume(): void {
    this.#consumer.resume();
  }

  ack(events: readonly Delivery[]): void {
    for (const { received } of events) this.#consumer.ack(received);
  }

  async nack(event: Delivery, delayMs: number): Promise<void> {
    const { pair, topology, queues } = this.#setup;
    const { received, id, attempt } = event;
    const next = { id, attempt: attempt + 1 };
    const again = (queue: string): Promise<void> => this.#copies.move(received, this.#consumer, queue, next);
    if (queues.redelivery === undefined && delayMs > 0) {
      // A failure is one of the connection, with which the queue is gone.
      void this.#after(delayMs, () => again(queues.main).catch(() => undefined));
      return;
    }
    this.#returning.enter();
    try {
      await again(delayMs > 0 ? await topology.delayQueue(pair.link, queues, delayMs) : queues.main);
    } catch (error) {
      // It goes back to its queue.
      topology.forgetDelays();
      if (this.#closing.signal.aborted) return;
      // At once it would come back before its time.
      void this.#after(delayMs, () => this.release([event]));
      throw mismatchOf(error) ?? error;
    } finally {
      this.#returned();
    }
  }

  release(events: readonly Delivery[]): void {
    for (const { received } of events) this.#consumer.requeue(received);
  }

  stop(): Promise<void> {
    return this.#consumer.stop();
  }

  async close(): Promise<void> {
    this.#isOver = true;
    this.#closing.abort();
    this.#copies.end();
    // A copy that is on its way, and not confirmed soon, may become a second one.
    await endsWithin(this.#returning.idle(), { timers: this.#setup.timers, timeoutMs: closeMs });
    await this.#consumer.close(this.#setup.queues.redelivery === undefined);
  }

  #receive(received: ReceivedMessage): void {
    if (this.#isOver) return;
    const { sink, queues, pair, nextId } = this.#setup;
    const { message } = received;
    // The receiver may change the body: another attempt gets what was published.
    const body = Buffer.from(message.content);
    const [topic, id, headers] = [topicOf(message), idOf(message) ?? nextId(), headersOf(message)];
    const event = { topic, id, headers, body, attempt: attemptOf(message), received };
    // While nothing can be published, no event is moved.
    const isMoved = message.fields.redelivered && queues.redelivery !== undefined && !pair.publisher.isBlocked;
    if (isMoved) void this.#setAside(event, queues.redelivery);
    else if (this.#moving.count > 0 && received.consumer.queue === queues.redelivery) void this.#deliverMoved(event);
    else sink.deliver(event);
  }

  /** If the process ended by an event whose move is not over, there would be two of it. */
  async #deliverMoved(event: Delivery): Promise<void> {
    await this.#moving.idle();
    this.#deliver(event);
  }

  /** Moves an event whose receiver was lost: by this event, or by another that it had in hand as well. */
  async #setAside(event: Delivery, redelivery: string): Promise<void> {
    this.#returning.enter();
    this.#moving.enter();
    try {
      await this.#copies.move(event.received, this.#consumer, redelivery, event);
      await this.#consumer.settled().catch(() => undefined);
    } catch {
      this.#deliver(event);
    } finally {
      this.#moving.leave();
      this.#returned();
    }
  }

  #deliver(event: Delivery): void {
    const { pair, sink } = this.#setup;
    if (!this.#isOver && !pair.link.isOver) sink.deliver(event);
  }

  /** Notes that there is room for another event. */
  #returned(): void {
    this.#returning.leave();
    this.#consumer.resume();
  }

  /** Calls `work` after a time, unless it is closed before. */
  async #after(delayMs: number, work: () => unknown): Promise<void> {
    this.#waiting += 1;
    await pause(this.#setup.timers, delayMs, this.#closing.signal);
    this.#waiting -= 1;
    if (!this.#closing.signal.aborted) await work();
    this.#consumer.resume();
  }
}
