import { InFlight } from '../../internal/in-flight.ts';
import { endsWithin, pause } from '../../runtime/bounded.ts';
import type { Timers } from '../../runtime/runtime.ts';
import { QueueConsumer, type ReceivedMessage } from '../../rabbitmq/consumer.ts';
import type { Link } from '../../rabbitmq/link.ts';
import { attemptOf, copiedProperties, headersOf, idOf, topicOf } from '../../rabbitmq/messages.ts';
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
  readonly link: Link;
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
  #waiting = 0;

  constructor(setup: SubscriptionSetup) {
    this.#setup = setup;
  }

  async open(): Promise<this> {
    const { link, queues, request, sink } = this.#setup;
    const { maxInFlight, maxWaiting, mode } = request;
    // An iteration asks for its first event after this.
    const isPull = mode === 'consume' && sink.demand < maxInFlight;
    // Events that are returned have room of the prefetch count. A pull has none.
    const demand = (): number => sink.demand - (isPull ? 0 : this.#returning.count);
    this.#consumer = await QueueConsumer.open({
      link,
      queue: queues.main,
      aside: queues.redelivery,
      prefetch: maxInFlight,
      maxMore: maxWaiting,
      isPull,
      noAck: mode === 'watch',
      demand: () => (this.#waiting < maxWaiting ? demand() : 0),
      onMessage: (received) => this.#receive(received),
      onFailure: (error) => sink.fail(error),
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
    const { link, topology, queues } = this.#setup;
    const again = (queue: string): Promise<void> => this.#publishAgain(event, queue, event.attempt + 1);
    if (queues.redelivery === undefined && delayMs > 0) {
      // A failure is one of the connection, with which the queue is gone.
      void this.#after(delayMs, () => again(queues.main).catch(() => undefined));
      return;
    }
    this.#returning.enter();
    try {
      await again(delayMs > 0 ? await topology.delayQueue(link, queues, delayMs) : queues.main);
    } catch (error) {
      topology.forgetDelays();
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
    const { timers } = this.#setup;
    this.#closing.abort();
    // A copy that cannot be confirmed soon may become a second one.
    await endsWithin(this.#returning.idle(), { timers, timeoutMs: closeMs });
    await this.#consumer.close(this.#setup.queues.redelivery === undefined);
  }

  #receive(received: ReceivedMessage): void {
    const { sink, queues, link, nextId } = this.#setup;
    const { message } = received;
    // The receiver may change the body: another attempt gets what was published.
    const body = Buffer.from(message.content);
    const id = idOf(message) ?? nextId();
    const [topic, headers, attempt] = [topicOf(message), headersOf(message), attemptOf(message)];
    const event = { topic, id, headers, body, attempt, received };
    // While nothing can be published, no event is moved.
    const isMoved = message.fields.redelivered && queues.redelivery !== undefined && !link.publisher.isBlocked;
    if (isMoved) void this.#setAside(event, queues.redelivery);
    else if (this.#moving.count > 0 && received.consumer.queue === queues.redelivery) void this.#deliverMoved(event);
    else sink.deliver(event);
  }

  /** If the process ended by an event whose move is not over, there would be two of it. */
  async #deliverMoved(event: Delivery): Promise<void> {
    await this.#moving.idle();
    if (!this.#setup.link.isOver) this.#setup.sink.deliver(event);
  }

  /** Moves an event whose receiver was lost: by this event, or by another that it had in hand as well. */
  async #setAside(event: Delivery, redelivery: string): Promise<void> {
    this.#returning.enter();
    this.#moving.enter();
    try {
      await this.#publishAgain(event, redelivery, event.attempt);
      await this.#consumer.settled().catch(() => undefined);
    } catch {
      if (!this.#setup.link.isOver) this.#setup.sink.deliver(event);
    } finally {
      this.#moving.leave();
      this.#returned();
    }
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

  /** Publishes a copy to a queue, and acknowledges the event when RabbitMQ has the copy. */
  async #publishAgain({ received, id }: Delivery, queue: string, attempt: number): Promise<void> {
    const properties = copiedProperties(received.message, id, attempt);
    const copy = { exchange: '', routingKey: queue, body: received.message.content, properties };
    const isRouted = await this.#setup.link.publisher.send(copy);
    if (!isRouted) throw new Error(`the queue "${queue}" is gone`);
    this.#consumer.ack(received);
  }
}
