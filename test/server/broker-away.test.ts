import { describe, expect, it } from '@jest/globals';

import type { Broker } from '../../src/broker/broker.ts';
import type { DeliveryOptions } from '../../src/broker/delivery.ts';
import { MemoryBroker } from '../../src/broker/memory.ts';
import type { Context } from '../../src/context/context.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import type { ServerOptions } from '../../src/server/server.ts';
import { gate } from '../../src/testing/waiting.ts';
import { memoryParts } from '../../src/testing/internal/parts.ts';
import { publishText, RecordingLogger } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const away = (): TenonError =>
  new TenonError({ code: Code.Unavailable, reason: 'broker.unreachable', message: 'the broker does not answer' });
const refused = (): TenonError =>
  new TenonError({ code: Code.Unauthenticated, reason: 'broker.refused', message: 'the broker refused: WRONGPASS' });

interface Scene {
  readonly options?: ServerOptions;
  /** What becomes of an attempt to connect, by its number from 1. Nothing: it succeeds. */
  readonly connect?: (attempt: number, signal: AbortSignal | undefined) => unknown;
  /** The same of an attempt to subscribe. */
  readonly subscribe?: (topic: string, attempt: number) => unknown;
  readonly topics?: readonly string[];
  /** @default a queue */
  readonly delivery?: DeliveryOptions;
}

/**
 * A server in virtual time with subscriptions, on a broker whose calls do as they are told before they do what they
 * should.
 */
function scene({ options, connect, subscribe, topics = ['orders'], delivery = { queue: 'q' } }: Scene) {
  const runtime = virtualRuntime();
  const { timers } = runtime;
  const logger = new RecordingLogger();
  const inner = new MemoryBroker({ runtime });
  const seen = { connects: [] as number[], subscribes: [] as string[], left: [] as string[] };
  /** Ends a subscription, as the broker does: those that were made, in order. */
  const ends: ((error: TenonError) => void)[] = [];
  const address = { value: 'me:secret@10.0.0.9:1' };
  const capabilities = { value: MemoryBroker.capabilities };
  const broker: Broker = Object.assign(Object.create(inner, { address, capabilities }) as Broker, {
    toString: () => 'fake',
    connect: async (given: Parameters<Broker['connect']>[0]) => {
      seen.connects.push(timers.nowMs);
      await connect?.(seen.connects.length, given?.signal);
      await inner.connect();
    },
    subscribe: async (...args: Parameters<Broker['subscribe']>) => {
      seen.subscribes.push(args[0]);
      await subscribe?.(args[0], seen.subscribes.length);
      const subscriber = await inner.subscribe(...args);
      const ended = gate<TenonError>();
      ends.push((error) => {
        ended.open(error);
        void subscriber.unsubscribe(AbortSignal.abort());
      });
      return {
        ...subscriber,
        closed: Promise.race([ended.opened, subscriber.closed]),
        unsubscribe: (signal?: AbortSignal) => {
          seen.left.push(args[0]);
          return subscriber.unsubscribe(signal);
        },
      };
    },
    publish: inner.publish.bind(inner),
  });
  const { transport, registry, marshalers } = memoryParts();
  const server = new RpcServer(transport, registry, broker, marshalers, runtime.clock, runtime.random, timers, logger, {
    name: 'shop',
    ...options,
  });
  const handled: { readonly event: unknown; readonly ctx: Context }[] = [];
  const onEvent = (event: unknown, ctx: Context): void => void handled.push({ event, ctx });
  for (const topic of topics) server.subscribe(server.newSubscriber(topic, onEvent, delivery));
  const log = (): string[] =>
    logger.lines.filter(({ level }) => level !== 'info').map(({ level, message }) => `${level} ${message}`);
  return { server, timers, seen, ends, inner, handled, logger, log };
}

const failsFirst =
  (count: number, error = away) =>
  (attempt: number): void => {
    if (attempt <= count) throw error();
  };

const withoutOrders =
  'warn shop runs without events of orders, and is not ready, until its broker is back; trying again';

