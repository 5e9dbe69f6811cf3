// What docs/broker.md says of events on a server, as the server's own tools show it, and what they publish.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';

import { hasCommand } from '../../scripts/backends/install.js';
import type { Broker, Event, SubscribeOptions } from '../../src/broker/broker.ts';
import { KafkaBroker } from '../../src/broker/kafka.ts';
import { MqttBroker, type MqttBrokerOptions } from '../../src/broker/mqtt.ts';
import { NatsJetStreamBroker } from '../../src/broker/nats-jetstream.ts';
import { NatsBroker } from '../../src/broker/nats.ts';
import { RabbitMqBroker } from '../../src/broker/rabbitmq.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { publishText, textOf } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';
import { run, TestProcess } from '../support/process.ts';
import { describeWith } from '../support/require.ts';
import { BackendServer, describeWithRedis, describeWithServer } from '../support/servers.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { eventually } from '../support/waiting.ts';
import { frame, headerTable, quoted, textsOf } from './redis-cli.ts';

const patienceMs = 60_000;
const limitMs = 180_000;
const headers = { 'Content-Type': 'text/plain', tenant: 'acme' };
const orderKey = 'o-1';
/** The headers of an event with that key. */
const written = { ...headers, 'tenon-order-key': orderKey };
const sent = 'from tenon é';
const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/.source;

async function connected<B extends Broker>(broker: B): Promise<B> {
  await broker.connect();
  closing.push(() => broker.disconnect());
  return broker;
}

/** Publishes an event with headers and an order key. */
function publish(broker: Broker, topic: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
  const body = new TextEncoder().encode(sent);
  return broker.publish(topic, { headers: { ...headers, ...more }, body }, { orderKey });
}

/** Subscribes. The events are there once the server has their acknowledgements. */
async function acknowledged(broker: Broker, topic: string, options: SubscribeOptions = {}) {
  const events: Event[] = [];
  const receive = async (event: Event): Promise<void> => {
    await event.ack();
    events.push(event);
  };
  const subscriber = await broker.subscribe(topic, receive, options);
  const first = async (count = 1): Promise<readonly Event[]> => {
    await eventually(`${count} events`, () => events.length >= count, patienceMs);
    return events;
  };
  return { subscriber, first };
}

/** Has the group of a queue made, as a service that was there before. */
async function makeGroup(broker: Broker, topic: string, queue: string): Promise<void> {
  const subscriber = await broker.subscribe(topic, () => undefined, { queue });
  await subscriber.unsubscribe();
}

function shown(event: Event | undefined): object {
  return { topic: event?.topic, headers: event?.headers, body: event && textOf(event) };
}

const noRedisCli = hasCommand('redis-cli') ? undefined : 'there is no redis-cli';

