import { readFileSync } from 'node:fs';

import { describe, expect, test } from '@jest/globals';

import type { Event } from '../../src/broker/broker.ts';
import { HeaderReader, HeaderWriter, readPayload, writeFrame } from '../../src/broker/kit/frame.ts';
import { writeEnvelope } from '../../src/go-micro/event-envelope.ts';
import { RedisBroker, type RedisBrokerOptions } from '../../src/broker/redis.ts';
import { Code } from '../../src/errors/errors.ts';
import { parseRedisAddress } from '../../src/internal/redis.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { describeWithRedis } from '../support/servers.ts';
import { collector, publishText, RecordingLogger, eventually } from './support.ts';

/** What Go Micro's redis broker has published. */
const captured = JSON.parse(readFileSync(new URL('go-micro-redis.json', import.meta.url), 'utf8')) as {
  readonly published: readonly { readonly channel: string; readonly payload: string }[];
};

describe('the frame of RedisBroker', () => {
  const frameOf = (headers: Record<string, string>, body: string): Buffer =>
    writeFrame(new HeaderWriter().write(headers), Buffer.from(body));

  test('has the documented bytes', () => {
    expect(frameOf({ a: 'ü', bc: '' }, 'body').toString('latin1')).toBe('\xf7\x01\x09\x01a\x02\xc3\xbc\x02bc\x00body');
    expect(frameOf({}, '').toString('latin1')).toBe('\xf7\x01\x00');
    expect(
      frameOf({ k: 'x'.repeat(200) }, '')
        .subarray(0, 9)
        .toString('latin1'),
    ).toBe('\xf7\x01\xcc\x01\x01k\xc8\x01x');
  });

  test.each([
    [{}],
    [{ a: '' }],
    [{ '': 'a' }],
    [{ ключ: '🦊', 'a b': 'y' }],
    [{ ['n'.repeat(41)]: 'v'.repeat(42), ['ü'.repeat(41)]: '日'.repeat(42) }],
    [{ long: '🦊'.repeat(20_000) }],
    [JSON.parse('{"__proto__": "x", "constructor": "y"}') as Record<string, string>],
  ])('round-trips headers (%#)', (headers) => {
    const { headers: read, body } = readPayload(frameOf(headers, 'b'), new HeaderReader());
    expect(Object.entries(read)).toEqual(Object.entries(headers));
    expect(Buffer.from(body).toString()).toBe('b');
  });

  test('reuses the last header table only for equal headers', () => {
    const [writer, reader] = [new HeaderWriter(), new HeaderReader()];
    const headers: Record<string, string> = { a: '1', b: '2' };
    const trip = (): unknown => readPayload(writeFrame(writer.write(headers), Buffer.alloc(0)), reader).headers;
    const [first, second] = [trip(), trip()];
    expect(second).toBe(first);
    headers['b'] = '3';
    expect(trip()).toEqual({ a: '1', b: '3' });
    delete headers['b'];
    expect(trip()).toEqual({ a: '1' });
    headers['c'] = '3';
    expect(trip()).toEqual({ a: '1', c: '3' });
    expect(first).toEqual({ a: '1', b: '2' });
  });

  test.each([
    ['text', 'hello'],
    ['JSON of another kind', '{"a":1}'],
    ['an envelope with something else in it', '{"Header":{},"Body":"","More":1}'],
    ['an envelope whose headers are no texts', '{"Header":{"a":1},"Body":""}'],
    ['JSON that is cut off', '{"Header":{'],
    ['nothing', ''],
    ['a frame that is cut off', '\xf7\x01\x08\x01a'],
    ['a frame whose table is cut off', '\xf7\x01\x03\x01a\x05body'],
    ['a frame whose length does not end', '\xf7\x01\xff\xff\xff\xff\xff\xff'],
    ['a frame of another version', '\xf7\x02\x00'],
  ])('is all body if it is %s', (_name, payload) => {
    const bytes = Buffer.from(payload, 'latin1');
    const { headers, body } = readPayload(bytes, new HeaderReader());
    expect(headers).toEqual({});
    expect(Buffer.from(body).equals(bytes)).toBe(true);
  });
});

