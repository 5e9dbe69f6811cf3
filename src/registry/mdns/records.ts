import type { FoundNode, MdnsNode } from '../../mdns/records.ts';
import { BrokenRecord, checkedNode, serviceParts } from '../kit/records.ts';
import type { ServiceRecord } from '../registry.ts';

/** The one node of a record, in the form of the wire. */
export function nodeOf(record: ServiceRecord): MdnsNode {
  const { name: service, version, metadata: serviceMetadata, endpoints, nodes } = record;
  const { id = '', address = '', metadata = {} } = nodes[0] ?? {};
  return { service, version, serviceMetadata, endpoints, id, address, metadata };
}

/** Checks a node that was found; undefined if its record is broken. */
export function recordOf(found: FoundNode): ServiceRecord | undefined {
  const { service, version, serviceMetadata, endpoints, id, address, metadata } = found;
  try {
    const parts = serviceParts(service, { version, metadata: serviceMetadata, endpoints });
    return { ...parts, nodes: [checkedNode(id, address, metadata)] };
  } catch (error) {
    if (error instanceof BrokenRecord) return undefined;
    throw error;
  }
}
