import { connect, createServer, type Server, type Socket } from 'node:net';

import { NatsClient, type NatsClientOptions } from '../../src/nats/client.ts';
import type { ServerAddresses } from '../../src/runtime/connection-loop.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { closing } from '../support/closing.ts';

/** What was heard on a subject. */
export interface Heard {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly text: string;
}

/** A connection to NATS with nothing of tenon in between: what Go Micro, or an attacker, says to it. */
export class RawNats {
  /** What was heard on the subjects that it subscribed to. */
  readonly heard: Heard[] = [];
  /** What the server said, but for messages. */
  readonly lines: string[] = [];
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #pongs: (() => void)[] = [];
  #sid = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => {});
  }

  /** Connects, and closes after the test. */
  static async to({ address }: { readonly address: string }, options: object = {}): Promise<RawNats> {
    const [host = '', port] = address.split(':');
    const socket = connect(Number(port), host);
    const raw = new RawNats(socket);
    closing.push(() => socket.destroy());
    socket.write(`CONNECT ${JSON.stringify({ verbose: false, ...options })}\r\n`);
    await raw.flush();
    return raw;
  }

  async subscribe(subject: string): Promise<void> {
    this.#sid += 1;
    this.write(`SUB ${subject} ${this.#sid}\r\n`);
    await this.flush();
  }

  async publish(subject: string, message: object | string, reply = ''): Promise<void> {
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    this.write(`PUB ${subject} ${reply} ${Buffer.byteLength(text)}\r\n${text}\r\n`);
    await this.flush();
  }

  write(bytes: string | Buffer): void {
    this.#socket.write(bytes);
  }

  /** Resolves when the server has processed what was sent. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.#pongs.push(resolve);
      this.#socket.write('PING\r\n');
    });
  }

  /** Reads no more, until `resume`. */
  pause(): void {
    this.#socket.pause();
  }

  /** The messages on a subject, parsed. */
  messages(subject: string): Record<string, unknown>[] {
    const told = this.heard.filter((one) => one.subject === subject);
    return told.map(({ text }) => JSON.parse(text) as Record<string, unknown>);
  }

  #onData(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    for (;;) {
      const end = this.#bytes.indexOf('\r\n');
      if (end < 0) return;
      const line = String(this.#bytes.subarray(0, end));
      const [, subject, reply, length] = /^MSG (\S+) \S+ (?:(\S+) )?(\d+)$/.exec(line) ?? [];
      const from = end + 2;
      if (subject === undefined) {
        this.#bytes = this.#bytes.subarray(from);
        if (line === 'PONG') this.#pongs.shift()?.();
        else if (line === 'PING') this.write('PONG\r\n');
        else this.lines.push(line);
        continue;
      }
      const to = from + Number(length);
      if (this.#bytes.length < to + 2) return;
      this.heard.push({ subject, reply, text: String(this.#bytes.subarray(from, to)) });
      this.#bytes = this.#bytes.subarray(to + 2);
    }
  }
}

/** A server that says what a test wants. */
export class ScriptedServer {
  readonly sockets: Socket[] = [];
  /** What the clients said, by connection. */
  readonly said: string[] = [];
  readonly #server: Server;

  /** `onData` hears what a client says; `onConnect` begins. */
  constructor(onConnect: (socket: Socket) => void, onData: (socket: Socket, text: string) => void = () => {}) {
    this.#server = createServer((socket) => {
      const index = this.sockets.push(socket) - 1;
      this.said[index] = '';
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        this.said[index] += chunk.toString('latin1');
        onData(socket, String(chunk));
      });
      onConnect(socket);
    });
  }

  /** Listens on a free port until the test has ended. */
  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      for (const socket of this.sockets) socket.destroy();
      this.#server.close();
    });
    return this;
  }

  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  /** The number of connections that stand. */
  get open(): number {
    return this.sockets.filter(({ destroyed, readyState }) => !destroyed && readyState === 'open').length;
  }
}

/** The first line of a server. */
export function info(more: object = {}): string {
  return `INFO ${JSON.stringify({ server_id: 'scripted', max_payload: 1_048_576, ...more })}\r\n`;
}

/** A server that accepts everybody, and then says what a test wants. */
export function obliging(then: (socket: Socket) => void, more: object = {}): ScriptedServer {
  return new ScriptedServer(
    (socket) => socket.write(info(more)),
    (socket, text) => {
      for (const [line] of text.matchAll(/^(?:CONNECT|PING).*$/gm)) {
        if (line.startsWith('PING')) socket.write('PONG\r\n');
        else queueMicrotask(() => then(socket));
      }
    },
  );
}

/** A client of NATS that closes after the test. */
export function clientOf(
  places: readonly { readonly address: string }[],
  options: Partial<NatsClientOptions> = {},
): NatsClient {
  const inOrder = places.map(({ address }) => {
    const [host = '', port] = address.split(':');
    return { host, port: Number(port) };
  });
  const addresses: ServerAddresses = { inOrder, succeeded: () => {}, failed: () => {} };
  const client = new NatsClient({
    runtime: systemRuntime,
    addresses,
    security: {},
    listener: {},
    name: 'test',
    connectTimeoutMs: 2_000,
    maxSilenceMs: 5_000,
    ...options,
  });
  closing.push(() => client.close());
  return client;
}
