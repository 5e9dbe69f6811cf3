import { describe, expect, it } from '@jest/globals';

import type {
  BrokerCapabilities,
  BrokerMessage,
  BrokerOptions,
  BrokerStatus,
  Event,
  EventCallback,
  PublishOptions,
  Subscriber,
  SubscribeOptions,
} from '../../src/broker/broker.ts';
import { MemoryBroker, MemoryHub } from '../../src/broker/memory.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import type { Case } from '../../src/testing/api.ts';
import { brokerCases, concerns } from '../../src/testing/broker.ts';
import type { BrokerHarness } from '../../src/testing/internal/broker-fixture.ts';
import { systemTimers } from '../../src/runtime/system.ts';

type Broken = new (options: { hub: MemoryHub; logger: typeof logger }) => MemoryBroker;

/** The event, with something else about it. */
function altered(event: Event, change: Partial<Event>): Event {
  const { id, topic, headers, body, attempt } = event;
  return {
    id,
    topic,
    headers,
    body,
    attempt,
    ack: () => event.ack(),
    nack: (options) => event.nack(options),
    reject: (reason) => event.reject(reason),
    ...change,
  };
}

/** A broker whose events are altered before they reach the callback. */
function altering(change: (event: Event) => Partial<Event>): Broken {
  return class extends MemoryBroker {
    override subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
      return super.subscribe(topic, (event) => callback(altered(event, change(event))), options);
    }
  };
}

/** A broker that is asked for something else than what the subscriber said. */
function mishearing(hear: (options: SubscribeOptions) => SubscribeOptions): Broken {
  return class extends MemoryBroker {
    override subscribe(topic: string, callback: EventCallback, options: SubscribeOptions = {}): Promise<Subscriber> {
      return super.subscribe(topic, callback, hear(options));
    }
  };
}

/** A broker that publishes in a way of its own. */
function publishing(
  way: (
    topic: string,
    message: BrokerMessage,
    publish: (topic: string, message: BrokerMessage) => Promise<void>,
  ) => Promise<void>,
): Broken {
  return class extends MemoryBroker {
    override publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
      return way(topic, message, (where, what) => super.publish(where, what, options));
    }
  };
}

const shared = new WeakMap<object, Uint8Array>();
let published = 0;

class CallsBackAtOnce extends MemoryBroker {
  readonly #callbacks = new Map<string, EventCallback[]>();

  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    this.#callbacks.set(topic, [...(this.#callbacks.get(topic) ?? []), callback]);
    return super.subscribe(topic, () => undefined, options);
  }

  override publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    const done = Promise.resolve();
    const event: Event = {
      id: '1',
      topic,
      ...message,
      attempt: 1,
      ack: () => done,
      nack: () => done,
      reject: () => done,
    };
    for (const callback of this.#callbacks.get(topic) ?? []) void callback(event);
    return super.publish(topic, message, options);
  }
}

class SettlesTwice extends MemoryBroker {
  override subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    const twice = (event: Event): Event => {
      let acked = false;
      return altered(event, {
        ack: () => {
          acked = true;
          return event.ack();
        },
        nack: (how) => (acked ? this.publish(topic, event) : event.nack(how)),
      });
    };
    return super.subscribe(topic, (event) => callback(twice(event)), options);
  }
}

class StandsLater extends MemoryBroker {
  override async subscribe(
    topic: string,
    callback: EventCallback,
    options: SubscribeOptions = {},
  ): Promise<Subscriber> {
    const standing = systemTimers.sleep(20).then(() => super.subscribe(topic, callback, options));
    standing.catch(() => undefined);
    const closed = standing.then((subscriber) => subscriber.closed);
    closed.catch(() => undefined);
    return { topic, options, closed, unsubscribe: async (signal) => (await standing).unsubscribe(signal) };
  }
}

class LeavesAtOnce extends MemoryBroker {
  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    const subscriber = await super.subscribe(topic, callback, options);
    return { ...subscriber, unsubscribe: async (signal) => void subscriber.unsubscribe(signal) };
  }
}

