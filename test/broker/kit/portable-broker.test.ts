import { describe, expect, test } from '@jest/globals';

import type { Event } from '../../../src/broker/broker.ts';
import { deliver } from '../../../src/broker/delivery.ts';
import { Code } from '../../../src/errors/errors.ts';
import { MemoryBroker } from '../../../src/broker/memory.ts';
import { collector, publishText, text, virtualRuntime } from '../support.ts';
import { capabilitiesOf } from '../../../src/broker/kit/capabilities.ts';
import type { Timers } from '../../../src/runtime/runtime.ts';
import { event, Refusal, ScriptedBroker, stage } from './scripted-driver.ts';

const never = new Promise<never>(() => {});
const away = (): Error => new Error('gone');

describe('the state of a PortableBroker', () => {
  test('goes from connected to away, back and to closed, and each change is logged once', async () => {
    const { broker, driver, timers, logger, said } = await stage();
    expect(broker.status).toEqual({ state: 'connected', sinceMs: 0, lastError: undefined });
    const heard: string[] = [];
    const forgotten = broker.onStatus(() => heard.push('never'));
    broker.onStatus(() => heard.push(broker.status.state));
    forgotten();
    await timers.advance(10);
    driver.host?.away(away());
    driver.host?.away(new Error('still gone'));
    expect(broker.status).toMatchObject({
      state: 'away',
      sinceMs: 10,
      lastError: { code: Code.Unavailable, reason: 'broker.unreachable', cause: { message: 'still gone' } },
    });
    await expect(broker.connect()).rejects.toMatchObject({ reason: 'broker.unreachable' });
    await timers.advance(10);
    driver.host?.back();
    driver.host?.back();
    expect(broker.status).toMatchObject({ state: 'connected', sinceMs: 20 });
    await broker.connect();
    await broker.disconnect();
    expect(broker.status.state).toBe('closed');
    expect(heard).toEqual(['away', 'connected', 'closed']);
    expect([said('warn'), said('info')]).toEqual([
      ['the connection to the broker is lost; it is tried again'],
      ['the broker answers again'],
    ]);
    expect(logger.lines[0]?.fields).toMatchObject({ broker: 'scripted', address: 'nowhere:1' });
  });

  test('says why it is away when connect is called, as the server said it last', async () => {
    const { broker, driver } = await stage();
    driver.host?.away(away());
    await expect(broker.connect()).rejects.toMatchObject({ message: expect.stringContaining('Start it, or set') });
    driver.host?.away(new Refusal('WRONGPASS no such user'));
    await expect(broker.connect()).rejects.toMatchObject({
      code: broker.status.lastError?.code,
      reason: 'broker.refused',
      message: expect.stringMatching(/^cannot connect: .* refused it, saying "WRONGPASS no such user"/),
    });
    await broker.disconnect();
  });

  test('ignores its driver after disconnect', async () => {
    const { broker, driver } = await stage();
    await broker.disconnect();
    driver.host?.away(away());
    driver.host?.back();
    driver.host?.lost(away());
    expect([broker.status.state, driver.log]).toEqual(['closed', ['open', 'close']]);
  });

  test('is closed after a connect that failed, which rejects with the reason', async () => {
    const { broker, driver } = await stage();
    await broker.disconnect();
    driver.opening = () => Promise.reject(new Refusal('no such user'));
    await expect(broker.connect()).rejects.toMatchObject({
      reason: 'broker.refused',
      message: expect.stringMatching(/cannot connect: the broker "scripted" at nowhere:1 refused.*"no such user"/),
    });
    expect(broker.status.state).toBe('closed');
  });

  test('is closed after a disconnect during connect, and may connect again', async () => {
    const { broker, driver } = await stage();
    await broker.disconnect();
    const opened: (() => void)[] = [];
    driver.opening = () => new Promise((resolve) => opened.push(resolve));
    const connecting = expect(broker.connect()).rejects.toMatchObject({ reason: 'broker.not_connected' });
    await broker.disconnect();
    opened[0]?.();
    await connecting;
    expect([broker.status.state, driver.log.at(-1)]).toEqual(['closed', 'close']);
    const again = broker.connect();
    opened[1]?.();
    await again;
    expect(broker.status.state).toBe('connected');
    await broker.disconnect();
  });

  test('allows unwrap only while it is connected', async () => {
    const { broker, driver } = await stage();
    expect(broker.unwrap()).toBe(driver);
    await broker.disconnect();
    expect(broker.unwrap()).toBeUndefined();
  });

  test('has the capabilities that its class derives from the options', async () => {
    const { broker } = await stage(() => {}, { groups: false });
    expect(broker.capabilities).toEqual(ScriptedBroker.capabilities({ can: { groups: false } }));
    await expect(broker.subscribe('t', () => {}, { queue: 'q' })).rejects.toMatchObject({
      reason: 'broker.unsupported',
    });
    expect(capabilitiesOf(broker).groups).toBe(false);
    expect((await stage()).broker.capabilities.groups).toBe(true);
    expect(new MemoryBroker().capabilities).toEqual(MemoryBroker.capabilities);
  });
});

