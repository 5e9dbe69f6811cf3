import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';

import type { Answer, Packet, SrvAnswer, TxtAnswer } from 'dns-packet';

import { Code, TenonError } from '../../errors/errors.ts';
import {
  decompressTxt,
  encodeTxtFields,
  enumerationName,
  mdnsTtlS,
  placeholderPort,
  srvOrder,
} from '../../go-micro/mdns.ts';
import type { EndpointRecord, NodeRecord, ServiceRecord } from '../registry.ts';
import { BrokenRecord, checkedNode, parsed, serviceParts } from '../kit/records.ts';

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

/** A node to be announced. */
export interface Announcement {
  readonly service: ServiceRecord;
  readonly node: NodeRecord;
  /** The IP address of the node, if it has one. */
  readonly ip: string | undefined;
  readonly port: number;
  readonly leaseMs: number;
}

/** A node found in a response. */
export interface ResolvedNode {
  /** The record with just this node. */
  readonly service: ServiceRecord;
  /** The TTL of its records; 0 is a goodbye (RFC 6762 section 10.1). */
  readonly ttlS: number;
}

/** True if a service can be queried: DNS limits the length of names and labels. */
export function isValidServiceName(service: string, domain: string): boolean {
  const name = `${service}.${domain}`;
  return Buffer.byteLength(name) <= maxNameLength && hasGoodLabels(service);
}

/**
 * Returns the SRV, A (or AAAA) and TXT records of a node in Go Micro's form: all in the answer section, without a PTR.
 * `isGoodbye` gives them a TTL of 0. INVALID_ARGUMENT (`registry.invalid_service`) if they do not fit into a packet.
 */
export function nodeRecords(announcement: Announcement, context: MdnsContext, isGoodbye = false): Answer[] {
  const { service, ip, port, leaseMs } = announcement;
  if (!isValidServiceName(service.name, context.domain)) {
    throw invalid(
      `service "${service.name}" cannot be announced over multicast DNS: each part of the name between dots has 1 to ${maxLabelLength} bytes, and all of it less than ${maxNameLength}`,
    );
  }
  const name = instanceName(announcement, context.domain);
  // A node with a short lease announces that, so that watches notice its end in time.
  const ttl = isGoodbye ? 0 : Math.min(mdnsTtlS, Math.max(1, Math.ceil(leaseMs / 1_000)));
  return [
    { type: 'SRV', name, ttl, data: { ...srvOrder, port, target: context.host } },
    { type: ip !== undefined && isIPv6(ip) ? 'AAAA' : 'A', name: context.host, ttl, data: ip ?? '0.0.0.0' },
    { type: 'TXT', name, ttl, data: txtOf(announcement, context, name) },
  ];
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

/** The name of the service type enumeration query of DNS-SD (RFC 6763 section 9). */
export function metaQueryName(domain: string): string {
  return `_services._dns-sd._udp.${domain}`;
}

/**
 * Returns the nodes of a response whose record names `accepts` accepts. Other and malformed records are skipped. Time
 * is linear in the packet, and decompression is limited: any host on the link may have sent it.
 */
export function nodesIn(packet: Packet, domain: string, accepts: (name: string) => boolean): ResolvedNode[] {
  const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])];
  const addresses = new Map<string, string>();
  const texts = new Map<string, TxtAnswer>();
  for (const record of records) {
    const name = record.name.toLowerCase();
    if (record.type === 'A' || record.type === 'AAAA') addresses.set(name, record.data);
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
    const service = resolvedService(record, txt, ip, domain, room);
    return service ? [{ service, ttlS: Math.min(record.ttl ?? mdnsTtlS, mdnsTtlS) }] : [];
  });
}

