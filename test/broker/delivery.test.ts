import { describe, expect, test } from '@jest/globals';

import type { Broker, BrokerCapabilities, Event, Subscriber } from '../../src/broker/broker.ts';
import { deliver, type DeliveryOptions } from '../../src/broker/delivery.ts';
import { missingCapabilities } from '../../src/broker/kit/capabilities.ts';
import { MemoryBroker } from '../../src/broker/memory.ts';
import { KeyedQueue } from '../../src/broker/delivery/keyed-queue.ts';
import type { Deferrable } from '../../src/broker/kit/in-flight.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { describeWithRedis } from '../support/servers.ts';
import { collector, publishText, RecordingLogger, text, eventually, virtualRuntime } from './support.ts';

/** A memory broker that says, and does, less: events are forgotten once they are handed out. */
class Forgetful extends MemoryBroker {
  static override readonly capabilities: BrokerCapabilities = {
    ...MemoryBroker.capabilities,
    persistent: false,
    ack: false,
    nack: false,
    delay: false,
    groups: false,
    attempts: false,
  };

  override subscribe(...[topic, callback, options]: Parameters<MemoryBroker['subscribe']>): Promise<Subscriber> {
    return super.subscribe(topic, (event) => callback({ ...own(event), attempt: 1, nack: () => event.ack() }), options);
  }
}

/**
 * A memory broker in the shape of a log of events: what was not acknowledged comes again, and nothing is taken back.
 */
class OnlyAck extends MemoryBroker {
  static override readonly capabilities: BrokerCapabilities = {
    ...MemoryBroker.capabilities,
    nack: false,
    delay: false,
    attempts: false,
  };

  override subscribe(...[topic, callback, options]: Parameters<MemoryBroker['subscribe']>): Promise<Subscriber> {
    return super.subscribe(topic, (event) => callback({ ...own(event), attempt: 1, nack: () => event.ack() }), options);
  }
}

/** A memory broker that is slow to confirm acknowledgements. */
class SlowToConfirm extends MemoryBroker {
  override subscribe(...[topic, callback, options]: Parameters<MemoryBroker['subscribe']>): Promise<Subscriber> {
    const slowly = async (event: Event): Promise<void> => {
      await event.ack();
      for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    };
    return super.subscribe(topic, (event) => callback({ ...own(event), ack: () => slowly(event) }), options);
  }
}

/** A memory broker that redelivers at once, and does not count. */
class Uncounting extends MemoryBroker {
  static override readonly capabilities: BrokerCapabilities = {
    ...MemoryBroker.capabilities,
    delay: false,
    attempts: false,
  };
}

function own(event: Event & Partial<Deferrable>): Event & Deferrable {
  const { id, topic, headers, body, attempt } = event;
  return {
    id,
    topic,
    headers,
    body,
    attempt,
    get isOver() {
      return event.isOver === true;
    },
    hasOwnId: event.hasOwnId ?? true,
    onReject: undefined,
    ack: () => event.ack(),
    nack: (options) => event.nack(options),
    reject: (reason) => event.reject(reason),
    yieldSlot: () => event.yieldSlot?.(),
    reclaimSlot: () => event.reclaimSlot?.(),
  };
}

const never = new Promise<never>(() => {});
const numbered = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, number) => `${name} ${number}`);