describe('a connection that its driver does not reopen', () => {
  test('is reopened with growing delays, and subscriptions continue', async () => {
    const { broker, driver, timers } = await stage();
    const received = collector();
    const subscriber = await broker.subscribe('t', received.receive);
    driver.last.send('before');
    let failures = 3;
    driver.opening = () => ((failures -= 1) >= 0 ? Promise.reject(away()) : Promise.resolve());
    driver.host?.lost(away());
    await timers.settle();
    expect([broker.status.state, driver.subscriptions[0]?.isClosed]).toEqual(['away', true]);
    await timers.advance(60_000);
    expect(broker.status.state).toBe('connected');
    expect(driver.log.filter((one) => one === 'open')).toHaveLength(5);
    expect(driver.subscriptions).toHaveLength(2);
    driver.last.send('after');
    expect(received.texts).toEqual(['before', 'after']);
    await subscriber.unsubscribe();
    expect(await subscriber.closed).toBeUndefined();
    await broker.disconnect();
  });

  test('is closed if it was disconnected while it was reopened, unless it was connected again', async () => {
    for (const isConnectedAgain of [false, true]) {
      const { broker, driver, timers } = await stage();
      let opened = (): void => undefined;
      driver.opening = () => new Promise((resolve) => (opened = resolve));
      driver.host?.lost(away());
      await timers.advance(1_000);
      await broker.disconnect();
      driver.opening = () => Promise.resolve();
      if (isConnectedAgain) await broker.connect();
      const state = isConnectedAgain ? 'connected' : 'closed';
      driver.log.length = 0;
      opened();
      await timers.settle();
      expect([broker.status.state, driver.log]).toEqual([state, isConnectedAgain ? [] : ['close']]);
      await broker.disconnect();
    }
  });

  test('keeps the process alive while it is reopened, until the disconnect', async () => {
    const { broker, driver, timers } = await stage();
    const waiting = new Set<object>();
    const after = timers.after.bind(timers);
    const watched: Timers['after'] = (delayMs, callback, options) => {
      const own = {};
      if (options?.keepAlive === true) waiting.add(own);
      const timer = after(delayMs, () => {
        waiting.delete(own);
        callback();
      });
      const cancel = (): void => {
        waiting.delete(own);
        timer.cancel();
      };
      return { ...timer, cancel };
    };
    Object.assign(timers, { after: watched });
    driver.opening = () => Promise.reject(away());
    driver.host?.lost(away());
    for (let moment = 0; moment < 20; moment += 1) {
      await timers.advance(1_000);
      expect(waiting.size).toBe(1);
    }
    await broker.disconnect();
    await timers.settle();
    expect(waiting.size).toBe(0);
  });

  test('is not reopened after a disconnect', async () => {
    const { broker, driver, timers } = await stage();
    driver.opening = () => Promise.reject(away());
    driver.host?.lost(away());
    await timers.advance(1_000);
    await broker.disconnect();
    const opened = driver.log.filter((one) => one === 'open').length;
    await timers.advance(60_000);
    expect(driver.log.filter((one) => one === 'open')).toHaveLength(opened);
    expect([broker.status.state, driver.log.at(-1)]).toEqual(['closed', 'close']);
  });
});