/** Returns the service with the one node of the records; undefined if they are malformed. */
function resolvedService(
  { name, data: { port } }: SrvAnswer,
  txt: TxtAnswer,
  ip: string | undefined,
  domain: string,
  room: { bytes: number },
): ServiceRecord | undefined {
  try {
    const fields = parsed(unpacked(txt.data, room));
    const service = serviceParts(fields['Service'], {
      version: fields['Version'],
      metadata: fields['ServiceMetadata'],
      endpoints: fields['Endpoints'],
    });
    const suffix = `.${service.name}.${domain}`;
    if (!endsWith(name, suffix)) return undefined;
    const id = fields['Id'] ?? name.slice(0, -suffix.length);
    const address = fields['Address'] ?? (ip && `${isIPv4(ip) ? ip : `[${ip}]`}:${port}`);
    return { ...service, nodes: [checkedNode(id, address, fields['Metadata'])] };
  } catch (error) {
    if (error instanceof BrokenRecord) return undefined;
    throw error;
  }
}

/** Decompresses the JSON of TXT data: hexadecimal digits of a zlib stream. Throws {@link BrokenRecord}. */
function unpacked(data: unknown, room: { bytes: number }): string {
  const strings = Array.isArray(data) ? data : [data];
  const hex = strings.map((one) => Buffer.from(one as string | Buffer).toString('latin1')).join('');
  if (room.bytes <= 0) throw new BrokenRecord('is in a packet that unpacks to too much');
  const maxOutputLength = Math.min(room.bytes, maxTextBytes);
  try {
    const json = decompressTxt(hex, maxOutputLength);
    room.bytes -= json.length;
    return json.toString();
  } catch {
    // The attempt may have decompressed this much.
    room.bytes -= maxOutputLength;
    throw new BrokenRecord('does not unpack');
  }
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
 * id that is too long for DNS is replaced by a hash.
 */
function instanceName({ service, node }: Announcement, domain: string): string {
  const name = `${node.id}.${service.name}.${domain}`;
  return fitsName(node.id, name) ? name : `${shortId(node.id)}.${service.name}.${domain}`;
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
function txtOf(announcement: Announcement, context: MdnsContext, name: string): string[] {
  const { endpoints } = announcement.service;
  const slim = endpoints.map(({ name: endpoint, metadata }) => ({ name: endpoint, metadata }));
  const room = (bytes: number): number => bytes - overhead(announcement, context, name);
  const texts = [endpoints, slim, []].map((some) => () => encodeTxt(announcement, name, context, some));
  let text = '';
  for (const encode of texts) {
    text = encode();
    if (txtLength(text) <= room(context.maxPacketBytes)) break;
  }
  if (txtLength(text) > room(packetLimitBytes)) {
    const { node, service } = announcement;
    throw invalid(
      `node "${node.id}" of service "${service.name}" cannot be announced over multicast DNS: its metadata does not fit into a packet of ${packetLimitBytes} bytes. Shorten it, or use another registry`,
    );
  }
  return Array.from({ length: Math.ceil(text.length / txtStringLength) }, (_, index) =>
    text.slice(index * txtStringLength, (index + 1) * txtStringLength),
  );
}

function txtLength(text: string): number {
  return text.length + Math.ceil(text.length / txtStringLength);
}

/** The size of an answer without its TXT data: header, question, and four records with uncompressed names. */
function overhead({ service }: Announcement, { domain, host }: MdnsContext, name: string): number {
  const [question, instance, machine] = [`${service.name}.${domain}`, name, host].map(
    (one) => Buffer.byteLength(one) + 2,
  );
  return 12 + 4 * 10 + 4 + 2 * Number(question) + 3 * Number(instance) + 2 * Number(machine) + 6 + 16;
}

function encodeTxt(
  { service, node, ip, port }: Announcement,
  instance: string,
  { domain }: MdnsContext,
  endpoints: readonly EndpointRecord[],
): string {
  return encodeTxtFields({
    Metadata: node.metadata,
    Service: service.name,
    Version: service.version,
    Endpoints: endpoints,
    ...(instance === `${node.id}.${service.name}.${domain}` ? {} : { Id: node.id }),
    ...(ip !== undefined && node.address === `${isIPv4(ip) ? ip : `[${ip}]`}:${port}` ? {} : { Address: node.address }),
    ...(Object.keys(service.metadata).length === 0 ? {} : { ServiceMetadata: service.metadata }),
  });
}

function invalid(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'registry.invalid_service', message });
}