async function stage(kind: typeof MemoryBroker = MemoryBroker) {
  const runtime = virtualRuntime();
  const logger = new RecordingLogger();
  const broker = new kind({ runtime, logger });
  await broker.connect();
  const handled: { readonly text: string; readonly attempt: number; readonly atMs: number }[] = [];
  const subscribe = (options: DeliveryOptions, handler: (event: Event) => Promise<void> | void): Promise<Subscriber> =>
    deliver(
      broker,
      'orders',
      options,
      async (event) => {
        handled.push({ text: text(event), attempt: event.attempt, atMs: runtime.timers.nowMs });
        await handler(event);
      },
      { runtime, logger },
    );
  const dead = collector();
  await broker.subscribe('orders.dead-letter', dead.receive);
  return { broker, runtime, timers: runtime.timers, logger, handled, dead, subscribe };
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

const fails = (): never => {
  throw new TenonError({ code: Code.ResourceExhausted, reason: 'stock.empty', message: 'nothing left' });
};

describe('retry of deliver', () => {
  test.each([
    ['by the broker', MemoryBroker, [1, 2, 3, 4]],
    ['in hand where the broker does not count', Uncounting, [1, 1, 1, 1]],
    ['in hand where the broker forgets', Forgetful, [1, 1, 1, 1]],
  ])('%s: makes as many attempts as retry allows, each after twice the delay', async (_name, kind, attempts) => {
    const { broker, timers, handled, dead, subscribe } = await stage(kind);
    await subscribe({ retry: 3, retryDelayMs: 100, deadLetter: true }, fails);
    await publishText(broker, 'orders', 'a', { kept: 'yes' });
    await timers.advance(10_000);
    expect(handled.map(({ atMs }) => atMs)).toEqual([0, 100, 300, 700]);
    expect(handled.map(({ attempt }) => attempt)).toEqual(attempts);
    expect(dead.texts).toEqual(['a']);
    expect(dead.events[0]?.headers).toEqual({
      kept: 'yes',
      'tenon-dead-letter-reason': 'stock.empty',
      'tenon-dead-letter-code': 'RESOURCE_EXHAUSTED',
      'tenon-dead-letter-message': 'nothing left',
      'tenon-attempts': '4',
      'tenon-first-failed-at': '1970-01-01T00:00:00.000Z',
      'tenon-last-failed-at': '1970-01-01T00:00:00.700Z',
      'tenon-original-topic': 'orders',
    });
  });

  test('retries an event that is frozen', async () => {
    const { broker, timers, handled, subscribe } = await stage(Uncounting);
    const given = broker.subscribe.bind(broker);
    broker.subscribe = (topic, callback, options) =>
      given(
        topic,
        (event) => {
          const { id, headers, body, attempt } = event;
          const settling = { ack: () => event.ack(), nack: () => event.nack(), reject: () => event.reject() };
          return callback(Object.freeze({ id, topic, headers, body, attempt, ...settling }));
        },
        options,
      );
    await subscribe({ retry: 1 }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(1_000);
    expect(handled).toHaveLength(2);
  });

  test('ends with the first success', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    await subscribe({ retry: 5, deadLetter: true }, () => {
      if (handled.length < 3) throw new Error('not yet');
    });
    await publishText(broker, 'orders', 'a');
    await timers.advance(60_000);
    expect(handled.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
    expect(dead.texts).toEqual([]);
  });

  test('waits at most 30 seconds, plus or minus 20 %', async () => {
    const { broker, runtime, timers, handled, subscribe } = await stage();
    runtime.random.next = () => 1;
    await subscribe({ retry: 2, retryDelayMs: 60_000 }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(200_000);
    expect(handled.map(({ atMs }) => atMs)).toEqual([0, 36_000, 72_000]);
  });

  test('does not delay other events while one waits for its next attempt', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    await subscribe({ retry: 1, retryDelayMs: 100, maxInFlight: 1 }, (event) => {
      if (text(event) === 'bad') fails();
    });
    await publishText(broker, 'orders', 'bad');
    await publishText(broker, 'orders', 'good');
    await timers.advance(1_000);
    expect(handled.map((one) => one.text)).toEqual(['bad', 'good', 'bad']);
  });

  test.each([Number.NaN, -1, 1.5])('refuses %d as a number of retries', async (retry) => {
    const { subscribe } = await stage();
    await expect(subscribe({ retry }, fails)).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'broker.invalid_options',
    });
  });
});

