import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../../src/errors/errors.ts';
import { AddressList, parseAddresses } from '../../../src/registry/kit/address-list.ts';
import { callTimedOut, HttpCallError } from '../../../src/registry/kit/errors.ts';
import {
  HttpChannel,
  type HttpChannelOptions,
  type HttpRequest,
  HttpStatusError,
} from '../../../src/registry/kit/http-channel.ts';
import { systemRuntime } from '../../../src/runtime/system.ts';
import { failureOf } from '../../../src/testing/failures.ts';
import { RecordingLogger } from '../../../src/testing/recorders.ts';
import { ConnectionSecurity, type ConnectionSecurityOptions } from '../../../src/tls/connection.ts';
import { authority } from '../../support/certificates.ts';
import { socketServer } from '../../support/socket-server.ts';
import { closing } from '../../support/closing.ts';
import { startNode } from '../../support/process.ts';
import { expectNothingUncaught } from '../../support/uncaught.ts';
import { eventually, gate } from '../../support/waiting.ts';

expectNothingUncaught();

const never = new AbortController().signal;
const patientMs = 30_000;

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A server that keeps what it was asked. Without an answer of the test it gives its name, and for `/hang` nothing. */
class Store {
  readonly asked: string[] = [];
  readonly headers: IncomingMessage['headers'][] = [];
  readonly sockets = new Set<Socket>();
  connections = 0;
  open = 0;
  readonly #server: Server;

  constructor(
    readonly name: string,
    answer?: Answer,
    tls?: TlsOptions,
  ) {
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      this.asked.push(`${request.method} ${request.url}`);
      this.headers.push(request.headers);
      this.open += 1;
      response.once('close', () => (this.open -= 1));
      let body = '';
      request.on('data', (data: Buffer) => (body += data.toString()));
      request.on('end', () => {
        if (answer) answer(request, response, body);
        else if (request.url !== '/hang') response.end(this.name);
      });
    };
    this.#server = tls ? createTlsServer(tls, listener) : createServer(listener);
    this.#server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.connections += 1;
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    this.#server.on('tlsClientError', () => {});
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    closing.push(() => this.stop());
    return this;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}

function started(name = 'a', answer?: Answer, tls?: TlsOptions): Promise<Store> {
  return new Store(name, answer, tls).start();
}

/** An address of this machine at which nothing listens. */
async function closedAddress(): Promise<string> {
  const store = await started('gone');
  const { address } = store;
  await store.stop();
  return address;
}

function channelTo(
  addresses: string,
  { security: secured = {}, ...more }: Partial<HttpChannelOptions> & { security?: ConnectionSecurityOptions } = {},
) {
  const logger = new RecordingLogger();
  const owner = { name: 'the store registry', variables: 'TENON_REGISTRY_' };
  const security = new ConnectionSecurity(secured, owner, { runtime: systemRuntime, logger });
  const tools = { ...systemRuntime, logger, security };
  // No address is tried before its back-off, so that what is tried first depends on what failed alone.
  const list = new AddressList(parseAddresses(addresses, 1), {
    ...tools,
    registry: 'store',
    serverName: 'the store',
    minBackoffMs: 60_000,
    maxBackoffMs: 60_000,
  });
  const channel = new HttpChannel({ registry: 'store', addresses: list, tools, ...more });
  closing.push(() => {
    channel.close();
    security.close();
  });
  const ask = (request: HttpRequest | string, timeoutMs = patientMs, signal = never) =>
    channel.request(typeof request === 'string' ? { path: request } : request, { signal, timeoutMs });
  const current = (): string => `127.0.0.1:${list.current.port}`;
  return { channel, list, logger, ask, current };
}