describeWith('redis-cli', 'redis', noRedisCli, () => {
  describeWithRedis('on channels', (redis) => {
    const cli = (...args: string[]): Promise<string> => redis.tool('redis-cli', ...args);

    test('SUBSCRIBE shows a frame of headers and body on the channel of the topic', async () => {
      const broker = await connected(new RedisBroker({ address: redis.address, logger }));
      const { command, args } = redis.toolCommand('redis-cli');
      const reading = new TestProcess(command, [...args, '--no-raw', 'SUBSCRIBE', 'orders.shown']);
      await reading.waitForLine(/^3\) \(integer\) 1$/, patienceMs);
      await publish(broker, 'orders.shown');
      await reading.waitForLine(/^3\) "/, patienceMs);
      expect(textsOf(reading.stdout).slice(-3)).toEqual(['message', 'orders.shown', frame(written, sent)]);
    });

    test('PUBLISH reaches a subscriber: as a body without headers, or as a frame', async () => {
      const broker = await connected(new RedisBroker({ address: redis.address, logger }));
      const { first } = await acknowledged(broker, 'orders.taken');
      expect(await cli('PUBLISH', 'orders.taken', 'from redis-cli é')).toBe('1\n');
      await cli('--quoted-input', 'PUBLISH', 'orders.taken', quoted(frame(written, 'framed')));
      const [plain, framed] = await first(2);
      expect(shown(plain)).toEqual({ topic: 'orders.taken', headers: {}, body: 'from redis-cli é' });
      expect(shown(framed)).toEqual({ topic: 'orders.taken', headers: written, body: 'framed' });
    });
  });

  describeWithRedis('on streams', (redis) => {
    const cli = (...args: string[]): Promise<string> => redis.tool('redis-cli', '--no-raw', ...args);

    test('XRANGE and XREADGROUP show an entry of the stream of the topic, and XACK counts', async () => {
      const broker = await connected(new RedisStreamsBroker({ address: redis.address, logger }));
      const key = 'tenon:events:orders.shown';
      await makeGroup(broker, 'orders.shown', 'billing');
      await publish(broker, 'orders.shown');
      const fields = ['h', headerTable(written), 'b', Buffer.from(sent).toString('latin1')];
      const [id = '', ...entry] = textsOf(await cli('XRANGE', key, '-', '+'));
      expect(id).toMatch(/^\d+-\d+$/);
      expect(entry).toEqual(fields);
      const read = await cli('XREADGROUP', 'GROUP', 'billing', 'redis-cli', 'STREAMS', key, '>');
      expect(textsOf(read)).toEqual([key, id, ...fields]);
      expect(await cli('XACK', key, 'billing', id)).toBe('(integer) 1\n');
    });

    test('XADD reaches a group, which acknowledges: with its other fields as headers, or with a header table', async () => {
      const broker = await connected(new RedisStreamsBroker({ address: redis.address, logger }));
      const key = 'tenon:events:orders.taken';
      const { first } = await acknowledged(broker, 'orders.taken', { queue: 'billing' });
      const added = textsOf(await cli('XADD', key, '*', 'b', 'from redis-cli é', 'tenant', 'acme'));
      await cli('--quoted-input', 'XADD', key, '*', 'h', quoted(headerTable(written)), 'b', 'tabled');
      const [plain, tabled] = await first(2);
      expect([plain?.id]).toEqual(added);
      expect(shown(plain)).toEqual({ topic: 'orders.taken', headers: { tenant: 'acme' }, body: 'from redis-cli é' });
      expect(shown(tabled)).toEqual({ topic: 'orders.taken', headers: written, body: 'tabled' });
      expect(await cli('XPENDING', key, 'billing')).toMatch(/^1\) \(integer\) 0$/m);
    });
  });
});

/** A message, as `nats sub --dump=-` prints it. */
interface DumpedMessage {
  readonly Subject: string;
  readonly Header: Readonly<Record<string, readonly string[]>>;
  readonly Data: string;
}

/** A part of what `nats consumer info --json` prints. */
interface ConsumerInfo {
  readonly num_ack_pending: number;
  readonly ack_floor: { readonly stream_seq: number };
}

/** Arguments and environment of the command line of NATS. */
function natsCommand(server: BackendServer, args: readonly string[]) {
  // Not the contexts of whoever runs the tests.
  const env = { XDG_CONFIG_HOME: server.folder, NATS_CONTEXT: undefined };
  return [toolPath('nats'), ['--server', server.address, '--timeout', '60s', ...args], { env }] as const;
}

/** Runs a command of NATS to its end, and returns what it printed. */
async function nats(server: BackendServer, ...args: string[]): Promise<string> {
  return (await run(...natsCommand(server, args))).stdout;
}

function dumped(stdout: string): object {
  const { Subject, Header, Data } = JSON.parse(stdout.replace('\0', '')) as DumpedMessage;
  return { subject: Subject, headers: Header, body: Buffer.from(Data, 'base64').toString() };
}

/** Headers as NATS has them, each with several values. */
function listed(of: Readonly<Record<string, string>>): object {
  return Object.fromEntries(Object.entries(of).map(([name, value]) => [name, [value]]));
}