describe('dead letters of deliver', () => {
  test('go to <topic>.dead-letter after four attempts by default', async () => {
    const { broker, timers, logger, handled, dead, subscribe } = await stage();
    await subscribe({}, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(60_000);
    expect(handled.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4]);
    expect(dead.texts).toEqual(['a']);
    expect(dead.events[0]?.headers).toMatchObject({ 'tenon-attempts': '4', 'tenon-original-topic': 'orders' });
    expect(logger.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields)).toEqual([
      {
        topic: 'orders',
        attempts: 4,
        deadLetter: 'orders.dead-letter',
        error: expect.objectContaining({ reason: 'stock.empty' }),
      },
    ]);
  });

  test('are lost on a broker that does not store them, which a warning at the start and an error per event say', async () => {
    const { broker, timers, logger, subscribe } = await stage(Forgetful);
    await subscribe({}, fails);
    const said = (level: string): string[] =>
      logger.lines.filter((line) => line.level === level).map(({ message }) => message);
    expect(said('warn')).toEqual(['events whose handler fails are lost: this broker keeps no dead letters for later']);
    await publishText(broker, 'orders', 'a');
    await timers.advance(60_000);
    expect(said('error')).toEqual([expect.stringMatching(/^an event is lost, unless somebody reads its dead-letter/)]);
  });

  test.each([
    ['with a queue of their own', 'graves', [], 'an event went to its dead-letter topic: its handler failed'],
    [
      'without one',
      undefined,
      ['dead letters are kept only for queues that have subscribed to their topic'],
      'an event went to its dead-letter topic, for the queues that have subscribed there: its handler failed',
    ],
  ])('are said to be stored for whom the broker stores them: %s', async (_name, deadLetterQueue, told, said) => {
    class Storing extends MemoryBroker {
      static override readonly capabilities: BrokerCapabilities = { ...MemoryBroker.capabilities, deadLetterQueue };
    }
    const { broker, timers, logger, subscribe } = await stage(Storing);
    await subscribe({ retry: 0 }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(0);
    const lines = (level: string): string[] =>
      logger.lines.filter((line) => line.level === level).map(({ message }) => message);
    expect([lines('info'), lines('error')]).toEqual([told, [`${said} at the last attempt`]]);
  });

  test.each(['', 'orders'])('cannot go to the topic "%s" for the topic orders', async (deadLetter) => {
    const { subscribe } = await stage();
    await expect(subscribe({ deadLetter }, fails)).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'broker.invalid_options',
    });
  });

  test('are not made with deadLetter: false: the event is dropped and logged', async () => {
    const { broker, timers, logger, handled, subscribe } = await stage();
    await subscribe({ deadLetter: false, retry: 0 }, fails);
    await publishText(broker, 'orders', 'a');
    await publishText(broker, 'orders', 'b');
    await timers.advance(60_000);
    expect(handled.map((one) => one.text)).toEqual(['a', 'b']);
    expect(logger.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields)).toEqual([
      { topic: 'orders', attempts: 1, error: expect.objectContaining({ reason: 'stock.empty' }) },
      { topic: 'orders', attempts: 1, error: expect.objectContaining({ reason: 'stock.empty' }) },
    ]);
  });

  test('go to the topic that deadLetter names', async () => {
    const { broker, timers, subscribe } = await stage();
    const graveyard = collector();
    await broker.subscribe('graveyard', graveyard.receive);
    await subscribe({ deadLetter: 'graveyard', retry: 0 }, () => Promise.reject('a text'));
    await publishText(broker, 'orders', 'a');
    await timers.advance(0);
    expect(graveyard.events[0]?.headers).toMatchObject({
      'tenon-dead-letter-reason': 'handler_failed',
      'tenon-dead-letter-code': 'INTERNAL',
      'tenon-dead-letter-message': 'a text',
    });
  });

  test('are published again until the topic has taken them, and the event is kept until then', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    const publish = broker.publish.bind(broker);
    let refused = 0;
    broker.publish = (topic, message, options) => {
      if (topic === 'orders' || refused === 3) return publish(topic, message, options);
      refused += 1;
      return Promise.reject(new TenonError({ code: Code.Unavailable, reason: 'broker.unreachable', message: 'away' }));
    };
    await subscribe({ retry: 0 }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(600);
    expect([refused, dead.texts]).toEqual([3, []]);
    await timers.advance(200);
    expect(dead.texts).toEqual(['a']);
    // It was tried to bury it again, not to handle it again.
    expect(handled).toHaveLength(1);
  });

  test.each([
    ['nothing', undefined],
    ['a frozen object', Object.freeze({ frozen: true })],
    ['what cannot be looked at', revoked()],
    ['what cannot be written as text', { toString: 'no function' }],
  ])('are made when a handler throws %s', async (_name, thrown) => {
    const { broker, timers, dead, subscribe } = await stage();
    await subscribe({ retry: 1 }, () => Promise.reject(thrown));
    await publishText(broker, 'orders', 'a');
    await timers.advance(1_000);
    expect(dead.events.map(({ headers }) => headers)).toEqual([
      expect.objectContaining({ 'tenon-dead-letter-reason': 'handler_failed', 'tenon-attempts': '2' }),
    ]);
  });

  test('are made even if the logger throws', async () => {
    const { broker, runtime, timers, dead } = await stage();
    const logger = { ...silentLogger, warn: fails, error: fails, info: fails };
    const options = { retry: 1 };
    await deliver(broker, 'orders', options, () => Promise.reject(new Error('no')), { runtime, logger });
    await publishText(broker, 'orders', 'a');
    await timers.advance(1_000);
    expect(dead.texts).toEqual(['a']);
  });

  test('that cannot be published leave the event to the next member of its queue', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    const publish = broker.publish.bind(broker);
    broker.publish = (topic, message, options) =>
      topic === 'orders' ? publish(topic, message, options) : Promise.reject(new Error('away'));
    const first = await subscribe({ queue: 'q', deadLetter: true }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(50);
    await first.unsubscribe();
    await subscribe({ queue: 'q' }, () => {});
    await timers.advance(1_000);
    expect(handled.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });
});

