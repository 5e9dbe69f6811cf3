import { createHash } from 'node:crypto';

import type { HealthEntry } from '../../consul/health-entry.ts';
import { decodeTags, definitionOf, type ReadTags, type ServiceDefinition } from '../../go-micro/consul.ts';
import { formatAddress } from '../kit/address-list.ts';
import type { Registration } from '../kit/driver.ts';
import { BrokenRecord, checkedNode, serviceParts } from '../kit/records.ts';
import type { ServiceRecord } from '../registry.ts';

/** Makes the definition of a node's service at an agent. */
export function serviceDefinition({ service, node, ttlMs }: Registration, owner: string): ServiceDefinition {
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
  return definitionOf({ ID, Name: service.name, Address: host ?? '', Port: Number(port), ttlMs, fields, owner });
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

/**
 * Decodes the record of a node from its tags. A service of others has its `Meta` as the metadata of its node. Throws
 * {@link BrokenRecord}.
 */
export function serviceIn({ id: ID, name, tags, meta, ...entry }: HealthEntry, maxBytes: number): ServiceRecord {
  const { version, metadata = meta, endpoints, own } = fieldsIn(tags, maxBytes);
  const { id = ID, serviceMetadata } = own;
  if (id !== ID && serviceIdOf(name, typeof id === 'string' ? id : '') !== ID)
    throw new BrokenRecord('is the record of another node');
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
