import type { Socket } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import { MqttWriter, packetBytes, readPacket } from '../../src/broker/mqtt/messages.ts';
import { Sessions } from '../../src/broker/mqtt/sessions.ts';
import { type MqttEvent, MqttSubscription, RecentIds } from '../../src/broker/mqtt/subscription.ts';
import { MqttBroker } from '../../src/broker/mqtt.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { meaningOf } from '../../src/mqtt/errors.ts';
import { MqttRefusal, type MqttVersion, type PublishPacket } from '../../src/mqtt/mqtt.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { closing } from '../support/closing.ts';
import { socketServer } from '../support/socket-server.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { settled } from '../support/waiting.ts';
import { eventually, virtualRuntime } from './support.ts';

expectNothingUncaught();

const versions: readonly MqttVersion[] = ['5', '3.1.1'];
const event = (headers: Record<string, string>, body: string) => ({
  topic: 'orders',
  headers,
  body: Buffer.from(body),
  orderKey: undefined,
});
const packet = (payload: Buffer, properties?: PublishPacket['properties']): PublishPacket => ({
  topic: 'orders',
  payload,
  qos: 1,
  dup: false,
  retain: false,
  messageId: 1,
  properties,
});

describe('messages of MQTT', () => {
  const headers = { 'Content-Type': 'application/json', __odd: '', 'x-ключ': 'Wert' };

  it.each(versions)('have headers, body and id in version %s', (version) => {
    const { payload, properties } = new MqttWriter(version).write(event(headers, '{"a":1}'), 'id-1');
    const read = readPacket(packet(payload, properties));
    expect(read.id).toBe('id-1');
    expect(Object.entries(read.headers)).toEqual(Object.entries(headers));
    expect(Buffer.from(read.body).toString()).toBe('{"a":1}');
  });

  it('have headers as user properties and the bare body in version 5', () => {
    const { payload, properties } = new MqttWriter('5').write(event(headers, '{"a":1}'), 'id-1');
    expect(payload.toString()).toBe('{"a":1}');
    expect(properties).toEqual({
      contentType: 'application/json',
      userProperties: { ...headers, 'tenon-event-id': 'id-1' },
    });
  });

  it('of other programs have their payload as the body, and their content type as a header', () => {
    expect(readPacket(packet(Buffer.from('21.5')))).toEqual({ id: undefined, headers: {}, body: Buffer.from('21.5') });
    expect(readPacket(packet(Buffer.from('{}'), { contentType: 'application/json' })).headers).toEqual({
      'Content-Type': 'application/json',
    });
    const several = { userProperties: { unit: ['C', 'K'] }, contentType: 'text/plain' };
    expect(readPacket(packet(Buffer.from('21.5'), several)).headers).toEqual({
      'Content-Type': 'text/plain',
      unit: 'C,K',
    });
  });

  it('are measured as at least as long as they are', () => {
    const message = new MqttWriter('5').write(event({ a: 'b', c: 'x'.repeat(100) }, 'body'), 'id');
    expect(packetBytes(message)).toBeGreaterThanOrEqual(4 + 6 + 100 + 3 + 16);
  });
});

