import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';

import type { Answer, Packet, Question, SrvAnswer, TxtAnswer } from 'dns-packet';

import {
  decompressTxt,
  encodeTxtFields,
  enumerationName,
  mdnsTtlS,
  placeholderPort,
  srvOrder,
} from '../go-micro/mdns.ts';
import { hostPort } from '../internal/host-port.ts';
import { isLinkLocalV6 } from './links.ts';

// The longest string of a TXT record (RFC 1035 section 3.3).
const txtStringLength = 255;
// RFC 1035 section 2.3.4.
const maxLabelLength = 63;
const maxNameLength = 253;
// RFC 6762 section 17: 9,000 bytes with the headers of IP and UDP.
const packetLimitBytes = 8_950;
// Limits of decompression. Valid texts that fit into a packet are smaller.
const maxTextBytes = 256 * 1024;
const maxUnpackedBytes = 1024 * 1024;

/** The domain, the host and the packet size that records are made for. */
export interface MdnsContext {
  readonly domain: string;
  /** The machine's host name. */
  readonly host: string;
  /** Size above which endpoints are left out of a packet. */
  readonly maxPacketBytes: number;
}

/** A method of a service. Records carry all fields that it has. */
export interface MdnsEndpoint {
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A node of a service, as it is announced. */
export interface MdnsNode {
  /** The name of the service. */
  readonly service: string;
  readonly version: string;
  readonly serviceMetadata: Readonly<Record<string, string>>;
  readonly endpoints: readonly MdnsEndpoint[];
  readonly id: string;
  /** `host:port`, or any other address of a transport. */
  readonly address: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Where a node listens. */
export interface MdnsAddress {
  /** The IP address, if the node has one. */
  readonly ip: string | undefined;
  readonly port: number;
  /** True if the node listens at every address of its machine: each link is told the address of that link. */
  readonly isWildcard: boolean;
}

/** A node with all that its records say. */
export interface Announcement {
  readonly node: MdnsNode;
  /** The name of its records. */
  readonly instance: string;
  readonly address: MdnsAddress;
  readonly leaseMs: number;
}

/** A node as the records of a response describe it. Fields of unknown type are not checked: any host may send them. */
export interface FoundNode {
  /** The name of its records: `small-1.small.service.micro`. */
  readonly instance: string;
  /** The name of the service. The name of the records ends with it. */
  readonly service: string;
  readonly version: unknown;
  readonly serviceMetadata: unknown;
  readonly endpoints: unknown;
  readonly id: unknown;
  readonly address: unknown;
  readonly metadata: unknown;
  /** The TTL of its records; 0 is a goodbye (RFC 6762 section 10.1). */
  readonly ttlS: number;
}

/** The error for a node that no packet can carry. Its message is a clause: `its node "n1" does not fit …`. */
export class UnfitNode extends Error {}

/** True if a service can be queried: DNS limits the length of names and labels. */
export function isValidServiceName(service: string, domain: string): boolean {
  const name = `${service}.${domain}`;
  return Buffer.byteLength(name) <= maxNameLength && hasGoodLabels(service);
}

/**
 * Returns the SRV, A (or AAAA) and TXT records of a node in Go Micro's form: all in the answer section, without a PTR.
 * Throws {@link UnfitNode} if they do not fit into a packet.
 */
export function nodeRecords(announcement: Announcement, context: MdnsContext): Answer[] {
  const { node, instance: name, address, leaseMs } = announcement;
  if (!isValidServiceName(node.service, context.domain)) {
    throw new UnfitNode(
      `multicast DNS cannot carry its name: each part of the name between dots has 1 to ${maxLabelLength} bytes, and all of it less than ${maxNameLength}`,
    );
  }
  const { ip = '0.0.0.0', port } = address;
  // A node with a short lease announces that, so that others notice its end in time.
  const ttl = Math.min(mdnsTtlS, Math.max(1, Math.ceil(leaseMs / 1_000)));
  return [
    { type: 'SRV', name, ttl, data: { ...srvOrder, port, target: context.host } },
    { type: isIPv6(ip) ? 'AAAA' : 'A', name: context.host, ttl, data: ip },
    { type: 'TXT', name, ttl, data: txtOf(announcement, context) },
  ];
}

/** The records with a TTL of 0, which says that they are gone (RFC 6762 section 10.1). */
export function goodbyeOf(records: readonly Answer[]): Answer[] {
  return records.map((record) => ({ ...record, ttl: 0 }) as Answer);
}

/**
 * Marks the records that only one process has, so that caches replace what they knew of them (RFC 6762 section 10.2).
 * Not the address of the host: other processes announce the same name with the address of their node.
 */
export function unique(records: readonly Answer[]): Answer[] {
  return records.map((record) =>
    record.type === 'SRV' || record.type === 'TXT' ? { ...record, flush: true } : record,
  );
}

/** The records with another address of the host. */
export function withAddress(records: readonly Answer[], ip: string): Answer[] {
  const type = isIPv6(ip) ? 'AAAA' : 'A';
  return records.map((record) =>
    record.type === 'A' || record.type === 'AAAA' ? { ...record, type, data: ip } : record,
  );
}

/**
 * The data of a SRV or TXT record as DNS carries it, by which records are compared (RFC 6762 sections 8.2 and 9).
 * Undefined for records of other types.
 */
export function dataOf(record: Answer): Buffer | undefined {
  if (record.type === 'TXT') {
    const strings = [record.data].flat().map((one) => Buffer.from(one));
    return Buffer.concat(strings.flatMap((one) => [Buffer.from([one.length & 255]), one]));
  }
  if (record.type !== 'SRV') return undefined;
  const { priority = 0, weight = 0, port, target } = record.data;
  const numbers = Buffer.alloc(6);
  [priority, weight, port].forEach((number, index) => numbers.writeUInt16BE(number & 65_535, 2 * index));
  const labels = target.split('.').map((label) => Buffer.from(label));
  return Buffer.concat([numbers, ...labels.flatMap((one) => [Buffer.from([one.length & 255]), one]), Buffer.of(0)]);
}

/** Puts the PTR record of a service before the records of its node: the answer to a query for the service. */
export function withPointer(records: readonly Answer[], service: string, { domain }: MdnsContext): Answer[] {
  const [{ name, ttl }] = records as [Extract<Answer, { type: 'SRV' }>];
  return [{ type: 'PTR', name: `${service}.${domain}`, ttl: ttl ?? mdnsTtlS, data: name }, ...records];
}

/**
 * Returns Go Micro's answer to a query for `_services.<domain>`: a PTR to a service, and placeholder records of it.
 */
export function enumerationRecords(service: string, { domain, host }: MdnsContext): Answer[] {
  const name = `${service}.${enumerationName(domain)}`;
  const ttl = mdnsTtlS;
  return [
    { type: 'PTR', name: enumerationName(domain), ttl, data: name },
    { type: 'SRV', name, ttl, data: { ...srvOrder, port: placeholderPort, target: host } },
    { type: 'A', name: host, ttl, data: '0.0.0.0' },
    { type: 'TXT', name, ttl, data: [''] },
  ];
}

/** The question who has a name, for records of every type. */
export function nameQuestion(name: string): Question {
  // The types of the package lack this one.
  return { name, type: 'ANY' as string as Question['type'], class: 'IN' };
}

/** The name of the service type enumeration query of DNS-SD (RFC 6763 section 9). */
export function metaQueryName(domain: string): string {
  return `_services._dns-sd._udp.${domain}`;
}

/**
 * Returns the nodes of a response whose record names `accepts` accepts. Other and malformed records are skipped. Time
 * is linear in the packet, and decompression is limited: any host on the link may have sent it. Addresses of the link
 * alone get the zone at which the packet was heard.
 */
export function nodesIn(
  packet: Packet,
  domain: string,
  accepts: (name: string) => boolean,
  zone?: string,
): FoundNode[] {
  const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])];
  const addresses = new Map<string, string>();
  const texts = new Map<string, TxtAnswer>();
  for (const record of records) {
    const name = record.name.toLowerCase();
    if (record.type === 'A' || record.type === 'AAAA')
      addresses.set(name, zone !== undefined && isLinkLocalV6(record.data) ? `${record.data}%${zone}` : record.data);
    if (record.type === 'TXT' && !texts.has(name)) texts.set(name, record);
  }
  const room = { bytes: maxUnpackedBytes };
  return records.flatMap((record) => {
    if (record.type !== 'SRV' || !endsWith(record.name, `.${domain}`) || !accepts(record.name)) return [];
    const txt = texts.get(record.name.toLowerCase());
    if (!txt) return [];
    // Each text is decoded once, however many SRV records have its name.
    texts.delete(record.name.toLowerCase());
    const ip = addresses.get(record.data.target.toLowerCase());
    return foundNode(record, unpacked(txt.data, room), ip, domain) ?? [];
  });
}