describe("Go Micro's envelope", () => {
  test('is read as Go Micro wrote it', () => {
    expect(captured.published.length).toBeGreaterThan(3);
    for (const { channel, payload } of captured.published) {
      const { headers, body } = readPayload(Buffer.from(payload), new HeaderReader());
      expect(headers['Micro-Topic']).toBe(channel);
      expect(headers['X-Trace-Id']).toBe('abc-123');
      const { Header, Body } = JSON.parse(payload) as { Header: object; Body: string };
      expect(headers).toEqual(Header);
      expect(Buffer.from(body).toString('base64')).toBe(Body);
    }
  });

  test('is written as Go Micro writes it, except for the order of the headers', () => {
    for (const { channel, payload } of captured.published) {
      const { Header, Body } = JSON.parse(payload) as { Header: Record<string, string>; Body: string };
      const { 'Micro-Topic': topic, ...headers } = Header;
      expect(topic).toBe(channel);
      const written = writeEnvelope(channel, headers, Buffer.from(Body, 'base64'));
      expect(JSON.parse(written)).toEqual({ Header, Body });
      expect(Object.keys(JSON.parse(written) as object)).toEqual(['Header', 'Body']);
      expect(written).toHaveLength(payload.length);
    }
  });

  test('is read with null as no headers and an empty body', () => {
    const { headers, body } = readPayload(Buffer.from('{"Header":null,"Body":null}'), new HeaderReader());
    expect([headers, body.length]).toEqual([{}, 0]);
  });
});

test.each([
  ['10.0.0.5:7000', '10.0.0.5:7000', { host: '10.0.0.5', port: 7000 }],
  ['redis.internal', 'redis.internal:6379', { host: 'redis.internal', port: 6379 }],
  ['[::1]:6380', '[::1]:6380', { host: '::1', port: 6380 }],
  ['redis://me:p%40ss@host:1234/2', 'host:1234', { host: 'host', port: 1234, username: 'me', password: 'p@ss', db: 2 }],
  ['rediss://host', 'host:6379', { host: 'host', port: 6379, tls: {} }],
])('RedisBroker parses the address %s', (address, shown, options) => {
  expect(new RedisBroker({ address }).address).toBe(shown);
  expect(parseRedisAddress(address)).toEqual(options);
});

test.each(['', ':6379', 'a:b', 'host:99999', 'a:1,b:2', 'http://host', 'redis://', 'redis://:secret@host/x'])(
  'RedisBroker refuses the address "%s"',
  (address) => {
    const make = (): RedisBroker => new RedisBroker({ address });
    expect(make).toThrow(expect.objectContaining({ code: Code.InvalidArgument, reason: 'broker.invalid_address' }));
    expect(make).not.toThrow(/secret/);
  },
);

