import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

import { describe, expect, test } from '@jest/globals';

import { NameEncoding } from '../../src/broker/kit/name-encoding.ts';
import type { Msg } from '../../src/broker/nats/library.ts';
import { HeaderBlocks, queueNames, readHeaders, subjectRule } from '../../src/broker/nats/messages.ts';
import { NatsBroker } from '../../src/broker/nats.ts';
import { Code } from '../../src/errors/errors.ts';
import { readEnvelope, writeEnvelope } from '../../src/go-micro/event-envelope.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { socketServer } from '../support/socket-server.ts';
import { eventually } from './support.ts';

interface Published {
  readonly published: readonly { readonly subject: string; readonly payload: string }[];
}

/** What the nats brokers of Go Micro have published. */
const captured = JSON.parse(readFileSync(new URL('go-micro-nats.json', import.meta.url), 'utf8')) as {
  readonly v5: Published;
  readonly v4: Published;
};

/** A message as the client library gives it, with a block of headers. */
function messageWith(block: string | Buffer, body = ''): Msg {
  const head = Buffer.from(block);
  return { _msg: { hdr: head.length }, _rdata: Buffer.concat([head, Buffer.from(body)]) } as unknown as Msg;
}

describe('the headers of a message of NATS', () => {
  test('are the documented bytes', () => {
    const block = new HeaderBlocks().write({ a: '1', 'x-Case': 'ü', empty: '' });
    expect(String(block)).toBe('NATS/1.0\r\na: 1\r\nx-Case: ü\r\nempty: \r\n\r\n');
    expect(String(new HeaderBlocks().write({}))).toBe('NATS/1.0\r\n\r\n');
    expect(String(new HeaderBlocks().write({ a: '1' }, 'topic key'))).toBe(
      'NATS/1.0\r\na: 1\r\nNats-Msg-Id: topic key\r\n\r\n',
    );
  });

  test.each([
    [{}],
    [{ a: '' }],
    [{ 'a b': 'y', 'a:b': 'z', ключ: '🦊' }],
    [{ blank: ' ', around: ' x ', lines: 'a\r\nb: c\u0000' }],
    [{ '%41': '%41 100%' }],
    [JSON.parse('{"__proto__": "x", "constructor": "y"}') as Record<string, string>],
  ])('are read as they were written (%#)', (headers) => {
    const block = new HeaderBlocks().write(headers) as Buffer;
    expect(Object.entries(readHeaders(messageWith(block, 'body')) ?? {})).toEqual(Object.entries(headers));
  });

  test('are written anew when they change, and kept when they do not', () => {
    const blocks = new HeaderBlocks();
    const headers: Record<string, string> = { a: '1', b: '2' };
    const first = blocks.write(headers);
    expect(blocks.write({ ...headers })).toBe(first);
    headers['b'] = '3';
    expect(String(blocks.write(headers))).toContain('b: 3');
    expect(String(blocks.write({ b: '3', a: '1' }))).toContain('b: 3\r\na: 1');
    expect(String(blocks.write({ a: '1' }))).not.toContain('b: 3');
    expect(blocks.write({ a: '1' }, 'id')).not.toBe(blocks.write({ a: '1' }));
  });

  test.each(['Nats-Trace-Only', 'nats-ttl', 'NATS-Msg-Id'])('%s is for the server, and is not written', (name) => {
    expect(new HeaderBlocks().write({ a: '1', [name]: 'x' })).toBe(name);
  });

  test('of others are read whatever they are: several of a name, odd names, none for the server', () => {
    const block = 'NATS/1.0\r\nA: 1\r\nA: 2\r\nbad name: x\r\nno colon\r\n: empty\r\nNats-Msg-Id: 7\r\n\r\n';
    expect(readHeaders(messageWith(block))).toEqual({ A: '1, 2', 'bad name': 'x' });
  });

  test('are undefined where a message has none', () => {
    expect(readHeaders({ _msg: { hdr: -1 }, _rdata: Buffer.from('x') })).toBeUndefined();
  });
});

describe('subjects', () => {
  const subjects = new NameEncoding(subjectRule);

  test.each(['orders', 'orders.placed', 'Größe.日本', 'a-b_c', '100%'])('%s stays as it is', (topic) => {
    expect(subjects.encode(topic)).toBe(topic);
  });

  test.each([
    ['a b', 'a%20b'],
    ['a.*', 'a.%2A'],
    ['a.>', 'a.%3E'],
    ['a\u0000\n', 'a%00%0A'],
    ['$JS.API.STREAM.DELETE.x', '%24JS%2EAPI%2ESTREAM%2EDELETE%2Ex'],
    ['_INBOX.x', '%5FINBOX%2Ex'],
    ['.a', '%2Ea'],
    ['a.', 'a%2E'],
    ['a..b', 'a%2E%2Eb'],
  ])('%j is escaped', (topic, subject) => {
    expect(subjects.encode(topic)).toBe(subject);
    expect(subjects.fits(subject)).toBe(true);
  });

  test('names of queues are one word', () => {
    expect(queueNames.encode('billing workers.eu')).toBe('billing%20workers%2Eeu');
  });
});

describe.each(['v5', 'v4'] as const)("the envelope of Go Micro's nats broker, %s", (version) => {
  const { published } = captured[version];

  test('is read as it was written', () => {
    expect(published.length).toBeGreaterThan(2);
    for (const { subject, payload } of published) {
      const { Header, Body } = JSON.parse(payload) as { Header: Record<string, string>; Body: string };
      const content = readEnvelope(Buffer.from(payload));
      expect(content?.headers).toEqual(Header);
      expect(Header['Micro-Topic']).toBe(subject);
      expect(Buffer.from(content?.body ?? '').toString('base64')).toBe(Body);
    }
  });

  test('is written as Go Micro writes it, except for the order of the headers', () => {
    for (const { subject, payload } of published) {
      const { Header, Body } = JSON.parse(payload) as { Header: Record<string, string>; Body: string };
      const { 'Micro-Topic': _topic, ...headers } = Header;
      const written = writeEnvelope(subject, headers, Buffer.from(Body, 'base64'));
      expect(JSON.parse(written)).toEqual({ Header, Body });
      expect(written).toHaveLength(payload.length);
    }
  });
});