describe('publish of a PortableBroker', () => {
  test('batches the events of one turn in order, up to maxBatch', async () => {
    const { broker, driver } = await stage((one) => void (one.maxBatch = 3));
    await Promise.all(['a', 'b', 'c', 'd'].map((body) => publishText(broker, 't', body)));
    await publishText(broker, 't', 'e');
    expect(driver.batches.map((batch) => batch.map(text))).toEqual([['a', 'b', 'c'], ['d'], ['e']]);
  });

  test('rejects one refused event of a batch, and resolves the others', async () => {
    const { broker, driver } = await stage((one) => void (one.maxBatch = 10));
    driver.publishing = (events) =>
      events.map(({ topic }) => (topic === 'bad' ? Promise.reject(new Refusal('no')) : Promise.resolve()));
    const results = await Promise.allSettled(['t', 'bad', 't'].map((topic) => publishText(broker, topic, 'x')));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    driver.publishing = () => Promise.reject(away());
    const both = await Promise.allSettled(['t', 'u'].map((topic) => publishText(broker, topic, 'x')));
    expect(both).toMatchObject([
      { reason: { reason: 'broker.unreachable', message: expect.stringContaining('publish to "t"') } },
      { reason: { reason: 'broker.unreachable', message: expect.stringContaining('publish to "u"') } },
    ]);
  });

  test('rejects after the time-out of the broker, unless its driver has one', async () => {
    const { broker, driver, timers } = await stage();
    driver.publishing = () => never;
    const late = expect(publishText(broker, 't', 'x')).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'broker.timeout',
      message: expect.stringContaining('may have been done all the same'),
    });
    await timers.advance(5_000);
    await late;
    driver.endsCalls = true;
    let ended = false;
    void publishText(broker, 't', 'x').finally(() => (ended = true));
    await timers.advance(60_000);
    expect(ended).toBe(false);
  });

  test('withdraws an event at the time-out if it can, and reports that nothing was published', async () => {
    const { broker, driver, timers } = await stage();
    driver.publishing = ([one]) => {
      one!.withdraw = () => true;
      return never;
    };
    const late = expect(publishText(broker, 't', 'x')).rejects.toMatchObject({
      reason: 'broker.timeout',
      message: expect.stringContaining('nothing was published'),
    });
    await timers.advance(5_000);
    await late;
  });

  test('translates errors that a driver throws like those that it rejects with', async () => {
    const { broker, driver } = await stage();
    driver.publishing = () => {
      throw new RangeError('late');
    };
    await expect(publishText(broker, 't', 'x')).rejects.toMatchObject({ reason: 'broker.timeout' });
  });
});

describe('topics and headers outside the rules of a server', () => {
  const rules = {
    topic: { allowed: /[a-z.]/, escape: '%', forbids: (topic: string) => topic.includes('..'), maxBytes: 30 },
    headerName: { allowed: /[a-z]/, escape: '_' },
    headerValue: { allowed: /[ -~]/ },
    maxHeaderBytes: 100,
    maxBodyBytes: 10,
  };

  test('are encoded for the server, and decoded for the receiver', async () => {
    const { broker, driver } = await stage((one) => void (one.wire = rules));
    const received = collector();
    await broker.subscribe('größe/1', received.receive);
    expect(driver.last.request.topic).toBe('gr%C3%B6%C3%9Fe%2F%31');
    const headers = { 'Content-Type': 'a\r\nb', plain: '100 % sure' };
    await broker.publish('größe/1', { headers, body: Buffer.from('x') });
    const [sent] = driver.batches[0]!;
    expect(sent).toMatchObject({
      topic: 'gr%C3%B6%C3%9Fe%2F%31',
      headers: { _43ontent_2D_54ype: 'a%0D%0Ab', plain: '100 % sure' },
    });
    driver.last.sink.deliver({ ...event('1'), headers: sent!.headers });
    expect(received.events[0]).toMatchObject({ topic: 'größe/1', headers });
  });

  test('are refused by name if they are too long or too large', async () => {
    const { broker, driver } = await stage((one) => void (one.wire = rules));
    const send = (topic: string, headers: Record<string, string>, body: string): Promise<void> =>
      broker.publish(topic, { headers, body: Buffer.from(body) });
    await expect(send('t'.repeat(31), {}, '')).rejects.toMatchObject({ reason: 'broker.invalid_topic' });
    await expect(broker.subscribe('日'.repeat(4), () => {})).rejects.toMatchObject({ reason: 'broker.invalid_topic' });
    const deadLetter = 'd'.repeat(31);
    await expect(broker.subscribe('t', () => {}, { deadLetter })).rejects.toMatchObject({
      reason: 'broker.invalid_topic',
    });
    await expect(send('t', {}, 'x'.repeat(11))).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      reason: 'broker.too_large',
    });
    await expect(send('t', { long: 'x'.repeat(97) }, '')).rejects.toMatchObject({ reason: 'broker.too_large' });
    driver.wire = { headerName: { allowed: /[a-z]/, maxBytes: 3 } };
    await expect(send('t', { long: 'x' }, '')).rejects.toMatchObject({
      reason: 'broker.invalid_headers',
      message: expect.stringContaining('"long"'),
    });
    expect(driver.batches).toEqual([]);
  });
});

