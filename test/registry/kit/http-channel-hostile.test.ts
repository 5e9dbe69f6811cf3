import { type AddressInfo, createServer, type Socket } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../../src/errors/errors.ts';
import { AddressList, parseAddresses } from '../../../src/registry/kit/address-list.ts';
import { HttpCallError } from '../../../src/registry/kit/errors.ts';
import { HttpChannel, type HttpRequest } from '../../../src/registry/kit/http-channel.ts';
import { systemRuntime } from '../../../src/runtime/system.ts';
import { failureOf } from '../../../src/testing/failures.ts';
import { silentLogger } from '../../../src/logger/logger.ts';
import { ConnectionSecurity } from '../../../src/tls/connection.ts';
import { closing } from '../../support/closing.ts';
import { expectNothingUncaught } from '../../support/uncaught.ts';
import { eventually } from '../../support/waiting.ts';

expectNothingUncaught();

const { timers } = systemRuntime;

/** A server of bytes: answers each request with what the test says. */
async function serverOf(answer: (socket: Socket, request: string) => void) {
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (data: Buffer) => {
      const text = data.toString();
      requests.push(text.slice(0, text.indexOf(' HTTP')));
      answer(socket, text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, requests };
}

function channelTo(addresses: string, maxResponseBytes = 10_000) {
  const security = new ConnectionSecurity(
    {},
    { name: 'the store registry', variables: 'TENON_REGISTRY_' },
    { runtime: systemRuntime, logger: silentLogger },
  );
  const tools = { ...systemRuntime, logger: silentLogger, security };
  const list = new AddressList(parseAddresses(addresses, 1), { ...tools, registry: 'store', serverName: 'the store' });
  const channel = new HttpChannel({ registry: 'store', addresses: list, tools, maxResponseBytes });
  closing.push(() => {
    channel.close();
    security.close();
  });
  const { signal } = new AbortController();
  const ask = (request: HttpRequest, timeoutMs = 10_000) => channel.request(request, { signal, timeoutMs });
  return { channel, list, ask };
}

/** Writes again and again until the connection is gone. */
function drip(socket: Socket, text: string): void {
  const timer = timers.every(5, () => {
    if (socket.destroyed) timer.cancel();
    else socket.write(text);
  });
}

/** Writes as fast as the connection takes it. */
function flood(socket: Socket, text: string): void {
  const more = (): void => {
    while (!socket.destroyed && socket.write(text));
  };
  socket.on('drain', more);
  more();
}

const head = 'HTTP/1.1 200 OK\r\n';

describe('an HTTP channel to a server that answers badly', () => {
  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['a status that is no number', 'HTTP/1.1 abc OK\r\n\r\n'],
    ['headers without an end', `${head}${'x-a: 1\r\n'.repeat(10_000)}`],
    ['one header without an end', `${head}x-a: ${'x'.repeat(200_000)}`],
    ['a header that is none', `${head}x-a\u0000b: 1\r\n\r\n`],
    ['a length that is no number', `${head}content-length: many\r\n\r\n`],
    ['a length below 0', `${head}content-length: -1\r\n\r\n`],
    ['two lengths', `${head}content-length: 1\r\ncontent-length: 2\r\n\r\nab`],
    ['chunks that are none', `${head}transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n`],
    ['a chunk of an enormous size', `${head}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n`],
    ['another protocol', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nabc'],
  ])('rejects for %s, and closes the connection', async (_, text) => {
    const server = await serverOf((socket) => socket.write(text));
    const { ask } = channelTo(server.address);
    const failure = await failureOf(ask({ path: '/x' }));
    expect(failure).toBeInstanceOf(HttpCallError);
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
    await eventually('the connection is closed', () => server.sockets.size === 0);
  });

  it.each([
    ['by its length', `${head}content-length: 50000\r\n\r\n`],
    ['in chunks', `${head}transfer-encoding: chunked\r\n\r\n`],
    ['without an end', `${head}\r\n`],
  ])('rejects for a body that is larger than allowed, %s, before it has come', async (_, text) => {
    const isChunked = text.includes('chunked');
    const server = await serverOf((socket) => {
      socket.write(text);
      flood(socket, isChunked ? `3e8\r\n${'x'.repeat(1_000)}\r\n` : 'x'.repeat(1_000));
    });
    const failure = await failureOf(channelTo(server.address).ask({ path: '/x' }));
    expect(failure).toMatchObject({ code: Code.ResourceExhausted, reason: 'transport.message_too_large' });
    await eventually('the connection is closed', () => server.sockets.size === 0);
  });

  it.each([
    ['a body', `${head}content-length: 9000\r\n\r\n`, 'x'],
    ['headers', head, 'x'],
    ['an answer that is to come', '', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['early hints', '', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'],
  ])('gives the call no more time for %s that drips', async (_, text, drop) => {
    const server = await serverOf((socket) => {
      socket.write(text);
      drip(socket, drop);
    });
    const failure = await failureOf(channelTo(server.address).ask({ path: '/x' }, 300));
    expect(failure).toMatchObject({ code: Code.DeadlineExceeded, reason: 'registry.timeout' });
    await eventually('the connection is closed', () => server.sockets.size === 0);
  });

  it('rejects where a body ends early', async () => {
    const server = await serverOf((socket) => socket.end(`${head}content-length: 100\r\n\r\nabc`));
    const failure = await failureOf(channelTo(server.address).ask({ path: '/x' }));
    expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'transport.connection_lost' });
  });

  it('takes no answer for that of another request', async () => {
    const answer = (text: string): string => `${head}content-length: ${text.length}\r\n\r\n${text}`;
    const server = await serverOf((socket, request) => {
      const [, path = ''] = /^GET (\S+)/.exec(request) ?? [];
      socket.write(answer(path) + answer('/forged'));
    });
    const { ask } = channelTo(server.address);
    for (const path of ['/a', '/b', '/c']) {
      // One whose connection the second answer has broken is sent again.
      expect(['/forged']).not.toContain((await ask({ path })).body);
    }
  });

  it('follows no redirect', async () => {
    const server = await serverOf((socket) =>
      socket.write('HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/other\r\ncontent-length: 0\r\n\r\n'),
    );
    expect(await channelTo(server.address).ask({ path: '/x' })).toMatchObject({
      status: 301,
      headers: { location: 'http://127.0.0.1:1/other' },
    });
    expect(server.requests).toEqual(['GET /x']);
  });
});

