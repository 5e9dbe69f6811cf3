import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { MqttBroker, type MqttBrokerOptions } from '../../src/broker/mqtt.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { MqttVersion } from '../../src/mqtt/mqtt.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { authority } from '../support/certificates.ts';
import { closing } from '../support/closing.ts';
import { startNode } from '../support/process.ts';
import { BackendServer, describeWithServer, type ServerOptions, startServer } from '../support/servers.ts';
import { Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { gate } from '../support/waiting.ts';
import { collector, eventually, publishAtLast, publishText, RecordingLogger, text } from './support.ts';

expectNothingUncaught();

const patienceMs = 60_000;
const longMs = 180_000;
const versions: readonly MqttVersion[] = ['5', '3.1.1'];
const queue = 'q';
const folder = mkdtempSync(join(tmpdir(), 'tenon-mqtt-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let names = 0;
/** A name that no other test has. */
const unique = (): string => `test-${(names += 1)}`;

async function connected(server: { readonly address: string }, options: MqttBrokerOptions = {}) {
  const logger = new RecordingLogger();
  const broker = new MqttBroker({ address: server.address, logger, clientId: unique(), ...options });
  closing.push(() => broker.disconnect());
  await broker.connect();
  return { broker, logger };
}

/** A server of the test's own, which ends with it. */
async function ownServer(options: ServerOptions = {}): Promise<BackendServer> {
  const server = await startServer('mosquitto', options);
  closing.push(() => server.dispose());
  return server;
}

/** Publishes `after 1` and so on until the condition holds: a server may have lost the subscriptions of its members. */
async function publishedUntil(broker: MqttBroker, topic: string, holds: () => boolean): Promise<void> {
  let tried = 0;
  await eventually(
    'an event',
    async () => {
      if (!holds()) await publishAtLast(broker, topic, `after ${(tried += 1)}`);
      return holds();
    },
    patienceMs,
  );
}

const logOf = (server: BackendServer): string => readFileSync(join(server.folder, 'mosquitto.log'), 'utf8');

// A persistent one writes all that it has at each change, which takes long when that is much.
const keepsAll = new BackendServer('mosquitto', { args: ['max_queued_messages 0'] });
describeWithServer('MqttBroker over mosquitto', keepsAll, (server) => {
  describe.each(versions)('in version %s', (version) => {
    it(
      'keeps its connection, and acknowledges in the order of arrival, while handlers take longer than the keepalive',
      async () => {
        const own = await ownServer({ args: ['log_type all'] });
        const { broker } = await connected(own, { version, keepaliveMs: 1_000 });
        const held: Event[] = [];
        await broker.subscribe('slow', (event) => void held.push(event), { queue });
        for (const body of ['1', '2', '3', '4']) await publishText(broker, 'slow', body);
        await eventually('four events in flight', () => held.length === 4, patienceMs);
        // Pings are answered, and other events confirmed, meanwhile.
        const pings = (): number => logOf(own).split('Received PINGREQ').length;
        const connections = (): number => logOf(own).split('New client connected').length;
        const [before, connectionsBefore] = [pings(), connections()];
        await eventually('six pings', () => pings() >= before + 6, patienceMs);
        await publishText(broker, 'other', 'x');
        expect(broker.status.state).toBe('connected');
        expect(connections()).toBe(connectionsBefore);
        const acknowledged = (): string[] =>
          [...logOf(own).matchAll(/Received PUBACK from \S+ \(Mid: (\d+)/g)].map(([, id = '']) => id);
        const sent = [...logOf(own).matchAll(/Sending PUBLISH to \S+ \(d0, q1, r0, m(\d+), 'slow'/g)].map(
          ([, id = '']) => id,
        );
        expect(sent).toHaveLength(4);
        expect(acknowledged()).toEqual([]);
        // The last one first: it waits for the others.
        for (const event of held.toReversed()) await event.ack();
        await eventually('four acknowledgements', () => acknowledged().length === 4, patienceMs);
        expect(acknowledged()).toEqual(sent);
      },
      longMs,
    );

    it(
      'redelivers to the same client id what a process that was killed had in hand',
      async () => {
        const [topic, clientId] = [unique(), unique()];
        const { broker } = await connected(server, { version });
        const args = [server.address, version, clientId, topic];
        const member = startNode('test/broker/programs/mqtt-member.mjs', { args });
        await member.waitForLine(/ready/);
        await publishText(broker, topic, 'one');
        await member.waitForLine(/took one/);
        await publishText(broker, topic, 'two');
        await member.waitForLine(/took two/);
        await member.kill();
        await publishText(broker, topic, 'three');
        const { broker: back } = await connected(server, { version, clientId });
        const received = collector();
        await back.subscribe(topic, received.receive, { queue });
        await eventually('all three', () => received.texts.length >= 3, patienceMs);
        expect(received.texts).toEqual(['one', 'two', 'three']);
      },
      longMs,
    );

    it(
      'handles what waited in its session, from the first event on',
      async () => {
        const [topic, clientId] = [unique(), unique()];
        const { broker: publisher } = await connected(server, { version });
        const { broker: first } = await connected(server, { version, clientId });
        const member = await first.subscribe(topic, (event) => event.ack(), { queue });
        await member.unsubscribe();
        await first.disconnect();
        const count = 3_000;
        const all = Array.from({ length: count }, (_, index) => String(index));
        await Promise.all(all.map((body) => publishText(publisher, topic, body)));
        const { broker: second } = await connected(server, { version, clientId });
        const received = collector();
        await second.subscribe(topic, received.receive, { queue });
        await eventually('all', () => received.texts.length >= count, patienceMs);
        expect(received.texts).toEqual(all);
      },
      longMs,
    );

    it(
      'gives no other member what the server has assigned to one that is away, and all of it when it is back',
      async () => {
        const [topic, clientId] = [unique(), unique()];
        const { broker: one } = await connected(server, { version, clientId });
        const { broker: other } = await connected(server, { version });
        const [left, stays, back] = [collector(), collector(), collector()];
        await one.subscribe(topic, left.receive, { queue });
        await other.subscribe(topic, stays.receive, { queue });
        await one.disconnect();
        const all = Array.from({ length: 20 }, (_, index) => String(index));
        for (const body of all) await publishText(other, topic, body);
        const { broker: again } = await connected(server, { version, clientId });
        await again.subscribe(topic, back.receive, { queue });
        const both = (): string[] => [...stays.texts, ...back.texts];
        await eventually('all', () => both().length >= all.length, patienceMs);
        expect(both().toSorted()).toEqual(all.toSorted());
        expect(back.texts.length).toBeGreaterThan(0);
        expect(MqttBroker.capabilities({ clientId }).durableOnMemberDeath).toBe(false);
      },
      longMs,
    );

    it(
      'goes on after an outage, with what was published when the server was back',
      async () => {
        const own = await ownServer({ persistent: true });
        const { broker, logger } = await connected(own, { version });
        const received = collector();
        await broker.subscribe('news', received.receive, { queue });
        await publishText(broker, 'news', 'before');
        await eventually('the first event', () => received.texts.includes('before'), patienceMs);
        await own.stop();
        await eventually('the outage', () => broker.status.state === 'away', patienceMs);
        await expect(publishText(broker, 'news', 'lost')).rejects.toMatchObject({
          code: Code.Unavailable,
          reason: 'broker.unreachable',
        });
        await own.start();
        const failures = await publishAtLast(broker, 'news', 'after 0');
        for (const error of failures) expect(error).toMatchObject({ reason: 'broker.unreachable' });
        await publishedUntil(broker, 'news', () => received.texts.some((one) => one.startsWith('after')));
        expect(received.texts).not.toContain('lost');
        expect(broker.status.state).toBe('connected');
        expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([]);
      },
      longMs,
    );

    it(
      'subscribes again after a restart of the server while a handler hangs, and delivers its event once more',
      async () => {
        const own = await ownServer({ persistent: true });
        const { broker } = await connected(own, { version });
        const { opened, open } = gate();
        closing.push(open);
        const taken: string[] = [];
        const options = { queue, maxInFlight: 2 };
        const hang = async (event: Event): Promise<void> => {
          taken.push(text(event));
          if (taken.length === 1) await opened;
          await event.ack();
        };
        await broker.subscribe('slow', hang, options);
        await publishText(broker, 'slow', 'hung');
        await eventually('the event', () => taken.length === 1, patienceMs);
        await own.restart();
        await eventually('the event once more', () => taken.length >= 2, patienceMs);
        expect(taken[1]).toBe('hung');
        await publishedUntil(broker, 'slow', () => taken.some((one) => one.startsWith('after')));
      },
      longMs,
    );

    it(
      'drops the acknowledgement of a connection that is gone, and handles the event once more',
      async () => {
        const toxiproxy = new Toxiproxy();
        await toxiproxy.start();
        closing.push(() => toxiproxy.dispose());
        const proxy = await toxiproxy.proxy(server.address);
        const topic = unique();
        const { broker } = await connected(proxy, { version });
        const { broker: publisher } = await connected(server, { version });
        const taken: Event[] = [];
        await broker.subscribe(topic, (event) => void taken.push(event), { queue });
        for (const body of ['first', 'second']) await publishText(publisher, topic, body);
        await eventually('both', () => taken.length === 2, patienceMs);
        // Acknowledged, and held back by the first one.
        await taken[1]?.ack();
        await proxy.cut();
        await eventually('the outage', () => broker.status.state === 'away', patienceMs);
        await taken[0]?.ack();
        await proxy.heal();
        await eventually('the event that was not acknowledged', () => taken.length === 3, patienceMs);
        await taken[2]?.ack();
        await publishText(publisher, topic, 'third');
        await eventually('the next event', () => taken.length === 4, patienceMs);
        await taken[3]?.ack();
        expect(taken.map(text)).toEqual(['first', 'second', 'first', 'third']);
      },
      longMs,
    );

    it(
      'notices a server that is silent, and goes on when it answers again',
      async () => {
        const own = await ownServer({ persistent: true });
        const { broker } = await connected(own, { version, keepaliveMs: 1_000, timeoutMs: 1_000 });
        const received = collector();
        await broker.subscribe('news', received.receive, { queue });
        own.pause();
        await expect(publishText(broker, 'news', 'unknown')).rejects.toMatchObject({ reason: 'broker.timeout' });
        await eventually('the outage', () => broker.status.state === 'away', patienceMs);
        expect(broker.status.lastError?.message).toMatch(/has not answered for a while|says nothing/);
        own.resume();
        await publishedUntil(broker, 'news', () => received.texts.some((one) => one.startsWith('after')));
      },
      longMs,
    );

    it(
      'ends a subscription whose client id another process has, and says so',
      async () => {
        const [topic, clientId] = [unique(), unique()];
        const ended: string[] = [];
        for (const name of ['one', 'other']) {
          const { broker } = await connected(server, { version, clientId });
          const subscriber = await broker.subscribe(topic, (event) => event.ack(), { queue });
          void subscriber.closed.then((error) => {
            if (error) ended.push(`${name}: ${error.reason} ${error.message}`);
          });
        }
        await eventually('the end of one', () => ended.length > 0, patienceMs);
        expect(ended[0]).toMatch(/broker\.refused .*TENON_MQTT_CLIENT_ID/);
      },
      longMs,
    );

    it(
      'refuses wrong credentials, and says what to set',
      async () => {
        const own = await ownServer({ credentials: { username: 'alice', password: 'right' } });
        const right = { username: 'alice', password: 'right' };
        await connected(own, { version, credentials: right });
        for (const credentials of [undefined, { ...right, password: 'wrong' }]) {
          const broker = new MqttBroker({ address: own.address, version, credentials, logger: new RecordingLogger() });
          const error = await failureOf(broker.connect());
          expect(error).toMatchObject({ code: Code.Unauthenticated, reason: 'broker.refused' });
          expect(error.message).toContain('TENON_BROKER_PASSWORD');
          expect(error.message).not.toContain('wrong');
          await broker.disconnect();
        }
      },
      longMs,
    );

    it(
      'stays away while its credentials are revoked, and goes on with the new ones',
      async () => {
        const own = await ownServer({ credentials: { username: 'alice', password: 'first' } });
        const passwordFile = join(folder, unique());
        writeFileSync(passwordFile, 'first');
        const { broker } = await connected(own, { version, credentials: { username: 'alice', passwordFile } });
        const received = collector();
        await broker.subscribe('news', received.receive);
        const file = join(own.folder, 'passwords');
        await own.tool('mosquitto_passwd', '-b', '-c', file, 'alice', 'second');
        own.signal('SIGHUP');
        await eventually('the outage', () => broker.status.state === 'away', patienceMs);
        await expect(publishText(broker, 'news', 'refused')).rejects.toBeInstanceOf(TenonError);
        writeFileSync(passwordFile, 'second');
        await publishedUntil(broker, 'news', () => received.texts.some((one) => one.startsWith('after')));
      },
      longMs,
    );

    it(
      'speaks TLS, shows a certificate, and trusts no stranger',
      async () => {
        const ca = authority();
        const write = (name: string, content: string): string => {
          const file = join(folder, `${version}-${name}`);
          writeFileSync(file, content);
          return file;
        };
        const certified = (name: string, names: readonly string[] = []) => {
          const { cert, key } = ca.issue({ name, names });
          return { certFile: write(`${name}.crt`, cert), keyFile: write(`${name}.key`, key) };
        };
        const caFile = write('ca.crt', ca.cert);
        const mine = certified('client');
        const tls = { ...certified('server', ['127.0.0.1']), caFile };
        const own = await ownServer({ tls: { ...tls, asksClients: true, probe: mine } });
        const { broker } = await connected(own, { version, tls: { caFile, ...mine } });
        const received = collector();
        await broker.subscribe('secret', received.receive);
        await publishText(broker, 'secret', 'x');
        await eventually('the event', () => received.texts.length === 1, patienceMs);
        const stranger = write('stranger.crt', authority('Stranger').cert);
        const wrong: [MqttBrokerOptions, RegExp][] = [
          [{ tls: { caFile: stranger, ...mine } }, /TENON_BROKER_TLS_CA_FILE/],
          [{ tls: { caFile, serverName: 'mqtt.internal', ...mine } }, /TENON_BROKER_TLS_SERVER_NAME/],
          [{ tls: { caFile } }, /TENON_BROKER_TLS_CERT_FILE|closed|does not answer/],
          [{}, /TENON_BROKER_TLS/],
        ];
        for (const [options, message] of wrong) {
          const other = new MqttBroker({ address: own.address, version, logger: new RecordingLogger(), ...options });
          const error = await failureOf(other.connect());
          expect(error).toMatchObject({ code: Code.Unavailable, reason: 'broker.unreachable' });
          expect(error.message).toMatch(message);
          await other.disconnect();
        }
        // A server in the clear hears nothing.
        const logger = new RecordingLogger();
        const clear = new MqttBroker({ address: server.address, version, tls: { caFile }, logger });
        expect(await failureOf(clear.connect())).toMatchObject({ reason: 'broker.unreachable' });
        await clear.disconnect();
      },
      longMs,
    );

    it(
      'goes to the next address',
      async () => {
        const [one, other] = [await ownServer(), await ownServer()];
        await one.stop();
        const { broker } = await connected({ address: `${one.address},${other.address}` }, { version });
        const received = collector();
        await broker.subscribe('news', received.receive);
        await publishText(broker, 'news', 'first');
        await eventually('the event', () => received.texts.includes('first'), patienceMs);
        await other.kill();
        await one.start();
        await publishedUntil(broker, 'news', () => received.texts.some((one) => one.startsWith('after')));
      },
      longMs,
    );

    it(
      'logs that the server has lost its sessions, and subscribes again',
      async () => {
        const own = await ownServer();
        const { broker, logger } = await connected(own, { version });
        const received = collector();
        await broker.subscribe('news', received.receive, { queue });
        await own.kill();
        await own.start();
        await publishedUntil(broker, 'news', () => received.texts.length > 0);
        expect(logger.texts).toContainEqual(expect.stringContaining('the server has lost a session'));
      },
      longMs,
    );

    it(
      'ends its session with its subscription, unless it stores events for a queue',
      async () => {
        const own = await ownServer({ args: ['log_type all'] });
        const { broker } = await connected(own, { version });
        const alone = await broker.subscribe('news', (event) => event.ack());
        await alone.unsubscribe();
        for (const body of ['a', 'b']) await publishText(broker, 'news', body);
        const received = collector();
        await broker.subscribe('news', received.receive);
        await publishText(broker, 'news', 'c');
        await eventually('the event', () => received.texts.length > 0, patienceMs);
        expect(received.texts).toEqual(['c']);
      },
      longMs,
    );

    it(
      'nacks within the process: the event comes again after its delay, and is acknowledged in its turn',
      async () => {
        const topic = unique();
        const { broker } = await connected(server, { version });
        const seen: string[] = [];
        const subscriber = await broker.subscribe(
          topic,
          (event) => {
            seen.push(text(event));
            return text(event) === 'bad' && seen.length < 4 ? event.nack({ delayMs: 50 }) : event.ack();
          },
          { queue },
        );
        for (const body of ['bad', 'good']) await publishText(broker, topic, body);
        await eventually('the last attempt', () => seen.length === 4, patienceMs);
        expect(seen).toEqual(['bad', 'good', 'bad', 'bad']);
        await subscriber.unsubscribe();
        const again = collector();
        await broker.subscribe(topic, again.receive, { queue });
        await publishText(broker, topic, 'last');
        await eventually('the last event', () => again.texts.length > 0, patienceMs);
        expect(again.texts).toEqual(['last']);
      },
      longMs,
    );

    it(
      'waits for handlers at its end, and redelivers nothing that was acknowledged',
      async () => {
        const [topic, clientId] = [unique(), unique()];
        const { broker } = await connected(server, { version, clientId });
        const { opened, open } = gate();
        let handled = 0;
        const subscriber = await broker.subscribe(
          topic,
          async (event) => {
            await opened;
            handled += 1;
            await event.ack();
          },
          { queue, maxInFlight: 4 },
        );
        const all = Array.from({ length: 50 }, (_, index) => String(index));
        await Promise.all(all.map((body) => publishText(broker, topic, body)));
        const ended = subscriber.unsubscribe();
        open();
        await ended;
        const left = collector();
        await broker.subscribe(topic, left.receive, { queue });
        await publishText(broker, topic, 'last');
        await eventually('the last event', () => left.texts.includes('last'), patienceMs);
        expect(left.texts.length - 1 + handled).toBe(all.length);
      },
      longMs,
    );

    it(
      'has the slashes of MQTT as the dots of a topic, and its wildcards',
      async () => {
        const root = unique();
        const { broker } = await connected(server, { version });
        const [one, rest] = [collector(), collector()];
        await broker.subscribe(`${root}.*.temp`, one.receive, { queue });
        await broker.subscribe(`${root}.>`, rest.receive);
        for (const name of ['1/temp', '1/2/temp', '1', '/temp'])
          await server.tool('mosquitto_pub', '-q', '1', '-t', `${root}/${name}`, '-m', name);
        await publishText(broker, `${root}.2.temp`, 'own');
        await eventually('the last event', () => one.texts.includes('own') && rest.texts.includes('own'), patienceMs);
        expect(one.events.map(({ topic }) => topic)).toEqual([`${root}.1.temp`, `${root}.2.temp`]);
        expect(rest.texts).toEqual(['1/temp', '1/2/temp', '1', 'own']);
      },
      longMs,
    );

    it(
      'delivers no retained message, which is of the past',
      async () => {
        const topic = unique();
        await server.tool('mosquitto_pub', '-q', '1', '-r', '-t', topic, '-m', 'past');
        const { broker } = await connected(server, { version });
        const [all, ofQueue] = [collector(), collector()];
        await broker.subscribe(topic, all.receive);
        await broker.subscribe(topic, ofQueue.receive, { queue });
        await publishText(broker, topic, 'present');
        await eventually('both', () => all.texts.length > 0 && ofQueue.texts.length > 0, patienceMs);
        expect([all.texts, ofQueue.texts]).toEqual([['present'], ['present']]);
      },
      longMs,
    );

    it(
      'sees events of other programs, and they see its events',
      async () => {
        const [topic, answers] = [unique(), unique()];
        const { broker } = await connected(server, { version });
        const received = collector();
        await broker.subscribe(topic, received.receive);
        await server.tool('mosquitto_pub', '-q', '1', '-t', topic, '-m', '21.5');
        await server.tool('mosquitto_pub', '-q', '0', '-t', topic, '-m', '22.5');
        await eventually('both', () => received.texts.length === 2, patienceMs);
        expect(received.texts).toEqual(['21.5', '22.5']);
        expect(received.events.map(({ headers }) => headers)).toEqual([{}, {}]);
        // A retained message is waited for without a race.
        const sub = server.tool('mosquitto_sub', '-V', '5', '-t', answers, '-C', '1', '-W', '30', '-F', '%p %P');
        let hasAnswered = false;
        void sub.then(() => (hasAnswered = true));
        await eventually(
          'its end',
          async () => {
            if (!hasAnswered) await publishText(broker, answers, 'body', { 'x-unit': 'C' });
            return hasAnswered;
          },
          patienceMs,
        );
        const shown = await sub;
        expect(shown).toContain('body');
        if (version === '5') expect(shown).toContain('x-unit:C');
      },
      longMs,
    );
  });

  it(
    'refuses an event over the limit of the server before it is sent, in version 5',
    async () => {
      const own = await ownServer({ args: ['max_packet_size 2000'] });
      const { broker } = await connected(own);
      const big = { headers: {}, body: Buffer.alloc(3_000) };
      const many = { headers: { x: 'y'.repeat(1_900) }, body: Buffer.alloc(500) };
      for (const message of [big, many]) {
        await expect(broker.publish('big', message)).rejects.toMatchObject({
          code: Code.ResourceExhausted,
          reason: 'broker.too_large',
        });
      }
      await publishText(broker, 'big', 'small');
      expect(broker.status.state).toBe('connected');
    },
    longMs,
  );

  it(
    'sends no more events at once than the server takes',
    async () => {
      const own = await ownServer({ args: ['max_inflight_messages 3'] });
      const { broker } = await connected(own);
      const received = collector();
      await broker.subscribe('many', received.receive);
      const all = Array.from({ length: 500 }, (_, index) => String(index));
      await Promise.all(all.map((body) => publishText(broker, 'many', body)));
      await eventually('all', () => received.texts.length >= all.length, patienceMs);
      expect(received.texts).toEqual(all);
    },
    longMs,
  );

  it(
    'logs a dead letter whose topic nobody has subscribed to: MQTT does not store it',
    async () => {
      const { broker, logger } = await connected(server);
      const topic = unique();
      const refuse = (event: Event): Promise<void> => event.reject(new Error('no good'));
      await broker.subscribe(topic, refuse, { queue });
      const lost = (): number => logger.texts.filter((line) => line.includes('a dead letter is lost')).length;
      await publishText(broker, topic, 'bad');
      await eventually('the log', () => lost() === 1, patienceMs);
      const letters = collector();
      await broker.subscribe(`${topic}.dead-letter`, letters.receive, { queue: 'letters' });
      await publishText(broker, topic, 'worse');
      await eventually('the dead letter', () => letters.texts.length === 1, patienceMs);
      expect([letters.texts, lost()]).toEqual([['worse'], 1]);
    },
    longMs,
  );

  it(
    'goes on in its session after a disconnect while the server was away',
    async () => {
      const toxiproxy = new Toxiproxy();
      await toxiproxy.start();
      closing.push(() => toxiproxy.dispose());
      const proxy = await toxiproxy.proxy(server.address);
      const topic = unique();
      const { broker } = await connected(proxy);
      const { broker: publisher } = await connected(server);
      const received = collector();
      await broker.subscribe(topic, received.receive, { queue });
      await proxy.cut();
      await eventually('the outage', () => broker.status.state === 'away', patienceMs);
      await broker.disconnect();
      await publishText(publisher, topic, 'stored');
      await proxy.heal();
      await broker.connect();
      await broker.subscribe(topic, received.receive, { queue });
      await eventually('the event', () => received.texts.length > 0, patienceMs);
      expect(received.texts).toEqual(['stored']);
    },
    longMs,
  );

  it(
    'stores events without end for a session that does not expire',
    async () => {
      const [topic, clientId] = [unique(), unique()];
      const forEver = { clientId, sessionExpiryMs: Infinity };
      const { broker: first } = await connected(server, forEver);
      await first.subscribe(topic, (event) => event.ack(), { queue });
      await first.disconnect();
      const { broker: publisher } = await connected(server);
      await publishText(publisher, topic, 'kept');
      const { broker: second } = await connected(server, forEver);
      const received = collector();
      await second.subscribe(topic, received.receive, { queue });
      await eventually('the event', () => received.texts.length > 0, patienceMs);
      expect(received.texts).toEqual(['kept']);
    },
    longMs,
  );

  it(
    'rejects a publish that the server forbids, and goes on',
    async () => {
      const acl = join(folder, 'acl');
      writeFileSync(acl, 'topic readwrite open/#\n');
      const own = await ownServer({ args: [`acl_file ${acl}`] });
      const { broker } = await connected(own);
      await expect(publishText(broker, 'closed.one', 'x')).rejects.toMatchObject({
        code: Code.PermissionDenied,
        reason: 'broker.refused',
      });
      const received = collector();
      await broker.subscribe('open.one', received.receive);
      await publishText(broker, 'open.one', 'x');
      await eventually('the event', () => received.texts.length === 1, patienceMs);
    },
    longMs,
  );
});