class EndsAtTheFirstFailure extends MemoryBroker {
  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    const subscriber = await super.subscribe(
      topic,
      async (event) => {
        try {
          await callback(event);
        } catch (error) {
          void subscriber.unsubscribe(AbortSignal.abort());
          throw error;
        }
      },
      options,
    );
    return subscriber;
  }
}

class KeepsWhatIsInHand extends MemoryBroker {
  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    const subscriber = await super.subscribe(topic, callback, options);
    return {
      ...subscriber,
      unsubscribe: async (signal) => {
        const left = subscriber.unsubscribe();
        if (!signal) await left;
      },
    };
  }
}

/** Hands out whatever its events say about waiting. */
class TakesMoreForWhatWaits extends MemoryBroker {
  override subscribe(topic: string, callback: EventCallback, options: SubscribeOptions = {}): Promise<Subscriber> {
    const more = { ...options, maxInFlight: 1_000 };
    return super.subscribe(topic, (event) => callback(altered(event, {})), more);
  }
}

class DropsWhatWaits extends MemoryBroker {
  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    let isLeaving = false;
    const given = (event: Event): Event =>
      altered(event, { nack: (how) => (isLeaving || how?.delayMs ? event.ack() : event.nack(how)) });
    const subscriber = await super.subscribe(topic, (event) => callback(given(event)), options);
    return {
      ...subscriber,
      unsubscribe: (signal) => {
        isLeaving = true;
        return subscriber.unsubscribe(signal);
      },
    };
  }
}

class ForgetsWhoIsAway extends MemoryBroker {
  static members = 0;

  override async subscribe(
    topic: string,
    callback: EventCallback,
    options: SubscribeOptions = {},
  ): Promise<Subscriber> {
    const queue = options.queue === undefined ? undefined : `${options.queue} ${(ForgetsWhoIsAway.members += 1)}`;
    return super.subscribe(topic, callback, { ...options, queue });
  }
}

class PullsAhead extends MemoryBroker {
  override async *pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event> {
    const arrived: Event[] = [];
    const subscriber = await super.subscribe(topic, (event) => void arrived.push(event), options);
    try {
      for (;;) {
        const event = arrived.shift();
        if (event) yield event;
        else if (options?.signal?.aborted) return;
        else await systemTimers.sleep(1);
      }
    } finally {
      await subscriber.unsubscribe(AbortSignal.abort());
    }
  }
}

class WatchesLikeASubscriber extends MemoryBroker {
  override watch(topic: string, options?: SubscribeOptions): AsyncIterable<Event> {
    return super.pull(topic, { ...options, queue: 'workers' });
  }
}

class HoldsWhatAPullLeft extends MemoryBroker {
  override pull(topic: string, options?: SubscribeOptions): AsyncIterable<Event> {
    const events = super.pull(topic, options);
    return {
      [Symbol.asyncIterator]: () => {
        const iterator = events[Symbol.asyncIterator]();
        return { next: () => iterator.next(), return: async () => ({ done: true, value: undefined }) };
      },
    };
  }
}

class GivesEventsThePattern extends MemoryBroker {
  override subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    return super.subscribe(topic, (event) => callback(altered(event, { topic })), options);
  }
}

/** Hands the dead letters of a pattern to its subscribers as well. */
class HandsDeadLettersToPatterns extends MemoryBroker {
  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    const subscriber = await super.subscribe(topic, callback, options);
    if (!topic.endsWith('.>')) return subscriber;
    const dead = await super.subscribe(topic.replace(/>$/, '*.dead-letter'), callback, options);
    return {
      ...subscriber,
      unsubscribe: async (signal) => void (await Promise.all([subscriber, dead].map((one) => one.unsubscribe(signal)))),
    };
  }
}

/** Keeps dead letters for the queue `dead-letter`, also before it subscribes. */
class KeepsDeadLetters extends MemoryBroker {
  override async publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    if (topic.endsWith('.dead-letter'))
      await (await super.subscribe(topic, () => undefined, { queue: 'dead-letter' })).unsubscribe();
    return super.publish(topic, message, options);
  }
}

