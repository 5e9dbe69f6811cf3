import { describe, expect, test } from '@jest/globals';

import type { Broker, Event } from '../../src/broker/broker.ts';
import { MemoryBroker, MemoryHub } from '../../src/broker/memory.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { reply, replyError, Requester } from '../../src/broker/request.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { describeWithRedis } from '../support/servers.ts';
import { eventually, text, virtualRuntime } from './support.ts';

const message = (body: string, headers: Record<string, string> = {}) => ({ headers, body: Buffer.from(body) });

/** Replies to the events of `prices`: `free` is refused, `slow` waits until it is told to. */
async function pricing(broker: Broker) {
  const slow: Event[] = [];
  const answered: boolean[] = [];
  await broker.subscribe(
    'prices',
    async (event) => {
      const asked = text(event);
      if (asked === 'slow') slow.push(event);
      else if (asked === 'free')
        answered.push(
          await replyError(
            broker,
            event,
            new TenonError({ code: Code.NotFound, reason: 'prices.none', message: 'nothing is free' }),
          ),
        );
      else answered.push(await reply(broker, event, message(`price of ${asked}`, { currency: 'EUR' })));
      await event.ack();
    },
    { queue: broker instanceof RedisBroker ? undefined : 'pricing' },
  );
  return { slow, answered };
}

describe('a request', () => {
  async function stage() {
    const runtime = virtualRuntime();
    const hub = new MemoryHub({ runtime, logger });
    const make = (): Broker => new MemoryBroker({ hub, runtime, logger });
    const [asking, answering] = [make(), make()];
    await Promise.all([asking.connect(), answering.connect()]);
    const { timers, random } = runtime;
    const requester = new Requester(asking, { timeoutMs: 1_000, timers, random });
    /** Lets events come. */
    const turns = async <T>(work: Promise<T>): Promise<T> => {
      let isOver = false;
      const over = work.finally(() => (isOver = true));
      over.catch(() => undefined);
      for (let turn = 0; turn < 50 && !isOver; turn += 1) await timers.advance(1);
      return over;
    };
    return { asking, answering, requester, timers, turns, ...(await pricing(answering)) };
  }

  test('gets the reply of a subscriber, each its own', async () => {
    const { requester, turns, answered } = await stage();
    const replies = await turns(
      Promise.all(['tea', 'milk', 'bread'].map((asked) => requester.request('prices', message(asked)))),
    );
    expect(replies.map(text)).toEqual(['price of tea', 'price of milk', 'price of bread']);
    expect(replies[0]?.headers['currency']).toBe('EUR');
    expect(answered).toEqual([true, true, true]);
  });

  test('rejects with the error that was replied', async () => {
    const { requester, turns } = await stage();
    await expect(turns(requester.request('prices', message('free')))).rejects.toMatchObject({
      code: Code.NotFound,
      reason: 'prices.none',
      message: 'nothing is free',
    });
  });

  test('without a reply in time is DEADLINE_EXCEEDED, and the late reply reaches nobody else', async () => {
    const { requester, answering, timers, turns, slow } = await stage();
    const late = requester.request('prices', message('slow'));
    late.catch(() => undefined);
    await timers.advance(50);
    expect(slow).toHaveLength(1);
    await timers.advance(1_000);
    await expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded, reason: 'broker.no_reply' });
    const next = requester.request('prices', message('tea'));
    await reply(answering, slow[0] as Event, message('too late'));
    expect(text(await turns(next))).toBe('price of tea');
  });

  test('that nobody has taken in time is not handled later', async () => {
    const { asking, requester, timers } = await stage();
    await (await asking.subscribe('later', () => {}, { queue: 'q' })).unsubscribe();
    const unheard = requester.request('later', message('tea'));
    unheard.catch(() => undefined);
    await timers.advance(1_100);
    await expect(unheard).rejects.toMatchObject({ reason: 'broker.no_reply' });
    const seen: string[] = [];
    await asking.subscribe('later', (event) => (seen.push(text(event)), event.ack()), { queue: 'q' });
    await asking.publish('later', message('now'));
    await timers.advance(50);
    expect(seen).toEqual(['now']);
  });

  test('is cancelled by its signal, and by the end of its requester', async () => {
    const { requester, timers } = await stage();
    const controller = new AbortController();
    const aborted = requester.request('prices', message('slow'), { signal: controller.signal });
    const waiting = requester.request('prices', message('slow'));
    for (const one of [aborted, waiting]) one.catch(() => undefined);
    await timers.advance(50);
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: Code.Cancelled });
    await requester.close();
    await expect(waiting).rejects.toMatchObject({ code: Code.Cancelled });
    await expect(requester.request('prices', message('tea'))).rejects.toMatchObject({ code: Code.Cancelled });
    await requester.close();
  });

  test('goes on after a failed first subscription', async () => {
    const { asking, requester, turns } = await stage();
    await asking.disconnect();
    await expect(requester.request('prices', message('tea'))).rejects.toMatchObject({ reason: 'broker.not_connected' });
    await asking.connect();
    expect(text(await turns(requester.request('prices', message('tea'))))).toBe('price of tea');
    // Its subscription has ended with the connection: the next request makes another.
    await asking.disconnect();
    await asking.connect();
    expect(text(await turns(requester.request('prices', message('milk'))))).toBe('price of milk');
  });

  test('names no topic but one for replies, whoever made it', async () => {
    const { asking, answering, timers, answered } = await stage();
    const stolen: string[] = [];
    await asking.subscribe('payments', (event) => (stolen.push(text(event)), event.ack()));
    const forged = { 'tenon-reply-to': 'payments', 'tenon-request-id': '1' };
    await answering.publish('prices', message('tea', forged));
    await answering.publish('prices', message('tea'));
    await timers.advance(50);
    expect([answered, stolen]).toEqual([[false, false], []]);
  });
});

describeWithRedis('a request over redis', (redis) => {
  test('is answered by another connection', async () => {
    const make = (): Broker => new RedisBroker({ address: redis.address, logger });
    const [asking, answering] = [make(), make()];
    await Promise.all([asking.connect(), answering.connect()]);
    await pricing(answering);
    const requester = new Requester(asking);
    expect(text(await requester.request('prices', message('tea')))).toBe('price of tea');
    await expect(requester.request('prices', message('free'))).rejects.toMatchObject({ reason: 'prices.none' });
    await requester.close();
    await eventually('the end', async () => (await redis.client().pubsub('CHANNELS', '*tenon.reply*')).length === 0);
    await Promise.all([asking.disconnect(), answering.disconnect()]);
  });

  test('is refused where the topic for replies would remain', async () => {
    const broker = new RedisStreamsBroker({ address: redis.address, logger });
    await broker.connect();
    await expect(new Requester(broker).request('prices', message('tea'))).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'broker.unsupported',
    });
    await broker.disconnect();
  });
});
