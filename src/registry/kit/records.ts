import type { EndpointRecord, NodeRecord, RegistryCapabilities, ServiceRecord, ValueRecord } from '../registry.ts';
import { invalidOption, invalidService } from './errors.ts';

/** Encodes Go Micro's Service JSON with just one node: the record that registries store per node. */
export function encodeNode(service: ServiceRecord, node: NodeRecord): string {
  return JSON.stringify({ ...service, nodes: [node] });
}

/** A name or an id as a part of a server's key or path: percent-encoded, so that it holds no separator. */
export function pathPart(name: string): string {
  // Half a surrogate pair has no UTF-8, and is replaced.
  return encodeURIComponent(Buffer.from(name).toString());
}

// A service of many nodes comes once, and is kept once for each of them.
const maxExpandedBytes = 4_194_304;
// Deeper descriptions of messages are refused. Go Micro's own are at most three deep.
const maxValueDepth = 32;

/** The error for a record that cannot be read. Its message is a predicate that follows "it": `is not JSON`. */
export class BrokenRecord extends Error {}

/**
 * Decodes the Service JSON of one node. Go writes null for empty lists and maps. Throws only {@link BrokenRecord}.
 * Every record from outside is decoded here, or by {@link serviceParts} and {@link checkedNode}, so that readers get
 * the shape that the type promises.
 */
export function decodeNode(text: string, maxBytes: number): ServiceRecord {
  const [record, ...others] = decodeNodes(text, maxBytes);
  if (!record || others.length > 0) throw new BrokenRecord('does not hold one node');
  return record;
}

/** Decodes Service JSON into one record for each of its nodes, as {@link decodeNode} does. */
export function decodeNodes(text: string, maxBytes: number): readonly ServiceRecord[] {
  if (Buffer.byteLength(text) > maxBytes) throw new BrokenRecord(`is larger than ${maxBytes} bytes`);
  const value = parsed(text);
  const nodes = Array.isArray(value['nodes']) ? (value['nodes'] as unknown[]) : [];
  const service = serviceParts(value['name'], value);
  return nodes.map((node) => {
    const { id, address, metadata } = objectOf(node, 'a node');
    return { ...service, nodes: [checkedNode(id, address, metadata)] };
  });
}

/**
 * Checks a service with its nodes, whose fields have Go Micro's names, and gives a record for each node. Throws
 * {@link BrokenRecord} for one without nodes, and for a node whose record takes more than `maxRecordBytes`.
 */
export function eachNode(fields: Readonly<Record<string, unknown>>, maxRecordBytes: number): readonly ServiceRecord[] {
  const service = serviceParts(fields['name'], fields);
  const { nodes } = fields;
  if (!Array.isArray(nodes) || nodes.length === 0) throw new BrokenRecord('has no node');
  const serviceBytes = bytesOf(service);
  if (nodes.length * serviceBytes > Math.max(maxExpandedBytes, maxRecordBytes))
    throw new BrokenRecord(`has ${nodes.length} nodes, too many for its size`);
  return nodes.map((one: unknown) => {
    const { id, address, metadata } = (typeof one === 'object' && one !== null ? one : {}) as Record<string, unknown>;
    const node = checkedNode(id, address, metadata);
    if (serviceBytes + bytesOf(node) > maxRecordBytes) throw new BrokenRecord(`is larger than ${maxRecordBytes} bytes`);
    return { ...service, nodes: [node] };
  });
}

/** Parses the JSON of an object. Throws {@link BrokenRecord}. */
export function parsed(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BrokenRecord('is not JSON');
  }
  return objectOf(value, 'a record');
}

/** Checks a service without its nodes; the fields have Go Micro's names. Throws {@link BrokenRecord}. */
export function serviceParts(name: unknown, fields: Readonly<Record<string, unknown>>): Omit<ServiceRecord, 'nodes'> {
  if (typeof name !== 'string' || name === '') throw new BrokenRecord('has no name');
  const { version, metadata, endpoints } = fields;
  return {
    name,
    version: textOf(version),
    metadata: mapOf(metadata),
    endpoints: listOf(endpoints, (endpoint) => endpointOf(endpoint as Record<string, unknown>)),
  };
}

/** Checks a node. Throws {@link BrokenRecord} without an id or an address that can be dialled. */
export function checkedNode(id: unknown, address: unknown, metadata: unknown): NodeRecord {
  if (typeof id !== 'string' || id === '') throw new BrokenRecord('has a node without an id');
  if (typeof address !== 'string' || !isDialable(address)) {
    throw new BrokenRecord(`has no address for its node "${shortened(id)}", or one with an invalid port`);
  }
  return { id, address, metadata: mapOf(metadata) };
}

/** True if an address has a valid port, or none. The rest of an address is for its transport to check. */
function isDialable(address: string): boolean {
  const [, port] = /^[^/]*:(\d+)$/.exec(address) ?? [];
  return address !== '' && (port === undefined || (Number(port) >= 1 && Number(port) <= 65_535));
}

/** Keeps the entries of a map whose values are texts. */
function mapOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string' && entry[0] !== '__proto__',
    ),
  );
}

/** Joins the records of one service into one record per version. */
export function byVersion(records: readonly ServiceRecord[]): readonly ServiceRecord[] {
  const versions = new Map<string, ServiceRecord>();
  for (const record of records) {
    const known = versions.get(record.version);
    versions.set(record.version, known ? { ...known, nodes: [...known.nodes, ...record.nodes] } : record);
  }
  return [...versions.values()];
}

/**
 * Throws INVALID_ARGUMENT (`registry.invalid_service`) for a record that readers would skip, or that is larger than
 * `maxBytes` with one of its nodes.
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
      throw invalidService(service.name, `its record takes more than ${maxBytes} bytes. Shorten its metadata`);
    }
  }
}

/**
 * Rounds a TTL up to one that the registry can store. INVALID_ARGUMENT (`registry.invalid_option`) unless it is a
 * number of milliseconds above 0.
 */
export function leaseOf(
  ttlMs: number,
  { ttlGranularityMs = 1, minTtlMs = 1 }: Pick<RegistryCapabilities, 'ttlGranularityMs' | 'minTtlMs'> = {},
): number {
  const leaseMs = Math.ceil(ttlMs / ttlGranularityMs) * ttlGranularityMs;
  if (leaseMs > 0 && Number.isSafeInteger(leaseMs)) return Math.max(minTtlMs, leaseMs);
  throw invalidOption(`ttlMs is ${ttlMs}: give the lease as a number of milliseconds above 0`);
}

function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value));
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

/** The depth of a description; it is not followed beyond the maximum. */
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
