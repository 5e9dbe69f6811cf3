import { readFileSync } from 'node:fs';
import { connect as connectTo, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { deliver } from '../../src/broker/delivery.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { startNode } from '../support/process.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { patienceMs, Stage } from './rabbitmq-support.ts';
import { collector, eventually, publishText, text } from './support.ts';

expectNothingUncaught();

const program = fileURLToPath(new URL('programs/rabbitmq-subscriber.mjs', import.meta.url));
const goMicro = JSON.parse(readFileSync(new URL('go-micro-rabbitmq.json', import.meta.url), 'utf8')) as {
  readonly published: readonly {
    readonly routingKey: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  }[];
};
const seams = { runtime: systemRuntime, logger: silentLogger };

describeWithServer('RabbitMqBroker', new BackendServer('rabbitmq'), (server) => {
  const stage = new Stage();

  describe('publishing', () => {
    test('for which no queue is bound resolves and is logged once, or is refused', async () => {
      const { broker, logger } = await stage.broker(server.address);
      await publishText(broker, 'nobody', 'x');
      await publishText(broker, 'nobody', 'y');
      expect(logger.texts).toEqual(['warn an event was published that nobody gets: no queue is bound for its topic']);
      const { broker: strict } = await stage.broker(server.address, { unroutable: 'refuse' });
      await expect(publishText(strict, 'nobody', 'x')).rejects.toMatchObject({
        code: Code.FailedPrecondition,
        reason: 'broker.unroutable',
        message: expect.stringContaining('cannot publish to "nobody": nobody has subscribed to it'),
      });
      const received = collector();
      await strict.subscribe('nobody', received.receive);
      await publishText(strict, 'nobody', 'z');
      await eventually('the event', () => received.texts.includes('z'), patienceMs);
    });

    test('at once from two brokers tells the returned events from the others', async () => {
      const { broker } = await stage.broker(server.address, { unroutable: 'refuse' });
      const received = collector();
      await broker.subscribe('somebody', received.receive, { queue: 'q' });
      const all = await Promise.allSettled(
        Array.from({ length: 400 }, (_, at) => publishText(broker, at % 2 === 0 ? 'somebody' : 'no one', String(at))),
      );
      expect(all.map(({ status }) => status)).toEqual(all.map((_, at) => (at % 2 === 0 ? 'fulfilled' : 'rejected')));
      await eventually('all that have a queue', () => received.texts.length === 200, patienceMs);
    });

    test('to an exchange that was deleted rejects with the words of RabbitMQ, and makes it again', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const received = collector();
      await broker.subscribe('gone', received.receive, { queue: 'q' });
      await client.channel.deleteExchange('tenon');
      const message = expect.stringMatching(/NOT_FOUND - no exchange 'tenon'/);
      const refused = { code: Code.NotFound, reason: 'broker.refused', message };
      const both = await Promise.allSettled([publishText(broker, 'gone', 'lost'), publishText(broker, 'gone', 'lost')]);
      for (const one of both) expect(one).toMatchObject({ status: 'rejected', reason: refused });
      // The queue has lost its binding, and gets it again from who subscribes.
      await broker.subscribe('gone', received.receive, { queue: 'q' });
      await publishText(broker, 'gone', 'again');
      await eventually('the event', () => received.texts.includes('again'), patienceMs);
      expect(received.texts).toEqual(['again']);
    });

    test('of headers and topics that RabbitMQ cannot have is refused before it is sent', async () => {
      const { broker } = await stage.broker(server.address);
      const invalid = { code: Code.InvalidArgument, reason: 'broker.invalid_headers' };
      await expect(publishText(broker, 'odd', 'x', { CC: 'other' })).rejects.toMatchObject(invalid);
      await expect(publishText(broker, 'odd', 'x', { ['n'.repeat(256)]: '' })).rejects.toMatchObject(invalid);
      await expect(publishText(broker, 'odd', 'x', { a: 'y'.repeat(70_000) })).rejects.toMatchObject({
        code: Code.ResourceExhausted,
        reason: 'broker.too_large',
      });
      await expect(publishText(broker, 't'.repeat(256), 'x')).rejects.toMatchObject({ reason: 'broker.invalid_topic' });
      await expect(broker.subscribe('t'.repeat(200), () => {}, { queue: 'q'.repeat(100) })).rejects.toMatchObject({
        code: Code.InvalidArgument,
        reason: 'broker.invalid_topic',
      });
      const received = collector();
      await broker.subscribe('odd', received.receive);
      await publishText(broker, 'odd', 'x', { 'x-death': 'mine', 'x-tenon-attempt': '7', __proto__: 'x' });
      await eventually('the event', () => received.texts.length === 1, patienceMs);
      expect(received.events[0]).toMatchObject({ attempt: 1, headers: { 'x-death': 'mine', 'x-tenon-attempt': '7' } });
    });
  });

  describe('an attempt', () => {
    test('that ended the process is counted, and its event goes to another member', async () => {
      const { broker } = await stage.broker(server.address);
      const child = startNode(program, { args: [server.address, 'killed', 'holds'] });
      await child.waitForLine(/ready/);
      await publishText(broker, 'killed', 'precious', { kept: 'yes' });
      await child.waitForLine(/took precious at attempt 1/);
      const received = collector();
      await broker.subscribe('killed', received.receive, { queue: 'q' });
      await child.kill('SIGKILL');
      await eventually('the event', () => received.texts.length === 1, patienceMs);
      expect(received.events[0]).toMatchObject({ attempt: 2, headers: { kept: 'yes' } });
    }, 120_000);

    test('that ends the process each time does not count for the neighbours of its event', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const dead = collector();
      await broker.subscribe('poisoned.dead-letter', dead.receive, { queue: 'graves' });
      const first = await broker.subscribe('poisoned', () => undefined, { queue: 'q' });
      await first.unsubscribe();
      const names = ['poison', ...Array.from({ length: 9 }, (_, at) => `good ${at}`)];
      for (const name of names) await publishText(broker, 'poisoned', name);
      const handled = new Set<string>();
      const attempts = new Set<number>();
      let starts = 0;
      for (; dead.texts.length === 0 && starts < 10; starts += 1) {
        const child = startNode(program, { args: [server.address, 'poisoned', 'dies', '10'] });
        await Promise.race([child.exited, eventually('the dead letter', () => dead.texts.length > 0, patienceMs)]);
        if (child.exit === undefined) {
          await eventually(
            'nothing is left',
            async () => {
              const left = ['tenon/q/poisoned', 'tenon.redelivery/q/poisoned'].map((queue) => client.messages(queue));
              return (await Promise.all(left)).every((count) => count === 0);
            },
            patienceMs,
          );
          await child.kill('SIGKILL');
        }
        for (const line of child.lines) {
          const [, name] = /^handled (.*)$/.exec(line) ?? [];
          const [, attempt] = /^handles poison at attempt (\d+)$/.exec(line) ?? [];
          if (name !== undefined) handled.add(name);
          if (attempt !== undefined) attempts.add(Number(attempt));
        }
      }
      expect(dead.texts).toEqual(['poison']);
      // None of its attempts was missed: each has its number.
      expect([...attempts].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
      expect([starts, dead.events[0]?.headers['tenon-attempts']]).toEqual([5, '5']);
      expect([...handled].sort()).toEqual(names.slice(1).sort());
    }, 240_000);

    test('is delayed by the server: it survives the process and a restart of RabbitMQ', async () => {
      const { broker } = await stage.broker(server.address);
      const attempts: [string, number][] = [];
      const subscriber = await broker.subscribe(
        'waiting',
        async (event) => {
          attempts.push([event.id, event.attempt]);
          await event.nack({ delayMs: 4_000 });
        },
        { queue: 'q' },
      );
      await publishText(broker, 'waiting', 'later', { kept: 'yes' });
      const client = await stage.client(server);
      await eventually('it waits', async () => (await client.messages('tenon.delay.5000/q/waiting')) === 1, patienceMs);
      await client.makeAnotherQueue();
      await subscriber.unsubscribe();
      await broker.disconnect();
      await server.kill();
      await server.start();
      const { broker: other } = await stage.broker(server.address);
      const received = collector();
      await other.subscribe('waiting', received.receive, { queue: 'q' });
      await eventually('the event', () => received.texts.length === 1, patienceMs);
      expect(received.events[0]).toMatchObject({ id: attempts[0]?.[0], attempt: 2, headers: { kept: 'yes' } });
      expect(received.events[0]?.headers).toEqual({ kept: 'yes' });
    }, 180_000);

    test('with a long delay does not hold up one with a short delay', async () => {
      const { broker } = await stage.broker(server.address);
      const order: string[] = [];
      const receive = (event: Event): Promise<void> => {
        order.push(`${text(event)} ${event.attempt}`);
        if (event.attempt > 1) return event.ack();
        return event.nack({ delayMs: text(event) === 'long' ? 1_500 : 20 });
      };
      for (const queue of ['q', undefined]) {
        order.length = 0;
        const subscriber = await broker.subscribe(`delays.${queue}`, receive, { queue });
        await publishText(broker, `delays.${queue}`, 'long');
        await publishText(broker, `delays.${queue}`, 'short');
        await eventually('both', () => order.length === 4, patienceMs);
        expect(order).toEqual(['long 1', 'short 1', 'short 2', 'long 2']);
        await subscriber.unsubscribe();
      }
    }, 120_000);

    test('whose queue for its delay cannot be had waits as long in the process', async () => {
      const { broker, logger } = await stage.broker(server.address);
      const client = await stage.client(server);
      await client.channel.assertQueue('tenon.delay.5000/q/odd', { durable: true });
      const order: string[] = [];
      const receive = (event: Event): Promise<void> => {
        order.push(`${text(event)} ${event.attempt}`);
        return text(event) === 'odd' && event.attempt === 1 ? event.nack({ delayMs: 4_000 }) : event.ack();
      };
      await broker.subscribe('odd', receive, { queue: 'q' });
      await publishText(broker, 'odd', 'odd');
      const refusals = (): unknown[] => logger.lines.map(({ fields }) => fields?.['error']);
      await eventually('it is refused', () => refusals().length > 0, patienceMs);
      const message = expect.stringContaining('x-message-ttl none, and "5000" is wanted');
      expect(refusals()).toEqual([expect.objectContaining({ reason: 'broker.mismatch', message })]);
      const names = Array.from({ length: 20 }, (_, at) => `later ${at}`);
      for (const name of names) await publishText(broker, 'odd', name);
      await eventually('all', () => order.length === 22, patienceMs);
      expect(order).toEqual(['odd 1', ...names.map((name) => `${name} 1`), 'odd 2']);
    }, 60_000);

    test('gets the body as it was published, whatever another attempt did to it', async () => {
      const { broker } = await stage.broker(server.address);
      const bodies: string[] = [];
      await broker.subscribe(
        'changed',
        (event) => {
          bodies.push(text(event));
          event.body.fill(0);
          return event.attempt < 3 ? event.nack({ delayMs: event.attempt === 1 ? 0 : 20 }) : event.ack();
        },
        { queue: 'q' },
      );
      await publishText(broker, 'changed', 'as it was');
      await eventually('all attempts', () => bodies.length === 3, patienceMs);
      expect(bodies).toEqual(['as it was', 'as it was', 'as it was']);
    });
  });

  describe('a subscription', () => {
    test('with one slot handles a good event after one that cannot be handled', async () => {
      const { broker } = await stage.broker(server.address);
      const dead = collector();
      await broker.subscribe('mixed.dead-letter', dead.receive);
      const handled: string[] = [];
      const options = { queue: 'q', maxInFlight: 1, retry: 0 };
      const handle = async (event: Event): Promise<void> => {
        if (text(event) === 'unknown') return event.reject(new Error('no such pattern'));
        handled.push(text(event));
      };
      await deliver(broker, 'mixed', options, handle, seams);
      await publishText(broker, 'mixed', 'unknown');
      await publishText(broker, 'mixed', 'good');
      await eventually('both', () => handled.length === 1 && dead.texts.length === 1, patienceMs);
      expect([handled, dead.texts]).toEqual([['good'], ['unknown']]);
    });

    test('with one slot handles a good event after one whose handler hangs', async () => {
      const { broker } = await stage.broker(server.address);
      const dead = collector();
      await broker.subscribe('hanging.dead-letter', dead.receive);
      const handled: string[] = [];
      const options = { queue: 'q', maxInFlight: 1, retry: 0, handlerTimeoutMs: 200 };
      const handle = async (event: Event): Promise<void> => {
        if (text(event) === 'hangs') await new Promise(() => undefined);
        handled.push(text(event));
      };
      await deliver(broker, 'hanging', options, handle, seams);
      await publishText(broker, 'hanging', 'hangs');
      await publishText(broker, 'hanging', 'good');
      await eventually('both', () => handled.length === 1 && dead.texts.length === 1, patienceMs);
      expect([handled, dead.texts]).toEqual([['good'], ['hangs']]);
      expect(dead.events[0]?.headers['tenon-dead-letter-reason']).toBe('broker.handler_timeout');
    });

    test('leaves what it has no slot for to others: RabbitMQ sends maxInFlight events', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const [held, other] = [new Set<Event>(), collector()];
      const slow = await broker.subscribe('shared', (event) => void held.add(event), { queue: 'q', maxInFlight: 3 });
      for (let at = 0; at < 20; at += 1) await publishText(broker, 'shared', String(at));
      await eventually('the slots are full', () => held.size === 3, patienceMs);
      await eventually('the others wait', async () => (await client.messages('tenon/q/shared')) === 17, patienceMs);
      await broker.subscribe('shared', other.receive, { queue: 'q' });
      await eventually('the others', () => other.texts.length === 17, patienceMs);
      await slow.unsubscribe(AbortSignal.abort());
      await eventually('those that were released', () => other.texts.length === 20, patienceMs);
    }, 120_000);

    test('that waits for keys gets further events, and closes the consumers that it added for them', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const handled: string[] = [];
      let release = (): void => undefined;
      const released = new Promise<void>((resolve) => (release = resolve));
      const handle = async (event: Event): Promise<void> => {
        if (text(event) === 'held 0') await released;
        handled.push(text(event));
      };
      const subscriber = await deliver(broker, 'keys', { queue: 'q', maxInFlight: 2 }, handle, seams);
      const send = (name: string, orderKey: string): Promise<void> =>
        broker.publish('keys', { headers: {}, body: Buffer.from(name) }, { orderKey });
      for (let at = 0; at < 200; at += 1) await send(`held ${at}`, 'a');
      await send('free', 'b');
      await eventually('the other key', () => handled.length === 1, patienceMs);
      expect(handled).toEqual(['free']);
      expect(await client.consumers('tenon/q/keys')).toBeGreaterThan(1);
      release();
      await eventually('all', () => handled.length === 201, patienceMs);
      expect(handled.slice(1)).toEqual(Array.from({ length: 200 }, (_, at) => `held ${at}`));
      for (let at = 0; at < 300; at += 1) await send(`more ${at}`, `key ${at}`);
      await eventually('more', () => handled.length === 501, patienceMs);
      await eventually('one consumer is left', async () => (await client.consumers('tenon/q/keys')) === 1, patienceMs);
      await subscriber.unsubscribe();
      expect(await client.consumers('tenon/q/keys')).toBe(0);
    }, 120_000);

    test('that pulls has a consumer only while it asks, and leaves the rest to others', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const pulled = broker.pull('asked', { queue: 'q', maxInFlight: 1 })[Symbol.asyncIterator]();
      const first = pulled.next();
      await eventually('it consumes', async () => (await client.consumers('tenon/q/asked')) === 1, patienceMs);
      for (const name of ['a', 'b', 'c']) await publishText(broker, 'asked', name);
      const { value: one } = (await first) as { value: Event };
      await one.ack();
      await eventually('it consumes no more', async () => (await client.consumers('tenon/q/asked')) === 0, patienceMs);
      const other = collector();
      await broker.subscribe('asked', other.receive, { queue: 'q' });
      await eventually('the others', () => other.texts.length === 2, patienceMs);
      expect([text(one), other.texts]).toEqual(['a', ['b', 'c']]);
      await pulled.return?.();
    });

    test('that pulls one event after another counts each once, also of several that are asked for', async () => {
      const { broker } = await stage.broker(server.address);
      const first = await broker.subscribe('counted', () => undefined, { queue: 'q' });
      await first.unsubscribe();
      const names = Array.from({ length: 60 }, (_, at) => String(at));
      for (const name of names) await publishText(broker, 'counted', name);
      const pulled = broker.pull('counted', { queue: 'q' })[Symbol.asyncIterator]();
      const got: string[] = [];
      const take = async (): Promise<void> => {
        const { value } = (await pulled.next()) as { value: Event };
        got.push(`${text(value)} ${value.attempt}`);
        await value.ack();
      };
      for (let at = 0; at < 30; at += 1) await take();
      for (let at = 0; at < 10; at += 1) await Promise.all([take(), take(), take()]);
      expect(got).toEqual(names.map((name) => `${name} 1`));
      await pulled.return?.();
    }, 120_000);

    test('that pulls gets an event that another has given back', async () => {
      const { broker } = await stage.broker(server.address);
      for (let time = 0; time < 10; time += 1) {
        const held: Event[] = [];
        const holder = await broker.subscribe('given', (event) => void held.push(event), { queue: 'q' });
        await publishText(broker, 'given', 'x');
        await eventually('it is in hand', () => held.length === 1, patienceMs);
        const pulled = broker.pull('given', { queue: 'q' })[Symbol.asyncIterator]();
        const next = pulled.next();
        await holder.unsubscribe(AbortSignal.abort());
        const { value: given } = (await next) as { value: Event };
        expect(given.attempt).toBe(2);
        await given.ack();
        await pulled.return?.();
      }
    }, 60_000);

    test('without a queue has a queue of its own, which is gone with it', async () => {
      const { broker } = await stage.broker(server.address);
      const list = async (): Promise<string> => server.tool('rabbitmqctl', 'list_queues', '--silent', 'name');
      const received = collector();
      const subscriber = await broker.subscribe('own', received.receive);
      const watched = broker.watch('own')[Symbol.asyncIterator]();
      const seen = watched.next();
      await eventually('two queues', async () => ((await list()).match(/amq\.gen-/g) ?? []).length === 2, patienceMs);
      await publishText(broker, 'own', 'x');
      expect(text((await seen).value as Event)).toBe('x');
      await eventually('the event', () => received.texts.length === 1, patienceMs);
      await subscriber.unsubscribe();
      await watched.return?.();
      await eventually('no queue', async () => !(await list()).includes('amq.gen-'), patienceMs);
    }, 120_000);

    test('redelivers nothing that was acknowledged when its broker disconnects', async () => {
      const { broker } = await stage.broker(server.address);
      const { broker: other } = await stage.broker(server.address);
      const acknowledged: string[] = [];
      await broker.subscribe(
        'drained',
        (event) => {
          acknowledged.push(text(event));
          return event.ack();
        },
        { queue: 'q' },
      );
      await Promise.all(Array.from({ length: 2_000 }, (_, at) => publishText(other, 'drained', String(at))));
      await eventually('some', () => acknowledged.length > 100, patienceMs);
      await broker.disconnect();
      const rest = collector();
      await other.subscribe('drained', rest.receive, { queue: 'q' });
      await eventually('the rest', () => new Set([...acknowledged, ...rest.texts]).size === 2_000, patienceMs);
      expect(rest.texts.filter((one) => acknowledged.includes(one))).toEqual([]);
    }, 120_000);
  });

  describe('what exists with other properties', () => {
    test('is named with the property, what is wanted and found, and nothing is tried again', async () => {
      const { broker, logger } = await stage.broker(server.address);
      const client = await stage.client(server);
      const received = collector();
      await broker.subscribe('fine', received.receive, { queue: 'q' });
      await client.channel.assertQueue('tenon/q/taken', { durable: true });
      const what = 'queue \'tenon/q/taken\' exists on the broker "rabbitmq" with';
      await expect(broker.subscribe('taken', () => {}, { queue: 'q' })).rejects.toMatchObject({
        code: Code.FailedPrecondition,
        reason: 'broker.mismatch',
        message: expect.stringMatching(`${what} x-[a-z-]+ none, and .* is wanted.*TENON_RABBITMQ_QUEUE_TYPE`),
      });
      // Nobody else's channel was closed by it.
      await publishText(broker, 'fine', 'still');
      await eventually('the event', () => received.texts.includes('still'), patienceMs);
      expect([broker.status.state, logger.texts]).toEqual(['connected', []]);
    });

    test('refuses the start if it is the exchange', async () => {
      const client = await stage.client(server);
      await client.channel.deleteExchange('micro');
      await client.channel.assertExchange('micro', 'fanout', { durable: false });
      await expect(stage.broker(server.address, { dialect: 'go-micro' })).rejects.toMatchObject({
        code: Code.FailedPrecondition,
        reason: 'broker.mismatch',
        message: expect.stringMatching(/exchange.*micro.*type.*fanout.*topic/),
      });
      await client.channel.deleteExchange('micro');
    });

    test('is asked for with a limit of redeliveries of our own', async () => {
      const { broker } = await stage.broker(server.address);
      const subscriber = await broker.subscribe('limited', () => {}, { queue: 'q' });
      const listed = await server.tool('rabbitmqctl', 'list_queues', '--silent', 'name', 'type', 'arguments');
      const [line = ''] = listed.split('\n').filter((one) => one.startsWith('tenon/q/limited'));
      expect(line).toMatch(/quorum/);
      expect(line).toMatch(/x-delivery-limit.*2000000000/);
      expect(line).not.toContain('x-dead-letter');
      await subscriber.unsubscribe();
    }, 60_000);
  });

  describe('other programs', () => {
    test('publish and read as they are used to', async () => {
      const { broker } = await stage.broker(server.address);
      const client = await stage.client(server);
      const received = collector();
      await broker.subscribe('foreign', received.receive, { queue: 'q' });
      client.channel.publish('tenon', 'foreign', Buffer.from('{}'), {
        contentType: 'application/json',
        headers: { colour: 'blue', count: 3 },
      });
      await eventually('the event', () => received.texts.length === 1, patienceMs);
      expect(received.events[0]?.headers).toEqual({
        colour: 'blue',
        count: '3',
        'Content-Type': 'application/json',
      });
      const { queue } = await client.channel.assertQueue('', { exclusive: true });
      await client.channel.bindQueue(queue, 'tenon', 'ours');
      await publishText(broker, 'ours', 'body', { 'Content-Type': 'text/plain', a: 'b' });
      let got: Awaited<ReturnType<typeof client.channel.get>> = false;
      await eventually(
        'ours',
        async () => (got = await client.channel.get(queue, { noAck: true })) !== false,
        patienceMs,
      );
      expect(got).toMatchObject({
        content: Buffer.from('body'),
        fields: { exchange: 'tenon', routingKey: 'ours' },
        properties: {
          contentType: 'text/plain',
          deliveryMode: 2,
          headers: { 'Content-Type': 'text/plain', a: 'b' },
          messageId: expect.any(String),
        },
      });
    });

    test.each(goMicro.published)('in Go Micro publish what is read: $headers', async (published) => {
      const { routingKey, headers, body } = published;
      const { broker } = await stage.broker(server.address, { dialect: 'go-micro' });
      const client = await stage.client(server);
      const received = collector();
      await broker.subscribe(routingKey, received.receive, { queue: 'q' });
      // As Go Micro declares it.
      await client.channel.assertExchange('micro', 'topic', { durable: false });
      client.channel.publish('micro', routingKey, Buffer.from(body, 'base64'), { headers });
      await eventually('the event', () => received.events.length === 1, patienceMs);
      expect(received.events[0]?.headers).toEqual(headers);
      expect(Buffer.from(received.events[0]?.body ?? []).toString('base64')).toBe(body);
    });

    test('in Go Micro read what is published: headers with the topic among them, and the body as it is', async () => {
      const { broker } = await stage.broker(server.address, { dialect: 'go-micro' });
      const client = await stage.client(server);
      // As Go Micro subscribes without a queue.
      const { queue } = await client.channel.assertQueue('', { durable: false, autoDelete: true });
      await client.channel.bindQueue(queue, 'micro', 'greeter.replies');
      await publishText(broker, 'greeter.replies', 'hello', { 'Content-Type': 'application/json' });
      let got: Awaited<ReturnType<typeof client.channel.get>> = false;
      await eventually(
        'ours',
        async () => (got = await client.channel.get(queue, { noAck: true })) !== false,
        patienceMs,
      );
      expect(got).toMatchObject({
        content: Buffer.from('hello'),
        properties: { headers: { 'Content-Type': 'application/json', 'Micro-Topic': 'greeter.replies' } },
      });
    });
  });

  test('an old RabbitMQ without what quorum queues need is refused, and classic queues are not', async () => {
    const sockets = new Set<Socket>();
    // Changes the version in what RabbitMQ says first.
    const proxy = createServer((near) => {
      const [host = '', port] = server.address.split(':');
      const far = connectTo(Number(port), host);
      for (const socket of [near, far]) sockets.add(socket.on('error', () => undefined));
      near.pipe(far);
      far.on('data', (bytes) => {
        const written = bytes
          .toString('latin1')
          .replace(/(version[^]{5})3\.1\d\.\d+/, (all, before: string) => `${before}3.9.`.padEnd(all.length, '1'));
        near.write(Buffer.from(written, 'latin1'));
      });
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(proxy.address() as { readonly port: number }).port}`;
    await expect(stage.broker(address)).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'broker.unsupported',
      message: expect.stringMatching(/needs RabbitMQ 3\.10 or newer: .*queueType: 'classic'/),
    });
    const { broker } = await stage.broker(address, { queueType: 'classic' });
    const received = collector();
    await broker.subscribe('old', received.receive, { queue: 'q' });
    await publishText(broker, 'old', 'x');
    await eventually('the event', () => received.texts.length === 1, patienceMs);
    await stage.end();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => proxy.close(resolve));
  });
});
