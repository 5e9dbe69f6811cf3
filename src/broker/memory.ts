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
import { type Entry, Handed, Topics } from './memory/topics.ts';

/** Options of a {@link MemoryHub}. */
export interface MemoryHubOptions {
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
  /**
   * Events that a group keeps and nobody has in hand. While a member is there, `publish` waits for room; without one
   * the oldest give way, and the logger says so.
   * @default 10_000
   */
  readonly maxQueued?: number | undefined;
}

const topicsOf = new WeakMap<MemoryHub, Topics>();

/** Holds the events of memory brokers: brokers with the same hub are as one server's. */
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
   * Where the events are, for brokers that are to share them.
   * @default one of its own
   */
  readonly hub?: MemoryHub | undefined;
  /**
   * Bound of a call that waits for room.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Events that a `watch` may lag behind.
   * @default 1_000
   */
  readonly watchLag?: number | undefined;
  readonly runtime?: Partial<Runtime> | undefined;
  readonly logger?: Logger | undefined;
}
/** Container key of the {@link MemoryBrokerOptions}. */
export const MemoryBrokerOptions: ServiceIdentifier<MemoryBrokerOptions> = token('broker', 'MemoryBrokerOptions');

/**
 * Events within this process: groups, acknowledgement, delayed redelivery and order, with nothing installed. What is
 * published lives as long as the hub; a group that has subscribed once keeps its events while its members are away.
 */
@injectable()
export class MemoryBroker extends PortableBroker implements Broker {
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
  }
}

/** The topics of a hub, as a server. */
class MemoryDriver implements BrokerDriver<Handed> {
  readonly address = 'memory';
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
    // The caller may use its buffer again once this has resolved.
    const kept = Object.freeze({ ...headers });
    const waiting = this.#topics.find(topic)?.publish(kept, new Uint8Array(body), orderKey);
    if (!waiting) return undefined;
    event.withdraw = () => waiting.withdraw();
    return waiting.stored;
  }

  receive(request: ReceiveRequest, sink: EventSink<Handed>): Promise<DriverSubscription<Handed>> {
    return Promise.resolve(request.mode === 'watch' ? this.#watch(request, sink) : this.#join(request, sink));
  }

  /** Nothing here fails by itself. */
  translate(): ErrorMeaning {
    return { kind: 'refused' };
  }

  unwrap(): undefined {
    return undefined;
  }

  #join({ topic, queue }: ReceiveRequest, sink: EventSink<Handed>): DriverSubscription<Handed> {
    const where = this.#topics.open(topic);
    const group = where.group(queue);
    group.join(sink);
    return {
      resume: () => group.schedule(),
      ack: (events) => group.ack(events[0] as Handed),
      nack: (event, delayMs) => group.nack(event, delayMs),
      release: (events) => group.release(events),
      stop: () => {
        where.leave(group, sink);
        this.#topics.prune(topic);
      },
      close: () => {},
    };
  }

  #watch({ topic }: ReceiveRequest, sink: EventSink<Handed>): DriverSubscription<Handed> {
    const see = (entry: Entry): void => sink.deliver(new Handed(entry));
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
