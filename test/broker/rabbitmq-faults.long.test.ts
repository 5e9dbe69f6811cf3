import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { deliver } from '../../src/broker/delivery.ts';
import type { RabbitMqBrokerOptions } from '../../src/broker/rabbitmq.ts';
import { redrive } from '../../src/broker/redrive.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { authority } from '../support/certificates.ts';
import { FrontServer } from '../support/front-server.ts';
import { BackendServer, describeWithServer, type ServerOptions } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { patienceMs, Stage, type Staged } from './rabbitmq-support.ts';
import { collector, eventually, publishAtLast, publishText, text } from './support.ts';

expectNothingUncaught();

const seams = { runtime: systemRuntime, logger: silentLogger };
const unreachable = { code: Code.Unavailable, reason: 'broker.unreachable' };

const rabbitMq = new BackendServer('rabbitmq', { args: ['max_message_size = 10000'] });

describeWithServer('RabbitMqBroker when RabbitMQ or a handler fails', rabbitMq, (server) => {
  const stage = new Stage();

  async function ownServer(options: ServerOptions = {}): Promise<BackendServer> {
    const own = new BackendServer('rabbitmq', options);
    stage.later(() => own.dispose());
    await own.start();
    return own;
  }

  /** A broker that reaches the server by a connection that can be cut. */
  async function behind(options: RabbitMqBrokerOptions = {}): Promise<Staged & { readonly front: FrontServer }> {
    const front = await FrontServer.start(server.address);
    stage.later(() => front.close());
    return { front, ...(await stage.broker(front.address, options)) };
  }

  describe('the connection', () => {
    test('that is cut twenty times leaves one consumer, and every confirmed event is handled', async () => {
      const { broker, front } = await behind();
      const { broker: publisher } = await stage.broker(server.address);
      const client = await stage.client(server);
      const received = collector();
      await broker.subscribe('cut', received.receive, { queue: 'q' });
      for (let time = 0; time < 20; time += 1) {
        front.become('close');
        await publishText(publisher, 'cut', `while it is away ${time}`);
        await eventually('it is away', () => broker.status.state === 'away', patienceMs);
        front.become('pass');
        await eventually(`event ${time}`, () => received.texts.includes(`while it is away ${time}`), patienceMs);
        await eventually('one consumer', async () => (await client.consumers('tenon/q/cut')) === 1, patienceMs);
      }
    }, 240_000);

    test('that RabbitMQ closes is made again, and its words are the cause', async () => {
      const { broker, logger } = await stage.broker(server.address);
      const received = collector();
      await broker.subscribe('closed', received.receive, { queue: 'q' });
      await server.tool('rabbitmqctl', 'close_all_connections', 'for maintenance');
      await eventually('it was away', () => broker.status.lastError !== undefined, patienceMs);
      expect(broker.status.lastError).toMatchObject({
        ...unreachable,
        message: expect.stringContaining('ended the connection: CONNECTION_FORCED - for maintenance'),
      });
      await publishAtLast(broker, 'closed', 'again');
      await eventually('the event', () => received.texts.includes('again'), patienceMs);
      expect(logger.texts.filter((line) => !line.startsWith('debug'))).toEqual([
        'warn the connection to the broker is lost; it is tried again',
        'info the broker answers again',
      ]);
    }, 60_000);

    test('to a server that is killed: calls fail at once, all settle, and no confirmed event is lost', async () => {
      const { broker } = await stage.broker(server.address);
      const { broker: member } = await stage.broker(server.address);
      const handled = new Set<string>();
      await member.subscribe(
        'killed',
        async (event) => {
          await sleep(Math.random() * 5);
          handled.add(text(event));
          await event.ack();
        },
        { queue: 'q', maxInFlight: 8 },
      );
      const confirmed: string[] = [];
      const errors: unknown[] = [];
      let isPublishing = true;
      const publishing = (async () => {
        for (let number = 0; isPublishing; number += 1) {
          await publishText(broker, 'killed', String(number)).then(
            () => confirmed.push(String(number)),
            async (error: unknown) => {
              errors.push(error);
              await sleep(10);
            },
          );
        }
      })();
      for (let time = 0; time < 2; time += 1) {
        const before = confirmed.length;
        await eventually('some events', () => confirmed.length > before + 50, patienceMs);
        if (time === 0) await (await stage.client(server)).makeAnotherQueue();
        await server.kill();
        await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
        await expect(broker.connect()).rejects.toMatchObject(unreachable);
        await expect(broker.subscribe('more', () => {})).rejects.toMatchObject(unreachable);
        await server.start();
      }
      const before = confirmed.length;
      await eventually('some more', () => confirmed.length > before + 50, patienceMs);
      isPublishing = false;
      await publishing;
      for (const error of errors) expect(error).toMatchObject({ reason: expect.stringMatching(/unreachable|timeout/) });
      await eventually(`all of ${confirmed.length}`, () => confirmed.every((one) => handled.has(one)), patienceMs);
      const client = await stage.client(server);
      expect(await client.consumers('tenon/q/killed')).toBe(1);
    }, 240_000);

    test('to a server that is killed behind a handler that hangs: the subscription comes back', async () => {
      const { broker } = await stage.broker(server.address);
      const seen: string[] = [];
      const receive = async (event: Event): Promise<void> => {
        seen.push(`${text(event)} ${event.attempt}`);
        if (event.attempt === 1 && text(event) === 'hangs') await new Promise(() => undefined);
        await event.ack();
      };
      await broker.subscribe('hanging', receive, { queue: 'q', maxInFlight: 1 });
      await publishText(broker, 'hanging', 'hangs');
      await eventually('it is in hand', () => seen.length === 1, patienceMs);
      await (await stage.client(server)).makeAnotherQueue();
      await server.kill();
      await eventually('it is noticed', () => broker.status.state === 'away', patienceMs);
      await server.start();
      await publishAtLast(broker, 'hanging', 'next');
      await eventually('both', () => seen.length === 3, patienceMs);
      expect([...seen].sort()).toEqual(['hangs 1', 'hangs 2', 'next 1']);
      const client = await stage.client(server);
      expect(await client.consumers('tenon/q/hanging')).toBe(1);
    }, 180_000);

    test('that is open and silent is noticed by three heartbeats, and made again', async () => {
      const { broker } = await stage.broker(server.address, { heartbeatMs: 1_000, timeoutMs: 60_000 });
      const received = collector();
      await broker.subscribe('silent', received.receive, { queue: 'q' });
      stage.later(async () => server.resume());
      server.pause();
      const waiting = publishText(broker, 'silent', 'while it hangs');
      await expect(waiting).rejects.toMatchObject(unreachable);
      expect(broker.status.state).toBe('away');
      expect(received.texts).toEqual([]);
      server.resume();
      await publishAtLast(broker, 'silent', 'after');
      await eventually('the event', () => received.texts.includes('after'), patienceMs);
    }, 180_000);

    test('that is open and silent ends a call after its time-out, and disconnects within a second', async () => {
      const { broker } = await stage.broker(server.address, { timeoutMs: 500 });
      await broker.subscribe('silent', () => {}, { queue: 'q' });
      stage.later(async () => server.resume());
      server.pause();
      const bounded = broker.publish('silent', { headers: {}, body: Buffer.from('x') }, { timeoutMs: 100 });
      await expect(bounded).rejects.toMatchObject({ code: Code.DeadlineExceeded, reason: 'broker.timeout' });
      await broker.disconnect();
      expect(broker.status.state).toBe('closed');
    }, 120_000);

    test('goes to the next of several addresses, and stays there', async () => {
      const [first, second] = [await FrontServer.start(server.address), await FrontServer.start(server.address)];
      stage.later(() => Promise.all([first.close(), second.close()]));
      const { broker } = await stage.broker(`127.0.0.1:1,${first.address},${second.address}`);
      expect(broker.address).toBe(first.address);
      const received = collector();
      await broker.subscribe('several', received.receive, { queue: 'q' });
      first.become('close');
      const isAtSecond = (): boolean => second.count > 0 && broker.status.state === 'connected';
      await eventually('it is at the second', isAtSecond, patienceMs);
      expect(broker.address).toBe(second.address);
      await publishAtLast(broker, 'several', 'x');
      await eventually('the event', () => received.texts.includes('x'), patienceMs);
    }, 60_000);
  });

  describe('a channel', () => {
    test('that a body over the limit of RabbitMQ has closed is opened again, and only that event fails', async () => {
      const { broker, logger } = await stage.broker(server.address);
      const received = collector();
      await broker.subscribe('limit', received.receive, { queue: 'q' });
      await expect(publishText(broker, 'limit', 'x'.repeat(20_000))).rejects.toMatchObject({
        code: Code.FailedPrecondition,
        reason: 'broker.refused',
        message: expect.stringMatching(/message size 20000 .*larger than.*10000/),
      });
      await publishText(broker, 'limit', 'small');
      await eventually('the event', () => received.texts.length === 1, patienceMs);
      expect([received.texts, broker.status.state, logger.texts]).toEqual([['small'], 'connected', []]);
    }, 120_000);

    test('that was cut while a handler worked takes no acknowledgement: the event comes once more', async () => {
      const { broker, front, logger } = await behind();
      const seen: string[] = [];
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => (release = resolve));
      await broker.subscribe(
        'late',
        async (event) => {
          seen.push(`${text(event)} ${event.attempt}`);
          if (seen.length === 1) await released;
          await event.ack();
        },
        { queue: 'q' },
      );
      await publishText(broker, 'late', 'slow');
      await eventually('it is in hand', () => seen.length === 1, patienceMs);
      front.become('close');
      await eventually('it is away', () => broker.status.state === 'away', patienceMs);
      front.become('pass');
      await eventually('it comes again', () => seen.length === 2, patienceMs);
      release();
      await publishAtLast(broker, 'late', 'next');
      await eventually('the next', () => seen.includes('next 1'), patienceMs);
      expect(seen).toEqual(['slow 1', 'slow 2', 'next 1']);
      const client = await stage.client(server);
      await eventually(
        'nothing is left',
        async () => (await client.messages('tenon.redelivery/q/late')) === 0,
        patienceMs,
      );
      expect(logger.texts.filter((line) => /channel|interrupted/.test(line))).toEqual([]);
    }, 60_000);

    test('that consumer_timeout has closed is opened again, and its event comes once more', async () => {
      const limit = (timeoutMs: number, tickMs: number): Promise<string> => {
        const set = (name: string, value: number): string => `application:set_env(rabbit, ${name}, ${value})`;
        const both = `${set('consumer_timeout', timeoutMs)}, ${set('channel_tick_interval', tickMs)}.`;
        return server.tool('rabbitmqctl', 'eval', both);
      };
      stage.later(() => limit(1_800_000, 60_000));
      await limit(2_000, 500);
      const { broker, logger } = await stage.broker(server.address);
      const seen: number[] = [];
      const held: Event[] = [];
      await broker.subscribe(
        'hung',
        (event) => {
          seen.push(event.attempt);
          held.push(event);
          return event.attempt > 1 ? event.ack() : undefined;
        },
        { queue: 'q' },
      );
      await publishText(broker, 'hung', 'x');
      await eventually('it comes again', () => seen.length === 2, patienceMs);
      expect(seen).toEqual([1, 2]);
      await held[0]?.ack();
      await publishText(broker, 'hung', 'next');
      await eventually('the next', () => seen.length === 3, patienceMs);
      expect(broker.status.state).toBe('connected');
      expect(logger.texts).toContain('warn a subscription was interrupted; it is made again');
    }, 120_000);

    test('whose queue was deleted is opened again, with its queue', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const received = collector();
      await broker.subscribe('deleted', received.receive, { queue: 'q' });
      for (let time = 0; time < 3; time += 1) {
        for (const queue of ['tenon/q/deleted', 'tenon.redelivery/q/deleted']) await client.channel.deleteQueue(queue);
        await eventually(
          'it is there again',
          async () => (await client.consumers('tenon/q/deleted')) === 1,
          patienceMs,
        );
        await publishText(broker, 'deleted', String(time));
        await eventually('the event', () => received.texts.includes(String(time)), patienceMs);
      }
    }, 120_000);
  });

  test('one event that RabbitMQ refuses does not fail others with its error', async () => {
    const { broker } = await stage.broker(server.address);
    const received = collector();
    await broker.subscribe('among', received.receive, { queue: 'q' });
    const send = (body: string, waitForReady: boolean): Promise<void> =>
      broker.publish('among', { headers: {}, body: Buffer.from(body) }, { waitForReady });
    const others = Array.from({ length: 20 }, (_, at) => send(`good ${at}`, true));
    const poison = send('x'.repeat(20_000), false);
    const more = Array.from({ length: 20 }, (_, at) => send(`later ${at}`, true));
    await expect(poison).rejects.toMatchObject({ code: Code.FailedPrecondition, reason: 'broker.refused' });
    await Promise.all([...others, ...more]);
    await eventually('all of them', () => new Set(received.texts).size === 40, patienceMs);
  }, 120_000);

  describe('a dead letter', () => {
    const fails = (): Promise<void> => Promise.reject(new Error('never'));

    test('is stored for the queue dead-letter where nobody has subscribed to it', async () => {
      const { broker } = await stage.broker(server.address);
      await deliver(broker, 'sad', { queue: 'q', retry: 0 }, fails, seams);
      await publishText(broker, 'sad', 'unhappy');
      const client = await stage.client(server);
      const isStored = async (): Promise<boolean> => (await client.messages('tenon/dead-letter/sad.dead-letter')) === 1;
      await eventually('it is stored', isStored, patienceMs);
      const dead = collector();
      await broker.subscribe('sad.dead-letter', dead.receive, { queue: 'dead-letter' });
      await eventually('the dead letter', () => dead.texts.length === 1, patienceMs);
      expect(dead.events[0]?.headers).toMatchObject({ 'tenon-dead-letter-message': 'never', 'tenon-attempts': '1' });
    }, 60_000);

    test('of a pattern is stored though its topic matches, and redrive moves it', async () => {
      const { broker } = await stage.broker(server.address);
      const handled: string[] = [];
      let isFailing = true;
      const handle = async (event: Event): Promise<void> => {
        if (isFailing) return fails();
        handled.push(`${event.topic} ${text(event)}`);
      };
      await deliver(broker, 'wild.>', { queue: 'q', retry: 0 }, handle, seams);
      await publishText(broker, 'wild.a.b', 'unhappy');
      const client = await stage.client(server);
      const isStored = async (): Promise<boolean> =>
        (await client.messages('tenon/dead-letter/wild.a.b.dead-letter')) === 1;
      await eventually('it is stored', isStored, patienceMs);
      isFailing = false;
      const moving = redrive(broker, 'wild.a.b.dead-letter', { limit: 1, idleMs: patienceMs });
      expect(await moving).toEqual({ moved: 1, skipped: 0 });
      await eventually('it is handled', () => handled.length > 0, patienceMs);
      expect(handled).toEqual(['wild.a.b unhappy']);
    }, 120_000);

    test('is stored though somebody without a queue sees it, and again when its queue was deleted', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const seen = collector();
      await broker.subscribe('seen.dead-letter', seen.receive);
      await deliver(broker, 'seen', { queue: 'q', retry: 0 }, fails, seams);
      const queue = 'tenon/dead-letter/seen.dead-letter';
      for (const name of ['one', 'two']) {
        await publishText(broker, 'seen', name);
        await eventually(`${name} is stored`, async () => (await client.messages(queue)) === 1, patienceMs);
        await client.channel.deleteQueue(queue);
      }
      expect(seen.texts).toEqual(['one', 'two']);
    }, 60_000);

    test('of a topic that leaves no room for the names of its queues cannot come to be', async () => {
      const { broker } = await stage.broker(server.address);
      const longest = 't'.repeat(208);
      const refused = { code: Code.InvalidArgument, reason: 'broker.invalid_topic' };
      await expect(publishText(broker, `${longest}t`, 'x')).rejects.toMatchObject(refused);
      const options = { queue: 'q', retry: 0, deadLetter: 'd'.repeat(221) };
      await expect(deliver(broker, 'roomy', options, fails, seams)).rejects.toMatchObject(refused);
      await deliver(broker, longest, { queue: 'q', retry: 0 }, fails, seams);
      await publishText(broker, longest, 'unhappy');
      const client = await stage.client(server);
      const queue = `tenon/dead-letter/${longest}.dead-letter`;
      await eventually('it is stored', async () => (await client.messages(queue)) === 1, patienceMs);
    }, 60_000);
  });

  describe('RabbitMQ without memory', () => {
    const blocked = 'warn RabbitMQ takes no messages for now: publishing waits';
    const unblocked = 'info RabbitMQ takes messages again';
    const watermark = (share: string): Promise<string> =>
      server.tool('rabbitmqctl', 'set_vm_memory_high_watermark', share);

    /** Publishes until RabbitMQ, which has no memory, says so: it does to who publishes. */
    async function fill({ broker, logger }: Staged, topic: string): Promise<void> {
      stage.later(() => watermark('0.6'));
      await watermark('0.00001');
      const isBlocked = (): boolean => {
        if (logger.texts.includes(blocked)) return true;
        publishText(broker, topic, 'says so').catch(() => undefined);
        return false;
      };
      await eventually('it is blocked', isBlocked, patienceMs);
    }

    test('a member that has published goes on: its acknowledgements are read, and it gets more events', async () => {
      const member = await stage.broker(server.address, { timeoutMs: 2_000 });
      const { broker, logger } = member;
      const handled: string[] = [];
      const held: Event[] = [];
      const receive = (event: Event): void => {
        handled.push(text(event));
        held.push(event);
      };
      const subscriber = await broker.subscribe('acks', receive, { queue: 'q', maxInFlight: 1 });
      const names = ['first', 'second', 'third', 'fourth'];
      for (const name of names) await publishText(broker, 'acks', name);
      await eventually('it is in hand', () => held.length === 1, patienceMs);
      await fill(member, 'full');
      for (let taken = 1; taken < names.length; taken += 1) {
        await held.shift()?.ack();
        await eventually(`event ${taken + 1}`, () => handled.length === taken + 1, patienceMs);
      }
      await held.shift()?.ack();
      // What it asks for is answered as well.
      const another = await broker.subscribe('acks', () => {}, { queue: 'another' });
      await another.unsubscribe();
      await subscriber.unsubscribe();
      const client = await stage.client(server);
      expect([handled, await client.messages('tenon/q/acks')]).toEqual([names, 0]);
      expect(broker.status.state).toBe('connected');
      await watermark('0.6');
      await eventually('it takes messages', () => logger.texts.includes(unblocked), patienceMs);
      await publishText(broker, 'acks', 'after');
      expect(logger.texts.filter((line) => /lost|kept|interrupted/.test(line))).toEqual([]);
    }, 180_000);

    test('publishing waits and then fails, or is done when there is memory again', async () => {
      const publisher = await stage.broker(server.address, { timeoutMs: 2_000 });
      const { broker } = publisher;
      const { broker: member } = await stage.broker(server.address);
      const received = collector();
      await member.subscribe('memory', received.receive, { queue: 'q' });
      await publishText(broker, 'memory', 'before');
      await fill(publisher, 'memory');
      const bounded = broker.publish('memory', { headers: {}, body: Buffer.from('never') }, { timeoutMs: 200 });
      await expect(bounded).rejects.toMatchObject({
        code: Code.DeadlineExceeded,
        reason: 'broker.timeout',
        message: expect.stringContaining('nothing was published'),
      });
      const patient = broker.publish('memory', { headers: {}, body: Buffer.from('later') }, { timeoutMs: 60_000 });
      await watermark('0.6');
      await patient;
      await eventually('the event', () => received.texts.includes('later'), patienceMs);
      expect(received.texts).not.toContain('never');
    }, 180_000);

    test('an event that is nacked then and given back with its subscription is not there twice', async () => {
      const member = await stage.broker(server.address, { timeoutMs: 2_000 });
      const { broker, logger } = member;
      const held: Event[] = [];
      const subscriber = await broker.subscribe('once', (event) => void held.push(event), { queue: 'q' });
      await publishText(broker, 'once', 'x');
      await eventually('it is in hand', () => held.length === 1, patienceMs);
      await fill(member, 'full');
      const nacked = held[0]?.nack();
      await subscriber.unsubscribe();
      await nacked;
      await watermark('0.6');
      await eventually('it takes messages', () => logger.texts.includes(unblocked), patienceMs);
      // By then a copy that had waited would be there.
      await publishText(broker, 'full', 'after');
      const client = await stage.client(server);
      const left = ['tenon/q/once', 'tenon.redelivery/q/once'].map((queue) => client.messages(queue));
      expect(await Promise.all(left)).toEqual([1, 0]);
    }, 180_000);
  });

  test('the loss of the connection that publishes is the loss of both, and both are made again', async () => {
    const { broker } = await stage.broker(server.address);
    const client = await stage.client(server);
    const received = collector();
    await broker.subscribe('pair', received.receive, { queue: 'q' });
    const listed = await server.tool('rabbitmqctl', 'list_connections', '--silent', 'pid', 'client_properties');
    const lines = listed.split('\n').filter((line) => line.includes('tenon'));
    expect(lines).toHaveLength(2);
    const [publishing = ''] = lines.filter((line) => line.includes('tenon, publishing'));
    await server.tool('rabbitmqctl', 'close_connection', publishing.split('\t')[0] ?? '', 'for a test');
    await eventually('it was away', () => broker.status.lastError !== undefined, patienceMs);
    await publishAtLast(broker, 'pair', 'again');
    await eventually('the event', () => received.texts.includes('again'), patienceMs);
    await eventually('one consumer', async () => (await client.consumers('tenon/q/pair')) === 1, patienceMs);
  }, 120_000);

  test('a subscriber without a queue goes on after an outage, and logs that it may have missed events', async () => {
    const { broker, front, logger } = await behind();
    const received = collector();
    await broker.subscribe('tail', received.receive);
    front.become('close');
    await eventually('it is away', () => broker.status.state === 'away', patienceMs);
    front.become('pass');
    await eventually(
      'the report',
      () => logger.texts.some((line) => line.startsWith('warn events may have been missed')),
      patienceMs,
    );
    await publishAtLast(broker, 'tail', 'after');
    await eventually('the event', () => received.texts.includes('after'), patienceMs);
  }, 60_000);

  describe('who connects', () => {
    const refusedLogin = {
      code: Code.Unauthenticated,
      reason: 'broker.refused',
      message: expect.stringMatching(/ACCESS_REFUSED - Login was refused.*TENON_BROKER_USERNAME/),
    };

    test('with a wrong password is refused once', async () => {
      const front = await FrontServer.start(server.address);
      stage.later(() => front.close());
      const credentials = { username: 'guest', password: 'wrong' };
      await expect(stage.broker(front.address, { credentials })).rejects.toMatchObject(refusedLogin);
      await expect(stage.broker(`amqp://me:wrong@${front.address}`)).rejects.toMatchObject(refusedLogin);
      expect(front.count).toBe(2);
    });

    test('to a virtual host that is not there is told so, and to one that is there is not', async () => {
      await expect(stage.broker(server.address, { vhost: 'nowhere' })).rejects.toMatchObject({
        code: Code.PermissionDenied,
        message: expect.stringContaining('TENON_RABBITMQ_VHOST'),
      });
      await server.tool('rabbitmqctl', 'add_vhost', 'a/b c');
      await server.tool('rabbitmqctl', 'set_permissions', '-p', 'a/b c', 'guest', '.*', '.*', '.*');
      for (const [address, options] of [
        [server.address, { vhost: 'a/b c' }],
        [`amqp://guest:guest@${server.address}/a%2Fb%20c`, {}],
      ] as const) {
        const { broker } = await stage.broker(address, options);
        const received = collector();
        await broker.subscribe('inside', received.receive, { queue: 'q' });
        await publishText(broker, 'inside', 'x');
        await eventually('the event', () => received.texts.length === 1, patienceMs);
        await broker.disconnect();
      }
    }, 60_000);

    test('without a right is refused with the words of RabbitMQ, and the connection stays', async () => {
      const { broker: owner } = await stage.broker(server.address);
      await owner.subscribe('guarded', () => {}, { queue: 'q' });
      await server.tool('rabbitmqctl', 'add_user', 'reader', 'secret');
      await server.tool('rabbitmqctl', 'set_permissions', 'reader', '^tenon$', '^$', '^$');
      const credentials = { username: 'reader', password: 'secret' };
      const { broker } = await stage.broker(server.address, { credentials });
      const denied = {
        code: Code.PermissionDenied,
        reason: 'broker.refused',
        message: expect.stringMatching(/ACCESS_REFUSED - .*access to .* refused for user 'reader'/),
      };
      await expect(publishText(broker, 'guarded', 'x')).rejects.toMatchObject(denied);
      await expect(broker.subscribe('guarded', () => {}, { queue: 'q' })).rejects.toMatchObject(denied);
      expect(broker.status.state).toBe('connected');
    }, 60_000);

    test('whose user is deleted meanwhile is away with the reason, and comes back with the user', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'tenon-rabbitmq-'));
      stage.later(async () => rmSync(folder, { recursive: true, force: true }));
      const passwordFile = join(folder, 'password');
      writeFileSync(passwordFile, 'first\n');
      const add = async (password: string): Promise<void> => {
        await server.tool('rabbitmqctl', 'add_user', 'guest-worker', password);
        await server.tool('rabbitmqctl', 'set_permissions', 'guest-worker', '.*', '.*', '.*');
      };
      await add('first');
      const credentials = { username: 'guest-worker', passwordFile };
      const { broker } = await stage.broker(server.address, { credentials });
      const received = collector();
      await broker.subscribe('revoked', received.receive, { queue: 'q' });
      await server.tool('rabbitmqctl', 'delete_user', 'guest-worker');
      await eventually('it is refused', () => broker.status.lastError?.code === Code.Unauthenticated, patienceMs);
      expect([broker.status.state, broker.status.lastError]).toEqual(['away', expect.objectContaining(refusedLogin)]);
      writeFileSync(passwordFile, 'second\n');
      await add('second');
      await publishAtLast(broker, 'revoked', 'x');
      await eventually('the event', () => received.texts.includes('x'), patienceMs);
    }, 120_000);
  });

  describe('over TLS', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-rabbitmq-tls-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    const write = (name: string, content: string): string => {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    };
    const [ours, strangers] = [authority('Ours'), authority('Strangers')];
    const [served, shown] = [ours.issue({ name: 'rabbitmq', names: ['127.0.0.1'] }), ours.issue({ name: 'me' })];
    const caFile = write('ca.crt', ours.cert);
    const identity = { certFile: write('me.crt', shown.cert), keyFile: write('me.key', shown.key) };
    const files = { certFile: write('server.crt', served.cert), keyFile: write('server.key', served.key), caFile };

    test('events go to a server whose certificate is right, with a certificate of the client', async () => {
      const own = await ownServer({ tls: { ...files, asksClients: true, probe: identity } });
      const { broker } = await stage.broker(own.address, { tls: { caFile, ...identity } });
      const received = collector();
      await broker.subscribe('secret', received.receive, { queue: 'q' });
      await publishText(broker, 'secret', 'x');
      await eventually('the event', () => received.texts.length === 1, patienceMs);
      // The scheme asks for TLS as well, and trusts whom Node trusts.
      await expect(stage.broker(`amqps://guest:guest@${own.address}`)).rejects.toMatchObject({
        ...unreachable,
        message: expect.stringContaining('TENON_BROKER_TLS_CA_FILE'),
      });
      const strangersFile = write('strangers.crt', strangers.cert);
      await expect(stage.broker(own.address, { tls: { caFile: strangersFile } })).rejects.toMatchObject(unreachable);
      await expect(stage.broker(own.address)).rejects.toMatchObject({
        ...unreachable,
        message: expect.stringContaining('If it wants TLS, say amqps://'),
      });
      await stage.end();
    }, 120_000);

    test('nothing goes to a server that speaks in the clear', async () => {
      await expect(stage.broker(server.address, { tls: { caFile } })).rejects.toMatchObject(unreachable);
    });
  });
});
