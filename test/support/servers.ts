import { afterAll, beforeAll, describe } from '@jest/globals';
import { Redis } from 'ioredis';

import { type ServerOptions, servers } from '../../scripts/backends/definitions.js';
import { BackendServer, disposeAll } from '../../scripts/backends/server.js';
import { describeWith } from './require.ts';

export { BackendServer, type ServerOptions };

const clients = new Set<Redis>();

afterAll(async () => {
  for (const client of clients) client.disconnect();
  await disposeAll();
});

/** A real redis-server on loopback, with a folder of its own. */
export class RedisServer extends BackendServer {
  constructor(options: ServerOptions = {}) {
    super('redis', options);
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
}

/**
 * Starts a redis-server of the caller's own. The caller disposes of it (its process ends with the test file anyway).
 */
export async function redisServer(options: ServerOptions = {}): Promise<RedisServer> {
  const redis = new RedisServer(options);
  await redis.start();
  return redis;
}

/** Starts a server of the caller's own, as `redisServer`. */
export async function startServer(name: string, options: ServerOptions = {}): Promise<BackendServer> {
  const server = new BackendServer(name, options);
  await server.start();
  return server;
}

/**
 * A `describe` over a real server, which is started before its tests and disposed of after them. Where it is not
 * installed the tests are skipped, and the name says so; with `TENON_TEST_REQUIRE=all` they fail. Its address is known
 * within tests and hooks only.
 */
export function describeWithServer<S extends BackendServer>(
  name: string,
  server: S,
  define: (server: S) => void,
): void {
  const isInstalled = server.definition.isInstalled();
  const missing = isInstalled ? undefined : `${server.name} is not installed (npm run backends -- install)`;
  describeWith(name, server.name, missing, () => {
    beforeAll(() => server.start(), 240_000);
    afterAll(() => server.dispose());
    define(server);
  });
}

/** A `describe` over a redis-server, as `describeWithServer`. */
export function describeWithRedis(
  name: string,
  define: (redis: RedisServer) => void,
  options: ServerOptions = {},
): void {
  describeWithServer(name, new RedisServer(options), define);
}

/** The servers that tests can start. */
export const serverNames: readonly string[] = Object.keys(servers);

/** Looks up something of a server by its name. */
type OfServer<T> = (server: string) => T;

/**
 * A `describe` over all the servers named, each started before its tests; without one of them they are skipped.
 * `envOf` gives the variables that a registry needs beside the address of its server.
 */
export function describeWithServers(
  name: string,
  needed: readonly string[],
  define: (addressOf: OfServer<string>, envOf: OfServer<Readonly<Record<string, string>>>) => void,
): void {
  const [first, ...others] = needed;
  if (first === undefined) {
    describe(name, () =>
      define(
        () => '',
        () => ({}),
      ),
    );
    return;
  }
  describeWithServer(name, new BackendServer(first), (server) => {
    const withFirst =
      <T>(own: (server: BackendServer) => T, ofOthers: OfServer<T>): OfServer<T> =>
      (one) =>
        one === first ? own(server) : ofOthers(one);
    const defineRest: typeof define = (addressOf, envOf) =>
      define(
        withFirst((one) => one.address, addressOf),
        withFirst(registryEnv, envOf),
      );
    if (others.length > 0) describeWithServers(`with ${others.join(', ')}`, others, defineRest);
    else
      defineRest(
        () => '',
        () => ({}),
      );
  });
}

/** The variables that a registry needs beside the address of its server: whom to trust, and who connects. */
export function registryEnv({ details: { caFile, token } }: BackendServer): Readonly<Record<string, string>> {
  return {
    ...(caFile !== undefined && { TENON_REGISTRY_TLS_CA_FILE: caFile }),
    ...(token !== undefined && { TENON_REGISTRY_TOKEN: token }),
  };
}
