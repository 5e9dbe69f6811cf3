import { Code, TenonError } from '../../errors/errors.ts';
import type { EndpointRecord, NodeRecord, RegistryCapabilities, ServiceRecord, ValueRecord } from '../registry.ts';
import { invalidService } from './errors.ts';

/** Go Micro's Service JSON with just one node: what registries keep per node. */
export function encodeNode(service: ServiceRecord, node: NodeRecord): string {
  return JSON.stringify({ ...service, nodes: [node] });
}

/** How deep the description of a message may be nested: Go Micro's own ends after three. */
const maxValueDepth = 32;

/** What makes a record no record, said so that it can follow "it". */
export class BrokenRecord extends Error {}

/**
 * Reads the Service JSON of one node as anyone writes it: Go gives null for every empty list and map. Throws nothing
 * but {@link BrokenRecord}. Every record that comes from outside goes through here, or through its parts {@link
 * serviceParts} and {@link checkedNode}: what a reader gets has the shape that its type says, and can be written as
 * JSON again.
 */
export function decodeNode(text: string, maxBytes: number): ServiceRecord {
  if (Buffer.byteLength(text) > maxBytes) throw new BrokenRecord(`is larger than ${maxBytes} bytes`);
  const value = parsed(text);
  const nodes = Array.isArray(value['nodes']) ? (value['nodes'] as unknown[]) : [];
  if (nodes.length !== 1) throw new BrokenRecord('does not hold one node');
  const { id, address, metadata } = objectOf(nodes[0], 'a node');
  return { ...serviceParts(value['name'], value), nodes: [checkedNode(id, address, metadata)] };
}

/** JSON of an object. Throws {@link BrokenRecord}. */
export function parsed(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BrokenRecord('is not JSON');
  }
  return objectOf(value, 'a record');
}

/**
 * A service without its nodes; version, metadata and endpoints have Go Micro's names in `said`. Throws {@link
 * BrokenRecord}.
 */
export function serviceParts(name: unknown, said: Readonly<Record<string, unknown>>): Omit<ServiceRecord, 'nodes'> {
  if (typeof name !== 'string' || name === '') throw new BrokenRecord('has no name');
  const { version, metadata, endpoints } = said;
  return {
    name,
    version: textOf(version),
    metadata: mapOf(metadata),
    endpoints: listOf(endpoints, (endpoint) => endpointOf(endpoint as Record<string, unknown>)),
  };
}

/** A node that can be dialled. Throws {@link BrokenRecord}. */
export function checkedNode(id: unknown, address: unknown, metadata: unknown): NodeRecord {
  if (typeof id !== 'string' || id === '') throw new BrokenRecord('has a node without an id');
  if (typeof address !== 'string' || !isDialable(address)) {
    throw new BrokenRecord(`has no address for its node "${shortened(id)}", or one with a port that is none`);
  }
  return { id, address, metadata: mapOf(metadata) };
}

/** Addresses are each transport's own; a port at the end of one is from 1 to 65,535. */
function isDialable(address: string): boolean {
  const [, port] = /^[^/]*:(\d+)$/.exec(address) ?? [];
  return address !== '' && (port === undefined || (Number(port) >= 1 && Number(port) <= 65_535));
}

/** A map of texts; anything else in it is left out. */
function mapOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string' && entry[0] !== '__proto__',
    ),
  );
}

/** One record per version, each with its nodes. */
export function byVersion(records: readonly ServiceRecord[]): readonly ServiceRecord[] {
  const versions = new Map<string, ServiceRecord>();
  for (const record of records) {
    const known = versions.get(record.version);
    versions.set(record.version, known ? { ...known, nodes: [...known.nodes, ...record.nodes] } : record);
  }
  return [...versions.values()];
}

/**
 * INVALID_ARGUMENT (`registry.invalid_service`) for a record that cannot be announced: one that its readers would pass
 * over, or that takes more than `maxBytes` with one of its nodes.
 */
export function assertRegistrable(service: ServiceRecord, maxBytes = Number.POSITIVE_INFINITY): void {
  if (service.name === '') throw invalidService(service.name, 'it needs a name');
  if (service.nodes.length === 0) throw invalidService(service.name, 'it needs a node');
  const isDeep = service.endpoints.some(
    ({ request, response }) => depthOf(request) > maxValueDepth || depthOf(response) > maxValueDepth,
  );
  if (isDeep)
    throw invalidService(service.name, `it describes messages that are nested more than ${maxValueDepth} deep`);
  for (const node of service.nodes) {
    if (node.id === '' || node.address === '') {
      throw invalidService(service.name, 'it needs an id and an address for each node');
    }
    if (!isDialable(node.address)) {
      throw invalidService(service.name, `the port of its node "${node.id}" is not from 1 to 65535: ${node.address}`);
    }
    if (maxBytes !== Number.POSITIVE_INFINITY && Buffer.byteLength(encodeNode(service, node)) > maxBytes) {
      throw invalidService(service.name, `its record takes more than ${maxBytes} bytes. Say less in metadata`);
    }
  }
}

/**
 * The lease in milliseconds, rounded up to what the registry can keep. INVALID_ARGUMENT (`registry.invalid_option`) for
 * what is no time.
 */
export function leaseOf(
  ttlMs: number,
  { ttlGranularityMs = 1, minTtlMs = 1 }: Pick<RegistryCapabilities, 'ttlGranularityMs' | 'minTtlMs'> = {},
): number {
  const leaseMs = Math.ceil(ttlMs / ttlGranularityMs) * ttlGranularityMs;
  if (leaseMs > 0 && Number.isSafeInteger(leaseMs)) return Math.max(minTtlMs, leaseMs);
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'registry.invalid_option',
    message: `ttlMs is ${ttlMs}: give the lease as a number of milliseconds above 0`,
  });
}

function objectOf(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new BrokenRecord(`is not ${what}`);
  return value as Record<string, unknown>;
}

function endpointOf({ name, request, response, metadata }: Record<string, unknown>): EndpointRecord {
  return {
    name: textOf(name),
    request: valueOf(request, 1),
    response: valueOf(response, 1),
    metadata: mapOf(metadata),
  };
}

function valueOf(value: unknown, depth: number): ValueRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > maxValueDepth)
    throw new BrokenRecord(`describes messages that are nested more than ${maxValueDepth} deep`);
  const { name, type, values } = value as Record<string, unknown>;
  const inner = listOf(values, (one) => valueOf(one, depth + 1));
  return { name: textOf(name), type: textOf(type), values: inner.filter((one) => one !== undefined) };
}

/** How deep a description is nested; more than the most is as far as it is followed. */
function depthOf(value: ValueRecord | undefined, depth = 0): number {
  if (value === undefined || depth > maxValueDepth) return depth;
  return value.values.reduce((deepest, one) => Math.max(deepest, depthOf(one, depth + 1)), depth + 1);
}

function listOf<T>(value: unknown, read: (item: unknown) => T): T[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null).map(read) : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function shortened(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