/** Keeps dead letters unless somebody has subscribed to a pattern. */
class TakesAPatternForAReader extends KeepsDeadLetters {
  #hasPattern = false;

  override subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    this.#hasPattern ||= topic.endsWith('.>');
    return super.subscribe(topic, callback, options);
  }

  override publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    if (topic.endsWith('.dead-letter') && this.#hasPattern) return Promise.resolve();
    return super.publish(topic, message, options);
  }
}

class TakesTheRestForOneWord extends MemoryBroker {
  override subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    return super.subscribe(topic.replace(/>$/, '*'), callback, options);
  }
}

/** Publishes with other options than those that it is given. */
function scheduling(change: (options: PublishOptions) => PublishOptions): Broken {
  return class extends MemoryBroker {
    override publish(topic: string, message: BrokerMessage, options: PublishOptions = {}): Promise<void> {
      return super.publish(topic, message, change(options));
    }
  };
}

class TakesAnythingAnyTime extends MemoryBroker {
  override publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    return super.publish(topic, message, options).catch(() => undefined);
  }
}

class SharesNothing extends MemoryBroker {
  constructor() {
    super({ logger });
  }
}

/** The cases of those names that the broker fails. */
async function failing(
  broken: Broken,
  names: readonly string[],
  bounds: Partial<BrokerHarness> = {},
): Promise<string[]> {
  const { capabilities } = MemoryBroker;
  const cases = brokerCases.filter(({ name }) => names.includes(name));
  const results = cases.map(async (one: Case<BrokerHarness>) => {
    const hub = new MemoryHub({ logger });
    try {
      await one.run({ make: () => new broken({ hub, logger }), capabilities, patienceMs: 1_000, ...bounds });
      return [];
    } catch {
      return [one.name];
    }
  });
  // At once: most fail by waiting for something that does not come.
  return (await Promise.all(results)).flat();
}

class SaysNothingOfTheEnd extends MemoryBroker {
  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    const subscriber = await super.subscribe(topic, callback, options);
    return { ...subscriber, closed: new Promise(() => {}) };
  }
}

class SaysAtOnceThatItHasEnded extends MemoryBroker {
  override async subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    const subscriber = await super.subscribe(topic, callback, options);
    return { ...subscriber, closed: Promise.resolve(undefined) };
  }
}

class IsAlwaysConnected extends MemoryBroker {
  override get status(): BrokerStatus {
    return { state: 'connected', sinceMs: 0 };
  }
}

class HandsOutAClientAnyTime extends MemoryBroker {
  override unwrap(): unknown {
    return this;
  }
}

class SaysMoreThanItsOptionsAllow extends MemoryBroker {
  override get capabilities(): BrokerCapabilities {
    return { ...MemoryBroker.capabilities, replay: true };
  }
}

class TakesTopicsInOtherLetters extends MemoryBroker {
  override publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    return super.publish(topic.replace(/[^ -~]/g, '?'), message, options);
  }

  override subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    return super.subscribe(topic.replace(/[^ -~]/g, '?'), callback, options);
  }
}

/** Takes small bodies and plain names, and says so. */
class TakesLittle extends MemoryBroker {
  override publish(topic: string, message: BrokerMessage, options?: PublishOptions): Promise<void> {
    const refuse = (code: Code, reason: string): Promise<void> =>
      Promise.reject(new TenonError({ code, reason, message: 'the broker "memory" does not take it' }));
    if (!plain.test(topic)) return refuse(Code.InvalidArgument, 'broker.invalid_topic');
    if (!plain.test(Object.entries(message.headers).flat().join('')))
      return refuse(Code.InvalidArgument, 'broker.invalid_headers');
    if (message.body.length > 1_000) return refuse(Code.ResourceExhausted, 'broker.too_large');
    return super.publish(topic, message, options);
  }