async function linesOf(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

describe('a request of an HTTP channel', () => {
  it('is sent with its parameters, its body and its headers, and every status is an answer', async () => {
    const store = await started('a', (request, response, body) => {
      response.writeHead(request.method === 'PUT' ? 201 : 404, { 'x-index': '7' }).end(`got ${body}`);
    });
    const { ask } = channelTo(store.address, { basePath: '/v1', headers: () => ({ 'x-own': 'one', accept: 'b' }) });
    const put = { method: 'PUT', path: '/a%2Fb', query: { dc: 'ü', stale: true, none: undefined }, body: '{}' };
    expect(await ask({ ...put, headers: { accept: 'a', 'x-none': undefined } })).toMatchObject({
      status: 201,
      body: 'got {}',
      headers: { 'x-index': '7' },
      address: { host: '127.0.0.1' },
    });
    expect(await ask('/x')).toMatchObject({ status: 404, body: 'got ' });
    expect(store.asked).toEqual(['PUT /v1/a%2Fb?dc=%C3%BC&stale=true', 'GET /v1/x']);
    expect(store.headers[0]).toMatchObject({ accept: 'a', 'x-own': 'one', 'content-type': 'application/json' });
    expect(store.headers[0]).not.toHaveProperty('x-none');
    expect(store.headers[1]).not.toHaveProperty('content-type');
  });

  it('makes the headers anew for each attempt, and fails as they do', async () => {
    const store = await started();
    const tokens = ['first', 'second'];
    const { ask } = channelTo(`${await closedAddress()},${store.address}`, {
      headers: async () => {
        const token = tokens.shift();
        if (token === undefined) throw new Error('no token left');
        return { token };
      },
    });
    await ask('/x');
    expect(store.headers[0]).toMatchObject({ token: 'second' });
    await expect(ask('/x')).rejects.toThrow('no token left');
    expect(store.asked).toHaveLength(1);
  });

  it('is not sent with a header that cannot be one, and its error does not show it', async () => {
    const store = await started();
    const { ask } = channelTo(store.address, { headers: () => ({ token: 'secret\nhost: other' }) });
    const failure: unknown = await ask('/x').catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'TypeError' });
    expect(String(failure)).not.toContain('secret');
    expect(store.asked).toEqual([]);
  });

  it('uses one connection after another request', async () => {
    const store = await started();
    const { ask } = channelTo(store.address);
    for (let round = 0; round < 5; round += 1) expect((await ask('/x')).body).toBe('a');
    expect(store.connections).toBe(1);
  });

  it('has the length of its body, whatever its method is', async () => {
    const store = await started('a', (_request, response, body) => response.end(body));
    const { ask } = channelTo(store.address);
    for (const method of ['DELETE', 'GET', 'PATCH']) {
      expect(await ask({ method, path: '/x', body: '"ü"' })).toMatchObject({ status: 200, body: '"ü"' });
    }
    expect(store.headers.map((headers) => headers['content-length'])).toEqual(['4', '4', '4']);
    expect(store.asked).toHaveLength(3);
  });

  it('is repeated where the server closed the connection that was kept, if it may be', async () => {
    let drops = false;
    const store = await started('a', (request, response) => {
      if (drops && request.method !== 'PUT') drops = false;
      else if (!drops) return void response.end('a');
      request.socket.destroy();
    });
    const { ask } = channelTo(store.address);
    await ask('/x');
    drops = true;
    expect((await ask('/x')).body).toBe('a');
    drops = true;
    expect(await failureOf(ask({ method: 'PUT', path: '/x' }))).toMatchObject({ reason: 'transport.connection_lost' });
    drops = false;
    await ask('/x');
    drops = true;
    // It is sent again as often as there are connections that were kept, and a new one is the last.
    expect(await failureOf(ask({ method: 'PUT', path: '/x', isRepeatable: true }))).toMatchObject({
      reason: 'transport.connection_lost',
    });
    expect(store.asked.filter((one) => one === 'PUT /x')).toHaveLength(3);
  });

  it('goes to the next address where nothing listens, and stays there', async () => {
    const gone = await closedAddress();
    const store = await started('b');
    const { ask, current } = channelTo(`${gone},${store.address}`);
    expect((await ask({ method: 'POST', path: '/x', body: '{}' })).body).toBe('b');
    expect(current()).toBe(store.address);
    expect((await ask('/y')).body).toBe('b');
  });

  it('names the last address when none can be reached', async () => {
    const [first, second] = [await closedAddress(), await closedAddress()];
    const failure = await failureOf(channelTo(`${first},${second}`).ask('/x?secret'));
    expect(failure).toBeInstanceOf(HttpCallError);
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
    expect(failure.message).toMatch(new RegExp(`^GET /x.* at ${second}: .*ECONNREFUSED`));
  });

  it('is not sent again when its connection broke, unless it may be repeated', async () => {
    const a = await started('a', (request) => request.socket.destroy());
    const b = await started('b');
    const put = channelTo(`${a.address},${b.address}`);
    expect(await failureOf(put.ask({ method: 'PUT', path: '/x' }))).toMatchObject({
      code: Code.Unavailable,
      reason: 'transport.connection_lost',
      message: expect.stringContaining(`PUT /x at ${a.address}: `),
    });
    expect(b.asked).toEqual([]);
    expect(put.current()).toBe(b.address);
    expect((await channelTo(`${a.address},${b.address}`).ask('/x')).body).toBe('b');
  });

  it.each([
    ['plain', undefined],
    ['TLS', authority('Ours')],
  ])('is not sent again when the %s connection for which it waited broke', async (_, ours) => {
    const issued = ours?.issue({ name: 'store', names: ['127.0.0.1'] });
    const tls = issued && { cert: issued.cert, key: issued.key };
    const answer: Answer = (request, response) => {
      if (request.method === 'POST') request.socket.destroy();
      else response.end('a');
    };
    const [a, b] = [await started('a', answer, tls), await started('b', undefined, tls)];
    const security = ours ? { tls: { ca: ours.cert } } : {};
    const { ask } = channelTo(`${a.address},${b.address}`, { maxConnections: 1, security });
    const [first, second] = await Promise.all([ask('/x'), failureOf(ask({ method: 'POST', path: '/y', body: '{}' }))]);
    expect(first.body).toBe('a');
    expect(second).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
    expect(a.connections).toBe(1);
    expect(b.asked).toEqual([]);
  });

  it('goes to the next address where no new connection can be made, though others were', async () => {
    const a = await started('a', (_, response) => response.writeHead(200, { connection: 'close' }).end('a'));
    const b = await started('b');
    const { ask } = channelTo(`${a.address},${b.address}`, { maxConnections: 1 });
    await ask('/x');
    await a.stop();
    expect((await ask({ method: 'POST', path: '/y', body: '{}' })).body).toBe('b');
  });

  it('gives a server that does not answer its share of the time, if it may be repeated', async () => {
    const a = await started('a', () => {});
    const b = await started('b');
    const { ask, current } = channelTo(`${a.address},${b.address}`);
    expect((await ask('/x', 2_000)).body).toBe('b');
    expect(current()).toBe(b.address);
    await eventually('the first hears of it', () => a.open === 0);
  });

  it('is not sent to another server after a time-out, but the next one is', async () => {
    const a = await started('a', () => {});
    const b = await started('b');
    const { ask } = channelTo(`${a.address},${b.address}`);
    const failure = await failureOf(ask({ method: 'PUT', path: '/x' }, 100));
    expect(failure).toMatchObject({ code: Code.DeadlineExceeded, reason: 'registry.timeout' });
    expect(failure.message).toBe(`PUT /x at ${a.address}: it did not answer within 100 ms`);
    expect(b.asked).toEqual([]);
    expect((await ask({ method: 'PUT', path: '/x' })).body).toBe('b');
  });

  it('takes the end of the time of its driver call for a time-out of the server', async () => {
    const a = await started('a', () => {});
    const b = await started('b');
    const { ask, current } = channelTo(`${a.address},${b.address}`);
    const call = new AbortController();
    const failure = failureOf(ask({ method: 'PUT', path: '/x' }, patientMs, call.signal));
    await eventually('it arrived', () => a.open === 1);
    call.abort(callTimedOut({ registry: 'store', method: 'register', server: 'the store' }, 10));
    expect(await failure).toMatchObject({ reason: 'registry.timeout' });
    expect(current()).toBe(b.address);
  });

  it('goes to the next address where no handshake is made in its share of the time, whatever it is', async () => {
    const ours = authority('Ours');
    const { cert, key } = ours.issue({ name: 'store', names: ['127.0.0.1'] });
    const silent = await socketServer(() => {});
    const store = await started('b', undefined, { cert, key });
    const { ask } = channelTo(`${silent},${store.address}`, { security: { tls: { ca: ours.cert } } });
    expect((await ask({ method: 'PUT', path: '/x' }, 6_000)).body).toBe('b');
  });

  it('ends when its signal aborts, and is not sent where it has', async () => {
    const [a, b] = [await started(), await started('b')];
    const { ask, current } = channelTo(`${a.address},${b.address}`);
    const controller = new AbortController();
    const failure = failureOf(ask('/hang', patientMs, controller.signal));
    await eventually('it arrived', () => a.open === 1);
    controller.abort(new Error('enough'));
    expect(await failure).toMatchObject({ code: Code.Cancelled, reason: 'call.cancelled' });
    await eventually('the server hears of it', () => a.open === 0);
    expect(await failureOf(ask('/x', patientMs, controller.signal))).toMatchObject({ reason: 'call.cancelled' });
    expect([...a.asked, ...b.asked]).toEqual(['GET /hang']);
    expect(current()).toBe(a.address);
  });

  it('fails for an answer that is larger than allowed, or breaks off, or is none', async () => {
    const large = await started('a', (_, response) => response.end('x'.repeat(2_001)));
    const tooLarge = await failureOf(channelTo(large.address, { maxResponseBytes: 2_000 }).ask('/x'));
    expect(tooLarge).toMatchObject({ code: Code.ResourceExhausted, reason: 'transport.message_too_large' });
    expect(tooLarge.message).toMatch(/its answer is larger than 2000 bytes/);
    expect((await channelTo(large.address, { maxResponseBytes: 2_001 }).ask('/x')).body).toHaveLength(2_001);
    const cut = await started('a', (_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half');
      setImmediate(() => response.destroy());
    });
    expect(await failureOf(channelTo(cut.address).ask('/x'))).toMatchObject({ reason: 'transport.connection_lost' });
    const foreign = await socketServer((socket) => socket.end('-ERR unknown command\r\n'));
    const failure = await failureOf(channelTo(foreign).ask('/x'));
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
    expect(failure.message).toMatch(/Parse Error/);
  });

  it('goes to the one address that it is given, and leaves the others alone', async () => {
    const [a, b] = [await started('a'), await started('b')];
    const { channel, current } = channelTo(`${a.address},${b.address},${await closedAddress()}`);
    const at = (text: string) => parseAddresses(text, 1)[0]!;
    const call = { signal: never, timeoutMs: patientMs };
    expect((await channel.request({ path: '/x' }, { ...call, at: at(b.address) })).body).toBe('b');
    expect(current()).toBe(a.address);
    const gone = await closedAddress();
    expect(await failureOf(channel.request({ path: '/x' }, { ...call, at: at(gone) }))).toMatchObject({
      reason: 'transport.unreachable',
      message: expect.stringContaining(gone),
    });
    expect(a.asked).toEqual([]);
  });

  it('gives drivers an error for a status that they did not expect', async () => {
    const store = await started('a', (_, response) => response.writeHead(403).end('no\n  right'));
    const { ask } = channelTo(store.address);
    const error = new HttpStatusError({ path: '/x' }, await ask('/x'));
    expect(error).toMatchObject({ status: 403, said: 'no right' });
    expect(error.message).toBe(`GET /x at ${store.address} was answered with status 403: no right`);
  });
});

