// Makes a registry by its name, with the options that a server of it needs.
const classes = {
  consul: 'ConsulRegistry',
  etcd: 'EtcdRegistry',
  file: 'FileRegistry',
  kubernetes: 'KubernetesRegistry',
  redis: 'RedisRegistry',
  zookeeper: 'ZooKeeperRegistry',
};

export async function load(name, options) {
  const module = await import(`../../dist/registry/${name}.js`);
  return new module[classes[name]]({ timeoutMs: 60_000, ...options });
}
