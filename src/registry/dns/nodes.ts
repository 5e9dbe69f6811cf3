import type { SrvTarget } from '../../dns/dns.ts';
import { canonicalName } from '../../dns/names.ts';
import { formatAddress, type ServerAddress } from '../kit/address-list.ts';
import type { BrokenRecords } from '../kit/broken-records.ts';
import { BrokenRecord } from '../kit/records.ts';
import type { NodeRecord } from '../registry.ts';

/** Makes a node. */
export function nodeOf(id: string, address: ServerAddress, weight?: number): NodeRecord {
  return { id, address: formatAddress(address), metadata: weight === undefined ? {} : { weight: String(weight) } };
}

/**
 * Makes the nodes of SRV records: of those with the lowest priority that have addresses. The id of a node is its target
 * and port, which a pod keeps when it is replaced; with the address where a target has several. Weights become metadata
 * if they differ. A target whose addresses could not be looked up keeps those that it has in `lastKnown`.
 *
 * Of more than `maxNodes` it makes the first by id, and one more than that: all would be as many as there are targets
 * times addresses.
 */
export function nodesOfTargets(
  targets: readonly SrvTarget[],
  lastKnown: readonly NodeRecord[],
  broken: BrokenRecords,
  maxNodes: number,
): readonly NodeRecord[] {
  const usable = targets.filter(
    (target) => broken.read(`the SRV record ${target.target}:${target.port}`, () => isUsable(target)) === true,
  );
  const priority = Math.min(...usable.map((target) => target.priority));
  const chosen = usable.filter((target) => target.priority === priority);
  const hasWeights = new Set(chosen.map(({ weight }) => weight)).size > 1;
  // Of records with the same target and port the first counts.
  const byId = new Map(chosen.toReversed().map((target) => [`${target.target}:${target.port}`, target]));
  const nodes: NodeRecord[] = [];
  for (const id of [...byId.keys()].sort()) {
    const { port, weight, addresses } = byId.get(id) as SrvTarget;
    const room = maxNodes + 1 - nodes.length;
    if (room <= 0) break;
    if (!addresses) {
      nodes.push(...lastKnown.filter((node) => node.id === id || node.id.startsWith(`${id}/`)).slice(0, room));
      continue;
    }
    // In an order that is that of the ids, whatever the order of the answer.
    for (const host of [...new Set(addresses)].sort().slice(0, room)) {
      const nodeId = addresses.length > 1 ? `${id}/${host}` : id;
      nodes.push(nodeOf(nodeId, { host, port }, hasWeights ? weight : undefined));
    }
  }
  return nodes;
}

/** Throws {@link BrokenRecord} for a record that nobody can use. */
function isUsable({ target, port, addresses }: SrvTarget): boolean {
  // RFC 2782: the service is decidedly not available.
  if (target === '.') return false;
  if (canonicalName(target) === undefined) throw new BrokenRecord('has a target that is no host name');
  if (port === 0) throw new BrokenRecord('has the port 0');
  if (addresses?.length === 0) throw new BrokenRecord('has a target without an address');
  return true;
}