describe('a stream of an HTTP channel', () => {
  it('has the status, and the lines of the answer as they come', async () => {
    let response: ServerResponse | undefined;
    const store = await started('a', (_, given) => {
      response = given;
      given.writeHead(202, { 'x-index': '7' }).flushHeaders();
    });
    const { channel } = channelTo(store.address);
    const stream = await channel.stream({ path: '/x' }, { signal: never, idleMs: patientMs });
    expect(stream).toMatchObject({ status: 202, headers: { 'x-index': '7' } });
    const next = stream.next();
    const [first, second] = ['{"a":"ü"}', '{"b":2}'].map((text) => Buffer.from(`${text}\n`));
    // In the middle of a character.
    response?.write(first!.subarray(0, 7));
    await eventually('half of it was sent', () => store.open === 1);
    response?.write(first!.subarray(7));
    expect(await next).toEqual({ done: false, value: '{"a":"ü"}' });
    response?.write(Buffer.concat([second!, Buffer.from('\nrest')]));
    expect(await stream.next()).toMatchObject({ value: '{"b":2}' });
    expect(await stream.next()).toMatchObject({ value: '' });
    response?.end();
    expect(await linesOf(stream)).toEqual(['rest']);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it('fails when no byte comes for too long, and goes to another address when it is opened again', async () => {
    const silent: Answer = (_, response) => void response.write('one\n');
    const [a, b] = [await started('a', silent), await started('b')];
    const { channel } = channelTo(`${a.address},${b.address}`);
    const stream = await channel.stream({ path: '/x' }, { signal: never, idleMs: 300 });
    expect(await stream.next()).toMatchObject({ value: 'one' });
    const failure = await failureOf(stream.next());
    expect(failure).toBeInstanceOf(HttpCallError);
    expect(failure).toMatchObject({ code: Code.DeadlineExceeded, reason: 'registry.timeout' });
    expect(failure.message).toBe(`GET /x at ${a.address}: it did not answer within 300 ms`);
    expect((await stream.next()).done).toBe(true);
    await eventually('the server hears of it', () => a.open === 0);
    const again = await channel.stream({ path: '/x' }, { signal: never, idleMs: patientMs });
    expect(await linesOf(again)).toEqual(['b']);
  });

  it('is opened at another server where one does not begin to answer', async () => {
    const [a, b] = [await started('a', () => {}), await started('b')];
    const { channel } = channelTo(`${a.address},${b.address}`);
    const stream = await channel.stream({ path: '/x' }, { signal: never, idleMs: 1_000 });
    expect(await linesOf(stream)).toEqual(['b']);
  });

  it('fails when the connection breaks, and for a line that is larger than allowed', async () => {
    const store = await started('a', (request, response) => {
      response.write(request.url === '/long' ? 'x'.repeat(2_001) : 'one\ntw');
      setImmediate(() => response.destroy());
    });
    const { channel } = channelTo(store.address, { maxResponseBytes: 2_000 });
    const cut = await channel.stream({ path: '/x' }, { signal: never, idleMs: patientMs });
    expect(await cut.next()).toMatchObject({ value: 'one' });
    expect(await failureOf(cut.next())).toMatchObject({ reason: 'transport.connection_lost' });
    const long = await channel.stream({ path: '/long' }, { signal: never, idleMs: patientMs });
    expect(await failureOf(long.next())).toMatchObject({ reason: 'transport.message_too_large' });
  });

  it('ends for the server when its reader leaves, or its signal aborts, even between two reads', async () => {
    const store = await started('a', (_, response) => void response.write('one\n'));
    const { channel } = channelTo(store.address);
    const call = { signal: never, idleMs: patientMs };
    const left = await channel.stream({ path: '/x' }, call);
    await left.next();
    const pending = left.next();
    await left.return();
    expect((await pending).done).toBe(true);
    await eventually('the server hears of it', () => store.open === 0);
    const controller = new AbortController();
    const [read, unread] = await Promise.all(
      ['/x', '/y'].map((path) => channel.stream({ path }, { ...call, signal: controller.signal })),
    );
    await read!.next();
    const waiting = failureOf(read!.next());
    controller.abort();
    expect(await waiting).toMatchObject({ code: Code.Cancelled, reason: 'call.cancelled' });
    await eventually('the server hears of both', () => store.open === 0);
    await unread!.return();
  });
});

describe('TLS of an HTTP channel', () => {
  const ours = authority('Ours');
  const strangers = authority('Strangers');
  const issued = ours.issue({ name: 'store', names: ['127.0.0.1', 'store.internal'] });
  const serverTls = { cert: issued.cert, key: issued.key };
  const to = (address: string, tls: ConnectionSecurityOptions['tls']) => channelTo(address, { security: { tls } });

  it('trusts the authorities that it is told of, and sends nothing to others', async () => {
    const store = await started('a', undefined, serverTls);
    const { ask } = to(store.address, { ca: ours.cert });
    expect((await ask('/x')).body).toBe('a');
    expect((await ask('/x')).body).toBe('a');
    expect(store.connections).toBe(1);
    const failure = await failureOf(to(store.address, { ca: strangers.cert }).ask({ method: 'PUT', path: '/x' }));
    expect(failure.reason).toBe('transport.unreachable');
    expect(failure.message).toMatch(/^PUT \/x at 127\.0\.0\.1:\d+: .*TENON_REGISTRY_TLS_CA_FILE/);
    expect(store.asked).toHaveLength(2);
  });

  it('checks the name that it is told, and shows its own certificate to a server that asks for one', async () => {
    const asking = { ...serverTls, ca: ours.cert, requestCert: true, rejectUnauthorized: true };
    const { address } = await started('a', undefined, asking);
    const { cert, key } = ours.issue({ name: 'client' });
    const tls = { ca: ours.cert, cert, key };
    expect((await to(address, { ...tls, serverName: 'store.internal' }).ask('/x')).body).toBe('a');
    const wrong = await failureOf(to(address, { ...tls, serverName: 'other.internal' }).ask('/x'));
    expect(wrong.message).toMatch('TENON_REGISTRY_TLS_SERVER_NAME');
    expect((await failureOf(to(address, { ca: ours.cert }).ask('/x'))).code).toBe(Code.Unavailable);
  });

  it('names a file that cannot be used, which is no failure of the server', async () => {
    const failure = await failureOf(to('127.0.0.1:1', { caFile: '/nowhere/ca.crt' }).ask('/x'));
    expect(failure).toMatchObject({ code: Code.FailedPrecondition, reason: 'tls.invalid' });
    expect(failure).not.toBeInstanceOf(HttpCallError);
  });

  it('says so where one side speaks it and the other does not', async () => {
    const plain = await started();
    const failure = await failureOf(to(plain.address, { ca: ours.cert }).ask('/x'));
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
  });

  it('may be given by the driver for each connection', async () => {
    const store = await started('a', undefined, serverTls);
    const { ask } = channelTo(store.address, { tls: () => ({ ca: ours.cert }) });
    expect((await ask('/x')).body).toBe('a');
  });
});

describe('close of an HTTP channel', () => {
  it('ends what is open, and nothing begins or stays behind', async () => {
    const store = await started('a', (request, response) => {
      if (request.url !== '/hang') response.write('one\n');
    });
    const { channel, ask } = channelTo(store.address);
    const stream = await channel.stream({ path: '/x' }, { signal: never, idleMs: patientMs });
    await stream.next();
    const failures = [failureOf(stream.next()), failureOf(ask('/hang'))];
    await eventually('both arrived', () => store.open === 2);
    channel.close();
    for (const failure of await Promise.all(failures)) {
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.closed' });
      expect(failure.message).toMatch(`at ${store.address}: `);
    }
    await eventually('the server hears of it', () => store.sockets.size === 0);
    expect(await failureOf(ask('/x'))).toMatchObject({ code: Code.FailedPrecondition, reason: 'transport.closed' });
    channel.close();
  });

  it('sends nothing that waits for a connection', async () => {
    const store = await started();
    const { channel, ask } = channelTo(store.address, { maxConnections: 1 });
    const failures = [failureOf(ask('/hang'))];
    await eventually('it arrived', () => store.open === 1);
    for (const path of ['/a', '/b']) failures.push(failureOf(ask({ method: 'PUT', path })));
    await new Promise((resolve) => setImmediate(resolve));
    channel.close();
    for (const failure of await Promise.all(failures)) expect(failure).toMatchObject({ reason: 'transport.closed' });
    await eventually('the server hears of it', () => store.sockets.size === 0);
    // The server has seen every connection that there was before this one.
    await channelTo(store.address).ask('/after');
    expect(store.asked).toEqual(['GET /hang', 'GET /after']);
    expect(store.connections).toBe(2);
  });

  it('leaves no request open that waits for its headers', async () => {
    const store = await started();
    const token = gate();
    const { channel, ask } = channelTo(store.address, {
      headers: async () => {
        await token.opened;
        return {};
      },
    });
    const asked = failureOf(ask('/x'));
    channel.close();
    token.open();
    expect(await asked).toMatchObject({ reason: 'transport.closed' });
    expect(store.asked).toEqual([]);
  });
});

describe('a process with an HTTP channel', () => {
  it('is not kept alive by it, though a stream is open and connections are kept', async () => {
    const store = await started('a', (request, response) => {
      if (request.url === '/x') response.end('one');
      else response.write('one\n');
    });
    const program = fileURLToPath(new URL('../programs/http-channel.mjs', import.meta.url));
    const child = startNode(program, { args: [store.address] });
    await child.waitForLine(/^one and one$/);
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });
});
