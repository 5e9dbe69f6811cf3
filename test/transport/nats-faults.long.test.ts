import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { okStatus } from '../../src/context/status.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { NatsTransport, type NatsTransportOptions } from '../../src/transport/nats.ts';
import type { Listener, Message, Socket } from '../../src/transport/transport.ts';
import { RawNats } from '../nats/support.ts';
import { authority } from '../support/certificates.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer, type ServerOptions } from '../support/servers.ts';
import { type ToxicProxy, Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';

expectNothingUncaught();

const patientMs = 30_000;
const route = {
  service: 'nats.Echo',
  method: 'Say',
  path: '/nats.Echo/Say',
  aliases: [],
  kind: 'bidi',
  input: anySchema,
  output: anySchema,
  idempotent: false,
  defaultContentType: 'application/grpc+json',
} as const;
const lost = { code: Code.Unavailable, reason: 'transport.connection_lost' };
const unreachable = { code: Code.Unavailable, reason: 'transport.unreachable' };

async function started(options: ServerOptions = {}): Promise<BackendServer> {
  const server = new BackendServer('nats', options);
  closing.push(() => server.dispose());
  return server.start();
}

function transportTo(address: string, options: NatsTransportOptions = {}): NatsTransport {
  const transport = new NatsTransport({ address, timeoutMs: 20_000, ...options });
  closing.push(() => transport.close());
  return transport;
}

/** Answers each message with itself, and ends when the caller does. */
async function echo(socket: Socket): Promise<void> {
  for (;;) {
    const message = await socket.recv().catch(() => undefined);
    if (!message) break;
    if (message.body) await socket.send({ body: message.body });
  }
  void socket.send({ status: okStatus });
  void socket.close();
}

/** The next body of a call. */
async function bodyFrom(socket: Socket): Promise<Buffer> {
  for (;;) {
    const message = await socket.recv();
    if (!message) throw new Error('the call has ended');
    if (message.body) return Buffer.from(message.body);
  }
}

async function serving(transport: NatsTransport, address = '127.0.0.1:0'): Promise<Listener> {
  const listener = await transport.listen(address, { routes: [route] });
  closing.push(() => listener.close());
  listener.accept((socket) => void echo(socket));
  return listener;
}

async function call(transport: NatsTransport, address: string, text = 'hello'): Promise<Message> {
  return transport.unary(address, { body: Buffer.from(text) }, { route, maxReceiveBytes: 2 ** 26 });
}

async function isAnswered(transport: NatsTransport, listener: Listener): Promise<boolean> {
  return call(transport, listener.addr()).then(
    () => true,
    () => false,
  );
}

/** A server with a configuration that can be changed. */
async function configured(config: string) {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-nats-transport-'));
  closing.push(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'nats.conf');
  writeFileSync(file, config);
  const server = await started({ args: ['--config', file] });
  const configure = (changed: string): void => {
    writeFileSync(file, changed);
    server.signal('SIGHUP');
  };
  return { server, configure };
}

describe('with a server of its own', () => {
  it('ends calls when NATS dies, and makes others when it is back, without a new listener', async () => {
    const server = await started();
    const listener = await serving(transportTo(server.address));
    const client = transportTo(server.address);
    const open = client.dial(listener.addr(), { route });
    void open.send({ body: Buffer.from('a') });
    expect(await bodyFrom(open)).toEqual(Buffer.from('a'));
    await server.kill();
    expect(await failureOf(open.recv())).toMatchObject(lost);
    expect(await failureOf(call(client, listener.addr()))).toMatchObject(unreachable);
    await server.start();
    await eventually('calls are made again', () => isAnswered(client, listener), patientMs);
    expect(await call(client, listener.addr())).toMatchObject({ status: { code: Code.Ok } });
  });

  it('ends every call while NATS is restarted again and again', async () => {
    const server = await started();
    const listener = await serving(transportTo(server.address));
    const client = transportTo(server.address);
    let isOver = false;
    closing.push(() => (isOver = true));
    const codes = new Map<string, number>();
    const callers = Array.from({ length: 20 }, async () => {
      while (!isOver) {
        const code = await call(client, listener.addr(), 'x'.repeat(40_000)).then(
          () => 'ok',
          (error: unknown) => TenonError.from(error).reason ?? '',
        );
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (code !== 'ok') await new Promise((resolve) => setImmediate(resolve));
      }
    });
    for (let round = 0; round < 3; round += 1) {
      const before = codes.get('ok') ?? 0;
      await eventually('calls are answered', () => (codes.get('ok') ?? 0) > before + 50, patientMs);
      await server.restart();
    }
    isOver = true;
    await Promise.all(callers);
    const known = ['ok', 'transport.unreachable', 'transport.connection_lost'];
    expect([...codes.keys()].filter((code) => !known.includes(code))).toEqual([]);
  });

  it('splits what is larger than NATS takes', async () => {
    const { server } = await configured('max_payload: 2048\n');
    const listener = await serving(transportTo(server.address));
    const client = transportTo(server.address);
    const socket = client.dial(listener.addr(), { route });
    const body = Buffer.alloc(1_500_000, 'abcdefg');
    void socket.send({ body });
    socket.end();
    expect(Buffer.compare(await bodyFrom(socket), body)).toBe(0);
  });

  it('says which right NATS does not give, and makes calls when it does', async () => {
    const user = (password: string, rights = ''): string => `{ user: ${password}, password: ${password}${rights} }`;
    const config = (rights: string): string =>
      `authorization { users: [${user('server')}, ${user('client', rights)}] }`;
    const inboxes = ', permissions: { publish: ["_INBOX.>"], subscribe: ["_INBOX.>"] }';
    const { server, configure } = await configured(config(inboxes));
    const as = (name: string) => ({ credentials: { username: name, password: name }, handshakeTimeoutMs: 600_000 });
    const listener = await serving(transportTo(server.address, as('server')));
    const client = transportTo(server.address, as('client'));
    const error = await failureOf(call(client, listener.addr()));
    expect(error).toMatchObject(unreachable);
    expect(error.message).toMatch(/refuses it: .*Publish to "tenon\.calls\..*TENON_TRANSPORT_USERNAME/);
    configure(config(''));
    await eventually('calls are made', () => isAnswered(client, listener), patientMs);
  });

  it('ends calls when its credentials are revoked, says so, and makes others when they are given back', async () => {
    const config = (password: string): string => `authorization { user: tenon, password: ${password} }`;
    const { server, configure } = await configured(config('first'));
    const credentials = { username: 'tenon', password: 'first' };
    const logger = new RecordingLogger();
    const listener = await serving(transportTo(server.address, { credentials, logger }));
    const client = transportTo(server.address, { credentials });
    const open = client.dial(listener.addr(), { route });
    void open.send({ body: Buffer.from('a') });
    expect(await bodyFrom(open)).toEqual(Buffer.from('a'));
    configure(config('second'));
    expect(await failureOf(open.recv())).toMatchObject(lost);
    let message = '';
    const refusal = async (): Promise<boolean> => {
      ({ message } = await failureOf(call(client, listener.addr())));
      return message.includes('refuses it');
    };
    await eventually('a call is refused', refusal, patientMs);
    expect(message).toMatch(/Authorization Violation.*TENON_TRANSPORT_PASSWORD/);
    configure(config('first'));
    await eventually('calls are made again', () => isAnswered(client, listener), patientMs);
    expect(logger.texts).toEqual([
      'warn the connection to NATS is lost; it is connected to again',
      'info connected to NATS again',
    ]);
  });

  it('shows credentials, and says it when they are refused', async () => {
    const server = await started({ args: ['--user', 'tenon', '--pass', 'secret'] });
    const credentials = { username: 'tenon', password: 'secret' };
    const listener = await serving(transportTo(server.address, { credentials }));
    expect(await call(transportTo(server.address, { credentials }), listener.addr())).toMatchObject({
      status: { code: Code.Ok },
    });
    const error = await failureOf(call(transportTo(server.address), listener.addr()));
    expect(error).toMatchObject(unreachable);
    expect(error.message).toMatch(/NATS at .* refuses it: .*TENON_TRANSPORT_USERNAME/);
    const byToken = await started({ args: ['--auth', 'the-token'] });
    const token = { credentials: { token: 'the-token' } };
    const other = await serving(transportTo(byToken.address, token));
    expect(await call(transportTo(byToken.address, token), other.addr())).toMatchObject({ status: { code: Code.Ok } });
  });
});

describe('over TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-nats-transport-tls-'));
  const ca = authority();
  const issued = ca.issue({ name: 'nats', names: ['127.0.0.1'] });
  const [caFile, certFile, keyFile] = ['ca.crt', 'tls.crt', 'tls.key'].map((name) => join(folder, name));
  beforeAll(() => {
    writeFileSync(caFile as string, ca.cert);
    writeFileSync(certFile as string, issued.cert);
    writeFileSync(keyFile as string, issued.key);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('speaks to NATS, and does not trust whom it does not know', async () => {
    const files = { certFile: certFile as string, keyFile: keyFile as string, caFile: caFile as string };
    const server = await started({ tls: files });
    const tls = { tls: { caFile: files.caFile } };
    const transport = transportTo(server.address, tls);
    expect([transport.isSecure(), transportTo(server.address).isSecure()]).toEqual([true, false]);
    const listener = await serving(transport);
    expect(await call(transportTo(server.address, tls), listener.addr())).toMatchObject({ status: { code: Code.Ok } });
    const untrusting = transportTo(server.address, { tls: {} });
    expect((await failureOf(call(untrusting, listener.addr()))).message).toMatch(/certificate/);
  });
});

describeWithServer('a server of NATS', new BackendServer('nats'), (server) => {
  const toxiproxy = new Toxiproxy();
  let proxy: ToxicProxy;
  beforeAll(async () => {
    await toxiproxy.start();
  });
  afterAll(() => toxiproxy.dispose());

  /** An open call to a server whose connection to NATS can be disturbed. */
  async function openCall(options: NatsTransportOptions) {
    proxy = await toxiproxy.proxy(server.address);
    const listener = await serving(transportTo(proxy.address, { serverKeepaliveMs: Infinity }));
    const client = transportTo(server.address, options);
    const socket = client.dial(listener.addr(), { route });
    void socket.send({ body: Buffer.from('a') });
    expect(await bodyFrom(socket)).toEqual(Buffer.from('a'));
    return { client, listener, socket };
  }

  it('says at the next packet that the other process is gone', async () => {
    const { client, listener, socket } = await openCall({ keepaliveMs: 600_000 });
    await proxy.cut();
    const isGone = failureOf(socket.recv());
    let isOver = false;
    void isGone.finally(() => (isOver = true)).catch(() => {});
    // NATS forgets the subscriptions of a connection when it has seen its end.
    await eventually(
      'the loss is noticed',
      () => {
        if (!isOver) void socket.send({ body: Buffer.from('b') });
        return isOver;
      },
      patientMs,
    );
    const error = await isGone;
    expect(error).toMatchObject(lost);
    expect(error.message).toMatch(/the other side is gone/);
    expect(await failureOf(call(client, listener.addr()))).toMatchObject(unreachable);
    await proxy.heal();
  });

  it('shows by its silence that the other process stands still', async () => {
    const { socket } = await openCall({ keepaliveMs: 200, keepaliveTimeoutMs: 300 });
    await proxy.swallow();
    const error = await failureOf(socket.recv());
    expect(error).toMatchObject(lost);
    expect(error.message).toMatch(/a ping was not answered within 300 ms/);
    await proxy.heal();
  });

  it('is noticed when it hangs, by both sides', async () => {
    const own = await started();
    const listener = await serving(transportTo(own.address, { timeoutMs: 1_500 }));
    const client = transportTo(own.address, { timeoutMs: 1_500 });
    const socket = client.dial(listener.addr(), { route });
    void socket.send({ body: Buffer.from('a') });
    await bodyFrom(socket);
    own.pause();
    expect(await failureOf(socket.recv())).toMatchObject(lost);
    expect(await failureOf(call(client, listener.addr()))).toMatchObject(unreachable);
    own.resume();
    await eventually('calls are made again', () => isAnswered(client, listener), patientMs);
  });

  it('lets one process have a subject, and the next when that is gone', async () => {
    const first = await serving(transportTo(server.address), 'nats:one.subject');
    expect(first.addr()).toBe('nats:one.subject');
    const second = transportTo(server.address);
    const error = await failureOf(second.listen('nats:one.subject', { routes: [route] }));
    expect([error.code, error.reason]).toEqual([Code.AlreadyExists, 'transport.address_in_use']);
    await first.close();
    const next = await serving(second, 'nats:one.subject');
    expect(await call(transportTo(server.address), next.addr())).toMatchObject({ status: { code: Code.Ok } });
  });

  it('carries a thousand calls at once, each with its own answer', async () => {
    const listener = await serving(transportTo(server.address));
    const client = transportTo(server.address);
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, async (_, index) => {
        const socket = client.dial(listener.addr(), { route });
        void socket.send({ body: Buffer.from(String(index)) });
        socket.end();
        return String(await bodyFrom(socket));
      }),
    );
    expect(answers).toEqual(Array.from({ length: 1_000 }, (_, index) => String(index)));
  });

  it('says that a connection is over which it does not know', async () => {
    const listener = await serving(transportTo(server.address));
    const raw = await RawNats.to(server);
    await raw.subscribe('_INBOX.other');
    const subject = listener.addr().slice('nats:'.length);
    // The first one is an end, and is not answered by another.
    for (const kind of [2, 3, 0])
      await raw.publish(subject, `${String.fromCodePoint(kind)}\0\0\0\u0007more`, '_INBOX.other');
    await eventually('two answers', () => raw.heard.length >= 2);
    expect(raw.heard.map(({ text }) => text)).toEqual(['\u0002\0\0\0\0', '\u0002\0\0\0\0']);
  });

  it('answers the first packet of a connection at once, however little is in it', async () => {
    const listener = await serving(transportTo(server.address));
    const raw = await RawNats.to(server);
    await raw.subscribe('_INBOX.slow');
    await raw.publish(listener.addr().slice('nats:'.length), '\0\0\0\0\0t', '_INBOX.slow');
    await eventually('the answer', () => raw.heard.length > 0);
    expect(raw.heard[0]).toMatchObject({ reply: expect.stringMatching(/^_INBOX\./), text: `\u0003${'\0'.repeat(8)}` });
  });

  it('outlives a stranger whose subject leaves no room for an answer', async () => {
    const listener = await serving(transportTo(server.address), 'nats:short');
    const socket = transportTo(server.address).dial(listener.addr(), { route });
    void socket.send({ body: Buffer.from('a') });
    await bodyFrom(socket);
    const raw = await RawNats.to(server);
    await raw.publish('short', '\0\0\0\0\0x', `_INBOX.${'x'.repeat(4_070)}`);
    void socket.send({ body: Buffer.from('b') });
    expect(String(await bodyFrom(socket))).toBe('b');
  });

  it('refuses strangers that write to a subject of calls', async () => {
    const listener = await serving(transportTo(server.address));
    const stranger = transportTo(server.address);
    await call(stranger, listener.addr());
    const raw = await RawNats.to(server);
    for (const text of ['', 'nonsense', '\u0000\u0000\u0000\u0000\u0000nonsense'])
      await raw.publish(listener.addr().slice('nats:'.length), text, '_INBOX.stranger');
    expect(await call(stranger, listener.addr())).toMatchObject({ status: { code: Code.Ok } });
  });
});
