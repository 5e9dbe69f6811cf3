import { describe, expect, test } from '@jest/globals';

import type { BrokerCapabilities, Event, Subscriber } from '../../src/broker/broker.ts';
import { deliver, type DeliveryHandler, type DeliveryOptions } from '../../src/broker/delivery.ts';
import { OneAtATime } from '../../src/broker/delivery/one-at-a-time.ts';
import { MemoryBroker } from '../../src/broker/memory.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { stage as scripted } from './kit/scripted-driver.ts';
import { collector, publishText, RecordingLogger, text, virtualRuntime } from './support.ts';

/** A memory broker that redelivers, and does not count. */
class Uncounting extends MemoryBroker {
  static override readonly capabilities: BrokerCapabilities = {
    ...MemoryBroker.capabilities,
    delay: false,
    attempts: false,
  };

  override subscribe(...[topic, callback, options]: Parameters<MemoryBroker['subscribe']>): Promise<Subscriber> {
    return super.subscribe(topic, (event) => callback(withAttempt(event, () => 1)), options);
  }
}

/** A memory broker whose events were delivered before, as often as their text says. */
class Redelivering extends MemoryBroker {
  override subscribe(...[topic, callback, options]: Parameters<MemoryBroker['subscribe']>): Promise<Subscriber> {
    const attempt = (event: Event): number => Number(/\d+$/.exec(text(event))?.[0] ?? 1);
    return super.subscribe(topic, (event) => callback(withAttempt(event, attempt)), options);
  }
}

function withAttempt(event: Event, attemptOf: (event: Event) => number): Event {
  const { id, topic, headers, body } = event;
  return {
    id,
    topic,
    headers,
    body,
    attempt: attemptOf(event),
    ack: () => event.ack(),
    nack: (options) => event.nack(options),
    reject: (reason) => event.reject(reason),
  };
}

const never = new Promise<never>(() => {});
const fails = (): never => {
  throw new TenonError({ code: Code.ResourceExhausted, reason: 'stock.empty', message: 'nothing left' });
};

async function stage(kind: typeof MemoryBroker = MemoryBroker, store?: Store) {
  const runtime = virtualRuntime();
  let uuids = 0;
  runtime.random.uuid = () => `uuid ${(uuids += 1)}`;
  const logger = new RecordingLogger();
  const broker = new kind({ runtime, logger });
  await broker.connect();
  const handled: string[] = [];
  const subscribe = (options: DeliveryOptions, handler: DeliveryHandler): Promise<Subscriber> =>
    deliver(
      broker,
      'orders',
      options,
      async (event, signal, attempt) => {
        handled.push(text(event));
        await handler(event, signal, attempt);
      },
      { runtime, logger, store },
    );
  const dead = collector();
  await broker.subscribe('orders.dead-letter', dead.receive);
  const said = (level: string): string[] =>
    logger.lines.filter((line) => line.level === level).map(({ message }) => message);
  return { broker, runtime, timers: runtime.timers, logger, said, handled, dead, subscribe };
}