describe('a server whose broker is away at the start', () => {
  it('starts, tries again with back-off and jitter, and its subscriptions stand when the broker is back', async () => {
    const { server, timers, seen, inner, handled, log } = scene({ connect: failsFirst(5) });
    let subscribed = 0;
    await server.start({ onSubscribed: () => (subscribed += 1) });
    expect([server.isSubscribed, seen.connects.length, log()]).toEqual([false, 1, [withoutOrders]]);
    await timers.advance(15_500);
    // Half of 1, 2, 4, 8 and 16 s: what chance gives here.
    expect(seen.connects).toEqual([0, 500, 1_500, 3_500, 7_500, 15_500]);
    expect([server.isSubscribed, subscribed]).toEqual([true, 1]);
    expect(log()).toEqual([withoutOrders, 'warn shop receives events: its subscriptions stand']);
    await publishText(inner, 'orders', '{"n":1}');
    await timers.settle();
    expect(handled.map(({ event }) => event)).toEqual([{ n: 1 }]);
    await timers.advance(600_000);
    expect([seen.connects.length, seen.subscribes]).toEqual([6, ['orders']]);
    await server.stop();
    expect(server.isSubscribed).toBe(false);
  });

  it.each<[string, DeliveryOptions]>([
    ['retry', { retry: -1 }],
    ['retryDelayMs', { retryDelayMs: Number.NaN }],
    ['maxInFlight', { maxInFlight: 0 }],
    ['maxWaiting', { maxWaiting: 0.5 }],
    ['deadLetter', { deadLetter: 'orders' }],
  ])('refuses %s that has no meaning at once, and does not wait for the broker to say so', async (name, delivery) => {
    const { server, seen } = scene({ connect: failsFirst(Number.POSITIVE_INFINITY), delivery });
    await expect(server.start()).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'broker.invalid_options',
      message: expect.stringContaining(`has ${name} `),
    });
    expect(seen.connects).toEqual([]);
  });

  it('never waits longer than 30 s between attempts, and reminds every five minutes', async () => {
    const { server, timers, seen, log } = scene({ connect: failsFirst(Number.POSITIVE_INFINITY) });
    await server.start();
    await timers.advance(330_000);
    const waits = seen.connects.map((at, index) => at - (seen.connects[index - 1] ?? 0));
    expect(waits.slice(-3)).toEqual([15_000, 15_000, 15_000]);
    expect(log()).toEqual([
      withoutOrders,
      'warn shop still runs without events of orders, and is not ready, until its broker is back; trying again',
    ]);
    await server.stop();
  });

  it('does not subscribe again if the listener to its return throws', async () => {
    const { server, timers, seen, log } = scene({ connect: failsFirst(1) });
    await server.start({
      onSubscribed: () => {
        throw new Error('no');
      },
    });
    await timers.advance(60_000);
    expect([server.isSubscribed, seen.connects.length]).toEqual([true, 2]);
    expect(log().at(-1)).toBe('warn shop: a listener to its subscriptions failed');
    await server.stop();
  });

  it('logs the error of the broker in the warning', async () => {
    const { server, logger } = scene({ connect: failsFirst(1) });
    await server.start();
    expect(logger.lines.find(({ level }) => level === 'warn')?.fields).toMatchObject({
      error: { reason: 'broker.unreachable' },
      failures: 1,
    });
    await server.stop();
  });

  it('subscribes to what does not stand yet, and to nothing twice', async () => {
    const { server, timers, seen } = scene({
      topics: ['a', 'b', 'c'],
      subscribe: (_topic, attempt) => {
        if (attempt === 2) throw away();
      },
    });
    await server.start();
    expect([server.isSubscribed, seen.subscribes]).toEqual([false, ['a', 'b']]);
    await timers.advance(1_000);
    expect([server.isSubscribed, seen.subscribes]).toEqual([true, ['a', 'b', 'b', 'c']]);
    await server.stop();
    expect(seen.left.sort()).toEqual(['a', 'b', 'c']);
  });

  it('is not tried any more once the server stops, and holds up neither drain nor stop', async () => {
    const { server, timers, seen } = scene({ connect: failsFirst(Number.POSITIVE_INFINITY) });
    await server.start();
    await server.drain();
    await server.stop();
    await timers.advance(600_000);
    expect(seen.connects).toEqual([0]);
  });

  it('and does not answer: starts after ten seconds, and subscribes when the answer comes', async () => {
    const answer = gate();
    const { server, timers, log, seen } = scene({ connect: () => answer.opened });
    let hasStarted = false;
    let subscribed = 0;
    const onSubscribed = (): void => void (subscribed += 1);
    const starting = server.start({ onSubscribed }).then(() => (hasStarted = true));
    await timers.advance(9_999);
    expect(hasStarted).toBe(false);
    await timers.advance(1);
    await starting;
    expect([server.isSubscribed, log()]).toEqual([false, [withoutOrders]]);
    await timers.advance(60_000);
    answer.open();
    await timers.settle();
    expect([server.isSubscribed, seen.connects.length, seen.subscribes]).toEqual([true, 1, ['orders']]);
    expect([subscribed, log().at(-1)]).toEqual([1, 'warn shop receives events: its subscriptions stand']);
    await server.stop();
  });

  it('and does not answer: names it without its secrets', async () => {
    const { server, timers, logger } = scene({ connect: () => new Promise(() => {}) });
    void server.start();
    await timers.advance(10_000);
    expect(logger.lines.find(({ level }) => level === 'warn')?.fields['error']).toMatchObject({
      message: 'the broker "fake" at ***@10.0.0.9:1 did not answer within 10000 ms',
    });
    await server.stop();
  });

  it('and does not answer: a stop during the start cancels the attempt and ends both', async () => {
    let given: AbortSignal | undefined;
    const { server, timers } = scene({
      connect: (_attempt, signal) => {
        given = signal;
        return new Promise(() => {});
      },
    });
    const starting = expect(server.start()).rejects.toMatchObject({ reason: 'server.stopped' });
    await timers.settle();
    await server.stop();
    await starting;
    expect(given?.aborted).toBe(true);
    expect(server.address).toBeUndefined();
  });

  it('and answers a subscription after the stop: leaves it again', async () => {
    const answer = gate();
    const { server, timers, seen, handled, inner } = scene({
      connect: failsFirst(1),
      subscribe: () => answer.opened,
    });
    await server.start();
    await timers.advance(1_000);
    await server.stop();
    answer.open();
    await timers.settle();
    expect(seen.left).toEqual(['orders']);
    await publishText(inner, 'orders', '{"n":1}');
    await timers.settle();
    expect(handled).toEqual([]);
  });

  it('can be started again after the stop', async () => {
    const { server, seen } = scene({ connect: failsFirst(1) });
    await server.start();
    await server.stop();
    await server.start();
    expect([server.isSubscribed, seen.subscribes]).toEqual([true, ['orders']]);
    await server.stop();
  });

  it('fails the start where backends are required', async () => {
    const { server, timers, seen } = scene({ connect: failsFirst(1), options: { requireBackends: true } });
    await expect(server.start()).rejects.toMatchObject({ reason: 'broker.unreachable' });
    await timers.advance(600_000);
    expect([server.address, seen.connects.length]).toEqual([undefined, 1]);
  });

  it('fails the start where backends are required and it does not answer', async () => {
    const { server, timers } = scene({
      connect: () => new Promise(() => {}),
      options: { requireBackends: true },
    });
    const starting = expect(server.start()).rejects.toMatchObject({ reason: 'broker.timeout' });
    await timers.advance(10_000);
    await starting;
  });

  it('starts without trying it if there are no subscriptions', async () => {
    const { server, seen, log } = scene({ connect: failsFirst(1), topics: [] });
    expect(server.isSubscribed).toBe(false);
    await server.start();
    expect([server.isSubscribed, seen.connects, log()]).toEqual([true, [], []]);
    await server.stop();
  });
});