  override subscribe(topic: string, callback: EventCallback, options?: SubscribeOptions): Promise<Subscriber> {
    if (plain.test(topic)) return super.subscribe(topic, callback, options);
    const message = 'the broker "memory" has no such topic';
    return Promise.reject(new TenonError({ code: Code.InvalidArgument, reason: 'broker.invalid_topic', message }));
  }
}

const plain = /^[ -~]*$/;
const strict: Partial<BrokerHarness> = {
  takesTopic: (topic) => plain.test(topic),
  takesHeader: (name, value) => plain.test(name + value),
  maxBodyBytes: 1_000,
};

const spelled = (headers: Event['headers']): Event['headers'] =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

const sameBody = ({ headers, body }: Event): Partial<Event> => {
  // Headers are made once for all who get the event.
  if (!shared.has(headers)) shared.set(headers, body);
  return { body: shared.get(headers) ?? body };
};

const asText = (body: Uint8Array): Uint8Array => Buffer.from(Buffer.from(body).toString('utf8'));

class IgnoresSecurity extends MemoryBroker {
  override init({ address, timeoutMs }: BrokerOptions): void {
    super.init({ address, timeoutMs });
  }
}

const waitingDeadLetters =
  'dead letters under a pattern wait for the queue that subscribed to them, and no group of the pattern has them';

