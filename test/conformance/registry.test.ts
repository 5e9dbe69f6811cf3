import { describe, it } from '@jest/globals';

import { CachedRegistry } from '../../src/registry/cache.ts';
import { EtcdRegistry } from '../../src/registry/etcd.ts';
import { ConsulRegistry } from '../../src/registry/consul.ts';
import { KubernetesRegistry } from '../../src/registry/kubernetes.ts';
import { MdnsRegistry } from '../../src/registry/mdns.ts';
import { MemoryRegistry, MemoryRegistryStore } from '../../src/registry/memory.ts';
import { NatsRegistry } from '../../src/registry/nats.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { ZooKeeperRegistry } from '../../src/registry/zookeeper.ts';
import { registryConformance } from '../../src/testing/registry.ts';
import { dnsHarness } from '../registry/dns-zone.ts';
import { KubernetesServer } from '../registry/kubernetes-support.ts';
import { fileHarness } from '../registry/support.ts';
import { BackendServer, describeWithRedis, describeWithServer } from '../support/servers.ts';

const api = { describe, it };

registryConformance(api, 'memory', { make: () => new MemoryRegistry(), capabilities: MemoryRegistry.capabilities });
const store = new MemoryRegistryStore();
registryConformance(api, 'memory, over a store that is shared', {
  make: () => new MemoryRegistry({ store }),
  capabilities: MemoryRegistry.capabilities,
  seesOthers: true,
  guardsNodes: true,
});
registryConformance(api, 'cache over memory', {
  make: () => new CachedRegistry(new MemoryRegistry()),
  capabilities: MemoryRegistry.capabilities,
});
// A port of its own is a network of its own.
const port = 20_000 + (process.pid % 20_000);
registryConformance(api, 'mdns', {
  make: () => new MdnsRegistry({ interface: '127.0.0.1', port, queryMs: 60, probeMs: 20 }),
  capabilities: MdnsRegistry.capabilities,
  shortTtlMs: 400,
  settleMs: 3_000,
  guardsNodes: true,
});
registryConformance(api, 'file', fileHarness());
describeWithRedis('with a real server', (redis) => {
  registryConformance(api, 'redis', {
    make: () => new RedisRegistry({ address: redis.address }),
    capabilities: RedisRegistry.capabilities,
    shortTtlMs: 200,
    maxRecordBytes: 1_048_576,
  });
});
describeWithServer('with a real server', new BackendServer('etcd'), (etcd) => {
  registryConformance(api, 'etcd', {
    make: () => new EtcdRegistry({ address: etcd.address }),
    capabilities: EtcdRegistry.capabilities,
    settleMs: 5_000,
    maxRecordBytes: 1_048_576,
  });
});
describeWithServer('with a real server', new BackendServer('coredns'), (coredns) => {
  registryConformance(api, 'dns', dnsHarness(coredns));
});
describeWithServer('with a real server', new BackendServer('consul'), (consul) => {
  registryConformance(api, 'consul', {
    make: () => new ConsulRegistry({ address: consul.address }),
    capabilities: ConsulRegistry.capabilities,
    settleMs: 10_000,
    maxRecordBytes: 262_144,
  });
});
describeWithServer('with a real server', new BackendServer('zookeeper'), (zookeeper) => {
  registryConformance(api, 'zookeeper', {
    make: () => new ZooKeeperRegistry({ address: zookeeper.address }),
    capabilities: ZooKeeperRegistry.capabilities,
    maxRecordBytes: 1_000_000,
  });
});
describeWithServer('with a real server', new BackendServer('nats'), (nats) => {
  registryConformance(api, 'nats', {
    make: () => new NatsRegistry({ address: nats.address, queryMs: 50 }),
    capabilities: NatsRegistry.capabilities,
    shortTtlMs: 600,
    settleMs: 5_000,
    maxRecordBytes: 262_144,
  });
});
describeWithServer('with a real API server of Kubernetes', new KubernetesServer(), (cluster) => {
  registryConformance(api, 'kubernetes', {
    make: () => new KubernetesRegistry({ kubeconfig: cluster.detail('kubeconfig') }),
    capabilities: KubernetesRegistry.capabilities,
    settleMs: 5_000,
    maxRecordBytes: 204_800,
  });
});