describe('a subscription of a PortableBroker', () => {
  test('delivers at most maxInFlight events, and demands no more than it can deliver', async () => {
    const { broker, driver, timers } = await stage();
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one), { maxInFlight: 2 });
    expect(driver.last.sink.demand).toBe(2);
    driver.last.send('1', '2', '3');
    expect([held.map(text), driver.last.sink.demand]).toEqual([['1', '2'], 0]);
    expect(driver.last.sink.unsettled().map(({ id }) => id)).toEqual(['1', '2', '3']);
    await held[0]?.ack();
    await timers.settle();
    expect([held.map(text), held.map(({ id }) => id)]).toEqual([
      ['1', '2', '3'],
      ['1', '2', '3'],
    ]);
  });

  test('gives an event without an id its own id', async () => {
    const { broker, driver } = await stage();
    const received = collector();
    await broker.subscribe('t', received.receive);
    for (const _ of [1, 2]) driver.last.sink.deliver({ headers: {}, body: Buffer.alloc(0), attempt: 1 });
    const [one, other] = received.events;
    expect(one?.id).not.toBe('');
    expect(one?.id).not.toBe(other?.id);
    expect(one?.id).toBe(one?.id);
  });

  test('drops events beyond the backlog, and logs the first and the number', async () => {
    const { broker, driver, timers, logger } = await stage((one) => {
      one.receiving = (subscription) => void (subscription.maxBacklog = 2);
    });
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one), { maxInFlight: 1 });
    driver.last.send('1', '2', '3', '4', '5');
    for (let index = 0; index < 3; index += 1) {
      await held[index]?.ack();
      await timers.settle();
    }
    expect(held.map(text)).toEqual(['1', '2', '3']);
    expect(logger.lines.map(({ fields }) => fields)).toEqual([
      { topic: 't', maxBacklog: 2 },
      { topic: 't', dropped: 2 },
    ]);
  });

  test('batches the acknowledgements of one turn', async () => {
    const { broker, driver } = await stage((one) => {
      one.receiving = (subscription) => void (subscription.settling().batchesAcks = true);
    });
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one));
    driver.last.send('1', '2', '3');
    await Promise.all([held[0]?.ack(), held[2]?.ack(), held[1]?.nack({ delayMs: 7 })]);
    expect(driver.last.log).toEqual(['nack 2 7', 'ack 1 3']);
  });

  test('settles events that its driver delivers before it has subscribed', async () => {
    const { broker, driver, timers } = await stage((one) => {
      one.receiving = (subscription) => {
        subscription.settling().batchesAcks = true;
        subscription.send('1', '2');
      };
    });
    await broker.subscribe('t', (one) => one.ack());
    await timers.settle();
    expect(driver.last.log).toEqual(['ack 1 2']);
  });

  test('rejects pending acknowledgements of a session that ended, and ignores later ones', async () => {
    const { broker, driver, timers } = await stage((one) => {
      one.receiving = (subscription) => {
        subscription.settling().batchesAcks = true;
        subscription.acking = () => Promise.reject(away());
      };
    });
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one));
    driver.last.send('1', '2');
    const dropped = expect(held[0]?.ack()).rejects.toMatchObject({ reason: 'broker.session_over' });
    await timers.settle();
    driver.last.sink.resetSession();
    await dropped;
    driver.last.acking = () => Promise.resolve();
    await held[1]?.ack();
    driver.last.send('1', '2');
    await held[2]?.ack();
    await timers.advance(60_000);
    expect(driver.last.log).toEqual(['ack 1', 'ack 1']);
    expect(held.map(text)).toEqual(['1', '2', '1', '2']);
  });

  test('keeps in-flight and waiting events alive, with one call at a time', async () => {
    let beats: string[] = [];
    let release = (): void => {};
    const { broker, driver, timers } = await stage((one) => {
      one.receiving = (subscription) => {
        subscription.settling().keepAliveMs = 100;
        subscription.keepAlive = (events) => {
          beats.push(events.map(({ id }) => id).join(' '));
          return new Promise((resolve) => (release = resolve));
        };
      };
    });
    const held: Event[] = [];
    const subscriber = await broker.subscribe('t', (one) => void held.push(one), { maxInFlight: 1 });
    driver.last.send('1', '2');
    await timers.advance(350);
    expect(beats).toEqual(['1 2']);
    release();
    await timers.advance(100);
    expect(beats).toEqual(['1 2', '1 2']);
    release();
    await subscriber.unsubscribe(AbortSignal.abort());
    beats = [];
    await timers.advance(1_000);
    expect(beats).toEqual([]);
  });

  test('stops, releases waiting events, and closes after the in-flight ones are settled', async () => {
    const { broker, driver, timers } = await stage();
    const held: Event[] = [];
    const subscriber = await broker.subscribe('t', (one) => void held.push(one), { maxInFlight: 1 });
    driver.last.send('1', '2', '3');
    const ended = subscriber.unsubscribe();
    await timers.settle();
    driver.last.send('4');
    expect([driver.last.log, driver.last.sink.isStopped]).toEqual([['release 2 3', 'stop', 'release 4'], true]);
    await held[0]?.ack();
    await ended;
    await subscriber.unsubscribe();
    expect(driver.last.log.slice(3)).toEqual(['ack 1', 'close']);
    expect(await subscriber.closed).toBeUndefined();
  });

  test('ends when its signal aborts, as on unsubscribe', async () => {
    const { broker, driver } = await stage();
    const abort = new AbortController();
    const subscriber = await broker.subscribe('t', () => {}, { signal: abort.signal });
    abort.abort();
    expect(await subscriber.closed).toBeUndefined();
    expect(driver.last.log).toEqual(['stop', 'close']);
  });

  test('is made again with growing delays after an interruption', async () => {
    const { broker, driver, timers, said } = await stage();
    const held: Event[] = [];
    const subscriber = await broker.subscribe('t', (one) => void held.push(one));
    driver.last.send('1');
    let failures = 2;
    driver.receiving = (subscription) => {
      if ((failures -= 1) >= 0) throw away();
      subscription.settling();
    };
    driver.last.sink.fail(new Error('the channel is closed'));
    driver.last.sink.fail(new Error('the channel is closed'));
    await timers.advance(10_000);
    expect(driver.subscriptions).toHaveLength(2);
    expect(driver.subscriptions[0]?.log).toEqual(['close']);
    // It belongs to the session that has ended.
    await held[0]?.ack();
    driver.last.send('1');
    await held[1]?.ack();
    expect(driver.last.log).toEqual(['ack 1']);
    expect(said('warn')).toEqual(['a subscription was interrupted; it is made again']);
    await subscriber.unsubscribe();
  });

  test('is made again when the broker is back, after an interruption while it was away', async () => {
    const { broker, driver, timers } = await stage();
    await broker.subscribe('t', () => {});
    driver.host?.away(away());
    driver.last.sink.fail(away());
    await timers.advance(60_000);
    expect(driver.subscriptions).toHaveLength(1);
    driver.host?.back();
    await timers.advance(1_000);
    expect(driver.subscriptions).toHaveLength(2);
    await broker.disconnect();
  });

  test('ends for good after a permanent error, logs it, and rejects pending reads', async () => {
    const { broker, driver, timers, said } = await stage();
    const subscriber = await broker.subscribe('t', () => {});
    const pulled = broker.pull('t')[Symbol.asyncIterator]();
    const next = expect(pulled.next()).rejects.toMatchObject({ reason: 'broker.refused' });
    await timers.settle();
    const [pushing, pulling] = driver.subscriptions;
    pushing?.send('1');
    for (const one of [pushing, pulling]) one?.sink.fail(new Refusal('the queue was deleted', true));
    expect(await subscriber.closed).toMatchObject({
      reason: 'broker.refused',
      message: expect.stringMatching(/subscribe to "t".*"the queue was deleted"/),
    });
    await next;
    expect(await pulled.next()).toEqual({ done: true, value: undefined });
    await timers.settle();
    expect(said('error')).toHaveLength(2);
    // What was in hand belonged to a session that is over.
    expect(pushing?.log).toEqual(['stop', 'close']);
    await subscriber.unsubscribe();
    await broker.disconnect();
  });

  test('ends for good rejects every pending next() of an iteration, not only the first', async () => {
    const { broker, driver, timers } = await stage();
    const pulled = broker.pull('t')[Symbol.asyncIterator]();
    const pending = Promise.allSettled([pulled.next(), pulled.next(), pulled.next()]);
    await timers.settle();
    driver.last.sink.fail(new Refusal('the queue was deleted', true));
    const rejected = { status: 'rejected', reason: expect.objectContaining({ reason: 'broker.refused' }) };
    expect(await pending).toEqual([rejected, rejected, rejected]);
    expect(await pulled.next()).toEqual({ done: true, value: undefined });
    await broker.disconnect();
  });

  test('is closed again if the broker disconnects while it is made', async () => {
    const { broker, driver } = await stage();
    const subscribed = broker.subscribe('t', () => {});
    const ended = broker.disconnect();
    await expect(subscribed).rejects.toMatchObject({ reason: 'broker.not_connected' });
    await ended;
    expect(driver.subscriptions.map(({ isClosed }) => isClosed)).toEqual([true]);
  });
});