describeWithTools('the nats command', ['nats'], () => {
  describeWithServer('on subjects', new BackendServer('nats'), (server) => {
    /** What the server says of its connections. */
    const connections = async (): Promise<string> => {
      const response = await fetch(`http://${server.details['monitor']}/connz?subs=detail`);
      return JSON.stringify(await response.json());
    };

    test('sub shows a message with its headers on the subject of the topic', async () => {
      const broker = await connected(new NatsBroker({ address: server.address, logger }));
      const reading = new TestProcess(...natsCommand(server, ['sub', 'orders.shown', '--count=1', '--dump=-']));
      const isThere = async (): Promise<boolean> => (await connections()).includes('"subject":"orders.shown"');
      await eventually('the subscription of nats', isThere, patienceMs);
      await publish(broker, 'orders.shown');
      expect((await reading.waitForExit(patienceMs)).code).toBe(0);
      expect(dumped(reading.stdout)).toEqual({ subject: 'orders.shown', headers: listed(written), body: sent });
    });

    test('pub reaches a queue, which is a queue group of the server', async () => {
      const broker = await connected(new NatsBroker({ address: server.address, logger }));
      const { first } = await acknowledged(broker, 'orders.taken', { queue: 'billing' });
      expect(await connections()).toContain('"subject":"orders.taken","qgroup":"billing"');
      await nats(server, 'pub', 'orders.taken', 'from nats é', '-H', 'tenant:acme', '-H', 'Content-Type:text/plain');
      await nats(server, 'pub', 'orders.taken', 'bare');
      const [event, bare] = await first(2);
      expect(shown(event)).toEqual({ topic: 'orders.taken', headers, body: 'from nats é' });
      expect(shown(bare)).toEqual({ topic: 'orders.taken', headers: {}, body: 'bare' });
    });
  });

  describeWithServer('on streams', new BackendServer('nats-jetstream'), (server) => {
    /** The number of messages up to which a group has acknowledged all; `undefined` if it has others in hand. */
    const settledIn = async (stream: string, group: string): Promise<number | undefined> => {
      const info = JSON.parse(await nats(server, 'consumer', 'info', stream, group, '--json')) as ConsumerInfo;
      return info.num_ack_pending === 0 ? info.ack_floor.stream_seq : undefined;
    };

    test('sub shows what a stream has of a topic, and consumer next takes it from a group', async () => {
      const broker = await connected(new NatsJetStreamBroker({ address: server.address, logger }));
      await makeGroup(broker, 'orders.shown', 'billing');
      await publish(broker, 'orders.shown', { 'tenon-dedupe-key': 'd-1' });
      const stream = 'tenon-orders=2Eshown';
      const all = await nats(server, 'sub', 'orders.shown', '--stream', stream, '--all', '--count=1', '--dump=-');
      const own = { 'tenon-dedupe-key': 'd-1', 'Nats-Msg-Id': 'orders.shown d-1' };
      expect(dumped(all)).toEqual({ subject: 'orders.shown', headers: listed({ ...written, ...own }), body: sent });
      const group = 'billing_orders=2Eshown';
      const next = await nats(server, 'consumer', 'next', stream, group);
      expect(next).toContain('subj: orders.shown / tries: 1 / cons seq: 1 / str seq: 1');
      expect(next).toContain(`\n${sent}\n`);
      // The command does not wait until the server has counted its acknowledgement.
      const isSettled = async (): Promise<boolean> => (await settledIn(stream, group)) === 1;
      await eventually('the acknowledgement of nats', isSettled, patienceMs);
    });

    test('pub reaches a group, which acknowledges', async () => {
      const broker = await connected(new NatsJetStreamBroker({ address: server.address, logger }));
      const { first } = await acknowledged(broker, 'orders.taken', { queue: 'billing' });
      await nats(server, 'pub', '--jetstream', 'orders.taken', 'from nats é', '-H', 'tenant:acme');
      const [event] = await first();
      expect(shown(event)).toEqual({ topic: 'orders.taken', headers: { tenant: 'acme' }, body: 'from nats é' });
      expect(await settledIn('tenon-orders=2Etaken', 'billing_orders=2Etaken')).toBe(1);
    });
  });
});