describe('sessions of MQTT', () => {
  const request = (queue: string | undefined, topic = 'orders') => ({
    topic,
    queue,
    mode: 'consume' as const,
    maxInFlight: 1,
    maxWaiting: 1,
    doing: 'subscribe',
  });

  it('have the same client id after a new start, and each subscription its own', () => {
    const idsOf = (): string[] => {
      const sessions = new Sessions('orders-0', systemRuntime);
      return [request('a'), request('a'), request('b'), request(undefined), request('a', 'other')].map(
        (one) => sessions.of(one).clientId,
      );
    };
    const ids = idsOf();
    expect(new Set(ids).size).toBe(5);
    expect(ids.every((id) => /^orders-0-[0-9a-f]{12}$/.test(id))).toBe(true);
    expect(idsOf()).toEqual(ids);
  });

  it('are those of the subscription whenever it is made again, and of the next one when it has ended', () => {
    const sessions = new Sessions('orders-0', systemRuntime);
    const first = request('a');
    const session = sessions.of(first);
    expect(sessions.of(first)).toBe(session);
    expect(sessions.of(request('a')).clientId).not.toBe(session.clientId);
    sessions.forget(first);
    expect(sessions.of(request('a')).clientId).toBe(session.clientId);
    // Who has it now keeps it.
    sessions.forget(first);
    expect(sessions.of(request('a')).clientId).not.toBe(session.clientId);
  });

  it('that are taken over again and again are given up, and not those of a server that starts again', () => {
    const runtime = virtualRuntime();
    const session = new Sessions('orders-0', runtime).of(request('a'));
    const main = {};
    const open = (connection: object): void => {
      session.assertAlone(connection);
      session.opened(connection);
    };
    for (let times = 0; times < 20; times += 1) open({});
    for (let times = 0; times < 5; times += 1) open(main);
    expect(() => open(main)).toThrow(/5 times, as if another one had its client id/);
  });

  it('whose connections last are not taken over', async () => {
    const runtime = virtualRuntime();
    const session = new Sessions('orders-0', runtime).of(request('a'));
    const main = {};
    for (let times = 0; times < 20; times += 1) {
      session.assertAlone(main);
      session.opened(main);
      await runtime.timers.advance(20_000);
    }
  });

  it('are durable for members of queues of a process with a name', () => {
    expect(new Sessions('orders-0', systemRuntime).of(request('a')).isDurable).toBe(true);
    expect(new Sessions('orders-0', systemRuntime).of(request(undefined)).isDurable).toBe(false);
    expect(new Sessions(undefined, systemRuntime).of(request('a')).isDurable).toBe(false);
  });
});

it('RecentIds forgets the oldest ids', () => {
  const ids = new RecentIds(2);
  for (const id of ['a', 'b', 'a', 'c']) ids.add(id);
  expect(['a', 'b', 'c'].map((id) => ids.has(id))).toEqual([true, false, true]);
});

it('a subscription of MQTT drops what comes with QoS 0 beyond its room, until it has caught up', () => {
  const delivered: MqttEvent[] = [];
  let drops = 0;
  const subscription = new MqttSubscription({
    session: new Sessions(undefined, systemRuntime).of({
      topic: 'orders',
      queue: undefined,
      mode: 'consume',
      maxInFlight: 1,
      maxWaiting: 1,
      doing: 'subscribe',
    }),
    sink: {
      demand: 1,
      isStopped: false,
      deliver: (one) => void delivered.push(one),
      wake: () => {},
      unsettled: () => [],
      settling: () => [],
      resetSession: () => {},
      fail: () => {},
    },
    isWatch: false,
    timers: systemRuntime.timers,
    onDrop: () => (drops += 1),
    onClose: async () => {},
  });
  subscription.resume();
  const send = (qos: number): void => subscription.onPacket({ ...packet(Buffer.from('21.5')), qos });
  for (let sent = 0; sent < 10_010; sent += 1) send(0);
  expect([delivered.length, drops]).toEqual([10_000, 1]);
  // What the server redelivers is not dropped.
  send(1);
  expect(delivered).toHaveLength(10_001);
  subscription.ack(delivered);
  send(0);
  expect([delivered.length, drops]).toEqual([10_002, 1]);
});