describe('a watch of a PortableBroker', () => {
  test('delivers the latest events to a slow reader, and settles nothing', async () => {
    const { broker, driver, timers, said } = await stage();
    const watched = broker.watch('t')[Symbol.asyncIterator]();
    const first = watched.next();
    await timers.settle();
    expect(driver.last.request.mode).toBe('watch');
    driver.last.send('1', '2', '3', '4', '5');
    const seen = [text((await first).value as Event)];
    for (let index = 0; index < 3; index += 1) {
      const { value } = await watched.next();
      seen.push(text(value as Event));
      await Promise.all([(value as Event).ack(), (value as Event).nack(), (value as Event).reject()]);
    }
    await watched.return?.();
    expect([seen, driver.last.log, said('warn')]).toEqual([['1', '3', '4', '5'], ['stop', 'close'], []]);
  });
});

describe('a subscription with a driver that polls', () => {
  async function polled(answers: (() => Promise<readonly ReturnType<typeof event>[]>)[], idleMs?: number) {
    const requests: string[] = [];
    const interrupts: number[] = [];
    const ended: (() => void)[] = [];
    const scene = await stage((driver) => {
      driver.receiving = (subscription) => {
        subscription.settling();
        if (idleMs !== undefined) subscription.pollIdleMs = idleMs;
        subscription.recover = async () => void subscription.log.push('recover');
        subscription.interrupt = (tried) => {
          interrupts.push(tried);
          if (tried === 0 || tried > 2) for (const end of ended.splice(0)) end();
        };
        subscription.poll = ({ count, fresh, mayLag }) => {
          requests.push(`${count} ${fresh}${mayLag ? ' may lag' : ''}`);
          const answer = answers.shift();
          return answer ? answer() : new Promise((resolve) => ended.push(() => resolve([])));
        };
      };
    });
    return { ...scene, requests, interrupts };
  }

  test('is polled for as many events as there is room for, and not while there is none', async () => {
    const { broker, driver, timers, requests } = await polled([
      async () => [event('1'), event('2')],
      async () => [event('3')],
    ]);
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one), { maxInFlight: 2 });
    await timers.settle();
    expect(requests).toEqual(['2 2 may lag']);
    await held[0]?.ack();
    await timers.settle();
    expect([held.map(text), requests]).toEqual([
      ['1', '2', '3'],
      ['2 2 may lag', '1 1 may lag'],
    ]);
    driver.last.waiting = 1_000;
    await Promise.all(held.map((one) => one.ack()));
    await timers.settle();
    // It keeps as many as may wait: nothing new is asked for.
    expect(requests.at(-1)).toBe('2 0 may lag');
    const ending = broker.disconnect();
    await timers.advance(1_000);
    await ending;
  });

  test('is polled again after failures, with growing delays, after it has recovered', async () => {
    const failing = async (): Promise<never> => {
      throw new Refusal('no right');
    };
    const { broker, driver, timers, requests, said } = await polled([failing, failing, failing]);
    await broker.subscribe('t', () => {});
    await timers.advance(150);
    expect([requests.length, driver.last.log]).toEqual([4, ['recover', 'recover', 'recover']]);
    expect([said('warn'), said('debug')]).toEqual([
      ['the broker refuses to deliver events; it is tried again'],
      Array.from({ length: 2 }, () => 'the broker refuses to deliver events; it is tried again'),
    ]);
    const ending = broker.disconnect();
    await timers.advance(1_000);
    await ending;
  });

  test('is polled less and less often while it has no events, if it does not block', async () => {
    const nothing = Array.from({ length: 6 }, () => async () => []);
    const { broker, timers, requests } = await polled(nothing, 100);
    await broker.subscribe('t', () => {});
    await timers.advance(19);
    expect(requests).toHaveLength(1);
    await timers.advance(1 + 40 + 80);
    expect(requests).toHaveLength(4);
    await timers.advance(100);
    expect(requests).toHaveLength(5);
    const ending = broker.disconnect();
    await timers.advance(1_000);
    await ending;
  });

  test('is interrupted while its poll blocks, and late events are released', async () => {
    let answer = (_events: readonly ReturnType<typeof event>[]): void => {};
    const { broker, driver, timers, interrupts } = await polled([() => new Promise((resolve) => (answer = resolve))]);
    const subscriber = await broker.subscribe('t', () => {});
    await timers.settle();
    driver.last.sink.wake();
    const ended = subscriber.unsubscribe();
    await timers.advance(120);
    expect(interrupts).toEqual([0, 1, 2, 3]);
    answer([event('late')]);
    await ended;
    expect(driver.last.log).toEqual(['release late', 'stop', 'close']);
  });
});