describeWithServer('the tools of Kafka', new BackendServer('kafka'), (server) => {
  const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
  const tools = 'org.apache.kafka.tools';

  /** Has the console producer publish lines: headers, key and body, with tabs between. */
  async function produce(topic: string, lines: readonly string[]): Promise<void> {
    const { command, args } = server.toolCommand(`${tools}.ConsoleProducer`);
    const options = ['--reader-property', 'parse.headers=true', '--reader-property', 'parse.key=true'];
    const own = ['--bootstrap-server', server.address, '--topic', topic, ...options];
    const producer = new TestProcess(command, [...args, ...own], { withInput: true });
    for (const line of lines) producer.writeLine(line);
    producer.endInput();
    const { code } = await producer.waitForExit(patienceMs);
    if (code !== 0)
      throw new Error(`the console producer ended with status ${code}
${producer.stderr}`);
  }

  test(
    'the console consumer shows a record: headers, the order key, and the body',
    async () => {
      const broker = await connected(new KafkaBroker({ address: server.address, logger, partitions: 1 }));
      await publish(broker, 'orders.shown');
      await publishText(broker, 'orders.shown', 'bare');
      const what = ['partition', 'headers', 'key'].flatMap((one) => ['--formatter-property', `print.${one}=true`]);
      const place = ['--bootstrap-server', server.address, '--topic', 'orders.shown', '--from-beginning'];
      const limits = ['--max-messages', '2', '--timeout-ms', String(patienceMs)];
      const said = await server.tool(`${tools}.consumer.ConsoleConsumer`, ...place, ...limits, ...what);
      const all = 'Content-Type:text/plain,tenant:acme,tenon-order-key:o-1';
      expect(said.split('\n')).toEqual([
        `Partition:0\t${all}\to-1\t${sent}`,
        'Partition:0\tNO_HEADERS\tnull\tbare',
        '',
      ]);
    },
    limitMs,
  );

  test(
    'the console producer reaches a group, which commits, and has the partition of a key in common with it',
    async () => {
      const broker = await connected(new KafkaBroker({ address: server.address, logger, partitions: 3 }));
      for (const key of keys) {
        const event = { headers: {}, body: new TextEncoder().encode(`${key} of tenon`) };
        await broker.publish('orders.taken', event, { orderKey: key });
      }
      await produce(
        'orders.taken',
        keys.map((key) => `tenant:acme,Content-Type:text/plain\t${key}\t${key} of Kafka é`),
      );
      const { first } = await acknowledged(broker, 'orders.taken', { queue: 'billing' });
      const events = await first(2 * keys.length);
      const ofKafka = events.filter((event) => event.headers['tenant'] === 'acme');
      expect(Object.fromEntries(ofKafka.map((event) => [textOf(event), event.headers]))).toEqual(
        Object.fromEntries(keys.map((key) => [`${key} of Kafka é`, { ...headers, 'tenon-order-key': key }])),
      );
      // The id of an event is its partition and its offset.
      const partitionOf = (text: string): string | undefined =>
        events.find((event) => textOf(event) === text)?.id.split('-')[0];
      const partitions = keys.map((key) => partitionOf(`${key} of tenon`));
      expect(keys.map((key) => partitionOf(`${key} of Kafka é`))).toEqual(partitions);
      expect(new Set(partitions).size).toBeGreaterThan(1);
      const place = ['--bootstrap-server', server.address, '--describe', '--group', 'billing'];
      const said = await server.tool(`${tools}.consumer.group.ConsumerGroupCommand`, ...place);
      const rows = [...said.matchAll(/^billing +orders\.taken +(\d) +(\d+) +(\d+) +(\d+) /gm)];
      expect(rows.map(([, , , , lag]) => lag)).toEqual(['0', '0', '0']);
      expect(rows.reduce((sum, [, , committed]) => sum + Number(committed), 0)).toBe(2 * keys.length);
    },
    limitMs,
  );
});

