import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';

import { afterAll, beforeAll, describe } from '@jest/globals';
import { Redis } from 'ioredis';

import { freePort, TestProcess } from './process.ts';
import { describeWith } from './require.ts';

/** What a server of a test may be told. */
export interface RedisOptions {
  /** @default a free one */
  readonly port?: number;
  /** Keeps the data over `restart()` and `kill()`, by an append-only file synced on each write. @default false */
  readonly persistent?: boolean;
  /** Files of its certificate; then it speaks TLS, and nothing in the clear. */
  readonly tls?: RedisTls;
  /** More of its arguments. */
  readonly args?: readonly string[];
}

/** Files in PEM. */
export interface RedisTls {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
  /** Clients have to show a certificate. @default false */
  readonly asksClients?: boolean;
  /** Shown by who looks whether it has started. @default its own certificate */
  readonly probe?: { readonly certFile: string; readonly keyFile: string };
}

const clients = new Set<Redis>();

afterAll(() => {
  for (const client of clients) client.disconnect();
});

/** A real redis-server on loopback, with a folder of its own. */
export class RedisServer {
  readonly #options: RedisOptions;
  #port: number;
  #folder: string | undefined;
  #process: TestProcess | undefined;

  constructor(options: RedisOptions = {}) {
    this.#options = options;
    this.#port = options.port ?? 0;
  }

  get port(): number {
    if (this.#port === 0) throw new Error('the redis-server is not started yet: ask within a test or a hook');
    return this.#port;
  }

  /** `127.0.0.1:<port>`; the same after a restart. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get pid(): number {
    if (this.#process === undefined) throw new Error('the redis-server is not running');
    return this.#process.pid;
  }

  /** A client of the test's own, which is disconnected when its file has ended. */
  client(options: { readonly db?: number; readonly lazyConnect?: boolean } = {}): Redis {
    // ioredis waits that long for the end of a connection, even of one that is gone, and keeps the process alive
    // meanwhile.
    const client = new Redis(this.port, '127.0.0.1', { disconnectTimeout: 50, ...options });
    clients.add(client);
    client.once('end', () => clients.delete(client));
    return client;
  }

  /** Starts it, and resolves when it answers PING. After `stop()` or `kill()`: on the same port again. */
  async start(): Promise<this> {
    const fixed = this.#port !== 0;
    for (let attempt = 1; ; attempt++) {
      if (!fixed) this.#port = await freePort();
      try {
        await this.#startOnce();
        return this;
      } catch (error) {
        await this.kill();
        // Between finding a free port and listening on it another process may have taken it.
        if (fixed || attempt === 3) throw error;
      }
    }
  }

  async #startOnce(): Promise<void> {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'tenon-redis-'));
    const keep = this.#options.persistent ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
    const { tls, args = [] } = this.#options;
    const where = ['--bind', '127.0.0.1', '--dir', this.#folder, ...portArguments(this.#port, tls)];
    const server = new TestProcess('redis-server', [...where, '--save', '', ...keep, ...args]);
    this.#process = server;
    for (let waitedMs = 0; !(await answersPing(this.#port, tls)); waitedMs += 20) {
      if (server.exit || waitedMs > 10_000) {
        throw new Error(`redis-server did not start on port ${this.#port}\n${server.stdout}${server.stderr}`);
      }
      await sleep(20);
    }
  }

  /** Ends it in order (SIGTERM) and removes nothing: `start()` brings it back. */
  async stop(): Promise<void> {
    const server = this.#process;
    this.#process = undefined;
    if (server) await server.kill('SIGTERM');
  }

  /** Ends it at once (SIGKILL); `start()` brings it back. */
  async kill(): Promise<void> {
    const server = this.#process;
    this.#process = undefined;
    if (server) await server.kill('SIGKILL');
  }

  /** Stops it, and starts it on the same port. Without `persistent` it comes back empty. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Makes it hang: connections stay open, nothing is answered until `resume()`. */
  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** Stops it and removes its folder. */
  async dispose(): Promise<void> {
    await this.kill();
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }
}

function portArguments(port: number, tls: RedisTls | undefined): string[] {
  if (!tls) return ['--port', String(port)];
  const { certFile, keyFile, caFile, asksClients = false } = tls;
  const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', caFile];
  return ['--port', '0', '--tls-port', String(port), ...files, '--tls-auth-clients', asksClients ? 'yes' : 'no'];
}

function answersPing(port: number, tls: RedisTls | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const place = { host: '127.0.0.1', port };
    const { certFile, keyFile } = tls?.probe ?? tls ?? { certFile: '', keyFile: '' };
    const socket = tls
      ? connectTls({
          ...place,
          rejectUnauthorized: false,
          cert: readFileSync(certFile),
          key: readFileSync(keyFile),
        })
      : connect(place);
    const end = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(1_000, () => end(false));
    socket.once('error', () => end(false));
    // One that asks for a password answers as well.
    socket.once('data', (data) => end(/^(?:\+PONG|-NOAUTH)/.test(data.toString('latin1'))));
    socket.once(tls ? 'secureConnect' : 'connect', () => socket.write('PING\r\n'));
  });
}

/**
 * Starts a redis-server of the caller's own. The caller disposes of it (its process ends with the test file anyway).
 */
export function redisServer(options: RedisOptions = {}): Promise<RedisServer> {
  return new RedisServer(options).start();
}

let available: boolean | undefined;

/** Whether redis-server is installed here. */
export function redisAvailable(): boolean {
  available ??= spawnSync('redis-server', ['--version'], { stdio: 'ignore' }).status === 0;
  return available;
}

/**
 * A `describe` over a real redis-server, which is started before its tests and disposed of after them. Where
 * redis-server is not installed the tests are skipped, and the name says so; with `TENON_TEST_REQUIRE=all` they fail.
 * `redis.address` is known within tests and hooks only.
 */
export function describeWithRedis(
  name: string,
  define: (redis: RedisServer) => void,
  options: RedisOptions = {},
): void {
  const missing = redisAvailable() ? undefined : 'redis-server is not installed (apt-get install redis-server)';
  describeWith(name, 'redis', missing, () => {
    const redis = new RedisServer(options);
    beforeAll(async () => {
      await redis.start();
    });
    afterAll(() => redis.dispose());
    define(redis);
  });
}

/** What starts a server that backends of the table speak to, for the tests of a group. */
const starters: Readonly<
  Record<string, (name: string, define: (server: { readonly address: string }) => void) => void>
> = { redis: describeWithRedis };

/** The servers that tests can start. */
export const serverNames: readonly string[] = Object.keys(starters);

/** A `describe` over all the servers named, each started before its tests; without one of them they are skipped. */
export function describeWithServers(
  name: string,
  servers: readonly string[],
  define: (addressOf: (server: string) => string) => void,
): void {
  const [first, ...others] = servers;
  const start = first === undefined ? undefined : starters[first];
  if (first === undefined) return describe(name, () => define(() => ''));
  if (!start) throw new Error(`tests can start no ${first}`);
  start(name, (server) => {
    const addressWith = (addressOf: (server: string) => string) => (one: string) =>
      one === first ? server.address : addressOf(one);
    if (others.length === 0) define(addressWith(() => ''));
    else describeWithServers(`with ${others.join(', ')}`, others, (addressOf) => define(addressWith(addressOf)));
  });
}
