import { connect } from 'node:http2';

import { expect, it } from '@jest/globals';

import { GrpcJsTransport } from '../../src/transport/grpc-js.ts';
import type { Socket } from '../../src/transport/transport.ts';
import { frame, methods } from './support.ts';

const body = Buffer.alloc(16 * 1024);

it('a server on grpc-js that goes on sending after the deadline costs the caller no status', async () => {
  const transport = new GrpcJsTransport();
  const listener = await transport.listen('127.0.0.1:0', { routes: Object.values(methods) });
  const flood = async (socket: Socket): Promise<void> => {
    for (let sent = 0; sent < 100; sent += 1) await socket.send({ body });
  };
  listener.accept((socket) => void flood(socket));
  const session = connect(`http://${listener.addr()}`);
  const timeoutMs = 50;
  const call = session.request({
    ':method': 'POST',
    ':path': methods.server.path,
    'content-type': 'application/grpc+proto',
    te: 'trailers',
    'grpc-timeout': `${timeoutMs}m`,
  });
  call.end(frame(Buffer.from('x')));
  // The server fills the window of the stream, and is then held back beyond the deadline.
  await new Promise((resolve) => call.once('response', resolve));
  await new Promise((resolve) => setTimeout(resolve, 4 * timeoutMs));
  const trailers = await new Promise<object>((resolve) => {
    call.once('trailers', resolve);
    // Without trailers the call would never end.
    setTimeout(() => resolve({ 'grpc-status': 'none' }), 10_000).unref();
    call.resume();
  });
  session.destroy();
  await listener.close();
  await transport.close();
  expect(trailers).toMatchObject({ 'grpc-status': '4' });
});