describe('a handler that never returns', () => {
  test.each([
    ['is redelivered by the broker', MemoryBroker],
    ['is retried in hand where the broker does not count', Uncounting],
  ])('is given up after handlerTimeoutMs, and its event %s', async (_name, kind) => {
    const { broker, timers, handled, dead, logger, subscribe } = await stage(kind);
    await subscribe({ handlerTimeoutMs: 1_000, retry: 1, retryDelayMs: 100 }, () => never);
    await publishText(broker, 'orders', 'hangs');
    await timers.advance(999);
    expect([handled, logger.lines.filter(({ level }) => level === 'warn')]).toEqual([['hangs'], []]);
    await timers.advance(1);
    expect(logger.lines.filter(({ level }) => level === 'warn')).toMatchObject([
      {
        message: 'a handler failed; its event is tried again',
        fields: { error: { reason: 'broker.handler_timeout' } },
      },
    ]);
    await timers.advance(100);
    expect([handled, dead.texts]).toEqual([['hangs', 'hangs'], []]);
    await timers.advance(1_000);
    expect(dead.texts).toEqual(['hangs']);
    expect(dead.events[0]?.headers).toMatchObject({
      'tenon-dead-letter-reason': 'broker.handler_timeout',
      'tenon-dead-letter-code': 'DEADLINE_EXCEEDED',
      'tenon-attempts': '2',
      'tenon-first-failed-at': '1970-01-01T00:00:01.000Z',
      'tenon-last-failed-at': '1970-01-01T00:00:02.100Z',
    });
  });

  test('leaves its slot to others, and the subscription ends without it', async () => {
    const { broker, timers, handled, subscribe } = await stage();
    const options = { handlerTimeoutMs: 1_000, retry: 0, maxInFlight: 1 };
    const subscriber = await subscribe(options, (event) => (text(event) === 'hangs' ? never : Promise.resolve()));
    await publishText(broker, 'orders', 'hangs');
    await publishText(broker, 'orders', 'good');
    await timers.advance(999);
    expect(handled).toEqual(['hangs']);
    await timers.advance(1);
    expect(handled).toEqual(['hangs', 'good']);
    await subscriber.unsubscribe();
  });

  test('is told so by the signal of its attempt, which has the reason', async () => {
    const { broker, timers, said, subscribe } = await stage();
    const [before, after, reasons]: [AbortSignal[], AbortSignal[], unknown[]] = [[], [], []];
    await subscribe({ handlerTimeoutMs: 50, retry: 0 }, async (_event, _signal, attempt) => {
      before.push(attempt.signal);
      attempt.onAbort = (reason) => reasons.push(reason);
      await timers.sleep(100);
      after.push(attempt.signal);
    });
    await publishText(broker, 'orders', 'slow');
    await timers.advance(49);
    expect(before[0]?.aborted).toBe(false);
    await timers.advance(1);
    const timedOut = { code: Code.DeadlineExceeded, reason: 'broker.handler_timeout' };
    expect([before[0]?.reason, reasons]).toEqual([
      expect.objectContaining(timedOut),
      [expect.objectContaining(timedOut)],
    ]);
    expect(said('info')).not.toContain('a handler that was given up has ended');
    await timers.advance(50);
    expect(after[0]).toBe(before[0]);
    expect(said('info')).toContain('a handler that was given up has ended');
  });

  test('does not settle its event by ending late', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    await subscribe({ handlerTimeoutMs: 50, retry: 1, retryDelayMs: 10 }, async () => {
      await timers.sleep(handled.length === 1 ? 55 : 20);
    });
    await publishText(broker, 'orders', 'late');
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([['late', 'late'], []]);
  });

  test('does not refuse its event, of which the next attempt is made', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    await subscribe({ handlerTimeoutMs: 50, retry: 1, retryDelayMs: 10 }, async (event) => {
      if (handled.length > 1) return timers.sleep(40);
      await timers.sleep(70);
      await event.reject(new Error('late'));
    });
    await broker.publish('orders', { headers: {}, body: Buffer.from('late') }, { orderKey: 'k' });
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([['late', 'late'], []]);
  });

  test('does not acknowledge its event, of which the next attempt is made and fails', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    await subscribe({ handlerTimeoutMs: 50, retry: 2, retryDelayMs: 10 }, async (event) => {
      if (handled.length > 1) throw new Error('no');
      await timers.sleep(55);
      await event.ack();
    });
    await broker.publish('orders', { headers: {}, body: Buffer.from('x') }, { orderKey: 'k' });
    await timers.advance(1_000);
    expect([handled.length, dead.texts]).toEqual([3, ['x']]);
  });

  test('does not refuse its event when it is told that it was given up, nor after the last attempt', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    await subscribe({ handlerTimeoutMs: 50, retry: 2, retryDelayMs: 10 }, (event, _signal, attempt) => {
      attempt.onAbort = () => void event.reject(new Error('too late'));
      return never;
    });
    await broker.publish('orders', { headers: {}, body: Buffer.from('hangs') }, { orderKey: 'k' });
    await timers.advance(1_000);
    expect([handled.length, dead.texts]).toEqual([3, ['hangs']]);
    expect(dead.events[0]?.headers['tenon-dead-letter-reason']).toBe('broker.handler_timeout');
  });

  test('leaves it to the handler of a later attempt to refuse the event', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage();
    await subscribe({ handlerTimeoutMs: 50, retry: 5, retryDelayMs: 10 }, async (event) => {
      if (handled.length === 1) return never;
      await event.reject(new Error('refused'));
    });
    await broker.publish('orders', { headers: {}, body: Buffer.from('x') }, { orderKey: 'k' });
    await timers.advance(1_000);
    expect([handled.length, dead.texts]).toEqual([2, ['x']]);
    expect(dead.events[0]?.headers).toMatchObject({
      'tenon-dead-letter-message': 'refused',
      'tenon-attempts': '2',
    });
  });

  test('is given up in time when others have ended before it', async () => {
    const { broker, timers, dead, subscribe } = await stage();
    const options = { handlerTimeoutMs: 100, retry: 0 };
    await subscribe(options, (event) => (text(event) === 'good' ? Promise.resolve() : never));
    await publishText(broker, 'orders', 'good');
    await timers.advance(60);
    await publishText(broker, 'orders', 'a');
    await timers.advance(30);
    await publishText(broker, 'orders', 'b');
    await timers.advance(69);
    expect(dead.texts).toEqual([]);
    await timers.advance(1);
    expect(dead.texts).toEqual(['a']);
    await timers.advance(30);
    expect(dead.texts).toEqual(['a', 'b']);
  });

  test('leaves no timer behind when its subscription has ended', async () => {
    const { broker, timers, subscribe } = await stage();
    const subscriber = await subscribe({}, () => timers.sleep(10));
    await publishText(broker, 'orders', 'a');
    await timers.advance(0);
    expect(timers.pending).toBe(2);
    const ended = subscriber.unsubscribe();
    await timers.advance(10);
    await ended;
    expect(timers.pending).toBe(0);
  });

  test('has no bound with handlerTimeoutMs: Infinity, and needs at least a millisecond', async () => {
    const { broker, timers, dead, subscribe } = await stage();
    await subscribe({ handlerTimeoutMs: Number.POSITIVE_INFINITY, retry: 0 }, () => never);
    await publishText(broker, 'orders', 'a');
    await timers.advance(24 * 3_600_000);
    expect(dead.texts).toEqual([]);
    await expect(subscribe({ handlerTimeoutMs: 0 }, () => never)).rejects.toMatchObject({
      reason: 'broker.invalid_options',
    });
  });
});

