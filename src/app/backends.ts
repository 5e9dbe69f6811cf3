import { createRequire } from 'node:module';
import type { Newable, ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import type { Broker } from '../broker/broker.ts';
import type { Marshaler } from '../codec/codec.ts';
import type { Registry } from '../registry/registry.ts';
import type { Selector } from '../selector/selector.ts';
import type { Transport } from '../transport/transport.ts';
import type { Config } from './config.ts';

/** The rooms whose implementation is chosen by name. */
export type BackendRoom = 'transport' | 'codec' | 'registry' | 'selector' | 'broker';

interface Contracts {
  readonly transport: Transport;
  readonly codec: Marshaler;
  readonly registry: Registry;
  readonly selector: Selector;
  readonly broker: Broker;
}

/**
 * Implementations of the application's own, by the name that a variable chooses them by: with `{ registry: { folder: FolderRegistry } }` there is
 * `TENON_REGISTRY=folder`. A registry or a broker is given its address (`TENON_REGISTRY_ADDRESS`, or behind `folder://`) by `init`.
 */
export type Backends = {
  readonly [R in BackendRoom]?: Readonly<Record<string, Newable<Contracts[R]>>> | undefined;
};

/** An implementation, and what its options are bound to. */
export interface Backend {
  readonly implementation: Newable;
  readonly options?: { readonly key: ServiceIdentifier; readonly value: object } | undefined;
}

interface BackendRow {
  readonly name: string;
  /** The package that it speaks through, if any. */
  readonly package?: string;
  /** Loads it: nothing of a backend is loaded before this is called. */
  readonly load: (config: Config) => Promise<Backend>;
}

/** Every implementation that can be chosen by name. A new one is a row here. */
const table: Readonly<Record<BackendRoom, readonly BackendRow[]>> = {
  transport: [
    {
      name: 'grpc',
      load: async () => {
        const { GrpcTransport, GrpcTransportOptions } = await import('../transport/grpc.ts');
        return backend(GrpcTransport, GrpcTransportOptions);
      },
    },
    {
      name: 'grpc-js',
      package: '@grpc/grpc-js',
      load: async () => {
        const { GrpcJsTransport, GrpcJsTransportOptions } = await import('../transport/grpc-js.ts');
        return backend(GrpcJsTransport, GrpcJsTransportOptions);
      },
    },
    {
      name: 'memory',
      load: async () => {
        const { MemoryTransport, MemoryTransportOptions } = await import('../transport/memory.ts');
        return backend(MemoryTransport, MemoryTransportOptions);
      },
    },
    {
      name: 'tcp',
      load: async () => {
        const { TcpTransport, TcpTransportOptions } = await import('../transport/tcp.ts');
        return backend(TcpTransport, TcpTransportOptions);
      },
    },
    {
      name: 'unix',
      load: async () => {
        const { UnixTransport, UnixTransportOptions } = await import('../transport/unix.ts');
        return backend(UnixTransport, UnixTransportOptions);
      },
    },
  ],
  codec: [
    {
      name: 'proto',
      package: 'protobufjs',
      load: async () => ({ implementation: (await import('../codec/proto.ts')).ProtoMarshaler }),
    },
    { name: 'json', load: async () => ({ implementation: (await import('../codec/json.ts')).JsonMarshaler }) },
    { name: 'bytes', load: async () => ({ implementation: (await import('../codec/bytes.ts')).BytesMarshaler }) },
  ],
  registry: [
    {
      name: 'memory',
      load: async () => {
        const { MemoryRegistry, MemoryRegistryOptions } = await import('../registry/memory.ts');
        return backend(MemoryRegistry, MemoryRegistryOptions);
      },
    },
    {
      name: 'mdns',
      package: 'multicast-dns',
      load: async ({ mdns }) => {
        const { MdnsRegistry, MdnsRegistryOptions } = await import('../registry/mdns.ts');
        return backend(MdnsRegistry, MdnsRegistryOptions, mdns);
      },
    },
    {
      name: 'redis',
      package: 'ioredis',
      load: async ({ registry }) => {
        const { RedisRegistry, RedisRegistryOptions } = await import('../registry/redis.ts');
        return backend(RedisRegistry, RedisRegistryOptions, { address: redisAddress(registry.address) });
      },
    },
  ],
  selector: [
    { name: 'random', load: async () => ({ implementation: (await import('../selector/random.ts')).RandomSelector }) },
    {
      name: 'round-robin',
      load: async () => ({ implementation: (await import('../selector/round-robin.ts')).RoundRobinSelector }),
    },
  ],
  broker: [
    {
      name: 'memory',
      load: async () => {
        const { MemoryBroker, MemoryBrokerOptions } = await import('../broker/memory.ts');
        return backend(MemoryBroker, MemoryBrokerOptions);
      },
    },
    {
      name: 'redis',
      package: 'ioredis',
      load: async ({ broker }) => {
        const { RedisBroker, RedisBrokerOptions } = await import('../broker/redis.ts');
        return backend(RedisBroker, RedisBrokerOptions, { address: redisAddress(broker.address) });
      },
    },
    {
      name: 'redis-streams',
      package: 'ioredis',
      load: async ({ broker }) => {
        const { RedisStreamsBroker, RedisStreamsBrokerOptions } = await import('../broker/redis-streams.ts');
        return backend(RedisStreamsBroker, RedisStreamsBrokerOptions, { address: redisAddress(broker.address) });
      },
    },
  ],
};

/** The names that a room's implementation can be chosen by. */
export function backendNames(room: BackendRoom, own: Backends = {}): readonly string[] {
  return [...table[room].map((row) => row.name), ...Object.keys(own[room] ?? {})];
}

/**
 * Loads the implementation of that name. INVALID_ARGUMENT (`config.invalid`) naming the ones there are, FAILED_PRECONDITION (`app.package_missing`)
 * naming the package that is not installed and the command that installs it.
 */
export async function loadBackend(
  room: BackendRoom,
  name: string,
  config: Config,
  own: Backends = {},
): Promise<Backend> {
  const mine = own[room];
  if (mine && Object.hasOwn(mine, name)) return { implementation: mine[name] as Newable };
  const row = table[room].find((one) => one.name === name);
  if (!row) {
    const names = backendNames(room, own);
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'config.invalid',
      message: `there is no ${room} "${name}"; there are ${names.join(', ')}.${didYouMean(name, names)}`,
    });
  }
  try {
    if (row.package !== undefined) assertInstalled(row.package);
    return await row.load(config);
  } catch (error) {
    if (row.package !== undefined && isMissing(error, row.package))
      throw packageMissing(room, row.name, row.package, error);
    throw error;
  }
}