const broken: readonly [string, Broken, readonly string[]][] = [
  [
    'one that loses headers',
    publishing((topic, { body }, publish) => publish(topic, { headers: {}, body })),
    [
      'an event arrives with its bytes and its headers',
      'topics and headers have any text that the broker accepts, and others are refused',
    ],
  ],
  [
    'one that changes the spelling of headers',
    altering(({ headers }) => ({ headers: spelled(headers) })),
    ['an event arrives with its bytes and its headers'],
  ],
  [
    'one that writes bodies as text',
    publishing((topic, { headers, body }, publish) => publish(topic, { headers, body: asText(body) })),
    ['an event arrives with its bytes and its headers', 'a body of one mebibyte, or of the limit, arrives whole'],
  ],
  ['one that hands the same body to all', altering(sameBody), ['a body belongs to its receiver']],
  [
    'one that takes every subscriber for a member of one queue',
    mishearing((options) => ({ ...options, queue: options.queue ?? 'all' })),
    ['every subscriber without a queue gets every event'],
  ],
  [
    'one that ignores queues',
    mishearing((options) => ({ ...options, queue: undefined })),
    ['one member of a queue gets each event'],
  ],
  [
    'one that ignores the bound',
    mishearing((options) => ({ ...options, maxInFlight: undefined })),
    ['at most maxInFlight events are delivered and not settled', 'an empty topic and limits below one are refused'],
  ],
  [
    'one that does not tell of an acknowledgement',
    altering(() => ({ ack: () => Promise.resolve() })),
    ['an acknowledged event is not redelivered', 'unsubscribe waits for in-flight events'],
  ],
  [
    'one that drops what is nacked',
    altering((event) => ({ nack: () => event.ack() })),
    ['a nacked event is redelivered, and its attempts are counted'],
  ],
  [
    'one that ignores the delay',
    altering((event) => ({ nack: () => event.nack() })),
    ['a nacked event is redelivered after its delay, without delaying others'],
  ],
  [
    'one that does not count attempts',
    altering(() => ({ attempt: 1 })),
    ['a nacked event is redelivered, and its attempts are counted'],
  ],
  ['one whose events settle twice', SettlesTwice, ['an event settles once']],
  [
    'one that lets events overtake',
    publishing(async (topic, message, publish) => {
      published += 1;
      if (published % 2 === 0) await systemTimers.sleep(2);
      await publish(topic, message);
    }),
    ['events are delivered in the order of publishing', 'events of one key keep their order'],
  ],
  [
    'one that mixes topics',
    publishing((topic, message, publish) => publish(topic.replace(/\.x$/, ''), message)),
    ['events of one topic do not arrive on another'],
  ],
  [
    'one that loses one event in fifty',
    publishing((topic, message, publish) =>
      (published += 1) % 50 === 0 ? Promise.resolve() : publish(topic, message),
    ),
    ['a thousand events published at once are all handled'],
  ],
  ['one that calls back within publish', CallsBackAtOnce, ['callbacks do not run synchronously within publish']],
  ['one whose subscriptions stand later', StandsLater, ['events published after subscribe has resolved are received']],
  ['one that does not wait for what is in hand', LeavesAtOnce, ['unsubscribe waits for in-flight events']],
  [
    'one that ends a subscription at the first failure',
    EndsAtTheFirstFailure,
    ['a callback that fails does not end the subscription'],
  ],
  [
    'one that keeps what is in hand',
    KeepsWhatIsInHand,
    ['unsubscribe releases in-flight events when its signal aborts'],
  ],
  [
    'one whose events that wait keep their places',
    altering(() => ({})),
    ['events that wait for their key do not delay other keys'],
  ],
  [
    'one that hands out more than the bound while events wait',
    TakesMoreForWhatWaits,
    ['at most maxInFlight handlers run while events wait for retries'],
  ],
  [
    'one that drops what waits when its subscription ends',
    DropsWhatWaits,
    ['unsubscribe leaves events that wait for a retry to others'],
  ],
  [
    'one that forgets queues whose members are away',
    ForgetsWhoIsAway,
    ['a queue stores events for members that are away'],
  ],
  ['one that pulls ahead', PullsAhead, ['pull delivers an event only when next() asks for one']],
  [
    'one that holds what a pull has left',
    HoldsWhatAPullLeft,
    ['leaving a pull releases the events that were not settled'],
  ],
  ['one that watches like a subscriber', WatchesLikeASubscriber, ['watch does not consume the events of subscribers']],
  [
    'one that takes anything at any time',
    TakesAnythingAnyTime,
    ['every call fails before connect and after disconnect', 'a call whose signal has aborted is cancelled'],
  ],
  [
    'one that rejects like it acknowledges',
    altering((event) => ({ reject: () => event.ack() })),
    [
      'a rejected event is moved to the dead-letter topic, and not redelivered',
      'an event that its handler rejects is not retried',
    ],
  ],
  [
    'one that hands out again what was rejected',
    altering((event) => ({ reject: () => event.nack() })),
    ['a rejected event is moved to the dead-letter topic, and not redelivered'],
  ],
  [
    'one whose rejected events all go to the same topic',
    mishearing((options) => ({ ...options, deadLetter: undefined })),
    ['a rejected event is moved to the dead-letter topic, and not redelivered'],
  ],
  ['one whose events all have the same id', altering(() => ({ id: 'x' })), ['each event has its own id']],
  [
    'one whose events get an id with each receiver',
    altering(() => ({ id: String((published += 1)) })),
    ['all receivers of an event get the same id', 'an event keeps its id at every attempt'],
  ],
  [
    'one that does not say that a subscription has ended',
    SaysNothingOfTheEnd,
    ['closed resolves when a subscription has ended, for whatever reason'],
  ],
  [
    'one that ignores that it is to speak TLS',
    IgnoresSecurity,
    ['TLS and credentials that a broker does not take are an error'],
  ],
  [
    'one that says so at once',
    SaysAtOnceThatItHasEnded,
    ['closed resolves when a subscription has ended, for whatever reason'],
  ],
  ['one that is always connected', IsAlwaysConnected, ['status has the state, and unwrap the client while connected']],
  [
    'one that hands out a client before it has one',
    HandsOutAClientAnyTime,
    ['status has the state, and unwrap the client while connected'],
  ],
  [
    'one that can do other things than its harness says',
    SaysMoreThanItsOptionsAllow,
    ['capabilities are those of the options on the instance, and those of the defaults on the class'],
  ],
  [
    'one that writes topics in other letters',
    TakesTopicsInOtherLetters,
    ['topics and headers have any text that the broker accepts, and others are refused'],
  ],
  [
    'one whose events have the pattern for a topic',
    GivesEventsThePattern,
    [
      'each pattern of topics matches the same events on every broker',
      'an event of a pattern is redelivered with its topic',
    ],
  ],
  [
    'one that takes the rest of a topic for one word',
    TakesTheRestForOneWord,
    [
      'each pattern of topics matches the same events on every broker',
      'one member of a queue gets each event of a pattern',
    ],
  ],
  [
    'one whose patterns match dead letters',
    HandsDeadLettersToPatterns,
    [waitingDeadLetters, 'the dead letters of a pattern go to the topic of each event'],
  ],
  [
    'one that drops dead letters where a pattern matches them',
    TakesAPatternForAReader,
    [waitingDeadLetters, 'the dead letters of a pattern go to the topic of each event'],
  ],
  [
    'one that ignores delayMs',
    scheduling((options) => ({ ...options, delayMs: undefined })),
    ['an event with delayMs is delivered after its time'],
  ],
  [
    'one that ignores ttlMs',
    scheduling((options) => ({ ...options, ttlMs: undefined })),
    ['an event that was not delivered within ttlMs is dropped'],
  ],
  ['one that shares nothing', SharesNothing, ['an event arrives with its bytes and its headers']],
];

