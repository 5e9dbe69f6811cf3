import { isIPv4, isIPv6 } from 'node:net';
import { deflateSync, inflateSync } from 'node:zlib';

import type { Answer, Packet } from 'dns-packet';

import { Code, TenonError } from '../../errors/errors.ts';
import type { NodeRecord, ServiceRecord } from '../registry.ts';
import { endpointsOf, mapOf } from './records.ts';

/** Go Micro's time to live, in seconds. */
export const recordTtlS = 120;
// Go Micro cuts TXT at the longest string that DNS has.
const txtStringLength = 255;
// RFC 6762 section 17: a packet must not be larger than 9,000 bytes, headers included.
const maxTxtLength = 8_000;

/** A node of this process, as it is announced. */
export interface Announcement {
  readonly service: ServiceRecord;
  readonly node: NodeRecord;
  /** The node's address, resolved. */
  readonly ip: string;
  readonly port: number;
}

/** `small-1.small.service.micro`: what a node is called in its domain. */
export function instanceName({ service, node }: Pick<Announcement, 'service' | 'node'>, domain: string): string {
  return `${escaped(node.id)}.${service.name}.${domain}`;
}

/**
 * SRV, A (or AAAA) and TXT of a node, in Go Micro's form: all in the answer section, time to live 120 s, or 0 to say good-bye. The TXT is JSON, deflated,
 * in lower-case hex.
 */
export function nodeRecords(announcement: Announcement, domain: string, host: string, ttl = recordTtlS): Answer[] {
  const name = instanceName(announcement, domain);
  const { ip, port } = announcement;
  return [
    { type: 'SRV', name, ttl, data: { priority: 10, weight: 1, port, target: host } },
    { type: isIPv6(ip) ? 'AAAA' : 'A', name: host, ttl, data: ip },
    { type: 'TXT', name, ttl, data: txtOf(announcement) },
  ];
}

/** The whole answer to a question for a service: the pointer to the node comes first. */
export function answersFor(announcement: Announcement, domain: string, host: string): Answer[] {
  const { service } = announcement;
  const pointer: Answer = { type: 'PTR', name: `${service.name}.${domain}`, ttl: recordTtlS, data: instanceName(announcement, domain) };
  return [pointer, ...nodeRecords(announcement, domain, host)];
}

/** What Go Micro answers to a question for `_services.<domain>`: a pointer per service, and records that only name it. */
export function listingFor(service: string, domain: string): Answer[] {
  const name = `${service}._services.${domain}`;
  return [
    { type: 'PTR', name: `_services.${domain}`, ttl: recordTtlS, data: name },
    { type: 'SRV', name, ttl: recordTtlS, data: { priority: 10, weight: 1, port: 9_999, target: name } },
    { type: 'A', name, ttl: recordTtlS, data: '0.0.0.0' },
    { type: 'TXT', name, ttl: recordTtlS, data: [''] },
  ];
}

/** The nodes that a response tells of, and whether it takes them back. */
export function nodesIn(packet: Packet, domain: string): { readonly service: ServiceRecord; readonly isGone: boolean }[] {
  const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])];
  const addresses = new Map<string, string>();
  for (const record of records) {
    if (record.type === 'A' || record.type === 'AAAA') addresses.set(record.name.toLowerCase(), record.data);
  }
  return records.flatMap((record) => {
    if (record.type !== 'SRV') return [];
    const txt = records.find((one) => one.type === 'TXT' && one.name === record.name);
    const ip = addresses.get(record.data.target.toLowerCase());
    const said = txt?.type === 'TXT' ? decodeTxt(txt.data) : undefined;
    if (!said || ip === undefined) return [];
    const suffix = `.${said.name}.${domain}`;
    if (!record.name.endsWith(suffix)) return [];
    const address = `${isIPv4(ip) ? ip : `[${ip}]`}:${record.data.port}`;
    const node = { id: unescaped(record.name.slice(0, -suffix.length)), address, metadata: said.metadata };
    return [{ service: { ...said, metadata: {}, nodes: [node] }, isGone: record.ttl === 0 }];
  });
}

/** The names of services in the answer to a question for `_services.<domain>`. */
export function servicesIn(packet: Packet, domain: string): string[] {
  const suffix = `._services.${domain}`;
  return (packet.answers ?? []).flatMap((record) =>
    record.type === 'PTR' && record.data.endsWith(suffix) ? [record.data.slice(0, -suffix.length)] : [],
  );
}

/** JSON, zlib, hex, cut: with the endpoints if they fit a packet, else without, for nothing needs them to make a call. */
function txtOf({ service, node }: Announcement): string[] {
  const whole = encodeTxt(node.metadata, service, service.endpoints);
  const text = whole.length <= maxTxtLength ? whole : encodeTxt(node.metadata, service, []);
  if (text.length > maxTxtLength) {
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_service',
      message: `the metadata of node "${node.id}" does not fit a multicast packet (${text.length} of ${maxTxtLength} bytes): say less, or use another registry`,
    });
  }
  return Array.from({ length: Math.ceil(text.length / txtStringLength) }, (_, index) =>
    text.slice(index * txtStringLength, (index + 1) * txtStringLength),
  );
}

function encodeTxt(metadata: NodeRecord['metadata'], { name, version }: ServiceRecord, endpoints: ServiceRecord['endpoints']): string {
  const json = JSON.stringify({ Metadata: metadata, Service: name, Version: version, Endpoints: endpoints });
  return deflateSync(json).toString('hex');
}

function decodeTxt(data: unknown): Omit<ServiceRecord, 'nodes'> | undefined {
  const strings = Array.isArray(data) ? data : [data];
  try {
    const hex = Buffer.concat(strings.map((one) => Buffer.from(one as string | Buffer))).toString('latin1');
    // A bound, for the packet may come from anyone.
    const json = inflateSync(Buffer.from(hex, 'hex'), { maxOutputLength: 1024 * 1024 }).toString();
    const { Metadata, Service, Version, Endpoints } = JSON.parse(json) as Record<string, unknown>;
    if (typeof Service !== 'string') return undefined;
    return { name: Service, version: typeof Version === 'string' ? Version : '', metadata: mapOf(Metadata), endpoints: endpointsOf(Endpoints) };
  } catch {
    return undefined;
  }
}

// A dot in a node's id would begin another label; Go Micro's ids have none, ours may.
function escaped(id: string): string {
  return id.replaceAll('.', '\\.');
}

function unescaped(id: string): string {
  return id.replaceAll('\\.', '.');
}
