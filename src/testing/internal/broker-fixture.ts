import assert from 'node:assert/strict';

import type {
  Broker,
  BrokerCapabilities,
  BrokerMessage,
  Event,
  EventCallback,
  PublishOptions,
  Subscriber,
  SubscribeOptions,
} from '../../broker/broker.ts';
import { deliver, type DeliveryHandler, type DeliveryOptions } from '../../broker/delivery.ts';
import type { Code } from '../../errors/errors.ts';
import { TenonError } from '../../errors/errors.ts';
import { silentLogger } from '../../logger/logger.ts';
import { systemRandom, systemRuntime, systemTimers } from '../../runtime/system.ts';
import type { Case } from '../api.ts';

/** Makes the broker under test, and describes its limits. */
export interface BrokerHarness {
  /** Makes a broker that is not connected. All brokers of a harness share their events. */
  make(): Broker;
  readonly capabilities: BrokerCapabilities;
  /**
   * Time limit for what the contract promises without naming a time, above all redelivery, in milliseconds.
   * @default 10_000
   */
  readonly patienceMs?: number | undefined;
  /** Names of headers that the broker adds to events. */
  readonly addsHeaders?: readonly string[] | undefined;
  /**
   * True if the broker accepts a topic. It must refuse all others.
   * @default every topic is accepted
   */
  takesTopic?(topic: string): boolean;
  /**
   * True if the broker accepts a header. It must refuse all others.
   * @default every header is accepted
   */
  takesHeader?(name: string, value: string): boolean;
  /**
   * Largest body that the broker accepts.
   * @default no limit is tested
   */
  readonly maxBodyBytes?: number | undefined;
  /**
   * Interval at which the broker polls its server, in milliseconds.
   * @default it does not poll
   */
  readonly pollMs?: number | undefined;
}

/** The brokers of one case, its topic, and helpers. */
export class BrokerFixture {
  readonly capabilities: BrokerCapabilities;
  readonly harness: BrokerHarness;
  readonly topic = `conformance.${systemRandom.uuid()}`;
  readonly #brokers: Broker[] = [];

  constructor(harness: BrokerHarness) {
    this.harness = harness;
    this.capabilities = harness.capabilities;
  }

  /** The headers of an event, without those that the broker adds. */
  headersOf(event: Event | undefined): Record<string, string> {
    const added = this.harness.addsHeaders ?? [];
    return Object.fromEntries(Object.entries(event?.headers ?? {}).filter(([name]) => !added.includes(name)));
  }

  /** Makes a broker that is not connected. It is disconnected at the end of the case. */
  make(): Broker {
    const broker = this.harness.make();
    this.#brokers.push(broker);
    return broker;
  }

  async broker(): Promise<Broker> {
    const broker = this.make();
    await broker.connect();
    return broker;
  }

  async two(): Promise<[Broker, Broker]> {
    return [await this.broker(), await this.broker()];
  }

  async end(): Promise<void> {
    await Promise.all(this.#brokers.map((broker) => broker.disconnect()));
  }

  /** Resolves when `condition` is true; fails if it is not within the time limit. */
  async until(what: string, condition: () => boolean): Promise<void> {
    const patienceMs = this.harness.patienceMs ?? 10_000;
    for (let waitedMs = 0; !condition(); waitedMs += 5) {
      if (waitedMs >= patienceMs) assert.fail(`not within ${patienceMs} ms: ${what}`);
      await systemTimers.sleep(5);
    }
  }

  /** Resolves as `work` does; fails if that takes longer than the time limit. */
  async within<T>(what: string, work: Promise<T>): Promise<T> {
    let done = false;
    const ended = work.finally(() => {
      done = true;
    });
    ended.catch(() => undefined);
    await this.until(what, () => done);
    return ended;
  }

  /** Subscribes and records the events. */
  async receive(
    broker: Broker,
    options: SubscribeOptions & { readonly topic?: string; readonly settle?: (event: Event) => unknown } = {},
  ): Promise<Received> {
    const { topic = this.topic, settle = (event: Event) => event.ack(), ...rest } = options;
    const received = new Received(this);
    const callback: EventCallback = (event) => {
      received.events.push(event);
      return settle(event) as Promise<void> | undefined;
    };
    received.subscriber = await broker.subscribe(topic, callback, rest);
    return received;
  }
}

/** The events of a subscription, in the order of delivery. */
export class Received {
  readonly events: Event[] = [];
  subscriber: Subscriber | undefined;
  readonly #fixture: BrokerFixture;