describe('an event that was delivered more often than it has attempts', () => {
  test('is handled, and acknowledged if that succeeds', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Redelivering);
    await subscribe({ retry: 3 }, () => Promise.resolve());
    for (const attempt of [4, 5, 14]) await publishText(broker, 'orders', `was ${attempt}`);
    await timers.advance(1_000);
    expect([handled.toSorted(), dead.texts]).toEqual([['was 14', 'was 4', 'was 5'], []]);
  });

  test('is a dead letter after the next failure', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Redelivering);
    await subscribe({ retry: 3 }, fails);
    await publishText(broker, 'orders', 'was 7');
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([['was 7'], ['was 7']]);
    expect(dead.events[0]?.headers).toMatchObject({ 'tenon-dead-letter-reason': 'stock.empty', 'tenon-attempts': '7' });
  });

  test('is handled if it waited behind others, at whose deaths it was delivered as well', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Redelivering);
    await subscribe({ retry: 3 }, () => Promise.resolve());
    const headers = {};
    for (const body of ['was 15', 'was 16', 'was 17'])
      await broker.publish('orders', { headers, body: Buffer.from(body) }, { orderKey: 'k' });
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([['was 16', 'was 17'], ['was 15']]);
  });

  test('is a dead letter without a handler after ten more deliveries', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Redelivering);
    await subscribe({ retry: 3 }, () => Promise.resolve());
    await publishText(broker, 'orders', 'was 15');
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([[], ['was 15']]);
    expect(dead.events[0]?.headers).toMatchObject({
      'tenon-dead-letter-reason': 'broker.attempts_exhausted',
      'tenon-dead-letter-code': 'ABORTED',
      'tenon-attempts': '14',
    });
  });

  test('has all its attempts if it was postponed: some of the deliveries came before its time', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Redelivering);
    await subscribe({ retry: 2, retryDelayMs: 10 }, (event) =>
      text(event) === 'was 7' && handled.length < 3 ? fails() : Promise.resolve(),
    );
    const headers = { 'tenon-deliver-at': '1969-12-31T23:59:59.000Z' };
    await broker.publish('orders', { headers, body: Buffer.from('was 7') });
    await timers.advance(1_000);
    await broker.publish('orders', { headers, body: Buffer.from('was 99') });
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([['was 7', 'was 7', 'was 7', 'was 99'], []]);
  });

  test('is handled alone among its like, while others go on', async () => {
    const { broker, timers, handled, subscribe } = await stage(Redelivering);
    let [running, most] = [0, 0];
    await subscribe({ retry: 0 }, async (event) => {
      if (!text(event).startsWith('was')) return;
      running += 1;
      most = Math.max(most, running);
      await timers.sleep(10);
      running -= 1;
    });
    for (const attempt of [2, 3, 4, 5]) await publishText(broker, 'orders', `was ${attempt}`);
    await publishText(broker, 'orders', 'new');
    await timers.advance(5);
    expect(handled).toContain('new');
    await timers.advance(100);
    expect([most, handled.length]).toEqual([1, 5]);
  });

  test('is given back if the subscription ends before its turn', async () => {
    const { broker, timers, handled, subscribe } = await stage(Redelivering);
    const first = await subscribe({ queue: 'q', retry: 0 }, () => timers.sleep(100));
    for (const attempt of [2, 3]) await publishText(broker, 'orders', `was ${attempt}`);
    await timers.advance(10);
    const ended = first.unsubscribe();
    await timers.advance(100);
    await ended;
    expect(handled).toHaveLength(1);
    await subscribe({ queue: 'q', retry: 0 }, () => Promise.resolve());
    await timers.advance(100);
    expect(handled.toSorted()).toEqual(['was 2', 'was 3']);
  });

  test('has its turn by chance, also after one that failed', async () => {
    const { random, timers } = virtualRuntime();
    const drawn = [0.99, 0.5, 0];
    random.next = () => drawn.shift() ?? 0;
    const suspects = new OneAtATime({ random, timers });
    const order: string[] = [];
    const all = ['a', 'b', 'c', 'd'].map((name) =>
      suspects.run(async () => {
        order.push(name);
        if (name === 'd') throw new Error('failed');
      }),
    );
    await expect(all[3]).rejects.toThrow('failed');
    await Promise.all(all.slice(0, 3));
    expect(order).toEqual(['d', 'b', 'a', 'c']);
  });
});