test.each([
  ['10.0.0.5:7000', '10.0.0.5:7000'],
  ['nats.internal', 'nats.internal:4222'],
  ['[::1]:7000', '[::1]:7000'],
  ['nats://a:1, nats://b', 'a:1,b:4222'],
])('NatsBroker parses the address %s', (address, shown) => {
  expect(new NatsBroker({ address }).address).toBe(shown);
});

test.each(['', ':4222', 'a:b', 'host:99999', 'http://host', 'nats://me:secret@host', 'a,,b'])(
  'NatsBroker refuses the address "%s"',
  (address) => {
    const make = (): NatsBroker => new NatsBroker({ address });
    expect(make).toThrow(expect.objectContaining({ code: Code.InvalidArgument, reason: 'broker.invalid_address' }));
    expect(make).not.toThrow(/secret/);
  },
);

describe('connect of NatsBroker', () => {
  const timeoutMs = 200;

  test('fails where nothing listens, and names the address and the remedy', async () => {
    const broker = new NatsBroker({ address: '127.0.0.1:1', logger, timeoutMs });
    await expect(broker.connect()).rejects.toMatchObject({
      code: Code.Unavailable,
      reason: 'broker.unreachable',
      message: expect.stringMatching(/"nats" at 127\.0\.0\.1:1 .*TENON_BROKER_ADDRESS/),
    });
    expect(broker.status.state).toBe('closed');
  });

  test('fails at a server that accepts and says nothing, and leaves no connection', async () => {
    let open = 0;
    const address = await socketServer((socket) => {
      open += 1;
      socket.on('close', () => (open -= 1));
      socket.resume();
    });
    const broker = new NatsBroker({ address, logger, timeoutMs });
    await expect(broker.connect()).rejects.toMatchObject({ reason: 'broker.unreachable' });
    await eventually('the end of its connection', () => open === 0);
  });

  test('fails at a server of another kind, and says so', async () => {
    const address = await socketServer((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await expect(new NatsBroker({ address, logger, timeoutMs }).connect()).rejects.toMatchObject({
      reason: 'broker.unreachable',
      message: expect.stringMatching(/is no server of NATS/),
    });
  });

  test.each([
    ['HTTP', () => createHttpServer()],
    ['TLS', () => createTlsServer()],
  ])('fails at a server of %s, which waits for its client to speak, and leaves no connection', async (_what, make) => {
    const server = make();
    let open = 0;
    server.on('connection', (socket: Socket) => {
      open += 1;
      socket.on('close', () => (open -= 1));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    await expect(new NatsBroker({ address, logger, timeoutMs }).connect()).rejects.toMatchObject({
      code: Code.Unavailable,
      reason: 'broker.unreachable',
      message: expect.stringMatching(/did not answer within 200 ms.*TENON_BROKER_ADDRESS/),
    });
    await eventually('the end of its connection', () => open === 0);
    await new Promise((resolve) => server.close(resolve));
  });

  test('fails at a server that hangs up at once', async () => {
    const address = await socketServer((socket) => socket.destroy());
    await expect(new NatsBroker({ address, logger, timeoutMs }).connect()).rejects.toMatchObject({
      reason: 'broker.unreachable',
    });
  });

  test('fails at a server that is too old for headers, and says which is needed', async () => {
    const address = await socketServer((socket) => {
      socket.write('INFO {"server_id":"x","version":"2.1.9","max_payload":1048576,"proto":1}\r\n');
      socket.on('data', () => socket.write('PONG\r\n'));
    });
    await expect(new NatsBroker({ address, logger, timeoutMs }).connect()).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'broker.unsupported',
      message: expect.stringMatching(/needs nats-server 2\.2 or newer: the server is 2\.1\.9, and lacks headers/),
    });
  });

  test('ends at once with disconnect, at a server that says nothing', async () => {
    let open = 0;
    const address = await socketServer((socket) => {
      open += 1;
      socket.on('close', () => (open -= 1));
      socket.resume();
    });
    const broker = new NatsBroker({ address, logger, timeoutMs: 600_000 });
    const connecting = broker.connect();
    connecting.catch(() => undefined);
    await eventually('a connection', () => open === 1);
    await broker.disconnect();
    await expect(connecting).rejects.toMatchObject({ reason: expect.stringMatching(/^broker\./) });
    await eventually('the end of its connection', () => open === 0);
  });

  test('a server that breaks the protocol later counts as lost', async () => {
    let served = 0;
    const info = { server_id: 'x', version: '2.11.0', max_payload: 1_048_576, headers: true, proto: 1 };
    const address = await socketServer((socket) => {
      served += 1;
      socket.write(`INFO ${JSON.stringify(info)}\r\n`);
      socket.on('data', (chunk) => {
        const isHandshake = !String(chunk).includes('SUB ');
        socket.write(isHandshake ? 'PONG\r\n' : 'NONSENSE\r\n');
      });
    });
    const broker = new NatsBroker({ address, logger, timeoutMs: 5_000 });
    await broker.connect();
    await expect(broker.subscribe('news', () => {})).rejects.toMatchObject({ reason: 'broker.unreachable' });
    await eventually('a second connection', () => served === 2);
    await broker.disconnect();
  });
});
