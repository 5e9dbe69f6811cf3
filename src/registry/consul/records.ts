import { createHash } from 'node:crypto';

import { checkIdOf, decodeTags, definitionOf, type ReadTags, type ServiceDefinition } from '../../go-micro/consul.ts';
import { formatAddress } from '../kit/address-list.ts';
import type { Registration } from '../kit/driver.ts';
import { BrokenRecord, checkedNode, serviceParts } from '../kit/records.ts';
import type { ServiceRecord } from '../registry.ts';

/** One instance of a service as Consul returns it, which may be anybody's. */
export interface HealthEntry {
  readonly node: string;
  readonly nodeAddress: string;
  readonly id: string;
  readonly name: string;
  readonly tags: readonly string[];
  readonly meta: unknown;
  readonly address: string;
  readonly port: number;
  /** Number of the change by which it was registered. */
  readonly index: number;
  /** True if a check of others is critical, of the service or of the machine that it is on. */
  readonly isCritical: boolean;
  /** True if the time of its own check has passed. */
  readonly hasLapsed: boolean;
}

/** Makes the definition of a node's service at an agent. */
export function serviceDefinition({ service, node, ttlMs }: Registration): ServiceDefinition {
  const ID = serviceIdOf(service.name, node.id);
  const [, v6, host = v6, port = '0'] = /^(?:\[([\da-f:.]+)\]|([^:/[\]]+)):(\d{1,5})$/i.exec(node.address) ?? [];
  const fields = {
    version: service.version,
    metadata: node.metadata,
    endpoints: service.endpoints.map(({ request = null, response = null, metadata, name }) => {
      return { request, response, metadata, name };
    }),
    id: ID === node.id ? undefined : node.id,
    address: host === undefined ? node.address : undefined,
    serviceMetadata: Object.keys(service.metadata).length > 0 ? service.metadata : undefined,
  };
  return definitionOf({ ID, Name: service.name, Address: host ?? '', Port: Number(port), ttlMs, fields });
}

/**
 * The id of a node's service at its agent: Go Micro's, which is the id of the node. An agent has one service of an id,
 * whatever its name is, so an id that does not begin with the name is put under one of its own.
 */
export function serviceIdOf(name: string, id: string): string {
  if (id.startsWith(`${name}-`) && /^[\w.:@-]+$/.test(id)) return id;
  const hash = createHash('sha256')
    .update(JSON.stringify([name, id]))
    .digest('hex')
    .slice(0, 32);
  return `${name.replace(/[^\w.-]/g, '-').slice(0, 64)}-${hash}`;
}

/** Reads the answer of `/v1/health/service`. */
export function entriesIn(answer: unknown): readonly HealthEntry[] {
  return listIn(answer).map((one) => {
    const { Node, Service, Checks } = objectIn(one);
    const [node, service] = [objectIn(Node), objectIn(Service)];
    const critical = listIn(Checks)
      .map(objectIn)
      .filter(({ Status }) => Status === 'critical');
    const checkId = checkIdOf(textIn(service['ID']));
    return {
      node: textIn(node['Node']),
      nodeAddress: textIn(node['Address']),
      id: textIn(service['ID']),
      name: textIn(service['Service']),
      tags: listIn(service['Tags']).map(textIn),
      meta: service['Meta'],
      address: textIn(service['Address']),
      port: Number(service['Port'] ?? 0),
      index: Number(service['CreateIndex'] ?? 0),
      isCritical: critical.some(({ CheckID }) => CheckID !== checkId),
      hasLapsed: critical.some(({ CheckID }) => CheckID === checkId),
    };
  });
}

/**
 * True if a service of that name can be asked for. The path of another one is cleaned by servers, which redirect the
 * query to what is left of it.
 */
export function isAskable(name: string): boolean {
  return !/^$|^\/|\/\/|(?:^|\/)\.{1,2}(?:\/|$)/.test(name);
}

/**
 * Reads the answer of `/v1/catalog/services`: the tags by name. Consul itself is among them, and left out; so are
 * services that nobody can ask for.
 */
export function namesIn(answer: unknown): ReadonlyMap<string, string> {
  const all = Object.entries(objectIn(answer)).filter(([name]) => name !== 'consul' && isAskable(name));
  return new Map(all.map(([name, tags]) => [name, JSON.stringify(tags)]));
}

/**
 * Decodes the record of a node from its tags. A service of others has its `Meta` as the metadata of its node. Throws
 * {@link BrokenRecord}.
 */
export function serviceIn({ id: ID, name, tags, meta, ...entry }: HealthEntry, maxBytes: number): ServiceRecord {
  const { version, metadata = meta, endpoints, own } = fieldsIn(tags, maxBytes);
  const { id = ID, serviceMetadata } = own;
  if (id !== ID && serviceIdOf(name, textIn(id)) !== ID) throw new BrokenRecord('is the record of another node');
  const host = entry.address === '' ? entry.nodeAddress : entry.address;
  const address = own['address'] ?? formatAddress({ host, port: entry.port });
  const parts = serviceParts(name, { version, metadata: serviceMetadata, endpoints });
  return { ...parts, nodes: [checkedNode(id, address, metadata)] };
}

function fieldsIn(tags: readonly string[], maxBytes: number): ReadTags {
  try {
    return decodeTags(tags, maxBytes);
  } catch (error) {
    if (error instanceof RangeError) throw new BrokenRecord(`cannot be read, as ${error.message}`);
    throw error;
  }
}

function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function listIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