describeWithRedis('RedisBroker over redis', (redis) => {
  async function connected(options: RedisBrokerOptions = {}): Promise<RedisBroker> {
    const broker = new RedisBroker({ address: redis.address, logger: silentLogger, ...options });
    await broker.connect();
    return broker;
  }

  test('reads both dialects, whichever it writes', async () => {
    const [native, goMicro] = [await connected(), await connected({ dialect: 'go-micro' })];
    const all = [collector(), collector()];
    await native.subscribe('greeter.events', all[0]!.receive);
    await goMicro.subscribe('greeter.events', all[1]!.receive);
    const client = redis.client();
    await publishText(native, 'greeter.events', 'native', { a: 'b' });
    await publishText(goMicro, 'greeter.events', 'go-micro', { a: 'b' });
    await client.publish('greeter.events', captured.published[0]!.payload);
    await client.publish('greeter.events', 'plain');
    for (const { events, texts } of all) {
      await eventually('four events', () => events.length === 4);
      expect(texts.filter((_text, index) => index !== 2)).toEqual(['native', 'go-micro', 'plain']);
      expect(events.map(({ headers }) => headers)).toEqual([
        { a: 'b' },
        { 'Micro-Topic': 'greeter.events', a: 'b' },
        (JSON.parse(captured.published[0]!.payload) as { Header: object }).Header,
        {},
      ]);
    }
    await Promise.all([native.disconnect(), goMicro.disconnect()]);
    client.disconnect();
  });

  test('drops events beyond maxBacklog of a slow subscriber, and logs them', async () => {
    const logger = new RecordingLogger();
    const [slow, publisher] = [await connected({ maxBacklog: 5, logger }), await connected()];
    const held: Event[] = [];
    const [received, quick] = [collector(), collector()];
    const subscriber = await slow.subscribe('busy', (event) => void held.push(event), { maxInFlight: 2 });
    await slow.subscribe('busy', quick.receive);
    for (let index = 0; index < 20; index += 1) await publishText(publisher, 'busy', String(index));
    await eventually('all at the quick one', () => quick.texts.length === 20);
    expect(held).toHaveLength(2);
    for (let index = 0; index < held.length; index += 1) {
      await received.receive(held[index] as Event);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(received.texts).toEqual(['0', '1', '2', '3', '4', '5', '6']);
    expect(logger.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)).toEqual([
      { topic: 'busy', maxBacklog: 5 },
      { topic: 'busy', dropped: 13 },
    ]);
    await subscriber.unsubscribe();
    await Promise.all([slow.disconnect(), publisher.disconnect()]);
  });

  test('delivers the events that have arrived before unsubscribe resolves', async () => {
    const broker = await connected();
    const held: Event[] = [];
    const [subscriber, quick] = [
      await broker.subscribe('draining', (event) => void held.push(event), { maxInFlight: 1 }),
      collector(),
    ];
    await broker.subscribe('draining', quick.receive);
    for (const body of ['a', 'b', 'c']) await publishText(broker, 'draining', body);
    await eventually('all', () => quick.texts.length === 3);
    const left = subscriber.unsubscribe();
    for (let index = 0; index < 3; index += 1) {
      await eventually('the next one', () => held.length > index);
      await held[index]?.ack();
    }
    await left;
    await broker.disconnect();
  });

  test('has one connection for all subscriptions, and unsubscribes from unused topics', async () => {
    const broker = await connected();
    const client = redis.client();
    const subscribers = await Promise.all(['x', 'y', 'x'].map((topic) => broker.subscribe(topic, () => {})));
    const list = async (): Promise<number> =>
      String(await client.call('CLIENT', 'LIST'))
        .split('\n')
        .filter((line) => line.includes('name=tenon:subscriptions')).length;
    expect([await list(), (await client.pubsub('CHANNELS')) as string[]]).toEqual([
      1,
      expect.arrayContaining(['x', 'y']),
    ]);
    await subscribers[0]?.unsubscribe();
    await subscribers[1]?.unsubscribe();
    await broker.publish('x', { headers: {}, body: Buffer.alloc(0) });
    expect(await client.pubsub('CHANNELS')).toEqual(['x']);
    await broker.disconnect();
    client.disconnect();
  });

  test('a channel that Redis refuses after a reconnect does not stay deaf, nor takes others along', async () => {
    const logger = new RecordingLogger();
    const broker = await connected({ logger });
    const client = redis.client();
    const [allowed, forbidden] = [collector(), collector()];
    await broker.subscribe('allowed', allowed.receive);
    await broker.subscribe('forbidden', forbidden.receive);
    const before = broker.status.sinceMs;
    await client.call('ACL', 'SETUSER', 'default', 'resetchannels', '&allowed');
    await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await eventually('it is back', () => broker.status.state === 'connected' && broker.status.sinceMs > before);
    expect(await client.pubsub('CHANNELS')).toEqual(['allowed']);
    await publishText(broker, 'allowed', 'at once');
    await eventually('the allowed one', () => allowed.texts.includes('at once'));
    await eventually('the refusal is logged', () =>
      logger.lines.some(({ level, message }) => level === 'warn' && message.includes('a subscription was interrupted')),
    );

    await client.call('ACL', 'SETUSER', 'default', 'allchannels');
    await eventually('it is subscribed to again', async () => {
      return ((await client.pubsub('CHANNELS')) as string[]).includes('forbidden');
    });
    await publishText(broker, 'forbidden', 'at last');
    await eventually('the forbidden one', () => forbidden.texts.includes('at last'));
    await broker.disconnect();
    client.disconnect();
  });
});
