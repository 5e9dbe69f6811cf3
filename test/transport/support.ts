import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server as NetServer,
  type Socket as NetSocket,
} from 'node:net';

import type { MethodDescriptor, MethodKind } from '../../src/pipeline/pipeline.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { GrpcTransport, type GrpcTransportOptions } from '../../src/transport/grpc.ts';
import { GrpcJsTransport } from '../../src/transport/grpc-js.ts';
import type { Message, Socket } from '../../src/transport/transport.ts';

/** The transports that speak gRPC, by the names that they are bound by. */
export const grpcNames = ['grpc', 'grpc-js'] as const;
export type GrpcName = (typeof grpcNames)[number];

export function grpcTransport(name: GrpcName, options?: GrpcTransportOptions): GrpcTransport | GrpcJsTransport {
  return name === 'grpc' ? new GrpcTransport(options) : new GrpcJsTransport(options);
}

/** A method of `wire.Wire`. */
export function method(name: string, kind: MethodKind): MethodDescriptor {
  return {
    service: 'wire.Wire',
    method: name,
    path: `/wire.Wire/${name}`,
    aliases: [],
    kind,
    input: anySchema,
    output: anySchema,
    idempotent: false,
    defaultContentType: 'application/grpc+proto',
  };
}

/** One method of each kind, named after it. */
export const methods = {
  unary: method('Unary', 'unary'),
  server: method('Server', 'server'),
  client: method('Client', 'client'),
  bidi: method('Bidi', 'bidi'),
};

/** A message as gRPC frames it (PROTOCOL-HTTP2.md: Length-Prefixed-Message). */
export function frame(body: Uint8Array, flag = 0, length = body.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, body]);
}

/** What a server sent, as it stands on the wire. */
export interface WireAnswer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly data: Buffer;
  readonly resetCode: number;
}

/** Calls with node:http2, and nothing of gRPC. */
export function rawCall(
  session: ClientHttp2Session,
  path: string,
  body: Uint8Array | undefined,
  more: Record<string, string> = {},
): Promise<WireAnswer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
      ...more,
    });
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders | undefined;
    const chunks: Buffer[] = [];
    stream.on('response', (received) => (headers = received));
    stream.on('trailers', (received) => (trailers = received));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', () => {});
    session.once('error', reject);
    stream.on('close', () => {
      session.off('error', reject);
      resolve({ headers, trailers, data: Buffer.concat(chunks), resetCode: stream.rstCode });
    });
    stream.end(body);
  });
}

/** A session of node:http2. */
export function rawSession(address: string): ClientHttp2Session {
  const session = connect(`http://${address}`);
  session.on('error', () => {});
  return session;
}

/** What a raw server does to a stream; `cut` ends the connections, as the loss of the machine does. */
export type OnStream = (stream: ServerHttp2Stream, cut: () => void, headers: IncomingHttpHeaders) => void;

/** A server whose every byte is the test's. */
export interface RawServer {
  readonly address: string;
  /** How many connections there have been. */
  readonly connections: () => number;
  /** Resolves when a connection has been closed. */
  readonly closed: Promise<void>;
  close(): Promise<void>;
}

/** A server on node:http2 that does to each stream what `onStream` says. */
export function rawServer(onStream: OnStream): Promise<RawServer> {
  const server = createServer();
  return listening(server, (cut) => {
    server.on('sessionError', () => {});
    server.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      onStream(stream, cut, headers);
    });
  });
}

/**
 * A server that speaks HTTP/2 as far as the first request, and says that it goes away before that (RFC 9113, section
 * 6.8).
 */
export function leavingServer(): Promise<RawServer> {
  const frameOf = (type: number, flags: number, payload: Buffer): Buffer =>
    Buffer.concat([Buffer.from([0, 0, payload.length, type, flags, 0, 0, 0, 0]), payload]);
  const server = createNetServer((socket) => {
    let bytes = Buffer.alloc(0);
    let at = 24; // Behind the client's preface.
    socket.on('error', () => {});
    socket.write(frameOf(4, 0, Buffer.alloc(0)));
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (; bytes.length >= at + 9; at += 9 + bytes.readUIntBE(at, 3)) {
        const type = bytes[at + 3];
        if (type === 4 && bytes[at + 4] === 0) socket.write(frameOf(4, 1, Buffer.alloc(0)));
        if (type === 1) socket.end(frameOf(7, 0, Buffer.alloc(8)));
      }
    });
  });
  return listening(server, () => {});
}

async function listening(server: NetServer | Http2Server, prepare: (cut: () => void) => void): Promise<RawServer> {
  const sockets = new Set<NetSocket>();
  let connections = 0;
  let tell = (): void => {};
  const closed = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  server.on('connection', (socket: NetSocket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      tell();
    });
  });
  prepare(cut);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    closed,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}

/** Reads a call to its end; throws what broke it off. */
export async function readAll(socket: Socket): Promise<Message[]> {
  const messages: Message[] = [];
  for (let message = await socket.recv(); message; message = await socket.recv()) messages.push(message);
  return messages;
}
