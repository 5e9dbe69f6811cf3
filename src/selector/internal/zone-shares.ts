/** The parts of the calls of one zone, by the zones that they go to. */
export interface ZoneShares {
  /** The part that stays in the zone, from 0 to 1. */
  readonly local: number;
  /** The other zones, each with its part of what leaves the zone. */
  readonly others: readonly { readonly zone: string; readonly share: number }[];
}

/**
 * Returns where the calls of a zone go, as Envoy has it. They stay as far as the zone's part of the nodes suffices for
 * its part of the callers; what leaves goes to zones with more nodes than callers, by what is left there. `nodes` and
 * `callers` are counts by zone. Returns `undefined` if zones make no difference: the zone has no nodes, there is no
 * other, or callers and nodes are not in the same number of zones.
 */
export function zoneShares(
  zone: string,
  nodes: ReadonlyMap<string, number>,
  callers: ReadonlyMap<string, number> | undefined,
): ZoneShares | undefined {
  if (!nodes.has(zone) || nodes.size < 2) return undefined;
  if (callers && (callers.size !== nodes.size || !callers.has(zone))) return undefined;
  const allNodes = sum(nodes);
  // Without knowledge of the callers they are taken to be spread evenly.
  const allCallers = callers ? sum(callers) : nodes.size;
  const partOfNodes = (one: string): number => (nodes.get(one) ?? 0) / allNodes;
  const partOfCallers = (one: string): number => (callers ? (callers.get(one) ?? 0) : 1) / allCallers;
  const local = Math.min(1, partOfNodes(zone) / partOfCallers(zone));
  const residual = [...nodes.keys()]
    .filter((one) => one !== zone)
    .map((one) => ({ zone: one, share: Math.max(0, partOfNodes(one) - partOfCallers(one)) }));
  const all = residual.reduce((total, { share }) => total + share, 0);
  if (local >= 1 || all === 0) return { local: 1, others: [] };
  return { local, others: residual.map((one) => ({ zone: one.zone, share: one.share / all })) };
}

function sum(counts: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}
