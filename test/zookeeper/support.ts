import { createServer, type Server, type Socket } from 'node:net';

import type { ServerAddresses } from '../../src/runtime/connection-loop.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { ZooKeeperClient, type ZooKeeperClientOptions } from '../../src/zookeeper/client.ts';
import type { Session, WatchEvent } from '../../src/zookeeper/zookeeper.ts';
import { closing } from '../support/closing.ts';

/** Addresses that are always tried in their order. */
export function addressesOf(...addresses: readonly string[]): ServerAddresses {
  const inOrder = addresses.map((address) => {
    const at = address.lastIndexOf(':');
    return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
  });
  return { inOrder, succeeded: () => {}, failed: () => {} };
}

/** What a client told. */
export interface Told {
  readonly events: string[];
  readonly sessions: { readonly session: Session; readonly isNew: boolean }[];
  readonly expired: Session[];
  readonly silences: number[];
}

/** A client that is closed with the test, and what it tells. */
export function clientOf(
  addresses: readonly string[],
  options: Partial<ZooKeeperClientOptions> = {},
): { client: ZooKeeperClient; told: Told } {
  const told: Told = { events: [], sessions: [], expired: [], silences: [] };
  const client = new ZooKeeperClient({
    runtime: systemRuntime,
    addresses: addressesOf(...addresses),
    security: {},
    sessionTimeoutMs: 4_000,
    connectTimeoutMs: 2_000,
    maxSilenceMs: 10_000,
    ...options,
    listener: {
      onEvent: (event: WatchEvent) => told.events.push(`${event.kind} ${event.path}`),
      onConnected: (session, isNew) => told.sessions.push({ session, isNew }),
      onSilence: (silentMs) => told.silences.push(silentMs),
      onExpired: (session) => told.expired.push(session),
    },
  });
  closing.push(() => client.close({ endSession: true }));
  return { client, told };
}

/** A request that a {@link ScriptedServer} received. */
export interface ScriptedRequest {
  readonly xid: number;
  readonly opcode: number;
  readonly body: Buffer;
  readonly socket: Socket;
}

/** A server that answers as a test says. It grants a session by itself, unless the test does that as well. */
export class ScriptedServer {
  readonly handshakes: Buffer[] = [];
  readonly requests: ScriptedRequest[] = [];
  readonly sockets = new Set<Socket>();
  onHandshake: (socket: Socket, packet: Buffer) => void = (socket) => void socket.write(granted(7n, 4_000));
  onRequest: (request: ScriptedRequest) => void = () => {};
  readonly #server: Server;

  constructor() {
    this.#server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.sockets.delete(socket));
      let buffered = Buffer.alloc(0);
      let isOpen = false;
      socket.on('data', (chunk) => {
        buffered = Buffer.concat([buffered, chunk]);
        while (buffered.length >= 4 && buffered.length >= 4 + buffered.readInt32BE(0)) {
          const packet = buffered.subarray(4, 4 + buffered.readInt32BE(0));
          buffered = buffered.subarray(4 + packet.length);
          if (isOpen) {
            const [xid, opcode, body] = [packet.readInt32BE(0), packet.readInt32BE(4), packet.subarray(8)];
            const request = { xid, opcode, body, socket };
            this.requests.push(request);
            this.onRequest(request);
          } else {
            isOpen = true;
            this.handshakes.push(packet);
            this.onHandshake(socket, packet);
          }
        }
      });
    });
    closing.push(() => this.close());
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** A packet with its length. */
export function packet(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([int(body.length), body]);
}

export function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

export function text(value: string): Buffer {
  return Buffer.concat([int(Buffer.byteLength(value)), Buffer.from(value)]);
}

/** The answer to a handshake. */
export function granted(sessionId: bigint, timeoutMs: number, password = Buffer.alloc(16, 1)): Buffer {
  return packet(int(0), int(timeoutMs), long(sessionId), int(password.length), password, Buffer.of(0));
}

/** The answer to a request. */
export function reply(xid: number, ...body: readonly Buffer[]): Buffer {
  return packet(int(xid), long(1n), int(0), ...body);
}

/** An event of a watch: created 1, deleted 2, changed 3, children 4. */
export function event(type: number, path: string): Buffer {
  return packet(int(-1), long(-1n), int(0), int(type), int(3), text(path));
}

/** The facts about a node without children. */
export function stat({ owner = 0n, children = 0 } = {}): Buffer {
  return Buffer.concat([
    long(1n),
    long(1n),
    long(0n),
    long(0n),
    int(0),
    int(0),
    int(0),
    long(owner),
    int(0),
    int(children),
    long(1n),
  ]);
}
