import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { token } from '../internal/token.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, Random, type Runtime, Timers } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import type { Broker, BrokerCapabilities } from './broker.ts';
import type {
  BrokerDriver,
  DriverSubscription,
  ErrorMeaning,
  EventSink,
  OutgoingEvent,
  ReceiveRequest,
} from './kit/driver.ts';
import { type DriverSetup, PortableBroker } from './kit/portable-broker.ts';
import { type StoredEvent, DeliveredEvent, Topics } from './memory/topics.ts';

/** Options of a {@link MemoryHub}. */
export interface MemoryHubOptions {
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
  /**
   * Most undelivered events of a group. At the limit `publish` waits for room if the group has members; otherwise the
   * oldest events are dropped, and a warning is logged.
   * @default 10_000
   */
  readonly maxQueued?: number | undefined;
}

const topicsOf = new WeakMap<MemoryHub, Topics>();

/** Stores the events of memory brokers. Brokers with the same hub see each other's events. */
export class MemoryHub {
  constructor(options: MemoryHubOptions = {}) {
    checkedOptions('MemoryHubOptions', options);
    const { runtime, logger = new ConsoleLogger({ level: 'warn' }), maxQueued = 10_000 } = options;
    topicsOf.set(this, new Topics({ timers: runtime?.timers ?? systemRuntime.timers, logger, maxQueued }));
  }
}

/** Options of a {@link MemoryBroker}. */
export interface MemoryBrokerOptions {
  /**
   * The hub, for brokers that share events.
   * @default one of its own
   */
  readonly hub?: MemoryHub | undefined;
  /**
   * Time-out of a `publish` that waits for room, in milliseconds.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Most events that a `watch` may be behind before it misses the oldest ones.
   * @default 1_000
   */
  readonly watchLag?: number | undefined;
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
}
/** Container key of the {@link MemoryBrokerOptions}. */
export const MemoryBrokerOptions: ServiceIdentifier<MemoryBrokerOptions> = token('broker', 'MemoryBrokerOptions');

/**
 * Delivers events within this process, with groups, acknowledgements, delayed redelivery and order. Events live as long
 * as the hub; a group that has subscribed once keeps its events while its members are away.
 */
@injectable()
export class MemoryBroker extends PortableBroker implements Broker {
  readonly #topics: () => Topics | undefined;

  static readonly capabilities: BrokerCapabilities = {
    persistent: true,
    ack: true,
    nack: true,
    delay: true,
    groups: true,
    attempts: true,
    deadLetter: false,
    order: true,
    replay: false,
    wildcards: true,
    shared: false,
  };

  constructor(
    @inject(MemoryBrokerOptions) @optional() options: MemoryBrokerOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    checkedOptions('MemoryBrokerOptions', options, { watchLag: {} });
    const seams = { clock, random, timers, logger };
    let { hub } = options;
    const makeDriver = ({ runtime, logger: log }: DriverSetup): MemoryDriver => {
      hub ??= new MemoryHub({ runtime, logger: log });
      return new MemoryDriver(topicsOf.get(hub) as Topics);
    };
    super({ name: 'memory', options, seams, makeDriver });
    this.#topics = () => hub && topicsOf.get(hub);
  }

  /**
   * Resolves when no event of the hub waits for a subscriber, for its next attempt, or for the end of its handler. For
   * tests: events that handlers publish meanwhile are waited for as well.
   */
  async settled(): Promise<void> {
    await this.#topics()?.settled();
  }
}

/** Uses the topics of a hub as a server. */
class MemoryDriver implements BrokerDriver<DeliveredEvent> {
  readonly address = 'memory';
  readonly wildcards = { one: '*', rest: '>' };
  readonly #topics: Topics;

  constructor(topics: Topics) {
    this.#topics = topics;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}

  publish(events: readonly [OutgoingEvent]): Promise<unknown> | undefined {
    const event = events[0];
    const { topic, headers, body, orderKey } = event;
    // The caller may use its buffer again once this has resolved. A copy within Node's pool costs a fifth of another.
    const kept = Object.freeze({ ...headers });
    const waiting = this.#topics.publish(topic, kept, Buffer.from(body), orderKey);
    if (!waiting) return undefined;
    event.withdraw = () => waiting.withdraw();
    return waiting.stored;
  }

  receive(request: ReceiveRequest, sink: EventSink<DeliveredEvent>): Promise<DriverSubscription<DeliveredEvent>> {
    return Promise.resolve(request.mode === 'watch' ? this.#watch(request, sink) : this.#join(request, sink));
  }

  /** Required by the contract; operations in memory do not fail. */
  translate(): ErrorMeaning {
    return { kind: 'refused' };
  }

  unwrap(): undefined {
    return undefined;
  }

  #join({ topic, queue }: ReceiveRequest, sink: EventSink<DeliveredEvent>): DriverSubscription<DeliveredEvent> {
    const where = this.#topics.open(topic);
    const group = where.group(queue);
    group.join(sink);
    return {
      resume: () => group.schedule(),
      ack: (events) => group.ack(events[0] as DeliveredEvent),
      nack: (event, delayMs) => group.nack(event, delayMs),
      release: (events) => group.release(events),
      stop: () => {
        where.leave(group, sink);
        this.#topics.prune(topic);
      },
      close: () => {},
    };
  }

  #watch({ topic }: ReceiveRequest, sink: EventSink<DeliveredEvent>): DriverSubscription<DeliveredEvent> {
    const see = (entry: StoredEvent): void => sink.deliver(new DeliveredEvent(entry));
    const { watchers } = this.#topics.open(topic);
    watchers.add(see);
    return {
      stop: () => {
        watchers.delete(see);
        this.#topics.prune(topic);
      },
      close: () => {},
    };
  }
}
