import { createServer, type Socket } from 'node:net';

import { afterAll, describe, expect, test } from '@jest/globals';

import { RabbitMqBroker, type RabbitMqBrokerOptions } from '../../src/broker/rabbitmq.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { rabbitMqPlace } from '../../src/rabbitmq/address.ts';
import { attemptOf, copiedProperties, headersOf, idOf, propertiesOf, topicOf } from '../../src/rabbitmq/messages.ts';
import { incompatibility, replyOf } from '../../src/rabbitmq/rabbitmq.ts';
import { FrontServer } from '../support/front-server.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';

expectNothingUncaught();

type Message = Parameters<typeof headersOf>[0];

const message = (properties: object, fields: object = {}): Message =>
  ({
    properties: { headers: undefined, ...properties },
    fields: { redelivered: false, routingKey: 'orders', ...fields },
    content: Buffer.alloc(0),
  }) as unknown as Message;

describe('the address of a RabbitMQ', () => {
  const read = (address: string, hasCredentials = false): unknown =>
    rabbitMqPlace(address, hasCredentials, (shown, remedy) => new Error(`${shown}: ${remedy}`));
  const nothing = { username: undefined, password: undefined, vhost: undefined };

  test.each([
    ['10.0.0.1', { servers: [{ host: '10.0.0.1', port: 5672 }], isSecure: false, ...nothing }],
    ['amqps://mq.internal', { servers: [{ host: 'mq.internal', port: 5671 }], isSecure: true, ...nothing }],
    [
      'a:1, [::1]:2,c',
      {
        servers: [
          { host: 'a', port: 1 },
          { host: '::1', port: 2 },
          { host: 'c', port: 5672 },
        ],
        isSecure: false,
        ...nothing,
      },
    ],
    [
      'amqp://me:s%40cret@a:1,b:2/%2Fshop',
      {
        servers: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
        isSecure: false,
        username: 'me',
        password: 's@cret',
        vhost: '/shop',
      },
    ],
    ['me@a/', { servers: [{ host: 'a', port: 5672 }], isSecure: false, ...nothing, username: 'me' }],
  ])('%s is read', (address, place) => {
    expect(read(address)).toEqual(place);
  });

  test.each(['', 'http://a', 'a:0', 'a:70000', 'a b', 'a,', 'amqp://a/b/c', 'amqp://a?heartbeat=5', 'amqp://%zz@a'])(
    '%j is refused',
    (address) => {
      expect(() => read(address)).toThrow(/write host:port, several by commas, or amqp:/);
    },
  );

  test('a refusal shows no secret', () => {
    expect(() => read('amqp://me:secret@a b')).toThrow(/^(?!.*secret)/);
  });

  test('a user is said once', () => {
    expect(() => read('amqp://me:secret@a', true)).toThrow(/say them once/);
  });

  test('an invalid one fails the constructor', () => {
    const make = (): unknown => new RabbitMqBroker({ address: 'http://a', logger });
    expect(make).toThrow(expect.objectContaining({ code: Code.InvalidArgument, reason: 'broker.invalid_address' }));
  });
});

describe('a message of RabbitMQ', () => {
  test('has the headers of others as text, without those of RabbitMQ', () => {
    const headers = {
      colour: 'blue',
      count: 3,
      fresh: true,
      raw: Buffer.from('bytes'),
      list: ['a', 1],
      none: null,
      CC: ['x'],
      'x-death': [{ count: 1 }],
      'x-delivery-count': 2,
      'x-first-death-queue': 'q',
      'x-tenon-attempt': 2,
    };
    expect(headersOf(message({ headers }))).toEqual({
      colour: 'blue',
      count: '3',
      fresh: 'true',
      raw: 'bytes',
      list: '["a",1]',
      none: 'null',
    });
  });

  test('has the content type of its properties unless a header says it', () => {
    expect(headersOf(message({ contentType: 'text/plain' }))).toEqual({ 'Content-Type': 'text/plain' });
    const headers = { 'content-type': 'application/json' };
    expect(headersOf(message({ contentType: 'text/plain', headers }))).toEqual(headers);
    expect(propertiesOf('1', headers)).toEqual({
      messageId: '1',
      headers,
      persistent: true,
      contentType: 'application/json',
    });
    expect(propertiesOf('1', { 'Content-Type': 'x'.repeat(300) })).not.toHaveProperty('contentType');
  });

  test('counts the attempts of its copies, and one more when its receiver was lost', () => {
    expect(attemptOf(message({}))).toBe(1);
    expect(attemptOf(message({}, { redelivered: true }))).toBe(2);
    const copy = copiedProperties(message({ headers: { a: 'b' }, userId: 'me', expiration: '5', type: 't' }), 'id', 3);
    expect(copy).toEqual({
      messageId: 'id',
      headers: { a: 'b', 'x-tenon-attempt': 3, 'x-tenon-topic': 'orders' },
      persistent: true,
      type: 't',
    });
    const again = message(copy, { redelivered: true, routingKey: 'tenon/q/orders' });
    expect([attemptOf(again), topicOf(again), idOf(again), headersOf(again)]).toEqual([4, 'orders', 'id', { a: 'b' }]);
    for (const odd of ['x', -1, 0, null, {}])
      expect(attemptOf(message({ headers: { 'x-tenon-attempt': odd } }))).toBe(1);
    expect(idOf(message({ messageId: 5 }))).toBeUndefined();
  });
});