describe('dedupe of deliver', () => {
  const key = (name: string): Record<string, string> => ({ 'tenon-dedupe-key': name });

  test('skips an event that was handled, and retries one that failed', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    await subscribe({ dedupe: true, retry: 1 }, (event) => {
      if (text(event) === 'fails once' && event.attempt === 1) fails();
    });
    for (const body of ['one', 'fails once']) {
      await publishText(broker, 'orders', body, key(body));
      await timers.advance(1_000);
      await publishText(broker, 'orders', body, key(body));
      await timers.advance(1_000);
    }
    await publishText(broker, 'orders', 'without');
    await publishText(broker, 'orders', 'without');
    await timers.advance(1_000);
    expect(handled.map((one) => one.text)).toEqual(['one', 'fails once', 'fails once', 'without', 'without']);
  });

  test('handles one of several concurrent events with the same key', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    await subscribe({ dedupe: true }, () => timers.sleep(100));
    await Promise.all([1, 2, 3].map(() => publishText(broker, 'orders', 'same', key('same'))));
    await timers.advance(1_000);
    expect(handled).toHaveLength(1);
  });

  test('remembers ten thousand keys', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    await subscribe({ dedupe: true }, () => {});
    for (let index = 0; index < 10_001; index += 1) await publishText(broker, 'orders', 'x', key(String(index)));
    await timers.advance(1_000);
    while (handled.length < 10_001) await timers.settle();
    await publishText(broker, 'orders', 'again', key('10000'));
    await publishText(broker, 'orders', 'forgotten', key('0'));
    await timers.advance(1_000);
    expect(handled.slice(10_001).map((one) => one.text)).toEqual(['forgotten']);
  });

  test('is off by default', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    await subscribe({}, () => {});
    await publishText(broker, 'orders', 'same', key('same'));
    await publishText(broker, 'orders', 'same', key('same'));
    await timers.advance(0);
    expect(handled).toHaveLength(2);
  });
});