describe('the suite of brokers', () => {
  it.each(broken)('catches %s', async (_name, implementation, names) => {
    expect(await failing(implementation, names)).toEqual(
      brokerCases.map(({ name }) => name).filter((name) => names.includes(name)),
    );
    // It is not the case that is broken.
    expect(await failing(MemoryBroker, names)).toEqual([]);
  });

  it('holds a broker to what its harness says that it takes', async () => {
    const names = [
      'topics and headers have any text that the broker accepts, and others are refused',
      'a body of one mebibyte, or of the limit, arrives whole',
      'a body over the limit is refused',
    ];
    expect(await failing(TakesLittle, names, strict)).toEqual([]);
    // One that takes more than it says it does, and one that takes less.
    expect(new Set(await failing(MemoryBroker, names, strict))).toEqual(new Set([names[0], names[2]]));
    expect(new Set(await failing(TakesLittle, names.slice(0, 2)))).toEqual(new Set(names.slice(0, 2)));
  });

  it('holds a broker that keeps dead letters to it', async () => {
    const names = [
      'a dead letter of which no queue has heard is kept',
      'a dead letter of which only patterns have heard is kept, and comes once',
    ];
    const keeps = { capabilities: { ...MemoryBroker.capabilities, deadLetterQueue: 'dead-letter' } };
    expect(await failing(KeepsDeadLetters, names, keeps)).toEqual([]);
    expect(await failing(MemoryBroker, names, keeps)).toEqual(names);
    expect(await failing(TakesAPatternForAReader, names, keeps)).toEqual(names.slice(1));
  });

  it('asks for cases by what a broker can do, and by the bounds of its harness', () => {
    const { capabilities } = MemoryBroker;
    expect(concerns('bodyLimit', capabilities)).toBe(false);
    expect(concerns('ack bodyLimit', capabilities, strict)).toBe(true);
    expect(concerns('keepsDeadLetters', capabilities)).toBe(false);
    expect(concerns('keepsDeadLetters', { ...capabilities, deadLetterQueue: 'graves' })).toBe(true);
    expect(concerns('keepsDeadLetters', { ...capabilities, replay: true })).toBe(true);
    expect(concerns('!groups', { ...capabilities, groups: false })).toBe(true);
    expect(concerns('!wildcards', { ...capabilities, wildcards: undefined })).toBe(true);
    // These two are the rule, and said by those that are exceptions.
    for (const rule of ['competing', 'durableOnMemberDeath']) {
      expect(concerns(rule, capabilities)).toBe(true);
      expect(concerns(rule, { ...capabilities, [rule]: false })).toBe(false);
    }
  });

  it('is asked for by names that exist', () => {
    const names = brokerCases.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(broken.flatMap(([, , expected]) => expected).filter((name) => !names.includes(name))).toEqual([]);
  });
});
