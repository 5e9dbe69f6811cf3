/** The path below which services are registered in ZooKeeper: `<root>/<service>/<node id>`. */
export const zookeeperRoot = '/micro-registry';

/** Gives the name of a service or of a node as it is in a path: `a-b` for `a/b`, so that both are one. */
export function zookeeperName(name: string): string {
  return name.replaceAll('/', '-');
}
