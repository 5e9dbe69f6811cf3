import { type NatsResult, readExtensions, readResult } from '../../go-micro/nats.ts';
import type { ClaimedNode } from '../kit/answered-nodes.ts';
import { BrokenRecord, eachNode, parsed } from '../kit/records.ts';

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

type Fields = Readonly<Record<string, unknown>>;

/** Decodes a question or an announcement. Throws {@link BrokenRecord}. */
export function toldIn(payload: Buffer | undefined, limits: RecordLimits): Told {
  const message = parsed(textOf(payload));
  const result = readResult(message);
  if (!result) throw new BrokenRecord('neither asks nor announces');
  const { prefixes = [] } = readExtensions(message);
  const isQuestion = result.action === 'get' || result.action === 'list';
  return { ...result, prefixes, nodes: isQuestion ? [] : nodesOf(result.service, message, limits) };
}

/** Decodes an answer. Throws {@link BrokenRecord}. */
export function nodesIn(payload: Buffer | undefined, limits: RecordLimits): readonly ClaimedNode[] {
  const answer = parsed(textOf(payload));
  return nodesOf(answer, answer, limits);
}

function nodesOf(service: Fields, message: Fields, { maxRecordBytes, goMicroTtlMs }: RecordLimits): ClaimedNode[] {
  const { leaseMs = goMicroTtlMs, owner = '', sinceMs = 0 } = readExtensions(message);
  return eachNode(service, maxRecordBytes).map((one) => ({ service: one, leaseMs, claim: { owner, sinceMs } }));
}

function textOf(payload: Buffer | undefined): string {
  if (payload === undefined) throw new BrokenRecord('is larger than a message may be');
  return payload.toString();
}
