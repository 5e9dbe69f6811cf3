import { Code, TenonError } from '../../errors/errors.ts';
import type { EndpointRecord, NodeRecord, RegistryCallOptions, ServiceRecord, ValueRecord } from '../registry.ts';

/** Go Micro's Service JSON with just one node: what registries keep per node. */
export function encodeNode(service: ServiceRecord, node: NodeRecord): string {
  return JSON.stringify({ ...service, nodes: [node] });
}

type Loose = Record<string, unknown> | null | undefined;

/** Reads Service JSON as anyone writes it: Go gives null for every empty list and map. `undefined` for what is no service. */
export function decodeService(text: string): ServiceRecord | undefined {
  let value: Loose;
  try {
    value = JSON.parse(text) as Loose;
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || typeof value['name'] !== 'string') return undefined;
  return {
    name: value['name'],
    version: textOf(value['version']),
    metadata: mapOf(value['metadata']),
    endpoints: endpointsOf(value['endpoints']),
    nodes: listOf(value['nodes'], nodeOf),
  };
}

/** Endpoints as Go Micro writes them, whatever is missing. */
export function endpointsOf(value: unknown): readonly EndpointRecord[] {
  return listOf(value, (endpoint): EndpointRecord => {
    const { name, request, response, metadata } = endpoint as Record<string, unknown>;
    return { name: textOf(name), request: valueOf(request), response: valueOf(response), metadata: mapOf(metadata) };
  });
}

/** A map of texts; anything else in it is left out. */
export function mapOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
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

/** INVALID_ARGUMENT (`registry.invalid_service`) for a record that cannot be announced. */
export function assertRegistrable(service: ServiceRecord): void {
  const missing = service.name === '' ? 'a name' : service.nodes.length === 0 ? 'a node' : undefined;
  const node = service.nodes.find(({ id, address }) => id === '' || address === '');
  if (missing === undefined && !node) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'registry.invalid_service',
    message: `service "${service.name}" cannot be registered: it needs ${missing ?? 'an id and an address for each node'}`,
  });
}

/** FAILED_PRECONDITION (`registry.closed`): the registry was closed. */
export function registryClosed(registry: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'registry.closed',
    message: `the ${registry} registry is closed: its system has stopped`,
  });
}

/** FAILED_PRECONDITION (`registry.started`): options come too late. */
export function registryStarted(registry: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'registry.started',
    message: `the ${registry} registry is in use: give its options before the first call`,
  });
}

/** CANCELLED (`call.cancelled`): the caller gave up. */
export function callCancelled(registry: string, signal: AbortSignal): TenonError {
  return new TenonError({
    code: Code.Cancelled,
    reason: 'call.cancelled',
    message: `the call to the ${registry} registry was cancelled`,
    cause: signal.reason,
  });
}

/** Throws if the caller has given up already. */
export function assertWanted(registry: string, { signal }: RegistryCallOptions): void {
  if (signal?.aborted) throw callCancelled(registry, signal);
}

function nodeOf(value: unknown): NodeRecord {
  const { id, address, metadata } = value as Record<string, unknown>;
  return { id: textOf(id), address: textOf(address), metadata: mapOf(metadata) };
}

function valueOf(value: unknown): ValueRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, type, values } = value as Record<string, unknown>;
  return { name: textOf(name), type: textOf(type), values: listOf(values, valueOf).filter((one) => one !== undefined) };
}

function listOf<T>(value: unknown, read: (item: unknown) => T): T[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null).map(read) : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
