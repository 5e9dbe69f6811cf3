import { setTimeout as sleep } from 'node:timers/promises';

import { expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { deliver } from '../../src/broker/delivery.ts';
import type { NatsConnection } from '../../src/broker/nats/library.ts';
import type { StreamConfig } from '../../src/broker/nats-jetstream/library.ts';
import { NatsJetStreamBroker, type NatsJetStreamBrokerOptions } from '../../src/broker/nats-jetstream.ts';
import { redrive } from '../../src/broker/redrive.ts';
import { Code } from '../../src/errors/errors.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { NatsConfig } from '../support/nats-config.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { connected, managerOf, member, patienceMs, pendingOf, publishing, streamOf } from './nats-jetstream-support.ts';
import { collector, eventually, publishText, RecordingLogger, text } from './support.ts';

expectNothingUncaught();

describeWithServer('NatsJetStreamBroker over nats', new BackendServer('nats-jetstream'), (nats) => {
  test('an event whose handler takes nearly as long as ackWaitMs, or longer, is handled once', async () => {
    const ackWaitMs = 1_000;
    const members = [await connected(nats.address, { ackWaitMs }), await connected(nats.address, { ackWaitMs })];
    const handled: string[] = [];
    const [{ broker }] = members as [(typeof members)[number]];
    for (const { broker: one } of members)
      await one.subscribe(
        'slow',
        async (event) => {
          handled.push(`${text(event)} ${event.attempt}`);
          await sleep(Number(text(event)) < 8 ? 900 : 2_500);
          await event.ack();
        },
        { queue: 'q', maxInFlight: 2 },
      );
    const numbers = Array.from({ length: 10 }, (_, number) => String(number));
    for (const number of numbers) await publishText(broker, 'slow', number);
    await eventually('all done', async () => (await pendingOf(broker, 'slow')).join() === '0,0', patienceMs);
    expect(handled.sort()).toEqual(numbers.map((number) => `${number} 1`));
  }, 120_000);

  test('an event in hand that comes again, as the process stood still, is not handled a second time', async () => {
    const { broker } = await connected(nats.address, { ackWaitMs: 500 });
    const taken: Event[] = [];
    const options = { queue: 'q', maxInFlight: 4 };
    await broker.subscribe('stalled', (event) => void taken.push(event), options);
    await publishText(broker, 'stalled', 'held');
    await eventually('the event', () => taken.length === 1, patienceMs);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_000);
    await publishText(broker, 'stalled', 'later');
    await eventually('a later one', () => taken.some((event) => text(event) === 'later'), patienceMs);
    const { consumers } = await managerOf(broker);
    const info = await consumers.info(await streamOf(broker, 'stalled'), 'q_stalled');
    expect(info).toMatchObject({ num_redelivered: 1 });
    for (const event of taken) await event.ack();
    expect(await pendingOf(broker, 'stalled')).toEqual([0, 0]);
    expect(taken.map((event) => `${text(event)} ${event.attempt}`)).toEqual(['held 1', 'later 1']);
  }, 60_000);

  test('it asks for no more events than it has room for', async () => {
    const { broker } = await connected(nats.address);
    const { broker: other } = await connected(nats.address);
    const held: Event[] = [];
    await broker.subscribe('room', (event) => void held.push(event), { queue: 'q', maxInFlight: 3 });
    for (let number = 0; number < 20; number += 1) await publishText(broker, 'room', String(number));
    await eventually('three in hand', () => held.length === 3);
    await sleep(200);
    expect(await pendingOf(broker, 'room')).toEqual([3, 17]);
    // A member that hangs does not hold up the others.
    const rest = collector();
    await other.subscribe('room', rest.receive, { queue: 'q', maxInFlight: 5 });
    await eventually('the others', () => rest.texts.length === 17, patienceMs);
    await eventually('their end', async () => (await pendingOf(broker, 'room')).join() === '3,0', patienceMs);
    expect(held).toHaveLength(3);
  }, 60_000);

  test('an event comes again after a delay, its attempts are counted, and it becomes a dead letter', async () => {
    const { broker } = await connected(nats.address);
    const dead = collector();
    await broker.subscribe('failing.dead-letter', dead.receive);
    const attempts: number[] = [];
    const options = { queue: 'q', retry: 3, retryDelayMs: 50 };
    await deliver(
      broker,
      'failing',
      options,
      (event) => (attempts.push(event.attempt), Promise.reject(new Error('no'))),
      { runtime: systemRuntime, logger: new RecordingLogger() },
    );
    await broker.publish('failing', { headers: { kept: 'yes' }, body: Buffer.from('x') });
    await eventually('the dead letter', () => dead.events.length === 1, patienceMs);
    expect(attempts).toEqual([1, 2, 3, 4]);
    expect(dead.events[0]?.headers).toMatchObject({
      kept: 'yes',
      'tenon-attempts': '4',
      'tenon-original-topic': 'failing',
    });
    await eventually('nothing is left', async () => (await pendingOf(broker, 'failing')).join() === '0,0', patienceMs);
  }, 60_000);

  test('a member whose handlers fail takes at most maxInFlight and maxWaiting events', async () => {
    const { broker } = await connected(nats.address, { from: 'start' });
    for (let number = 0; number < 200; number += 1) await publishText(broker, 'sweep', String(number));
    let handled = 0;
    await broker.subscribe('sweep', (event) => ((handled += 1), event.nack({ delayMs: 60_000 })), {
      queue: 'q',
      maxInFlight: 8,
      maxWaiting: 50,
    });
    await eventually('as many as may wait', () => handled >= 50, patienceMs);
    await sleep(300);
    // With so many that wait no more are taken. Those that were in hand by then may have come to wait as well.
    expect(handled).toBeLessThanOrEqual(50 + 8);
    const isAll = async (): Promise<boolean> =>
      (await pendingOf(broker, 'sweep')).join() === `${handled},${200 - handled}`;
    await eventually('the others wait at the server', isAll, patienceMs);
  }, 60_000);

  test('an event with the same dedupe key is stored once within its topic, but not a dead letter', async () => {
    const { broker, logger } = await connected(nats.address);
    const received = collector();
    await broker.subscribe('twice', received.receive, { queue: 'q' });
    const publish = (body: string, headers = {}): Promise<void> =>
      publishText(broker, 'twice', body, { 'tenon-dedupe-key': 'k', ...headers });
    await publish('first');
    await publish('second');
    await publish('dead', { 'tenon-original-topic': 'x' });
    await publish('redriven', { 'tenon-redrives': '1' });
    await publishText(broker, 'twice', 'last');
    await eventually('the last', () => received.texts.includes('last'), patienceMs);
    expect(received.texts).toEqual(['first', 'dead', 'redriven', 'last']);
    expect(logger.lines.filter(({ message }) => message.includes('published before'))).toHaveLength(1);
    const other = collector();
    await broker.subscribe('twice.else', other.receive);
    await publishText(broker, 'twice.else', 'of another topic', { 'tenon-dedupe-key': 'k' });
    await eventually('that of another topic', () => other.texts.length === 1, patienceMs);
  }, 60_000);

  test('headers for the server are refused, and those of others do not go into dead letters', async () => {
    const { broker } = await connected(nats.address);
    await expect(publishText(broker, 'controlled', 'x', { 'Nats-Expected-Last-Sequence': '7' })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'broker.invalid_headers',
    });
    const dead = collector();
    await broker.subscribe('controlled.dead-letter', dead.receive);
    await broker.subscribe('controlled', (event) => event.reject(new Error('never')), { queue: 'q' });
    const stream = await streamOf(broker, 'controlled');
    const block = `NATS/1.0\r\nNats-Msg-Id: theirs\r\nNats-Expected-Stream: ${stream}\r\nkept: yes\r\n\r\n`;
    const headers = { encode: () => Buffer.from(block) };
    (broker.unwrap() as NatsConnection).publish('controlled', 'x', { headers });
    await eventually('the dead letter', () => dead.events.length === 1, patienceMs);
    expect(Object.keys(dead.events[0]?.headers ?? {}).filter((name) => name.startsWith('Nats-'))).toEqual([]);
    expect(dead.events[0]?.headers['kept']).toBe('yes');
  }, 60_000);

  test('a new group begins with all stored events if it is told to, and else with later ones', async () => {
    const [{ broker: start }, { broker: now }] = [
      await connected(nats.address, { from: 'start' }),
      await connected(nats.address),
    ];
    for (const body of ['a', 'b']) await publishText(now, 'replayed', body);
    const all = [collector(), collector(), collector(), collector()];
    await start.subscribe('replayed', all[0]!.receive, { queue: 'from-start' });
    await now.subscribe('replayed', all[1]!.receive, { queue: 'from-now' });
    await start.subscribe('replayed', all[2]!.receive);
    await now.subscribe('replayed', all[3]!.receive);
    await publishText(now, 'replayed', 'c');
    for (const one of all) await eventually('the last', () => one.texts.includes('c'), patienceMs);
    expect(all.map(({ texts }) => texts)).toEqual([['a', 'b', 'c'], ['c'], ['a', 'b', 'c'], ['c']]);
  }, 60_000);

  test('a watch leaves nothing of a group, and no consumer behind', async () => {
    const { broker } = await connected(nats.address);
    const received = collector();
    await broker.subscribe('seen', received.receive, { queue: 'q' });
    const watched = broker.watch('seen')[Symbol.asyncIterator]();
    const first = watched.next();
    const manager = await managerOf(broker);
    const stream = await streamOf(broker, 'seen');
    const consumers = async (): Promise<number> => (await manager.streams.info(stream)).state.consumer_count;
    await eventually('the watch', async () => (await consumers()) === 2, patienceMs);
    await publishText(broker, 'seen', 'a');
    expect(text((await first).value as Event)).toBe('a');
    await eventually('the group', () => received.texts.length === 1, patienceMs);
    await watched.return?.();
    expect(await consumers()).toBe(1);
    await eventually('nothing is left', async () => (await pendingOf(broker, 'seen')).join() === '0,0', patienceMs);
  }, 60_000);

  test('a stream that has the topic already is used as it is', async () => {
    const { broker } = await connected(nats.address);
    const manager = await managerOf(broker);
    await manager.streams.add({ name: 'SHARED', subjects: ['shared.>'], max_msgs: 1_000, storage: 'memory' });
    const received = collector();
    await broker.subscribe('shared.one', received.receive, { queue: 'q' });
    await publishText(broker, 'shared.one', 'a');
    await publishText(broker, 'shared.two', 'b');
    await publishText(broker, 'shared.one', 'c');
    await eventually('its events', () => received.texts.length === 2, patienceMs);
    expect(received.texts).toEqual(['a', 'c']);
    expect((await manager.streams.info('SHARED')).config).toMatchObject({ max_msgs: 1_000, subjects: ['shared.>'] });
  }, 60_000);

  test.each([
    ['max_msgs', { maxLength: 10 }, { max_msgs: 1_000 }],
    ['max_age', { maxAgeMs: 60_000 }, { max_age: 3_600_000_000_000 }],
    ['storage', { storage: 'file' }, { storage: 'memory' }],
    ['no_ack', {}, { no_ack: true }],
  ] as [string, NatsJetStreamBrokerOptions, Partial<StreamConfig>][])(
    'a stream with another %s is an error that names both, and is not changed',
    async (property, options, config) => {
      const { broker } = await connected(nats.address, options);
      const manager = await managerOf(broker);
      const topic = `differs.${property}`;
      const name = `DIFFERS-${property}`;
      await manager.streams.add({ name, subjects: [topic], ...config });
      const before = (await manager.streams.info(name)).config;
      const differs = {
        code: Code.FailedPrecondition,
        reason: 'broker.mismatch',
        message: expect.stringMatching(`stream ${name} exists .* with ${property} .* is wanted.*nats stream edit`),
      };
      await expect(publishText(broker, topic, 'x')).rejects.toMatchObject(differs);
      await expect(broker.subscribe(topic, () => {}, { queue: 'q' })).rejects.toMatchObject(differs);
      expect((await manager.streams.info(name)).config).toEqual(before);
    },
  );

  test('a stream that has the name, and other subjects, is an error that names both, and is not changed', async () => {
    const { broker } = await connected(nats.address);
    const manager = await managerOf(broker);
    await manager.streams.add({ name: 'tenon-named', subjects: ['of.another'] });
    const differs = {
      code: Code.FailedPrecondition,
      reason: 'broker.mismatch',
      message: expect.stringMatching(
        /stream tenon-named exists .* with subjects \["of\.another"\], and \["named"\] is wanted.*nats stream edit/,
      ),
    };
    await expect(publishText(broker, 'named', 'x')).rejects.toMatchObject(differs);
    await expect(broker.subscribe('named', () => {}, { queue: 'q' })).rejects.toMatchObject(differs);
    expect((await manager.streams.info('tenon-named')).config.subjects).toEqual(['of.another']);
    // Whoever puts it right need not start the program again.
    const other = await connected(nats.address, { streamPrefix: 'own-' });
    await publishText(other.broker, 'named', 'x');
    await publishText(broker, 'named', 'y');
  }, 60_000);

  test('a consumer with other properties is an error, and is not changed', async () => {
    const { broker } = await connected(nats.address, { ackWaitMs: 5_000 });
    const manager = await managerOf(broker);
    await publishText(broker, 'taken', 'x');
    const stream = await streamOf(broker, 'taken');
    await manager.consumers.add(stream, { durable_name: 'q_taken', filter_subject: 'taken', ack_policy: 'none' });
    await manager.consumers.add(stream, {
      durable_name: 'other_taken',
      filter_subject: 'taken',
      ack_policy: 'explicit',
      max_deliver: -1,
      ack_wait: 1_000_000_000,
    });
    await expect(broker.subscribe('taken', () => {}, { queue: 'q' })).rejects.toMatchObject({
      reason: 'broker.mismatch',
      message: expect.stringMatching(/ack_policy "none", and "explicit" is wanted.*nats consumer rm/),
    });
    await expect(broker.subscribe('taken', () => {}, { queue: 'other' })).rejects.toMatchObject({
      reason: 'broker.mismatch',
      message: expect.stringMatching(/ack_wait 1000000000, and 5000000000 is wanted/),
    });
    // Who wants no time in particular takes the one that is there.
    const { broker: any } = await connected(nats.address);
    await (await any.subscribe('taken', (event) => event.ack(), { queue: 'other' })).unsubscribe();
  }, 60_000);

  test('a full stream refuses the event with the words of the server', async () => {
    const { broker } = await connected(nats.address);
    const manager = await managerOf(broker);
    await manager.streams.add({ name: 'FULL', subjects: ['full'], max_msgs: 1, discard: 'new' });
    await publishText(broker, 'full', 'a');
    await expect(publishText(broker, 'full', 'b')).rejects.toMatchObject({
      code: Code.ResourceExhausted,
      reason: 'broker.refused',
      message: expect.stringContaining('maximum messages exceeded'),
    });
  });

  test('a consumer that is deleted under load is made again, and no event is lost', async () => {
    const { broker, said } = await connected(nats.address, { ackWaitMs: 2_000 });
    const handled = new Map<string, number>();
    await broker.subscribe(
      'removed',
      async (event) => {
        handled.set(text(event), (handled.get(text(event)) ?? 0) + 1);
        await sleep(2);
        await event.ack();
      },
      { queue: 'q', maxInFlight: 16 },
    );
    const manager = await managerOf(broker);
    const stream = await streamOf(broker, 'removed');
    const { stored, stop } = publishing(broker, 'removed');
    for (let time = 0; time < 3; time += 1) {
      const before = stored.length;
      await eventually('some events', () => stored.length > before + 60, patienceMs);
      await manager.consumers.delete(stream, 'q_removed');
      await eventually(
        'it is said',
        () => said('warn').filter((one) => one.startsWith('the consumer was gone')).length > time,
        patienceMs,
      );
    }
    await stop();
    const missing = (): string[] => stored.filter((body) => !handled.has(body));
    await eventually('all events', () => missing().length === 0, patienceMs).catch(() => undefined);
    expect(missing()).toEqual([]);
    await eventually('all acknowledged', async () => (await pendingOf(broker, 'removed')).join() === '0,0', patienceMs);
    expect(said('error')).toEqual([]);
  }, 120_000);

  test('a stream that is deleted under load is made again, which is said, and events go on', async () => {
    const { broker, said } = await connected(nats.address, { ackWaitMs: 2_000 });
    const [grouped, alone] = [collector(), collector()];
    await broker.subscribe('dropped', grouped.receive, { queue: 'q' });
    await broker.subscribe('dropped', alone.receive);
    const manager = await managerOf(broker);
    const { stored, stop } = publishing(broker, 'dropped');
    await eventually('some events', () => stored.length > 60, patienceMs);
    await manager.streams.delete(await streamOf(broker, 'dropped'));
    await eventually(
      'it is said',
      () => said('error').some((one) => one.startsWith('the stream was gone with its events')),
      patienceMs,
    );
    const before = stored.length;
    await eventually('more events', () => stored.length > before + 60, patienceMs);
    await stop();
    const last = stored.at(-1) as string;
    for (const { texts } of [grouped, alone])
      await eventually('the last event', () => texts.includes(last), patienceMs);
    // What was published after it was made again is all there.
    const missing = stored.slice(before).filter((body) => !grouped.texts.includes(body) || !alone.texts.includes(body));
    expect(missing).toEqual([]);
  }, 120_000);

  test('a stream that is deleted is made again though another program listens to its subject', async () => {
    const { broker, said } = await connected(nats.address, { timeoutMs: 500 });
    const raw = broker.unwrap() as NatsConnection;
    raw.subscribe('listened', { callback: () => {} });
    await publishText(broker, 'listened', 'before');
    const stream = await streamOf(broker, 'listened');
    await (await managerOf(broker)).streams.delete(stream);
    // The server cannot say that nobody stores it.
    await expect(publishText(broker, 'listened', 'lost')).rejects.toMatchObject({ reason: 'broker.timeout' });
    await publishText(broker, 'listened', 'after');
    expect(await streamOf(broker, 'listened')).toBe(stream);
    expect(said('error')).toEqual([]);
  }, 60_000);

  test('events that the stream cut off while they were in hand are acknowledged all the same', async () => {
    const { broker, said } = await connected(nats.address, { maxLength: 2 });
    const held: Event[] = [];
    await broker.subscribe('cut', (event) => void held.push(event), { queue: 'q' });
    for (let number = 1; number <= 4; number += 1) {
      await publishText(broker, 'cut', String(number));
      await eventually('the event', () => held.length === number, patienceMs);
    }
    for (const event of held) await event.ack();
    expect(await pendingOf(broker, 'cut')).toEqual([0, 0]);
    expect([...said('warn'), ...said('error')]).toEqual([]);
  }, 60_000);

  test('dead letters are published again by redrive, with all of their attempts before them', async () => {
    const { broker } = await connected(nats.address);
    let isMended = false;
    const handled: string[] = [];
    const handler = (event: Event): Promise<void> => {
      if (!isMended) return Promise.reject(new Error('not yet'));
      handled.push(`${text(event)} ${event.attempt} ${event.headers['tenon-redrives']}`);
      return Promise.resolve();
    };
    const dead = collector();
    await broker.subscribe('mended.dead-letter', dead.receive);
    const tools = { runtime: systemRuntime, logger: new RecordingLogger() };
    await deliver(broker, 'mended', { queue: 'q', retry: 0 }, handler, tools);
    for (const body of ['a', 'b']) await publishText(broker, 'mended', body, { 'tenon-dedupe-key': body });
    await eventually('the dead letters', () => dead.texts.length === 2, patienceMs);
    isMended = true;
    // Nobody has read as this queue before: it begins with the stored ones.
    expect(await redrive(broker, 'mended.dead-letter', { limit: 2 })).toEqual({ moved: 2, skipped: 0 });
    await eventually('both', () => handled.length === 2, patienceMs);
    expect(handled.toSorted()).toEqual(['a 1 1', 'b 1 1']);
  }, 60_000);

  test('a reader without a group is given each event once, though its consumer was deleted', async () => {
    const { broker } = await connected(nats.address, { ackWaitMs: 1_500 });
    const received = collector();
    await broker.subscribe('alone', received.receive);
    const manager = await managerOf(broker);
    const stream = await streamOf(broker, 'alone');
    const { stored, stop } = publishing(broker, 'alone');
    await eventually('some events', () => received.texts.length > 50, patienceMs);
    for await (const { name } of manager.consumers.list(stream)) await manager.consumers.delete(stream, name);
    const before = stored.length;
    await eventually('more events', () => stored.length > before + 50, patienceMs);
    await stop();
    await eventually('the last', () => received.texts.includes(stored.at(-1) as string), patienceMs);
    expect(received.texts).toEqual(stored);
  }, 120_000);

  test('the events of a process that was killed go to another member, and the attempt is counted', async () => {
    const { broker } = await connected(nats.address, { ackWaitMs: 1_000 });
    const { child, lines } = await member(nats.address, 'orphans', 1_000);
    await publishText(broker, 'orphans', 'held');
    await eventually('it has it', () => lines.includes('took held at attempt 1'), patienceMs);
    child.kill('SIGKILL');
    const taken: string[] = [];
    await broker.subscribe('orphans', (event) => (taken.push(`${text(event)} ${event.attempt}`), event.ack()), {
      queue: 'q',
    });
    await eventually('the event', () => taken.length === 1, patienceMs);
    expect(taken).toEqual(['held 2']);
  }, 120_000);
});

