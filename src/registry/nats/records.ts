import { type NatsResult, readResult } from '../../go-micro/nats.ts';
import type { LeasedNode } from '../kit/driver.ts';
import { BrokenRecord, checkedNode, parsed, serviceParts } from '../kit/records.ts';

/** Says whose a node is, where several processes announce one of its id. */
export interface Claim {
  /** The instance of a registry; empty for Go Micro's. */
  readonly owner: string;
  /** When it first announced the node, by its own clock. */
  readonly sinceMs: number;
}

/** A node of another process. */
export interface ClaimedNode extends LeasedNode {
  readonly leaseMs: number;
  readonly claim: Claim;
}

/** A question or an announcement of another process. */
export interface Told extends NatsResult {
  /** The beginnings of the subjects to which it went. */
  readonly prefixes: readonly string[];
  /** The nodes that it announces. */
  readonly nodes: readonly ClaimedNode[];
}

/** Limits of the records of others. */
export interface RecordLimits {
  /** The largest record of a node, in bytes. */
  readonly maxRecordBytes: number;
  /** The lease of nodes without one, as those of Go Micro, in milliseconds. */
  readonly goMicroTtlMs: number;
}

// A node with a longer lease is announced again before that.
const maxLeaseMs = 86_400_000;
// A service of many nodes comes once, and is kept once for each of them.
const maxExpandedBytes = 4_194_304;

/** Decodes a question or an announcement. Throws {@link BrokenRecord}. */
export function toldIn(payload: Buffer | undefined, limits: RecordLimits): Told {
  const message = parsed(textOf(payload));
  const result = readResult(message);
  if (!result) throw new BrokenRecord('neither asks nor announces');
  const { prefixes } = message;
  const isQuestion = result.action === 'get' || result.action === 'list';
  return {
    ...result,
    prefixes: Array.isArray(prefixes) ? prefixes.filter((one): one is string => typeof one === 'string') : [],
    nodes: isQuestion ? [] : nodesOf(result.service, message, limits),
  };
}

/** Decodes an answer. Throws {@link BrokenRecord}. */
export function nodesIn(payload: Buffer | undefined, limits: RecordLimits): readonly ClaimedNode[] {
  const answer = parsed(textOf(payload));
  return nodesOf(answer, answer, limits);
}

/** True if the claim of `one` is stronger: who announced a node last has it. */
export function isStronger(one: Claim, other: Claim): boolean {
  return one.sinceMs > other.sinceMs || (one.sinceMs === other.sinceMs && one.owner > other.owner);
}

/** The nodes of a service, each with a record of its own. */
function nodesOf(
  fields: Readonly<Record<string, unknown>>,
  { leaseMs: lease, owner, sinceMs }: Readonly<Record<string, unknown>>,
  { maxRecordBytes, goMicroTtlMs }: RecordLimits,
): ClaimedNode[] {
  const service = serviceParts(fields['name'], fields);
  const { nodes } = fields;
  if (!Array.isArray(nodes) || nodes.length === 0) throw new BrokenRecord('has no node');
  const serviceBytes = bytesOf(service);
  if (nodes.length * serviceBytes > Math.max(maxExpandedBytes, maxRecordBytes))
    throw new BrokenRecord(`has ${nodes.length} nodes, too many for its size`);
  const leaseMs = typeof lease === 'number' && lease >= 0 ? Math.min(lease, maxLeaseMs) : goMicroTtlMs;
  const claim = {
    owner: typeof owner === 'string' ? owner : '',
    sinceMs: typeof sinceMs === 'number' && Number.isSafeInteger(sinceMs) ? sinceMs : 0,
  };
  return nodes.map((one: unknown) => {
    const { id, address, metadata } = (typeof one === 'object' && one !== null ? one : {}) as Record<string, unknown>;
    const node = checkedNode(id, address, metadata);
    if (serviceBytes + bytesOf(node) > maxRecordBytes) throw new BrokenRecord(`is larger than ${maxRecordBytes} bytes`);
    return { service: { ...service, nodes: [node] }, leaseMs, claim };
  });
}

function textOf(payload: Buffer | undefined): string {
  if (payload === undefined) throw new BrokenRecord('is larger than a message may be');
  return payload.toString();
}

function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value));
}
