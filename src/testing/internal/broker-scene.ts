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

/** Makes the brokers to be tested, and says how they may differ. */
export interface BrokerHarness {
  /** A broker that is not connected. All of them take part in the same events. */
  make(): Broker;
  readonly capabilities: BrokerCapabilities;
  /**
   * Longest time of something that is promised without a time: redelivery of what was given back, above all.
   * @default 10_000
   */
  readonly patienceMs?: number | undefined;
  /** Headers that the broker's dialect adds by itself. */
  readonly addsHeaders?: readonly string[] | undefined;
  /**
   * Tells if the broker takes a topic. Others it must refuse.
   * @default it takes every one
   */
  takesTopic?(topic: string): boolean;
  /**
   * Tells if the broker takes a header. Others it must refuse.
   * @default it takes every one
   */
  takesHeader?(name: string, value: string): boolean;
  /**
   * Largest body that the broker takes.
   * @default no limit is tested
   */
  readonly maxBodyBytes?: number | undefined;
  /**
   * Time between two looks for events, where the server does not tell of them.
   * @default it is told
   */
  readonly pollMs?: number | undefined;
}

/** The brokers of one case, a topic of its own, and what was received. */
export class Scene {
  readonly capabilities: BrokerCapabilities;
  readonly harness: BrokerHarness;
  readonly topic = `conformance.${systemRandom.uuid()}`;
  readonly #brokers: Broker[] = [];

  constructor(harness: BrokerHarness) {
    this.harness = harness;
    this.capabilities = harness.capabilities;
  }

  /** The headers of an event, without those that the dialect adds. */
  headersOf(event: Event | undefined): Record<string, string> {
    const added = this.harness.addsHeaders ?? [];
    return Object.fromEntries(Object.entries(event?.headers ?? {}).filter(([name]) => !added.includes(name)));
  }

  /** One that is not connected; it is disconnected at the end of the case. */
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

  /** Resolves when `condition` holds; fails when it does not for a long time. */
  async until(what: string, condition: () => boolean): Promise<void> {
    const patienceMs = this.harness.patienceMs ?? 10_000;
    for (let waitedMs = 0; !condition(); waitedMs += 5) {
      if (waitedMs >= patienceMs) assert.fail(`not within ${patienceMs} ms: ${what}`);
      await systemTimers.sleep(5);
    }
  }

  /** `work`, which fails when it takes a long time. */
  async within<T>(what: string, work: Promise<T>): Promise<T> {
    let done = false;
    const ended = work.finally(() => {
      done = true;
    });
    ended.catch(() => undefined);
    await this.until(what, () => done);
    return ended;
  }

  /** Everything that a subscription hands out from now on. */
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

/** Events in the order they were handed out. */
export class Received {
  readonly events: Event[] = [];
  subscriber: Subscriber | undefined;
  readonly #scene: Scene;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  get texts(): string[] {
    return this.events.map(textOf);
  }

  /** Resolves when at least `count` events have come. */
  async count(count: number): Promise<readonly Event[]> {
    await this.#scene.until(`${count} events (${this.events.length} have come)`, () => this.events.length >= count);
    return this.events;
  }

  async text(text: string): Promise<void> {
    await this.#scene.until(`the event "${text}" (there came ${this.texts.join(', ')})`, () =>
      this.texts.includes(text),
    );
  }

  async stop(signal?: AbortSignal): Promise<void> {
    await this.#scene.within('the end of the subscription', Promise.resolve(this.subscriber?.unsubscribe(signal)));
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

/** A subscription under the contract of delivery. */
export function delivered(
  stage: Scene,
  broker: Broker,
  options: DeliveryOptions,
  handler: DeliveryHandler,
): Promise<Subscriber> {
  return deliver(broker, stage.topic, options, handler, { runtime: systemRuntime, logger: silentLogger });
}

export const leaveInHand = (): void => undefined;

/** Asserts that `work` rejects with that code and reason, naming the broker. */
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
 * A case with brokers of its own, which are disconnected afterwards. `requires`: capabilities, separated by blanks; `!`
 * before one that must be missing.
 */
export function scene(
  name: string,
  requires: string | undefined,
  run: (scene: Scene) => Promise<void>,
): Case<BrokerHarness> {
  return {
    name,
    requires,
    async run(harness) {
      const stage = new Scene(harness);
      try {
        await run(stage);
      } finally {
        await stage.end();
      }
    },
  };
}

/** A first event from a pull: its subscription stands at some time after `next()` was called. */
export async function firstOf(
  stage: Scene,
  broker: Broker,
  events: AsyncIterator<Event>,
  topic = stage.topic,
): Promise<Event> {
  let first: Event | undefined;
  const next = events.next().then(({ value }) => (first = value as Event));
  const pauseMs = Math.max(10, stage.harness.pollMs ?? 0);
  for (let tried = 0; !first && tried < 100; tried += 1) {
    await broker.publish(topic, message('first'));
    await systemTimers.sleep(pauseMs);
  }
  await stage.within('a first event', next);
  return first as unknown as Event;
}

export function iterate<T>(events: AsyncIterable<T>): AsyncIterator<T> {
  return events[Symbol.asyncIterator]();
}