describe('a request that is made again after a status', () => {
  const answering = (status: string, body: string) =>
    serverOf((socket) => socket.write(`HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\n\r\n${body}`));
  const retriesAfter = (status: number): boolean => status === 500;
  const again: HttpRequest = { path: '/x', retriesAfter };

  it('goes to the next address, which is preferred from then on', async () => {
    const [a, b] = [await answering('500 Bad', 'a'), await answering('200 OK', 'b')];
    const { ask } = channelTo(`${a.address},${b.address}`);
    expect(await ask(again)).toMatchObject({ status: 200, body: 'b' });
    expect(await ask(again)).toMatchObject({ body: 'b' });
    expect(a.requests).toHaveLength(1);
  });

  it('is passed on from the last address, and where it may not be repeated, but the next request goes on', async () => {
    const [a, b] = [await answering('500 Bad', 'a'), await answering('500 Bad', 'b')];
    expect(await channelTo(`${a.address},${b.address}`).ask(again)).toMatchObject({ status: 500, body: 'b' });
    const { ask } = channelTo(`${a.address},${b.address}`);
    expect(await ask({ ...again, method: 'PUT' })).toMatchObject({ status: 500, body: 'a' });
    expect(await ask({ ...again, method: 'PUT' })).toMatchObject({ status: 500, body: 'b' });
  });

  it('is passed on with another status, and with any if it does not say so', async () => {
    const [a, b] = [await answering('503 Busy', 'a'), await answering('200 OK', 'b')];
    const { ask } = channelTo(`${a.address},${b.address}`);
    expect(await ask(again)).toMatchObject({ status: 503, body: 'a' });
    expect(await ask({ path: '/x' })).toMatchObject({ status: 503, body: 'a' });
    expect(b.requests).toEqual([]);
  });
});
