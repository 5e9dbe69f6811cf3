import { type AddressInfo, createServer, type Socket } from 'node:net';

import { message } from './cases.ts';
import { data, type Field, Flag, frame, FrameType, hpack, settings, windowUpdate } from './http2-peer.ts';

/** One call, as a server sees it that is free to answer as it likes. */
export interface Answering {
  readonly stream: number;
  readonly socket: Socket;
  write(...parts: readonly Uint8Array[]): void;
}

/** What a server does once the head of a call has come. */
export type Behave = (call: Answering) => void;

/** A server of which every byte is the test's. It says its settings, and acknowledges those of the client. */
export class BadServer {
  readonly address: string;
  /** What it does to the calls that come. */
  behave: Behave = answer;
  /** What it does to a connection before a word was said. */
  welcome: (socket: Socket) => void = hello;
  readonly #close: () => Promise<void>;

  private constructor(address: string, close: () => Promise<void>) {
    this.address = address;
    this.#close = close;
  }

  static async start(): Promise<BadServer> {
    const sockets = new Set<Socket>();
    const server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => {});
      bad.welcome(socket);
      read(socket, (call) => bad.behave(call));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const bad = new BadServer(
      `127.0.0.1:${(server.address() as AddressInfo).port}`,
      () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          for (const socket of sockets) socket.destroy();
        }),
    );
    return bad;
  }

  close(): Promise<void> {
    return this.#close();
  }
}

/** As a good server begins. */
export function hello(socket: Socket): void {
  socket.write(settings());
}

function read(socket: Socket, onCall: Behave): void {
  let bytes = Buffer.alloc(0);
  let at = 24; // Behind the client's preface.
  const write = (...parts: readonly Uint8Array[]): void => {
    if (socket.writable) socket.write(Buffer.concat(parts));
  };
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= at + 9) {
      const length = bytes.readUIntBE(at, 3);
      if (bytes.length < at + 9 + length) return;
      const [type, flags] = [bytes.readUInt8(at + 3), bytes.readUInt8(at + 4)];
      const stream = bytes.readUInt32BE(at + 5);
      const payload = bytes.subarray(at + 9, at + 9 + length);
      bytes = bytes.subarray(at + 9 + length);
      at = 0;
      if (type === FrameType.Settings && !(flags & Flag.Ack)) write(frame(FrameType.Settings, Flag.Ack, 0));
      if (type === FrameType.Ping && !(flags & Flag.Ack)) write(frame(FrameType.Ping, Flag.Ack, 0, payload));
      if (type === FrameType.Data && length > 0) write(windowUpdate(0, length), windowUpdate(stream, length));
      if (type === FrameType.Headers) onCall({ stream, socket, write });
    }
  });
}

/** The head of an answer; what is given takes the place of a field of the same name. */
export function head(
  stream: number,
  change: Readonly<Record<string, string | undefined>> = {},
  endStream = false,
): Buffer {
  const fields = { ':status': '200', 'content-type': 'application/grpc+proto', ...change };
  return fieldsOf(stream, fields, endStream);
}

/** The end of an answer. */
export function trailers(stream: number, change: Readonly<Record<string, string | undefined>> = {}): Buffer {
  return fieldsOf(stream, { 'grpc-status': '0', ...change }, true);
}

function fieldsOf(stream: number, fields: Readonly<Record<string, string | undefined>>, endStream: boolean): Buffer {
  const given = Object.entries(fields).flatMap(([name, value]): Field[] =>
    value === undefined ? [] : [[name, Buffer.from(value)]],
  );
  return frame(FrameType.Headers, Flag.EndHeaders | (endStream ? Flag.EndStream : 0), stream, hpack(given));
}

/** A protobuf message that the client takes. */
export const reply = message(Buffer.from('0a0161', 'hex'));

/** A good answer: one message, and the end. */
export function answer({ stream, write }: Answering): void {
  write(head(stream), data(stream, reply), trailers(stream));
}