describeWithServer('NatsJetStreamBroker over nats without JetStream', new BackendServer('nats'), (nats) => {
  test('is refused, and told how to start it', async () => {
    const broker = new NatsJetStreamBroker({ address: nats.address, logger: new RecordingLogger() });
    await expect(broker.connect()).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'broker.refused',
      message: expect.stringMatching(/--jetstream/),
    });
    expect(broker.status.state).toBe('closed');
  });
});

const accounts = new NatsConfig(`
accounts: {
  STORED: { jetstream: enabled, users: [{ user: stored, password: pass }] }
  PLAIN: { users: [{ user: plain, password: pass }] }
}`);

const someAccounts = new BackendServer('nats-jetstream', { args: accounts.args });

describeWithServer('NatsJetStreamBroker where some accounts have JetStream', someAccounts, (nats) => {
  test('an account without it is refused, and told what to do', async () => {
    const as = (username: string): NatsJetStreamBroker => {
      const credentials = { username, password: 'pass' };
      return new NatsJetStreamBroker({ address: nats.address, logger: new RecordingLogger(), credentials });
    };
    await expect(as('plain').connect()).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'broker.refused',
      message: expect.stringMatching(/not enabled for account.*give the account of this user JetStream/),
    });
    const stored = as('stored');
    await stored.connect();
    await publishText(stored, 'news', 'x');
    await stored.disconnect();
  });
});