/** Returns the node of the records; undefined if the fields of its text are no object, or are of another service. */
function foundNode(
  { name, ttl = mdnsTtlS, data: { port } }: SrvAnswer,
  fields: Readonly<Record<string, unknown>> | undefined,
  ip: string | undefined,
  domain: string,
): FoundNode | undefined {
  const service = fields?.['Service'];
  if (fields === undefined || typeof service !== 'string') return undefined;
  const suffix = `.${service}.${domain}`;
  if (!endsWith(name, suffix)) return undefined;
  return {
    instance: name,
    service,
    version: fields['Version'],
    serviceMetadata: fields['ServiceMetadata'],
    endpoints: fields['Endpoints'],
    id: fields['Id'] ?? name.slice(0, -suffix.length),
    address: fields['Address'] ?? (ip && hostPort(ip, port)),
    metadata: fields['Metadata'],
    ttlS: Math.min(ttl, mdnsTtlS),
  };
}

/** Decompresses the fields of TXT data: hexadecimal digits of a zlib stream. Undefined if they are no JSON object. */
function unpacked(data: unknown, room: { bytes: number }): Record<string, unknown> | undefined {
  const strings = Array.isArray(data) ? data : [data];
  const hex = strings.map((one) => Buffer.from(one as string | Buffer).toString('latin1')).join('');
  if (room.bytes <= 0) return undefined;
  const maxOutputLength = Math.min(room.bytes, maxTextBytes);
  let json: Buffer;
  try {
    json = decompressTxt(hex, maxOutputLength);
  } catch {
    // The attempt may have decompressed this much.
    room.bytes -= maxOutputLength;
    return undefined;
  }
  room.bytes -= json.length;
  return parsedObject(json.toString());
}