describe('an answer of RabbitMQ', () => {
  test('is found in an error of amqplib', () => {
    const text =
      "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'tenon/q/orders' in vhost '/': " +
      "received the value 'quorum' of type 'longstr' but current is none";
    const error = new Error(`Operation failed: QueueDeclare; 406 (PRECONDITION-FAILED) with message "${text}"`);
    expect(replyOf(error)).toEqual({ code: 406, text });
    const ofQueue = { what: "queue 'tenon/q/orders'", property: 'x-queue-type', wanted: 'quorum', found: undefined };
    expect(incompatibility(text)).toEqual(ofQueue);
    const ofExchange =
      "inequivalent arg 'type' for exchange 'a' in vhost '/': received 'topic' but current is 'fanout'";
    expect(incompatibility(ofExchange)).toEqual({
      what: "exchange 'a'",
      property: 'type',
      wanted: 'topic',
      found: 'fanout',
    });
    expect([replyOf(new Error('channel closed')), incompatibility('something else')]).toEqual([undefined, undefined]);
  });
});

describe('a server that is no RabbitMQ', () => {
  const fronts: FrontServer[] = [];
  afterAll(() => Promise.all(fronts.map((front) => front.close())));
  const connect = async (address: string, options: RabbitMqBrokerOptions = {}): Promise<unknown> => {
    const broker = new RabbitMqBroker({ address, timeoutMs: 300, logger, ...options });
    const error = await broker.connect().then(
      () => undefined,
      (failure: unknown) => failure,
    );
    expect([broker.status.state, broker.unwrap()]).toEqual(['closed', undefined]);
    await broker.disconnect();
    return error;
  };

  test.each(['page', 'garbage'] as const)('and answers with a %s is no address of the broker', async (mode) => {
    const front = await FrontServer.start(undefined, mode);
    fronts.push(front);
    expect(await connect(front.address)).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'broker.invalid_address',
      message: expect.stringContaining(`"${front.address}" is no address of the broker "rabbitmq": what listens there`),
    });
    expect(front.count).toBe(1);
  });

  test.each([
    ['silent', /does not answer\. .* If it wants TLS, say amqps/],
    ['close', /closed the connection in the handshake\. If it wants TLS, say amqps/],
  ] as const)('and is %s is unreachable', async (mode, why) => {
    const front = await FrontServer.start(undefined, mode);
    fronts.push(front);
    expect(await connect(front.address)).toMatchObject({
      code: Code.Unavailable,
      reason: 'broker.unreachable',
      message: expect.stringMatching(why),
    });
    expect(front.count).toBe(1);
  });

  test('with nobody at the address it is unreachable, and names all addresses', async () => {
    expect(await connect('127.0.0.1:1,127.0.0.1:2')).toMatchObject({
      code: Code.Unavailable,
      reason: 'broker.unreachable',
      message: expect.stringContaining('127.0.0.1:1,127.0.0.1:2 does not answer. Start it, or set TENON_BROKER_'),
    });
  });

  test('and speaks TLS only is unreachable, with what to say', async () => {
    const sockets = new Set<Socket>();
    // What a server of TLS answers to who does not speak it: an alert, and the end.
    const server = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      socket.once('data', () => socket.end(Buffer.from('15030300020246', 'hex')));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { readonly port: number };
    expect(await connect(`127.0.0.1:${port}`)).toMatchObject({
      reason: 'broker.unreachable',
      message: expect.stringContaining('If it wants TLS, say amqps:// (or TENON_BROKER_TLS)'),
    });
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
});