describe('orderKey with deliver', () => {
  test('handles the events of a key one at a time, in order, over retries, and does not delay other keys', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    await subscribe({ retry: 1, retryDelayMs: 100 }, async (event) => {
      await timers.sleep(10);
      if (text(event) === 'a1' && handled.filter((one) => one.text === 'a1').length === 1) fails();
    });
    for (const body of ['a1', 'a2', 'b1', 'b2']) {
      await broker.publish('orders', { headers: {}, body: Buffer.from(body) }, { orderKey: body.slice(0, 1) });
    }
    await timers.advance(1_000);
    expect(handled.map((one) => [one.text, one.atMs])).toEqual([
      ['a1', 0],
      ['b1', 0],
      ['b2', 10],
      ['a1', 110],
      ['a2', 120],
    ]);
  });

  test.each([
    ['by the broker', MemoryBroker],
    ['in hand where the broker forgets', Forgetful],
  ])('%s: does not delay other keys while events wait behind a failing one', async (_name, kind) => {
    const { broker, timers, handled, subscribe } = await stage(kind);
    await subscribe({ maxInFlight: 4, retry: 5, retryDelayMs: 1_000 }, (event) => {
      if (text(event).startsWith('poison')) fails();
    });
    const send = (key: string, body: string): Promise<void> =>
      broker.publish('orders', { headers: {}, body: Buffer.from(body) }, { orderKey: key });
    for (let number = 0; number < 200; number += 1) await send('__proto__', `poison ${number}`);
    for (let number = 0; number < 10; number += 1) await send(`key ${number % 3}`, `good ${number}`);
    await timers.advance(0);
    expect(handled.map((one) => one.text)).toEqual(['poison 0', ...numbered('good', 10)]);
  });

  test('takes no more from the broker when maxWaiting events wait', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    await subscribe({ maxInFlight: 2, maxWaiting: 5, retry: 5, retryDelayMs: 1_000 }, (event) => {
      if (text(event).startsWith('poison')) fails();
    });
    for (let number = 0; number < 10; number += 1)
      await broker.publish('orders', { headers: {}, body: Buffer.from(`poison ${number}`) }, { orderKey: 'a' });
    await publishText(broker, 'orders', 'good');
    await timers.advance(0);
    // The failing one and its followers wait.
    expect(handled.map((one) => one.text)).toEqual(['poison 0']);
    // None of them has a place that another needs: all have their attempts, and so has the event behind them.
    await timers.advance(600_000);
    expect([handled.length, handled.filter((one) => one.text === 'good').length]).toEqual([10 * 6 + 1, 1]);
  });

  test('events that wait for their key take no slots from those before them, however many come', async () => {
    const { broker, timers, handled, subscribe } = await stage(SlowToConfirm);
    await subscribe({ maxInFlight: 2, maxWaiting: 3 }, () => timers.sleep(10));
    for (let number = 0; number < 20; number += 1)
      await broker.publish('orders', { headers: {}, body: Buffer.from(`event ${number}`) }, { orderKey: 'a' });
    for (let moment = 0; moment < 100; moment += 1) await timers.advance(100);
    expect(handled.map((one) => one.text)).toEqual(numbered('event', 20));
  });

  test('runs at most maxInFlight handlers at once', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    let running = 0;
    let most = 0;
    await subscribe({ maxInFlight: 3, retry: 2, retryDelayMs: 100 }, async (event) => {
      running += 1;
      most = Math.max(most, running);
      await timers.sleep(70);
      running -= 1;
      if (Number(text(event)) % 3 === 0 && handled.filter((one) => one.text === text(event)).length === 1) fails();
    });
    for (let number = 0; number < 60; number += 1)
      await broker.publish('orders', { headers: {}, body: Buffer.from(`${number}`) }, { orderKey: `${number % 20}` });
    await timers.advance(60_000);
    expect(most).toBe(3);
    expect(new Set(handled.map((one) => one.text)).size).toBe(60);
    for (let key = 0; key < 20; key += 1) {
      const ofKey = handled.map((one) => Number(one.text)).filter((number) => number % 20 === key);
      expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b));
    }
  });

  test('leaves no entry for a key without events', async () => {
    const turns = new KeyedQueue();
    const running = turns.run('__proto__', () => Promise.reject(new Error('failed')));
    const waiting = turns.run('__proto__', () => Promise.resolve());
    expect(turns.isBusy('__proto__')).toBe(true);
    await expect(running).rejects.toThrow('failed');
    await waiting;
    await Promise.resolve();
    expect(turns.isBusy('__proto__')).toBe(false);
  });

  test('passes events that wait for their turn to the next member, in order, when the subscription ends', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    const first = await subscribe({ queue: 'q', retry: 1, retryDelayMs: 100 }, fails);
    for (const body of ['a1', 'a2'])
      await broker.publish('orders', { headers: {}, body: Buffer.from(body) }, { orderKey: 'a' });
    await timers.advance(0);
    await first.unsubscribe();
    await subscribe({ queue: 'q' }, () => {});
    await timers.advance(1_000);
    expect(handled.map((one) => one.text).sort()).toEqual(['a1', 'a1', 'a2']);
  });
});