describe('a server whose broker refuses it', () => {
  it('fails the start when it does so then', async () => {
    for (const one of [{ connect: failsFirst(1, refused) }, { subscribe: () => Promise.reject(refused()) }]) {
      const { server, timers, seen, log } = scene(one);
      await expect(server.start()).rejects.toMatchObject({ reason: 'broker.refused' });
      await timers.advance(600_000);
      expect([server.address, seen.connects.length, log()]).toEqual([undefined, 1, []]);
    }
  });

  it('logs an error when it does so later, tries on, and subscribes to all that are not refused', async () => {
    const { server, timers, log, seen } = scene({
      topics: ['a', 'b'],
      connect: failsFirst(1),
      subscribe: (topic) => {
        if (topic === 'a' && timers.nowMs < 10_000) throw refused();
      },
    });
    await server.start();
    await timers.advance(3_000);
    expect(log().slice(1)).toEqual([
      'error shop runs without events of a, and is not ready, until its broker accepts its subscriptions; trying again',
    ]);
    expect(server.isSubscribed).toBe(false);
    await timers.advance(60_000);
    expect([server.isSubscribed, seen.subscribes.filter((topic) => topic === 'b').length]).toEqual([true, 1]);
    await server.stop();
  });
});

describe('a server whose subscription is ended by the broker', () => {
  const gone = (): TenonError =>
    new TenonError({ code: Code.NotFound, reason: 'broker.refused', message: 'the queue was deleted' });

  it('is not ready until the subscription stands again, which it tries with growing pauses', async () => {
    const { server, timers, seen, ends, inner, handled, log } = scene({
      topics: ['orders', 'carts'],
      subscribe: (topic, attempt) => {
        // The second, third and fourth time.
        if (topic === 'orders' && attempt > 2 && attempt < 6) throw gone();
      },
    });
    const told: string[] = [];
    await server.start({
      onSubscribed: () => told.push('subscribed'),
      onUnsubscribed: () => told.push('unsubscribed'),
    });
    expect(server.isSubscribed).toBe(true);
    const index = seen.subscribes.indexOf('orders');
    ends[index]?.(gone());
    await timers.settle();
    expect([server.isSubscribed, told]).toEqual([false, ['unsubscribed']]);
    expect(log()).toEqual([
      'error shop runs without events of orders, and is not ready, until its broker accepts its subscriptions; trying again',
    ]);
    await timers.advance(60_000);
    expect([server.isSubscribed, told]).toEqual([true, ['unsubscribed', 'subscribed']]);
    expect(seen.subscribes.filter((topic) => topic === 'orders')).toHaveLength(5);
    expect(seen.subscribes.filter((topic) => topic === 'carts')).toHaveLength(1);
    await publishText(inner, 'orders', '{"n":1}');
    await timers.settle();
    expect(handled.map(({ event }) => event)).toEqual([{ n: 1 }]);
    await server.stop();
    expect(told).toHaveLength(2);
  });

  it('makes each of several anew once, also those that end while others are made', async () => {
    const subscribing = gate();
    const { server, timers, seen, ends } = scene({
      topics: ['a', 'b', 'c'],
      subscribe: (_topic, attempt) => (attempt === 4 ? subscribing.opened : undefined),
    });
    await server.start();
    ends[0]?.(gone());
    ends[1]?.(gone());
    await timers.advance(2_000);
    expect(seen.subscribes).toHaveLength(4);
    ends[2]?.(gone());
    await timers.advance(60_000);
    expect(seen.subscribes).toHaveLength(4);
    subscribing.open();
    await timers.advance(60_000);
    expect([server.isSubscribed, seen.subscribes.toSorted()]).toEqual([true, ['a', 'a', 'b', 'b', 'c', 'c']]);
    await server.stop();
  });

  it('is left alone by a stop, and by an end that the server wanted', async () => {
    const { server, timers, seen, ends } = scene({});
    await server.start();
    ends[0]?.(gone());
    await timers.settle();
    await server.stop();
    await timers.advance(60_000);
    expect(seen.subscribes).toEqual(['orders']);
  });
});