/**
 * Asked beforehand: a backend may load its package only when it first connects, and that would be late to hear of it. In a program that was
 * bundled, packages are part of it and nowhere else.
 */
function assertInstalled(name: string): void {
  if (isBundled()) return;
  try {
    createRequire(import.meta.url).resolve(name);
  } catch (error) {
    // A package that cannot be required (ERR_PACKAGE_PATH_NOT_EXPORTED) is there all the same.
    if (isMissing(error, name)) throw error;
  }
}

/** In a program that was bundled, tenon's package does not begin two folders up, as it does from `src/app` and from `dist/chunks`. */
function isBundled(): boolean {
  try {
    const manifest = createRequire(import.meta.url)('../../package.json') as { readonly name?: unknown };
    return manifest.name !== 'tenon';
  } catch {
    return true;
  }
}

function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') && String(message).includes(`'${name}'`);
}

function packageMissing(room: BackendRoom, name: string, missing: string, cause: unknown): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.package_missing',
    message: `the ${room} "${name}" needs the package ${missing}, which is not installed: npm install ${missing}`,
    cause,
  });
}

/** An address that stood behind `redis-streams://` with a password or a database is a URL of Redis again. */
function redisAddress(address: string | undefined): string | undefined {
  return address !== undefined && /[@/]/.test(address) && !address.includes('://') ? `redis://${address}` : address;
}

/** Options that were not said are left out, so that they do not stand over the defaults of the backend. */
function backend(implementation: Newable, key: ServiceIdentifier, options: object = {}): Backend {
  const value = Object.fromEntries(Object.entries(options).filter(([, one]) => one !== undefined));
  return { implementation, options: { key, value } };
}
