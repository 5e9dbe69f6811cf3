import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { bytesOf, echo, textOf } from '../../src/testing/internal/transport-fixture.ts';
import { TcpTransport, type TcpTransportOptions } from '../../src/transport/tcp.ts';
import type { Listener, Socket } from '../../src/transport/transport.ts';
import { closing } from '../support/closing.ts';
import { authority } from '../support/certificates.ts';
import { methods } from './support.ts';

const ours = authority('Ours');
const theirs = authority('Theirs');
const server = ours.issue({ name: 'server', names: ['127.0.0.1'] });
const client = ours.issue({ name: 'client' });
const stranger = theirs.issue({ name: 'stranger' });

function transportOf(options: TcpTransportOptions): TcpTransport {
  const transport = new TcpTransport(options);
  closing.push(() => transport.close());
  return transport;
}

async function listen(serverTls: TcpTransportOptions['serverTls'], sockets: Socket[] = []): Promise<Listener> {
  const listener = await transportOf({ serverTls }).listen('127.0.0.1:0', { routes: [methods.unary] });
  closing.push(() => listener.close());
  listener.accept((socket, route) => {
    sockets.push(socket);
    void echo(socket, route);
  });
  return listener;
}

async function call(tls: TcpTransportOptions['tls'], address: string): Promise<string> {
  const { body } = await transportOf({ tls }).unary(address, { body: bytesOf('hi') }, { route: methods.unary });
  return textOf(body!);
}

describe('TLS over tcp', () => {
  it('shows the handler the certificate of its caller, where it is asked for', async () => {
    const sockets: Socket[] = [];
    const listener = await listen({ cert: server.cert, key: server.key, ca: ours.cert }, sockets);
    const tls = { ca: ours.cert, cert: client.cert, key: client.key };
    expect(await call(tls, listener.addr())).toBe('hi');
    expect(sockets[0]?.peerCertificate?.subject).toContain('client');
  });

  it.each([
    ['an authority that is not trusted', { ca: theirs.cert }, 'signed by an authority that is not trusted here'],
    ['no certificate where one is asked for', { ca: ours.cert }, 'the server asks for a certificate'],
    ['a certificate of strangers', { ca: ours.cert, cert: stranger.cert, key: stranger.key }, 'cannot be reached'],
    ['a client in the clear', undefined, 'cannot be reached'],
  ])('%s is unreachable, and says what to do', async (_who, tls, told) => {
    const listener = await listen({ cert: server.cert, key: server.key, ca: ours.cert });
    expect(await failureOf(call(tls, listener.addr()))).toMatchObject({
      code: Code.Unavailable,
      reason: 'transport.unreachable',
      message: expect.stringContaining(told) as unknown,
    });
  });

  it('a server in the clear is unreachable, and says so', async () => {
    const listener = await listen(undefined);
    expect(await failureOf(call({ ca: ours.cert }, listener.addr()))).toMatchObject({
      reason: 'transport.unreachable',
      message: expect.stringContaining('TLS failed') as unknown,
    });
  });
});