function parsedObject(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the names of nodes that a response says goodbye for. Records of other names may be among them. */
export function goodbyesIn(packet: Packet): string[] {
  const names = [...(packet.answers ?? []), ...(packet.additionals ?? [])].flatMap((record) => {
    if (!('ttl' in record) || record.ttl !== 0) return [];
    if (record.type === 'PTR') return [record.data];
    return record.type === 'SRV' ? [record.name] : [];
  });
  return [...new Set(names)];
}

/** Returns the names of services in an answer to the query for `_services.<domain>`. */
export function servicesIn(packet: Packet, domain: string): string[] {
  const suffix = `.${enumerationName(domain)}`;
  return (packet.answers ?? []).flatMap((record) =>
    record.type === 'PTR' && endsWith(record.data, suffix) ? [record.data.slice(0, -suffix.length)] : [],
  );
}

/**
 * The service instance name of a node: `small-1.small.service.micro`. Dots in an id separate labels, as in Go Micro. An
 * id that is too long for DNS is replaced by a hash. A number above 1 names a node whose name others have.
 */
export function instanceName({ id, service }: MdnsNode, domain: string, number = 1): string {
  const label = number === 1 ? id : `${id}-${number}`;
  const name = `${label}.${service}.${domain}`;
  return fitsName(label, name) ? name : `${shortId(label)}.${service}.${domain}`;
}

function fitsName(id: string, name: string): boolean {
  return hasGoodLabels(id) && Buffer.byteLength(name) <= maxNameLength;
}

function shortId(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 16);
}