describeWithServer('mosquitto_sub and mosquitto_pub', new BackendServer('mosquitto'), (server) => {
  const make = (options: MqttBrokerOptions): Promise<MqttBroker> =>
    connected(new MqttBroker({ address: server.address, logger, ...options }));

  /** Has a session of the tool made, which stores what is published from now on. Returns what reads it. */
  async function session(version: string, topic: string, format: string, count = 1): Promise<() => Promise<string>> {
    const sub = ['-V', version, '-i', `tool of ${topic}`, '-c', '-q', '1', '-t', topic];
    await server.tool('mosquitto_sub', ...sub, '-E');
    return () => server.tool('mosquitto_sub', ...sub, '-C', String(count), '-W', '60', '-F', format);
  }

  test('of MQTT 5 show user properties, content type and payload on the topic with slashes', async () => {
    const broker = await make({});
    const read = await session('mqttv5', 'orders/shown', '%t|%q|%C|%P|%p');
    await publish(broker, 'orders.shown');
    const [topic, qos, type, properties, payload] = (await read()).trimEnd().split('|');
    expect([topic, qos, type, payload]).toEqual(['orders/shown', '1', 'text/plain', sent]);
    const all = `Content-Type:text/plain tenant:acme tenon-order-key:o-1 tenon-event-id:${uuid}-\\d+`;
    expect(properties).toMatch(new RegExp(`^${all}$`));
  });

  test('share the events of a queue with it, by the name of its shared subscription', async () => {
    const broker = await make({});
    const read = await session('mqttv5', '$share/billing/orders/shared', '%p', 2);
    const { first } = await acknowledged(broker, 'orders.shared', { queue: 'billing' });
    const all = ['one', 'two', 'three', 'four'];
    for (const text of all) await publishText(broker, 'orders.shared', text);
    const ofTool = (await read()).trimEnd().split('\n');
    const own = (await first(2)).map((event) => textOf(event));
    expect([...ofTool, ...own].toSorted()).toEqual(all.toSorted());
  });

  test('of MQTT 3.1.1 show a frame of headers and body', async () => {
    const broker = await make({ version: '3.1.1' });
    const read = await session('mqttv311', 'orders/framed', '%t %x');
    await publish(broker, 'orders.framed');
    const [topic, payload = ''] = (await read()).trimEnd().split(' ');
    expect(topic).toBe('orders/framed');
    const bytes = Buffer.from(payload, 'hex');
    const [id = ''] = new RegExp(`${uuid}-\\d+`).exec(bytes.toString('latin1')) ?? [];
    expect(bytes.toString('latin1')).toBe(frame({ ...written, 'tenon-event-id': id }, sent));
  });

  test.each(['mqttv5', 'mqttv311'] as const)('of %s reach a queue, which acknowledges', async (version) => {
    const own = { version: version === 'mqttv5' ? '5' : '3.1.1', clientId: `member-${version}` } as const;
    const broker = await make(own);
    const topic = `orders.taken.${version}`;
    const pub = ['-V', version, '-q', '1', '-t', topic.replaceAll('.', '/')];
    const properties = ['user-property tenant acme', 'content-type text/plain'].flatMap((one) => [
      '-D',
      'publish',
      ...one.split(' '),
    ]);
    const { first } = await acknowledged(broker, topic, { queue: 'billing' });
    await server.tool('mosquitto_pub', ...pub, ...(version === 'mqttv5' ? properties : []), '-m', 'from a tool é');
    const [event] = await first();
    const has = version === 'mqttv5' ? headers : {};
    expect(shown(event)).toEqual({ topic, headers: has, body: 'from a tool é' });
    // The session would have the event again, before a later one, if it was not acknowledged.
    await broker.disconnect();
    const later = await acknowledged(await make(own), topic, { queue: 'billing' });
    const file = join(server.folder, 'frame');
    writeFileSync(file, frame(written, 'framed'), 'latin1');
    await server.tool('mosquitto_pub', ...pub, '-f', file);
    const [framed] = await later.first();
    expect(shown(framed)).toEqual({ topic, headers: written, body: 'framed' });
  });
});

describeWithTools('pika', ['python-with-pika'], () => {
  describeWithServer('over RabbitMQ', new BackendServer('rabbitmq'), (server) => {
    const program = fileURLToPath(new URL('programs/pika-events.py', import.meta.url));
    const pika = async (...args: string[]): Promise<unknown> => {
      const { stdout } = await run(toolPath('python-with-pika'), [program, server.address, ...args]);
      return JSON.parse(stdout);
    };

    test(
      'gets a message from the exchange, and from the queue of a group',
      async () => {
        const broker = await connected(new RabbitMqBroker({ address: server.address, logger }));
        await pika('bind', 'of pika', 'tenon', 'orders.*');
        await makeGroup(broker, 'orders.shown', 'billing');
        await publish(broker, 'orders.shown');
        const message = {
          exchange: 'tenon',
          routing_key: 'orders.shown',
          message_id: expect.stringMatching(new RegExp(`^${uuid}-\\d+$`)) as unknown,
          content_type: 'text/plain',
          delivery_mode: 2,
          headers: written,
          body: sent,
        };
        expect(await pika('take', 'of pika')).toEqual(message);
        // A quorum queue adds the number of deliveries.
        const counted = { ...message, headers: expect.objectContaining(written) as unknown };
        expect(await pika('take', 'tenon/billing/orders.shown')).toEqual(counted);
        expect(await pika('take', 'tenon/billing/orders.shown')).toBeNull();
      },
      limitMs,
    );

    test(
      'reaches a group, which acknowledges',
      async () => {
        const broker = await connected(new RabbitMqBroker({ address: server.address, logger }));
        const { subscriber, first } = await acknowledged(broker, 'orders.taken', { queue: 'billing' });
        const properties = { message_id: 'm-1', content_type: 'text/plain', headers: { tenant: 'acme', count: 2 } };
        await pika('publish', 'tenon', 'orders.taken', 'from pika é', JSON.stringify(properties));
        const [event] = await first();
        expect(event?.id).toBe('m-1');
        expect(shown(event)).toEqual({
          topic: 'orders.taken',
          headers: { ...headers, count: '2' },
          body: 'from pika é',
        });
        await subscriber.unsubscribe();
        for (const queue of ['tenon', 'tenon.redelivery'])
          expect(await pika('count', `${queue}/billing/orders.taken`)).toBe(0);
      },
      limitMs,
    );
  });
});
