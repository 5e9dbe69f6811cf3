// Makes a registry by its name, with the options that a server of it needs.
const classes = {
  consul: 'ConsulRegistry',
  etcd: 'EtcdRegistry',
  file: 'FileRegistry',
  kubernetes: 'KubernetesRegistry',
  memory: 'MemoryRegistry',
  redis: 'RedisRegistry',
  zookeeper: 'ZooKeeperRegistry',
};

/** A service with so many nodes. */
export function recordOf(name, count) {
  const nodes = Array.from({ length: count }, (_, at) => ({
    id: `${name}-${String(at).padStart(5, '0')}-2b7f4e0b8a11`,
    address: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}:50051`,
    metadata: { zone: 'a', protocol: 'grpc', 'tenon-version': '1.0.0' },
  }));
  const endpoints = ['Hello', 'Goodbye'].map((method) => ({
    name: `Greeter.${method}`,
    request: { name: 'Request', type: 'Request', values: [{ name: 'name', type: 'string', values: [] }] },
    response: { name: 'Reply', type: 'Reply', values: [{ name: 'message', type: 'string', values: [] }] },
    metadata: {},
  }));
  return { name, version: '1.2.0', metadata: {}, endpoints, nodes };
}

let zones = 0;

/** The record with another zone for one of its nodes; with just that node unless the whole is wanted. */
export function changed(record, at, isAlone = true) {
  const { [at % record.nodes.length]: node } = record.nodes;
  const other = { ...node, metadata: { ...node.metadata, zone: `zone-${(zones += 1)}` } };
  if (isAlone) return { ...record, nodes: [other] };
  record.nodes[at % record.nodes.length] = other;
  return record;
}

export async function load(name, options) {
  const module = await import(`../../dist/registry/${name}.js`);
  return new module[classes[name]]({ timeoutMs: 60_000, ...options });
}