describe('a rejected event', () => {
  test('goes to the dead-letter topic, and is acknowledged after that', async () => {
    const { broker, driver, timers } = await stage();
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one));
    let stored = (): void => {};
    driver.publishing = () => new Promise<void>((resolve) => (stored = resolve));
    driver.last.send('1');
    const refused = held[0]?.reject(new Error('no such order'));
    await Promise.all([held[0]?.ack(), held[0]?.nack()]);
    await timers.settle();
    expect(driver.last.log).toEqual([]);
    stored();
    await refused;
    expect(driver.last.log).toEqual(['ack 1']);
    expect(driver.batches.flat()).toMatchObject([
      {
        topic: 't.dead-letter',
        headers: {
          'tenon-dead-letter-reason': 'handler_failed',
          'tenon-dead-letter-message': 'no such order',
          'tenon-attempts': '1',
          'tenon-original-topic': 't',
        },
      },
    ]);
  });

  test('is given back if its dead letter cannot be stored', async () => {
    const { broker, driver } = await stage();
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one), { deadLetter: 'grave' });
    driver.publishing = () => Promise.reject(away());
    driver.last.send('1');
    await expect(held[0]?.reject()).rejects.toMatchObject({ reason: 'broker.unreachable' });
    expect([driver.last.log, driver.batches.flat().map(({ topic }) => topic)]).toEqual([['nack 1 1000'], ['grave']]);
  });

  test('has a dead letter without its own headers, where the server has no room for both', async () => {
    const { broker, driver, timers } = await stage((one) => (one.wire = { maxHeaderBytes: 500 }));
    await broker.subscribe('t', (one) => one.reject(new Error('x'.repeat(2_000))));
    driver.last.sink.deliver({ ...event('1'), headers: { large: 'y'.repeat(400) } });
    await timers.settle();
    expect(driver.batches.flat()).toEqual([
      expect.objectContaining({
        topic: 't.dead-letter',
        headers: {
          'tenon-dead-letter-reason': 'handler_failed',
          'tenon-dead-letter-code': 'INTERNAL',
          'tenon-dead-letter-message': 'x'.repeat(100),
          'tenon-attempts': '1',
          'tenon-first-failed-at': expect.any(String),
          'tenon-last-failed-at': expect.any(String),
          'tenon-original-topic': 't',
          'tenon-dead-letter-headers': 'left out',
        },
      }),
    ]);
    expect(driver.last.log).toEqual(['ack 1']);
  });

  test('is dropped and logged with deadLetter: false', async () => {
    const { broker, driver, said } = await stage();
    const held: Event[] = [];
    await broker.subscribe('t', (one) => void held.push(one), { deadLetter: false });
    driver.last.send('1');
    await held[0]?.reject();
    expect([driver.last.log, said('error')]).toEqual([
      ['ack 1'],
      ['an event is dropped: it was refused, and has no dead-letter topic'],
    ]);
  });

  test('is left to a server with dead letters of its own', async () => {
    const { broker, driver } = await stage(() => {}, { deadLetter: true });
    const held: Event[] = [];
    driver.receiving = (subscription) => {
      subscription.settling().reject = async ({ id }) => void subscription.log.push(`reject ${id}`);
    };
    const subscriber = await broker.subscribe('t', (one) => void held.push(one));
    driver.last.send('1');
    await held[0]?.reject();
    await subscriber.unsubscribe();
    expect([driver.last.log, driver.batches]).toEqual([['reject 1', 'stop', 'close'], []]);
  });

  test('is not handled by deliver when its session has ended while it waited: others have it', async () => {
    const { broker, driver, timers, logger } = await stage();
    const handled: string[] = [];
    let release = (): void => {};
    const seams = { runtime: virtualRuntime(), logger };
    await deliver(
      broker,
      't',
      { queue: 'q', retry: 3 },
      (one) => {
        handled.push(text(one));
        return text(one) === '1' ? new Promise((resolve) => (release = resolve)) : Promise.resolve();
      },
      seams,
    );
    for (const id of ['1', '2', '3']) driver.last.sink.deliver({ ...event(id), headers: { 'tenon-order-key': 'k' } });
    await timers.settle();
    driver.last.sink.resetSession();
    driver.last.sink.deliver({ ...event('4'), headers: { 'tenon-order-key': 'k' } });
    release();
    await timers.settle();
    expect(handled).toEqual(['1', '4']);
    await broker.disconnect();
  });

  test('is not retried by deliver, and has a dead letter before the handler goes on', async () => {
    const runtime = virtualRuntime();
    const broker = new MemoryBroker({ runtime });
    await broker.connect();
    const dead = collector();
    await broker.subscribe('grave', dead.receive);
    const seams = { runtime, logger: (await stage()).logger };
    let attempts = 0;
    const options = { deadLetter: 'grave', retry: 3, retryDelayMs: 1 };
    const subscriber = await deliver(
      broker,
      't',
      options,
      async (one) => {
        attempts += 1;
        if (text(one) === 'retried' && attempts === 1) throw new Error('once');
        await one.reject(new Error('never'));
        if (text(one) === 'throws') throw new Error('and again');
      },
      seams,
    );
    for (const body of ['retried', 'returns', 'throws']) {
      await publishText(broker, 't', body);
      await runtime.timers.advance(1_000);
    }
    expect([attempts, dead.texts]).toEqual([4, ['retried', 'returns', 'throws']]);
    expect(dead.events.map(({ headers }) => [headers['tenon-attempts'], headers['tenon-dead-letter-message']])).toEqual(
      [
        ['2', 'never'],
        ['1', 'never'],
        ['1', 'never'],
      ],
    );
    await subscriber.unsubscribe();
    await broker.disconnect();
  });
});
