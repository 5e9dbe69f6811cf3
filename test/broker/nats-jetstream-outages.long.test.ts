import { setTimeout as sleep } from 'node:timers/promises';

import { expect, test } from '@jest/globals';

import type { Broker, Event } from '../../src/broker/broker.ts';
import { deliver } from '../../src/broker/delivery.ts';
import { Code } from '../../src/errors/errors.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { NatsConfig } from '../support/nats-config.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import {
  away,
  back,
  closing,
  connected,
  member,
  patienceMs,
  pendingOf,
  publishing,
  server,
} from './nats-jetstream-support.ts';
import { collector, eventually, publishAtLast, publishText, RecordingLogger, text } from './support.ts';

expectNothingUncaught();

/** The configuration of a server with two users, of which one has a password and lacks rights that may change. */
const users = (forBilling: string, denied = 'hidden.>'): string => `
authorization {
  users = [
    { user: admin, password: secret }
    { user: billing, password: ${forBilling}, permissions: { publish: { deny: "${denied}" } } }
  ]
}`;
const asBilling = { credentials: { username: 'billing', password: 'pass' } };
const asAdmin = { credentials: { username: 'admin', password: 'secret' } };

describeWithServer('NatsJetStreamBroker when nats fails', new BackendServer('nats-jetstream'), () => {
  test('no confirmed event is lost though nats is killed, and few come after their acknowledgement', async () => {
    const nats = await server();
    const options = { ackWaitMs: 2_000, timeoutMs: 2_000 };
    const another = async (): Promise<Broker> => (await connected(nats.address, options)).broker;
    const [publisher, first, second, third] = [await another(), await another(), await another(), await another()];
    const handled: string[] = [];
    const acknowledged = new Set<string>();
    const again: string[] = [];
    for (const [broker, queue] of [
      [first, 'q'],
      [second, 'q'],
      [third, undefined],
    ] as const) {
      await broker.subscribe(
        'orders',
        async (event) => {
          const name = `${queue} ${text(event)}`;
          if (acknowledged.has(name)) again.push(name);
          handled.push(name);
          await sleep(Math.random() * 10);
          await event.ack().then(() => acknowledged.add(name));
        },
        { queue, maxInFlight: 8 },
      );
    }
    const { stored, stop } = publishing(publisher, 'orders');
    for (let outage = 0; outage < 3; outage += 1) {
      const before = stored.length;
      await eventually('some events', () => stored.length > before + 60, patienceMs);
      await nats.kill();
      await sleep(100);
      await nats.start();
    }
    const before = stored.length;
    await eventually('some more events', () => stored.length > before + 60, patienceMs);
    await stop();
    const missing = (): string[] => {
      const seen = new Set(handled);
      return stored
        .flatMap((number) => ['q', undefined].map((queue) => `${queue} ${number}`))
        .filter((name) => !seen.has(name));
    };
    await eventually(`all of ${stored.length} events`, () => missing().length === 0, patienceMs).catch(() => undefined);
    expect(missing()).toEqual([]);
    // What a group has acknowledged is written to the disk a moment later. A reader without one knows it by itself.
    expect(again.filter((name) => name.startsWith('undefined'))).toEqual([]);
    expect(again.length).toBeLessThan(500);
    const isEmpty = async (): Promise<boolean> => (await pendingOf(publisher, 'orders')).join() === '0,0';
    await eventually('nothing is left', isEmpty, patienceMs);
  }, 240_000);

  test('acknowledgements that fail in an outage are sent when nats is back', async () => {
    const nats = await server();
    // None comes again meanwhile: only the acknowledgement itself can take it off.
    const { broker } = await connected(nats.address, { ackWaitMs: 600_000 });
    const events: Event[] = [];
    await broker.subscribe('late', (event) => void events.push(event), { queue: 'q' });
    for (const body of ['a', 'b', 'c']) await publishText(broker, 'late', body);
    await eventually('the events', () => events.length === 3, patienceMs);
    await nats.kill();
    const acknowledged = Promise.all(events.map((event) => event.ack()));
    await away(broker);
    await nats.start();
    await acknowledged;
    await back(broker);
    expect(await pendingOf(broker, 'late')).toEqual([0, 0]);
    expect(events).toHaveLength(3);
  }, 120_000);

  test.each([
    ['without its data', {}, true],
    ['without the streams that were in its memory', { storage: 'memory' }, false],
  ] as const)(
    'groups, readers and watches start over if nats comes back %s',
    async (_what, options, isErased) => {
      const nats = await server();
      const { broker, said } = await connected(nats.address, { ackWaitMs: 1_500, ...options });
      const [grouped, alone] = [collector(), collector()];
      const held: Event[] = [];
      await broker.subscribe('news', grouped.receive, { queue: 'q' });
      await broker.subscribe('news', alone.receive);
      await broker.subscribe('news', (event) => void held.push(event), { queue: 'other' });
      const watched: string[] = [];
      const watching = (async () => {
        for await (const event of broker.watch('news')) watched.push(text(event));
      })();
      await eventually(
        'the watch',
        async () => {
          await publishText(broker, 'news', 'before');
          return watched.length > 0 && held.length > 0;
        },
        patienceMs,
      );
      await nats.kill();
      if (isErased) nats.erase();
      await nats.start();
      await publishAtLast(broker, 'news', 'after');
      for (const texts of [grouped.texts, alone.texts, watched])
        await eventually('the event afterwards', () => texts.includes('after'), patienceMs);
      // The old acknowledgement would be taken for that of the event which has its number now.
      await held[0]?.ack();
      await eventually('the other group', () => held.some((event) => text(event) === 'after'), patienceMs);
      expect(await pendingOf(broker, 'news', 'other')).toEqual([1, 0]);
      expect(said('error').some((one) => one.startsWith('the stream was gone with its events'))).toBe(true);
      await broker.disconnect();
      await watching;
    },
    120_000,
  );

  test('a watch misses no event and sees none twice, though its connection is cut', async () => {
    const [nats, toxiproxy] = [await server(), new Toxiproxy()];
    closing.push(() => toxiproxy.dispose());
    await toxiproxy.start();
    const proxy = await toxiproxy.proxy(nats.address);
    const { broker: watcher } = await connected(proxy.address);
    const { broker: publisher } = await connected(nats.address);
    const watched: string[] = [];
    const watching = (async () => {
      for await (const event of watcher.watch('cut')) watched.push(text(event));
    })();
    await eventually(
      'the watch',
      async () => {
        await publishText(publisher, 'cut', 'first');
        return watched.length > 0;
      },
      patienceMs,
    );
    const { stored, stop } = publishing(publisher, 'cut');
    for (let cut = 0; cut < 3; cut += 1) {
      const before = watched.length;
      await eventually('some events', () => watched.length > before + 60, patienceMs);
      await proxy.cut();
      await away(watcher);
      await proxy.heal();
      await back(watcher);
    }
    await stop();
    await eventually('the last', () => watched.includes(stored.at(-1) as string), patienceMs);
    expect(watched.filter((body) => body !== 'first')).toEqual(stored);
    await watcher.disconnect();
    await watching;
  }, 120_000);

  test('events of a member whose connection is silent go to another; its handler is not disturbed', async () => {
    const [nats, toxiproxy] = [await server(), new Toxiproxy()];
    closing.push(() => toxiproxy.dispose());
    await toxiproxy.start();
    const proxy = await toxiproxy.proxy(nats.address);
    const options = { ackWaitMs: 1_000, timeoutMs: 1_000 };
    const [{ broker: silent }, { broker: other }] = [
      await connected(proxy.address, options),
      await connected(nats.address, options),
    ];
    const held: Event[] = [];
    await silent.subscribe('silence', (event) => void held.push(event), { queue: 'q' });
    await publishText(other, 'silence', 'x');
    await eventually('it has it', () => held.length === 1, patienceMs);
    await proxy.swallow();
    const taken: number[] = [];
    await other.subscribe('silence', (event) => (taken.push(event.attempt), event.ack()), { queue: 'q' });
    await eventually('the other has it', () => taken.length === 1, patienceMs);
    // It may have been sent into the silence more than once.
    expect(taken[0]).toBeGreaterThan(1);
    await away(silent);
    await proxy.heal();
    await back(silent);
    await held[0]?.ack();
    expect(held).toHaveLength(1);
    await publishText(other, 'silence', 'y');
  }, 120_000);

  test('a handler that hangs through a restart of nats holds up no other event, and its own is acknowledged', async () => {
    const nats = await server();
    const { broker } = await connected(nats.address, { ackWaitMs: 1_500 });
    const taken: string[] = [];
    let hung: Event | undefined;
    const receive = async (event: Event): Promise<void> => {
      taken.push(`${text(event)} ${event.attempt}`);
      if (text(event) === 'hung') hung = event;
      else await event.ack();
    };
    await broker.subscribe('stuck', receive, { queue: 'q', maxInFlight: 2 });
    await publishText(broker, 'stuck', 'hung');
    await eventually('the event', () => hung !== undefined, patienceMs);
    await nats.restart();
    await back(broker);
    for (const body of ['a', 'b', 'c']) await publishAtLast(broker, 'stuck', body);
    await eventually('the others', () => taken.includes('c 1'), patienceMs);
    // Longer than others would wait for a receiver that is dead.
    await sleep(3_000);
    await hung?.ack();
    expect(await pendingOf(broker, 'stuck')).toEqual([0, 0]);
    expect(taken).toEqual(['hung 1', 'a 1', 'b 1', 'c 1']);
  }, 120_000);

  test('the events of each key are handled in order though some fail and nats is killed', async () => {
    const nats = await server();
    const { broker } = await connected(nats.address, { ackWaitMs: 2_000 });
    const keys = ['a', 'b', 'c', 'd'];
    const handled = new Map<string, number[]>(keys.map((key) => [key, []]));
    const failed = new Set<string>();
    const handler = async (event: Event): Promise<void> => {
      const [key = '', number = 0] = text(event).split(' ');
      await sleep(Math.random() * 3);
      if (Number(number) % 7 === 0 && !failed.has(text(event))) {
        failed.add(text(event));
        throw new Error('the first time');
      }
      handled.get(key)?.push(Number(number));
    };
    const options = { queue: 'q', retry: 100, retryDelayMs: 20, maxInFlight: 16 };
    await deliver(broker, 'keyed', options, handler, { runtime: systemRuntime, logger: new RecordingLogger() });
    const stored = new Map<string, number[]>(keys.map((key) => [key, []]));
    let isOn = true;
    const publishing = keys.map(async (orderKey) => {
      for (let number = 0; isOn; number += 1) {
        const message = { headers: {}, body: Buffer.from(`${orderKey} ${number}`) };
        await broker.publish('keyed', message, { orderKey }).then(
          () => stored.get(orderKey)?.push(number),
          () => undefined,
        );
        await sleep(5);
      }
    });
    const least = (): number => Math.min(...Array.from(handled.values(), (numbers) => numbers.length));
    await eventually('some events', () => least() > 20, patienceMs);
    await nats.kill();
    await nats.start();
    const before = least();
    await eventually('some more', () => least() > before + 20, patienceMs);
    isOn = false;
    await Promise.all(publishing);
    for (const key of keys) {
      const missing = (): number[] => stored.get(key)?.filter((number) => !handled.get(key)?.includes(number)) ?? [];
      await eventually(`all of ${key}`, () => missing().length === 0, patienceMs);
      // What nats had not noted before it was killed comes twice.
      const first = [...new Set(handled.get(key))];
      expect(first).toEqual(first.toSorted((one, other) => one - other));
    }
  }, 120_000);

  test('credentials that are revoked are said, and no event is lost when they are given back', async () => {
    const config = new NatsConfig(users('pass'));
    const nats = await server({ args: config.args });
    const { broker } = await connected(nats.address, { ...asBilling, ackWaitMs: 1_500 });
    const { broker: admin } = await connected(nats.address, asAdmin);
    const received = collector();
    await broker.subscribe('rights', received.receive, { queue: 'q' });
    await publishText(admin, 'rights', 'before');
    await eventually('the first', () => received.texts.length === 1, patienceMs);
    config.write(users('other'));
    nats.signal('SIGHUP');
    await eventually('the refusal', () => broker.status.lastError?.code === Code.Unauthenticated, patienceMs);
    expect(broker.status.state).toBe('away');
    await publishAtLast(admin, 'rights', 'meanwhile');
    config.write(users('pass'));
    nats.signal('SIGHUP');
    await back(broker);
    await eventually('what came meanwhile', () => received.texts.length === 2, patienceMs);
    expect(received.texts).toEqual(['before', 'meanwhile']);
  }, 120_000);

  test('a subscription whose user may no longer ask for events ends with that error', async () => {
    const config = new NatsConfig(users('pass'));
    const nats = await server({ args: config.args });
    const { broker } = await connected(nats.address, { ...asBilling, ackWaitMs: 1_500 });
    const subscriber = await broker.subscribe('rights', () => {}, { queue: 'q' });
    config.write(users('pass', '$JS.API.>'));
    nats.signal('SIGHUP');
    expect(await subscriber.closed).toMatchObject({
      code: Code.PermissionDenied,
      reason: 'broker.refused',
      message: expect.stringMatching(/Permissions Violation for Publish to "\$JS\.API\./),
    });
    // Others of the connection go on.
    expect(broker.status.state).not.toBe('closed');
  }, 120_000);

  test('a server that hangs is noticed, and all goes on when it is back', async () => {
    const nats = await server();
    const { broker } = await connected(nats.address, { timeoutMs: 500, ackWaitMs: 20_000 });
    const received = collector();
    await broker.subscribe('hung', received.receive, { queue: 'q' });
    await publishText(broker, 'hung', 'before');
    nats.pause();
    await expect(publishText(broker, 'hung', 'lost?')).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'broker.timeout',
    });
    await away(broker);
    nats.resume();
    await back(broker);
    await publishAtLast(broker, 'hung', 'after');
    await eventually('the event', () => received.texts.includes('after'), patienceMs);
  }, 120_000);

  test('a process that does nothing but receive lives through an outage', async () => {
    const nats = await server();
    const { child, lines } = await member(nats.address, 'lasting', 1_000);
    await nats.kill();
    await sleep(3_000);
    expect(child.exitCode).toBeNull();
    await nats.start();
    const { broker } = await connected(nats.address);
    await publishText(broker, 'lasting', 'after');
    await eventually('the event', () => lines.includes('did after'), patienceMs);
  }, 120_000);

  test('three processes, one killed each second, and nats killed once: every confirmed event is handled', async () => {
    const nats = await server();
    const { broker } = await connected(nats.address);
    const all: string[][] = [];
    const start = async () => {
      const one = await member(nats.address, 'many', 1_000, 5);
      all.push(one.lines);
      return one.child;
    };
    const children = [await start(), await start(), await start()];
    const { stored, stop } = publishing(broker, 'many');
    for (let round = 0; round < 4; round += 1) {
      await sleep(1_000);
      children.shift()?.kill('SIGKILL');
      children.push(await start());
      if (round !== 1) continue;
      await nats.kill();
      await nats.start();
    }
    await stop();
    const done = (): Set<string> => new Set(all.flat().flatMap((line) => /^did (.+)$/.exec(line)?.[1] ?? []));
    await eventually(
      'all events',
      () => {
        const handled = done();
        return stored.every((body) => handled.has(body));
      },
      patienceMs,
    ).catch(() => undefined);
    const handled = done();
    expect(stored.filter((body) => !handled.has(body))).toEqual([]);
    expect(stored.length).toBeGreaterThan(100);
    const times = all.flat().filter((line) => line.startsWith('did ')).length;
    // What was in the hands of those that died: at most eight for each, and what nats had not noted when it died.
    expect(times - handled.size).toBeLessThan(300);
  }, 240_000);
});