  constructor(fixture: BrokerFixture) {
    this.#fixture = fixture;
  }

  get texts(): string[] {
    return this.events.map(textOf);
  }

  /** Resolves when at least `count` events have come. */
  async count(count: number): Promise<readonly Event[]> {
    await this.#fixture.until(`${count} events (${this.events.length} have come)`, () => this.events.length >= count);
    return this.events;
  }

  async text(text: string): Promise<void> {
    await this.#fixture.until(`the event "${text}" (there came ${this.texts.join(', ')})`, () =>
      this.texts.includes(text),
    );
  }

  async stop(signal?: AbortSignal): Promise<void> {
    await this.#fixture.within('the end of the subscription', Promise.resolve(this.subscriber?.unsubscribe(signal)));
  }
}

export const message = (text: string, headers: Record<string, string> = {}): BrokerMessage => ({
  headers,
  body: new TextEncoder().encode(text),
});

export const textOf = (event: Event): string => new TextDecoder().decode(event.body);

/** Publishes `texts` one after another. */
export async function publish(
  broker: Broker,
  topic: string,
  texts: readonly string[],
  options?: PublishOptions,
): Promise<void> {
  for (const text of texts) await broker.publish(topic, message(text), options);
}

/** Subscribes by `deliver`, as servers do: with retries, dead letters and deduplication. */
export function delivered(
  fixture: BrokerFixture,
  broker: Broker,
  { topic = fixture.topic, ...options }: DeliveryOptions & { readonly topic?: string },
  handler: DeliveryHandler,
): Promise<Subscriber> {
  return deliver(broker, topic, options, handler, { runtime: systemRuntime, logger: silentLogger });
}

export const leaveInHand = (): void => undefined;

/** Asserts that `work` rejects with a code and a reason, and that the message names the broker. */
export async function refuses(broker: Broker, code: Code, reason: string, work: () => Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(TenonError.is(error), `not a TenonError: ${String(error)}`);
    assert.equal(error.reason, reason, error.message);
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.includes(String(broker)), `the message does not name the broker: ${error.message}`);
    return true;
  });
}

export const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

export const aborted = (): AbortSignal => AbortSignal.abort(new Error('enough'));

/**
 * Makes a case with a fixture of its own, whose brokers are disconnected at the end. `requires` lists capabilities,
 * separated by blanks; `!` marks one that must be missing.
 */
export function brokerCase(
  name: string,
  requires: string | undefined,
  run: (fixture: BrokerFixture) => Promise<void>,
): Case<BrokerHarness> {
  return {
    name,
    requires,
    async run(harness) {
      const fixture = new BrokerFixture(harness);
      try {
        await run(fixture);
      } finally {
        await fixture.end();
      }
    },
  };
}

/** Publishes until a pull gets its first event, as its subscription is established only some time after `next()`. */
export async function firstOf(
  fixture: BrokerFixture,
  broker: Broker,
  events: AsyncIterator<Event>,
  topic = fixture.topic,
): Promise<Event> {
  let first: Event | undefined;
  const next = events.next().then(({ value }) => (first = value as Event));
  const pauseMs = Math.max(10, fixture.harness.pollMs ?? 0);
  for (let tried = 0; !first && tried < 100; tried += 1) {
    await broker.publish(topic, message('first'));
    await systemTimers.sleep(pauseMs);
  }
  await fixture.within('a first event', next);
  return first as unknown as Event;
}

export function iterate<T>(events: AsyncIterable<T>): AsyncIterator<T> {
  return events[Symbol.asyncIterator]();
}
