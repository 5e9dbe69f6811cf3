import { hashText, scoreOf } from './rendezvous.ts';

/**
 * Returns the part of the nodes that one of many clients uses: deterministic subsetting of the SRE book (chapter 20).
 * Clients with indexes from 0 on come in rounds. In each round the nodes have an order of their own, and each client
 * takes the next piece of it, so that every node has the same number of clients. The order is by hash, so that a node
 * that comes or goes changes a node or two of a subset, and not all.
 */
export function subsetByIndex<Node>(
  nodes: readonly Node[],
  size: number,
  index: number,
  idOf: (node: Node) => string,
): readonly Node[] {
  if (nodes.length <= size) return nodes;
  const count = Math.floor(nodes.length / size);
  const ordered = byHash(nodes, Math.floor(index / count), idOf);
  const from = Math.floor(((index % count) * nodes.length) / count);
  return ordered.slice(from, from + size);
}

/**
 * Returns the part of the nodes that a client without an index uses: those whose hashes with its seed are the least
 * (gRFC A68). The numbers of clients per node vary as with chance.
 */
export function subsetBySeed<Node>(
  nodes: readonly Node[],
  size: number,
  seed: number,
  idOf: (node: Node) => string,
): readonly Node[] {
  return nodes.length <= size ? nodes : byHash(nodes, seed, idOf).slice(0, size);
}

function byHash<Node>(nodes: readonly Node[], seed: number, idOf: (node: Node) => string): readonly Node[] {
  const seedHash = hashText(String(seed));
  return nodes
    .map((node) => ({ node, hash: scoreOf(seedHash, hashText(idOf(node))) }))
    .sort((a, b) => a.hash - b.hash || (idOf(a.node) < idOf(b.node) ? -1 : 1))
    .map(({ node }) => node);
}