describe('unsubscribe of deliver', () => {
  test('waits for handlers, and gives events that wait for an attempt back to the broker', async () => {
    const { broker, timers, handled, subscribe } = await stage(Uncounting);
    const first = await subscribe({ queue: 'q', retry: 5, retryDelayMs: 1_000 }, async (event) => {
      if (text(event) === 'slow') await timers.sleep(500);
      else fails();
    });
    await publishText(broker, 'orders', 'bad');
    await publishText(broker, 'orders', 'slow');
    await timers.advance(100);
    let left = false;
    void first.unsubscribe().then(() => (left = true));
    await timers.advance(100);
    expect(left).toBe(false);
    await timers.advance(400);
    expect(left).toBe(true);
    await subscribe({ queue: 'q' }, () => {});
    await timers.advance(2_000);
    expect(handled.map((one) => one.text)).toEqual(['bad', 'slow', 'bad']);
  });

  test('makes the remaining attempts at once if the broker takes nothing back', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Forgetful);
    const subscriber = await subscribe({ retry: 3, retryDelayMs: 1_000, deadLetter: true }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(10);
    await subscriber.unsubscribe();
    await timers.settle();
    expect(handled).toHaveLength(4);
    expect(dead.texts).toEqual(['a']);
  });

  test('leaves an event that waits for an attempt unacknowledged if the broker redelivers', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(OnlyAck);
    const first = await subscribe({ queue: 'q', retry: 5, retryDelayMs: 1_000 }, fails);
    await publishText(broker, 'orders', 'a');
    for (const body of ['b1', 'b2'])
      await broker.publish('orders', { headers: {}, body: Buffer.from(body) }, { orderKey: 'b' });
    await timers.advance(100);
    let left = false;
    void first.unsubscribe().then(() => (left = true));
    await timers.advance(0);
    expect([left, handled.map((one) => one.text), dead.texts]).toEqual([true, ['a', 'b1'], []]);
    await subscribe({ queue: 'q' }, () => {});
    await timers.advance(1_000);
    expect(handled.map((one) => one.text)).toEqual(['a', 'b1', 'a', 'b1', 'b2']);
  });

  test('leaves an event whose dead-letter topic is away unacknowledged if the broker redelivers', async () => {
    const { broker, timers, handled, subscribe } = await stage(OnlyAck);
    const publish = broker.publish.bind(broker);
    broker.publish = (topic, message, options) =>
      topic === 'orders' ? publish(topic, message, options) : Promise.reject(new Error('away'));
    const first = await subscribe({ queue: 'q', retry: 0 }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(50);
    await first.unsubscribe();
    await subscribe({ queue: 'q' }, () => {});
    await timers.advance(1_000);
    expect(handled.map((one) => one.text)).toEqual(['a', 'a']);
  });

  test('aborts the signal of a handler when it is forced, and not before', async () => {
    const { broker, timers, runtime, logger } = await stage();
    const signals: AbortSignal[] = [];
    const seams = { runtime, logger };
    const subscriber = await deliver(broker, 'orders', {}, (_event, signal) => (signals.push(signal), never), seams);
    await publishText(broker, 'orders', 'a');
    await timers.advance(10);
    const force = new AbortController();
    const ended = subscriber.unsubscribe(force.signal);
    await timers.advance(10_000);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    force.abort();
    await ended;
    expect(signals.map(({ reason }) => reason)).toEqual([
      expect.objectContaining({ code: Code.Cancelled, reason: 'broker.subscription_ended' }),
    ]);
  });

  test('does not start the handler of a waiting event after it was forced', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Forgetful);
    const subscriber = await subscribe({}, () => timers.sleep(1_000));
    for (const body of ['b1', 'b2'])
      await broker.publish('orders', { headers: {}, body: Buffer.from(body) }, { orderKey: 'b' });
    await timers.advance(10);
    await subscriber.unsubscribe(AbortSignal.abort());
    await timers.advance(5_000);
    expect([handled.map((one) => one.text), dead.texts]).toEqual([['b1'], ['b2']]);
    expect(dead.events[0]?.headers['tenon-dead-letter-reason']).toBe('broker.subscription_ended');
  });

  test('ignores how a handler ends that it no longer waits for', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    const first = await subscribe({ queue: 'q', deadLetter: true }, async () => {
      await timers.sleep(1_000);
      fails();
    });
    await publishText(broker, 'orders', 'a');
    await timers.advance(10);
    await first.unsubscribe(AbortSignal.abort());
    await subscribe({ queue: 'q' }, () => {});
    await timers.advance(5_000);
    expect(handled.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(dead.texts).toEqual([]);
  });
});

