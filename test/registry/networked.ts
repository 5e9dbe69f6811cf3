import { Container } from 'inversify';

import { backendRow } from '../../src/app/internal/backend-table.ts';
import { Logger } from '../../src/logger/logger.ts';
import type { Registry, RegistryOptions } from '../../src/registry/registry.ts';
import { Clock } from '../../src/runtime/runtime.ts';
import { BackendServer, RedisServer } from '../support/servers.ts';
import { DnsZone, srvLines } from './dns-zone.ts';
import { KubernetesServer } from './kubernetes-support.ts';

/** A registry that has a server. */
export interface NetworkedRegistry {
  readonly name: string;
  readonly server: BackendServer;
  /** Options beside the address. */
  readonly options?: () => object;
  /** True if it takes one address alone. */
  readonly isSingle?: boolean;
  /** Lists nodes of a service at the server, for registries that cannot register. */
  readonly list?: (service: string, ids: readonly string[]) => void;
}

const kubernetes = new KubernetesServer();
const coredns = new BackendServer('coredns');
let zone: DnsZone | undefined;

/** Every registry that has a server, each over a server of the file that asks. */
export const networkedRegistries: readonly NetworkedRegistry[] = [
  { name: 'redis', server: new RedisServer(), isSingle: true },
  { name: 'etcd', server: new BackendServer('etcd') },
  { name: 'consul', server: new BackendServer('consul') },
  { name: 'zookeeper', server: new BackendServer('zookeeper') },
  { name: 'nats', server: new BackendServer('nats') },
  {
    name: 'dns',
    server: coredns,
    options: () => ({ domain: 'suite.test', minReadMs: 100 }),
    list: (service, ids) => {
      const nodes = ids.map((id, at) => ({ id, address: `10.0.0.${at + 1}:1` }));
      (zone ??= new DnsZone(coredns)).write(srvLines(service, nodes, 1), { negativeTtl: 1 });
    },
  },
  {
    name: 'kubernetes',
    server: kubernetes,
    options: () => ({
      tls: { caFile: kubernetes.detail('caFile') },
      credentials: { token: kubernetes.detail('token') },
    }),
  },
];

/** Makes a registry as an application does, from the table of backends. */
export async function registryFrom(
  name: string,
  options: RegistryOptions,
  { clock, logger }: { readonly clock?: Clock; readonly logger?: Logger } = {},
): Promise<Registry> {
  const row = backendRow('registry', name);
  if (!row) throw new Error(`there is no registry "${name}"`);
  const { implementation, options: bound } = await row.load(options as Parameters<typeof row.load>[0]);
  const container = new Container();
  if (bound) container.bind(bound.key).toConstantValue(bound.value);
  if (clock) container.bind(Clock).toConstantValue(clock);
  if (logger) container.bind(Logger).toConstantValue(logger);
  container.bind(implementation).toSelf();
  return container.get(implementation) as Registry;
}