describe('MqttBroker', () => {
  it('stores events for members of queues only with a client id', () => {
    const { persistent, ack, durableOnMemberDeath } = MqttBroker.capabilities({ clientId: 'orders-0' });
    expect({ persistent, ack, durableOnMemberDeath }).toEqual({
      persistent: true,
      ack: true,
      durableOnMemberDeath: false,
    });
    expect(new MqttBroker({ logger }).capabilities).toMatchObject({ persistent: false, ack: false, nack: true });
  });

  it.each(['mosquitto:port', 'mqtt://user:secret@host', ''])('refuses the address "%s"', (address) => {
    expect(() => new MqttBroker({ address, logger })).toThrow(
      expect.objectContaining({ code: Code.InvalidArgument, message: expect.stringContaining('TENON_BROKER_ADDRESS') }),
    );
    expect(() => new MqttBroker({ address, logger })).not.toThrow(/secret/);
  });

  it.each(['', 'a\u0000b', 'line\nend', 'x'.repeat(201)])('refuses the client id %p', (clientId) => {
    expect(() => new MqttBroker({ clientId, logger })).toThrow(
      expect.objectContaining({
        code: Code.InvalidArgument,
        reason: 'broker.invalid_options',
        message: expect.stringContaining('TENON_MQTT_CLIENT_ID'),
      }),
    );
  });

  it('knows the ports of MQTT, with and without TLS', () => {
    const addressOf = (address: string): string => new MqttBroker({ address, logger }).address;
    expect(addressOf('one,two:1')).toBe('one:1883,two:1');
    expect(addressOf('mqtts://one,[::1]')).toBe('one:8883,[::1]:8883');
  });

  const wrongServers: [string, (socket: Socket) => void, RegExp][] = [
    ['says nothing', () => {}, /accepts connections, and says nothing\. TENON_BROKER_ADDRESS/],
    ['closes', (socket) => socket.destroy(), /before it answered|does not answer/],
    ['speaks HTTP', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /does not speak MQTT \(.*TENON_BROKER/],
  ];
  it.each(wrongServers)('fails once at a server that %s', async (_name, onConnection, message) => {
    let connections = 0;
    const address = await socketServer((socket) => {
      connections += 1;
      onConnection(socket);
    });
    const broker = new MqttBroker({ address, logger, timeoutMs: 500 });
    closing.push(() => broker.disconnect());
    // The broker's own limit must not come first.
    const error = await failureOf(broker.connect({ timeoutMs: 20_000 }));
    expect(error).toMatchObject({ code: Code.Unavailable, reason: 'broker.unreachable' });
    expect(error.message).toMatch(message);
    expect(connections).toBe(1);
    expect(broker.status.state).toBe('closed');
  });

  it('subscribes no more after a server has closed the connection at a subscription', async () => {
    let subscriptions = 0;
    const address = await socketServer((socket) => {
      socket.on('data', (bytes) => {
        // CONNECT is accepted in 3.1.1, SUBSCRIBE is not.
        if (bytes[0] === 0x10) socket.write(Buffer.of(0x20, 2, 0, 0));
        if (bytes[0] !== 0x82) return;
        subscriptions += 1;
        socket.destroy();
      });
    });
    const broker = new MqttBroker({ address, version: '3.1.1', logger });
    closing.push(() => broker.disconnect());
    await broker.connect();
    const error = await failureOf(broker.subscribe('orders', (one) => one.ack()));
    expect(error).toMatchObject({ code: Code.Unavailable, reason: 'broker.unreachable' });
    expect(await settled(() => subscriptions)).toBe(1);
  });

  it('leaves no socket at a server that says nothing', async () => {
    const sockets = new Set<Socket>();
    const address = await socketServer((socket) => {
      sockets.add(socket);
      socket.resume();
      socket.once('close', () => sockets.delete(socket));
    });
    const broker = new MqttBroker({ address, logger, timeoutMs: 60_000 });
    const connecting = failureOf(broker.connect());
    await eventually('a connection', () => sockets.size === 1);
    await broker.disconnect();
    await connecting;
    await eventually('no connection', () => sockets.size === 0);
  });
});

describe('refusals of MQTT', () => {
  const meaning = (step: MqttRefusal['step'], code: number, version: MqttVersion = '5') =>
    meaningOf(new MqttRefusal(step, code, 'no'), version, false);

  it('of credentials are UNAUTHENTICATED, in both versions', () => {
    for (const code of [4, 5]) expect(meaning('connect', code, '3.1.1').code).toBe(Code.Unauthenticated);
    for (const code of [0x86, 0x87]) expect(meaning('connect', code).code).toBe(Code.Unauthenticated);
  });

  it('of rights are PERMISSION_DENIED, and end a subscription', () => {
    expect(meaning('publish', 0x87)).toMatchObject({ code: Code.PermissionDenied });
    expect(meaning('subscribe', 0x87)).toMatchObject({ code: Code.PermissionDenied, isFinal: true });
  });

  it('of a busy server are an outage', () => {
    for (const code of [0x88, 0x89, 0x8b]) expect(meaning('connect', code).kind).toBe('unreachable');
    expect(meaning('connect', 3, '3.1.1').kind).toBe('unreachable');
  });

  it('of a version, and of a client id that another has, say what to set', () => {
    expect(meaning('connect', 1).said).toContain('TENON_MQTT_VERSION=3.1.1');
    expect(meaning('connect', 0x84).said).toContain('TENON_MQTT_VERSION=3.1.1');
    expect(meaning('connect', 2, '3.1.1')).toMatchObject({
      code: Code.InvalidArgument,
      isFinal: true,
      said: expect.stringContaining('TENON_MQTT_CLIENT_ID'),
    });
    expect(meaning('connection', 0x8e)).toMatchObject({
      isFinal: true,
      said: expect.stringContaining('TENON_MQTT_CLIENT_ID'),
    });
  });
});