function hasGoodLabels(text: string): boolean {
  return text.split('.').every((label) => label !== '' && Buffer.byteLength(label) <= maxLabelLength);
}

function endsWith(name: string, suffix: string): boolean {
  return name.length > suffix.length && name.toLowerCase().endsWith(suffix.toLowerCase());
}

/**
 * Encodes the TXT data of a node: JSON, compressed by zlib, in lower-case hexadecimal digits, split into strings. Parts
 * that do not fit into a packet are left out, since IP fragments are easily lost and calls do not need them: first the
 * shapes of requests and responses, then the endpoints.
 */
function txtOf(announcement: Announcement, context: MdnsContext): string[] {
  const { node } = announcement;
  const slim = node.endpoints.map(({ name, metadata }) => ({ name, metadata }));
  const room = (bytes: number): number => bytes - overhead(announcement, context);
  const texts = [node.endpoints, slim, []].map((some) => () => encodeTxt(announcement, context, some));
  let text = '';
  for (const encode of texts) {
    text = encode();
    if (txtLength(text) <= room(context.maxPacketBytes)) break;
  }
  if (txtLength(text) > room(packetLimitBytes)) {
    throw new UnfitNode(
      `its node "${node.id}" does not fit into a packet of multicast DNS, which has ${packetLimitBytes} bytes, even without endpoints. ${largestField(node)}: shorten it, or use another registry`,
    );
  }
  return Array.from({ length: Math.ceil(text.length / txtStringLength) }, (_, index) =>
    text.slice(index * txtStringLength, (index + 1) * txtStringLength),
  );
}

/** Names the largest field of a node, with its size. */
function largestField({ version, address, metadata, serviceMetadata }: MdnsNode): string {
  const fields = [
    ['the version', version],
    ['the address', address],
    ...Object.entries(metadata).map(([key, value]) => [`the metadata "${key}"`, key + value]),
    ...Object.entries(serviceMetadata).map(([key, value]) => [`the metadata "${key}" of the service`, key + value]),
  ].map(([name, text = '']) => ({ name, bytes: Buffer.byteLength(text) }));
  const [{ name, bytes }] = fields.sort((one, other) => other.bytes - one.bytes) as [(typeof fields)[number]];
  return `The largest field is ${name} with ${bytes} bytes`;
}

function txtLength(text: string): number {
  return text.length + Math.ceil(text.length / txtStringLength);
}

/** The size of an answer without its TXT data: header, question, and four records with uncompressed names. */
function overhead({ node, instance }: Announcement, { domain, host }: MdnsContext): number {
  const bytes = (name: string): number => Buffer.byteLength(name) + 2;
  return 12 + 4 * 10 + 4 + 2 * bytes(`${node.service}.${domain}`) + 3 * bytes(instance) + 2 * bytes(host) + 6 + 16;
}

function encodeTxt(
  { node, instance, address: { ip, port, isWildcard } }: Announcement,
  { domain }: MdnsContext,
  endpoints: readonly MdnsEndpoint[],
): string {
  const isToldByRecords = isWildcard || (ip !== undefined && node.address === hostPort(ip, port));
  return encodeTxtFields({
    Metadata: node.metadata,
    Service: node.service,
    Version: node.version,
    Endpoints: endpoints,
    ...(instance === `${node.id}.${node.service}.${domain}` ? {} : { Id: node.id }),
    ...(isToldByRecords ? {} : { Address: node.address }),
    ...(Object.keys(node.serviceMetadata).length === 0 ? {} : { ServiceMetadata: node.serviceMetadata }),
  });
}