describe('attempts in a store', () => {
  /** A store whose calls fail while it is away. */
  class Away extends MemoryStore {
    isAway = false;

    override increment(key: string, ttlMs: number): Promise<number> {
      return this.isAway ? Promise.reject(new Error('away')) : super.increment(key, ttlMs);
    }

    override compareAndSet(
      ...call: Parameters<MemoryStore['compareAndSet']>
    ): ReturnType<MemoryStore['compareAndSet']> {
      return this.isAway ? Promise.reject(new Error('away')) : super.compareAndSet(...call);
    }
  }

  test('count an attempt that ended its process, over a broker that does not count', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Uncounting, new MemoryStore());
    // Each of these dies with the event in hand.
    for (let died = 0; died < 2; died += 1) {
      const process = await subscribe({ queue: 'q', retry: 2, retryDelayMs: 10 }, () => never);
      if (died === 0) await publishText(broker, 'orders', 'poison');
      await timers.advance(100);
      await process.unsubscribe(AbortSignal.abort());
    }
    await subscribe({ queue: 'q', retry: 2, retryDelayMs: 10 }, fails);
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([['poison', 'poison', 'poison'], ['poison']]);
    expect(dead.events[0]?.headers['tenon-attempts']).toBe('3');
  });

  test('are forgotten when the event was handled', async () => {
    const store = new MemoryStore();
    const { broker, timers, handled, subscribe } = await stage(Uncounting, store);
    const keys: string[] = [];
    const begin = store.increment.bind(store);
    store.increment = (key, ttlMs) => (keys.push(key), begin(key, ttlMs));
    await subscribe({ queue: 'q', retry: 3, retryDelayMs: 10 }, () =>
      handled.length < 3 ? fails() : Promise.resolve(),
    );
    await publishText(broker, 'orders', 'a');
    await timers.advance(1_000);
    expect([handled.length, new Set(keys).size, keys.length]).toEqual([3, 1, 3]);
    expect(await begin(keys[0] ?? '', 1_000)).toBe(1);
  });

  test('end a postponed event that ends its process as well: what they count are attempts', async () => {
    const { broker, timers, handled, dead, subscribe } = await stage(Uncounting, new MemoryStore());
    const headers = { 'tenon-deliver-at': '1969-12-31T23:59:59.000Z' };
    for (let died = 0; died < 12; died += 1) {
      const process = await subscribe({ queue: 'q', retry: 0 }, () => never);
      if (died === 0) await broker.publish('orders', { headers, body: Buffer.from('poison') });
      await timers.advance(100);
      await process.unsubscribe(AbortSignal.abort());
    }
    expect([handled.length, dead.texts]).toEqual([11, ['poison']]);
  });

  test('are not kept of events without an id, which would have another key at each delivery', async () => {
    const store = new MemoryStore();
    const keys: string[] = [];
    const begin = store.increment.bind(store);
    store.increment = (key, ttlMs) => (keys.push(key), begin(key, ttlMs));
    const { broker, driver, timers, logger } = await scripted(() => {}, { attempts: false });
    const handled: string[] = [];
    const handle: DeliveryHandler = async (event) => void handled.push(text(event));
    const seams = { runtime: { ...virtualRuntime(), timers }, logger, store };
    await deliver(broker, 'orders', { queue: 'q' }, handle, seams);
    driver.last.sink.deliver({ headers: {}, body: Buffer.from('of another program'), attempt: 1 });
    driver.last.sink.deliver({ id: '7', headers: {}, body: Buffer.from('ours'), attempt: 1 });
    await timers.advance(100);
    expect([handled.toSorted(), keys]).toEqual([['of another program', 'ours'], [expect.stringMatching(/ 7$/)]]);
  });

  test('are not counted while the store is away: the event is handled all the same', async () => {
    const store = new Away();
    store.isAway = true;
    const { broker, timers, handled, said, dead, subscribe } = await stage(Uncounting, store);
    await subscribe({ queue: 'q', retry: 1, retryDelayMs: 10 }, fails);
    await publishText(broker, 'orders', 'a');
    await timers.advance(1_000);
    expect([handled, dead.texts]).toEqual([['a', 'a'], ['a']]);
    expect(said('warn')).toContain('an attempt could not be counted in the store');
  });

  test('are the broker’s own where it counts', async () => {
    const store = new MemoryStore();
    const { broker, timers, subscribe } = await stage(MemoryBroker, store);
    let counted = 0;
    store.increment = async () => (counted += 1);
    await subscribe({ queue: 'q' }, () => Promise.resolve());
    await publishText(broker, 'orders', 'a');
    await timers.advance(10);
    expect(counted).toBe(0);
  });

  describe('and handled keys', () => {
    const keyed = { 'tenon-dedupe-key': 'k' };
    const options = { queue: 'q', dedupe: true, retry: 1, retryDelayMs: 10 };

    test('are shared by the members of a queue, and not by other queues', async () => {
      const { broker, timers, handled, subscribe } = await stage(MemoryBroker, new MemoryStore());
      const first = await subscribe(options, () => Promise.resolve());
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(10);
      await first.unsubscribe();
      await subscribe(options, () => Promise.resolve());
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(10);
      expect(handled).toEqual(['a']);
      await subscribe({ ...options, queue: 'other' }, () => Promise.resolve());
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(10);
      expect(handled).toEqual(['a', 'a']);
    });

    test('are done only when the handler has succeeded: an event that failed is retried', async () => {
      const { broker, timers, handled, dead, subscribe } = await stage(MemoryBroker, new MemoryStore());
      await subscribe(options, () => (handled.length === 1 ? fails() : Promise.resolve()));
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(1_000);
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(1_000);
      expect([handled, dead.texts]).toEqual([['a', 'a'], []]);
    });

    test('can be started again when the lease of a dead process is over, and not before', async () => {
      const store = new MemoryStore();
      const { broker, runtime, timers, handled, subscribe } = await stage(MemoryBroker, store);
      // It has started the key, and died.
      const shared = new MemoryStore({}, runtime.clock);
      store.compareAndSet = shared.compareAndSet.bind(shared);
      await shared.compareAndSet('handled orders q k', undefined, 'started by another', 30_000);
      await subscribe(options, () => Promise.resolve());
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(29_000);
      expect(handled).toEqual([]);
      await timers.advance(31_000);
      expect(handled).toEqual(['a']);
    });

    test('keep their lease for as long as the handler works', async () => {
      const { broker, runtime, timers, handled } = await stage(MemoryBroker);
      const store = new MemoryStore({}, runtime.clock);
      const seams = { runtime, logger: new RecordingLogger(), store };
      const work: DeliveryHandler = async () => {
        handled.push('begun');
        await timers.sleep(100_000);
      };
      // Two processes, each of which gets the event.
      for (let member = 0; member < 2; member += 1) await deliver(broker, 'orders', options, work, seams);
      for (let copy = 0; copy < 2; copy += 1) await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(99_000);
      expect(handled).toEqual(['begun']);
      await timers.advance(100_000);
      expect(handled).toEqual(['begun']);
    });

    test('are done after their handler also if the store has lost its data meanwhile', async () => {
      const { broker, runtime, timers, handled } = await stage(MemoryBroker);
      const store = new MemoryStore({}, runtime.clock);
      const seams = { runtime, logger: new RecordingLogger(), store };
      const work: DeliveryHandler = async () => {
        handled.push('begun');
        await timers.sleep(50_000);
      };
      await deliver(broker, 'orders', options, work, seams);
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(15_000);
      await store.delete('handled orders q k');
      // It is noted again with the next renewal.
      await timers.advance(10_000);
      expect((await store.compareAndSet('handled orders q k', undefined, 'by another', 1_000)).isSet).toBe(false);
      await timers.advance(20_000);
      await store.delete('handled orders q k');
      await timers.advance(6_000);
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(60_000);
      expect(handled).toEqual(['begun']);
    });

    test('hold an event back while the store is away, and lose none', async () => {
      const store = new Away();
      store.isAway = true;
      const { broker, timers, handled, said, subscribe } = await stage(MemoryBroker, store);
      const first = await subscribe(options, () => Promise.resolve());
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(5_000);
      expect(handled).toEqual([]);
      expect(said('warn')).toContain('it is not known whether an event was handled before; the store is asked again');
      await first.unsubscribe();
      await subscribe(options, () => Promise.resolve());
      await timers.advance(5_000);
      expect(handled).toEqual([]);
      store.isAway = false;
      await timers.advance(60_000);
      expect(handled).toEqual(['a']);
    });

    test('acknowledge an event that was handled, also if the store took no note', async () => {
      const store = new Away();
      const { broker, timers, handled, said, dead, subscribe } = await stage(MemoryBroker, store);
      await subscribe(options, async () => void (store.isAway = true));
      await publishText(broker, 'orders', 'a', keyed);
      await timers.advance(60_000);
      expect([handled, dead.texts]).toEqual([['a'], []]);
      expect(said('warn')).toContain('the store did not take note of an event: it may be handled again');
    });

    test('are forgotten after dedupeKeepMs by the process that has handled them as well', async () => {
      const { broker, runtime, timers, handled } = await stage(MemoryBroker);
      const seams = { runtime, logger: new RecordingLogger(), store: new MemoryStore({}, runtime.clock) };
      const work: DeliveryHandler = async (event) => void handled.push(text(event));
      await deliver(broker, 'orders', { ...options, dedupeKeepMs: 1_000 }, work, seams);
      for (const waitMs of [999, 1, 0]) {
        await publishText(broker, 'orders', 'a', keyed);
        await timers.advance(waitMs);
      }
      expect(handled).toEqual(['a', 'a']);
    });

    test('are remembered for dedupeKeepMs', async () => {
      const { broker, runtime, timers, handled } = await stage(MemoryBroker);
      const store = new MemoryStore({}, runtime.clock);
      const seams = { runtime, logger: new RecordingLogger(), store };
      const work: DeliveryHandler = async (event) => void handled.push(text(event));
      const receive = (): Promise<Subscriber> =>
        deliver(broker, 'orders', { ...options, dedupeKeepMs: 1_000 }, work, seams);
      for (const waitMs of [999, 1, 0]) {
        // A process of its own each time: none remembers anything itself.
        const subscriber = await receive();
        await publishText(broker, 'orders', 'a', keyed);
        await timers.advance(0);
        await subscriber.unsubscribe();
        await timers.advance(waitMs);
      }
      expect(handled).toEqual(['a', 'a']);
    });
  });
});