describe('missingCapabilities', () => {
  test.each([
    [MemoryBroker.capabilities, { queue: 'q', retry: 3, deadLetter: true, dedupe: true }, []],
    [RedisStreamsBroker.capabilities, { queue: 'q', retry: 3, deadLetter: true, dedupe: true }, []],
    [RedisBroker.capabilities, { retry: 3, deadLetter: true, dedupe: true }, []],
    [
      RedisBroker.capabilities,
      { queue: 'audit' },
      [
        'the queue "audit" needs a broker with groups: on this one every subscriber would handle every event. Bind one that has them (see docs/broker.md), or leave out queue',
      ],
    ],
  ])('lists what a broker lacks for a subscription: %#', (capabilities, options, expected) => {
    expect(missingCapabilities(capabilities, options)).toEqual(expected);
  });

  test('makes deliver reject with topic, broker and remedy', async () => {
    const { subscribe } = await stage(Forgetful);
    await expect(subscribe({ queue: 'q' }, () => {})).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'broker.unsupported',
      message: expect.stringMatching(/"orders".*"memory".*the queue "q" needs a broker with groups/),
    });
  });
});

describeWithRedis('delivery over redis', (redis) => {
  test.each<[string, () => Broker, DeliveryOptions]>([
    ['redis', () => new RedisBroker({ address: redis.address, logger: silentLogger }), {}],
    ['redis-streams', () => new RedisStreamsBroker({ address: redis.address, logger: silentLogger }), { queue: 'q' }],
    [
      'redis-streams without a queue',
      () => new RedisStreamsBroker({ address: redis.address, logger: silentLogger }),
      {},
    ],
  ])('%s: retries, makes dead letters and skips duplicates', async (name, make, options) => {
    const broker = make();
    await broker.connect();
    const topic = `orders of ${name}`;
    const seen: string[] = [];
    const dead = collector();
    await broker.subscribe(`${topic}.dead-letter`, dead.receive);
    const handler = async (event: Event): Promise<void> => {
      seen.push(text(event));
      if (text(event) === 'bad') fails();
    };
    const seams = { runtime: systemRuntime, logger: silentLogger };
    await deliver(
      broker,
      topic,
      { ...options, retry: 2, retryDelayMs: 5, deadLetter: true, dedupe: true },
      handler,
      seams,
    );
    await publishText(broker, topic, 'bad', { kept: 'yes' });
    await publishText(broker, topic, 'once', { 'tenon-dedupe-key': 'k' });
    await publishText(broker, topic, 'once', { 'tenon-dedupe-key': 'k' });
    await eventually('the dead letter', () => dead.texts.length === 1);
    await publishText(broker, topic, 'last');
    await eventually('the last event', () => seen.includes('last'));
    expect(seen.sort()).toEqual(['bad', 'bad', 'bad', 'last', 'once']);
    expect(dead.events[0]?.headers).toMatchObject({
      kept: 'yes',
      'tenon-attempts': '3',
      'tenon-dead-letter-reason': 'stock.empty',
    });
    await broker.disconnect();
  });
});
