import type { BrokerCapabilities } from '../../src/broker/broker.ts';
import {
  type BrokerDriver,
  type DriverSubscription,
  type ErrorMeaning,
  type EventSink,
  type OutgoingEvent,
  PortableBroker,
  type PortableBrokerOptions,
  type ReceiveRequest,
  type WireRules,
} from '../../src/broker/kit/kit.ts';
import { type StoredEvent, DeliveredEvent, Topics } from '../../src/broker/memory/topics.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { systemRuntime, systemTimers } from '../../src/runtime/system.ts';

/** What a {@link PolledBroker} may be told. */
export interface PolledBrokerOptions extends PortableBrokerOptions {
  readonly topics: Topics;
  readonly pollMs: number;
  /** Without, the server has no groups. @default true */
  readonly groups?: boolean;
}

/** Topics as strict as Kafka's, headers as strict as HTTP's. */
const wire: WireRules = {
  topic: { allowed: /[A-Za-z0-9._-]/, escape: '_' },
  headerName: { allowed: /[A-Za-z0-9!#$%&'*+.^_`|~-]/ },
  headerValue: { allowed: /[ -~]/ },
  maxBodyBytes: 100_000,
};

export const newTopics = (): Topics => new Topics({ timers: systemTimers, logger, maxQueued: 10_000 });

/** A broker over a server that is polled, is strict about names and sizes, and may lack groups. */
export class PolledBroker extends PortableBroker<DeliveredEvent> {
  static capabilities({ groups = true }: Partial<PolledBrokerOptions> = {}): BrokerCapabilities {
    return {
      persistent: true,
      ack: true,
      nack: true,
      delay: true,
      groups,
      attempts: true,
      deadLetter: false,
      order: true,
      replay: false,
      wildcards: true,
      shared: false,
    };
  }

  constructor(options: PolledBrokerOptions) {
    super({ name: 'polled', options: { logger, ...options }, makeDriver: () => new PolledDriver(options) });
  }
}

class PolledDriver implements BrokerDriver<DeliveredEvent> {
  readonly address = 'polled';
  readonly wildcards = { one: '*', rest: '>' };
  readonly wire = wire;
  readonly maxBatch = 16;
  readonly #options: PolledBrokerOptions;

  constructor(options: PolledBrokerOptions) {
    this.#options = options;
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}

  async publish(events: readonly OutgoingEvent[]): Promise<void> {
    for (const { topic, headers, body, orderKey } of events) {
      const texts = [topic, ...Object.entries(headers).flat()];
      if (!/^[A-Za-z0-9._-]+$/.test(topic) || texts.some((text) => !/^[ -~]*$/.test(text)))
        throw new Error(`the server does not take ${JSON.stringify(texts)}`);
      this.#options.topics.publish(topic, { ...headers }, Uint8Array.from(body), orderKey);
    }
  }

  receive(request: ReceiveRequest, sink: EventSink<DeliveredEvent>): Promise<DriverSubscription<DeliveredEvent>> {
    return Promise.resolve(request.mode === 'watch' ? this.#watch(request, sink) : this.#join(request, sink));
  }

  translate(error: unknown): ErrorMeaning {
    return { kind: 'refused', said: String(error) };
  }

  unwrap(): unknown {
    return this.#options.topics;
  }

  #join({ topic, queue }: ReceiveRequest, sink: EventSink<DeliveredEvent>): DriverSubscription<DeliveredEvent> {
    const { topics, pollMs } = this.#options;
    let taken: DeliveredEvent[] = [];
    let wanted = 0;
    const member: EventSink<DeliveredEvent> = {
      get demand() {
        return wanted - taken.length;
      },
      get isStopped() {
        return sink.isStopped;
      },
      deliver: (event) => void taken.push(event),
      wake: () => {},
      unsettled: () => [],
      settling: () => [],
      resetSession: () => {},
      fail: () => {},
    };
    const where = topics.open(topic);
    const group = where.group(queue);
    group.join(member);
    return {
      batchesAcks: true,
      async poll({ fresh }) {
        wanted = fresh;
        group.schedule();
        await systemRuntime.timers.sleep(pollMs);
        wanted = 0;
        const events = taken;
        taken = [];
        return events;
      },
      ack: async (events) => {
        for (const event of events) group.ack(event);
      },
      nack: (event, delayMs) => group.nack(event, delayMs),
      release: (events) => group.release(events),
      stop: () => where.leave(group, member),
      close: () => topics.prune(topic),
    };
  }

  #watch({ topic }: ReceiveRequest, sink: EventSink<DeliveredEvent>): DriverSubscription<DeliveredEvent> {
    const see = (entry: StoredEvent): void => sink.deliver(new DeliveredEvent(entry));
    const { watchers } = this.#options.topics.open(topic);
    watchers.add(see);
    return { stop: () => void watchers.delete(see), close: () => {} };
  }
}
