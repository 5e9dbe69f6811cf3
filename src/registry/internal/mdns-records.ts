import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { deflateSync, inflateSync } from 'node:zlib';

import type { Answer, Packet, SrvAnswer, TxtAnswer } from 'dns-packet';

import { Code, TenonError } from '../../errors/errors.ts';
import type { EndpointRecord, NodeRecord, ServiceRecord } from '../registry.ts';
import { BrokenRecord, checkedNode, parsed, serviceParts } from '../kit/records.ts';

// Go Micro cuts TXT at the longest string that DNS has.
const txtStringLength = 255;
// RFC 1035 section 2.3.4.
const maxLabelLength = 63;
const maxNameLength = 253;
// RFC 6762 section 17: 9,000 bytes with the headers of IP and UDP.
const mostPacketBytes = 8_950;
// Go Micro's time to live, in seconds. A shorter lease is said as it is, so that watchers miss a node that died in
// time.
const longestTtlS = 120;
// A text that fits a packet unpacks to less. Packets that unpack to more were made for that.
const maxTextBytes = 256 * 1024;
const maxUnpackedBytes = 1024 * 1024;

/** Where this process stands in multicast DNS. */
export interface Realm {
  readonly domain: string;
  /** The machine's name. */
  readonly host: string;
  /** Endpoints are cut down to fit a packet into this. */
  readonly maxPacketBytes: number;
}

/** A node of this process, as it is announced. */
export interface Announcement {
  readonly service: ServiceRecord;
  readonly node: NodeRecord;
  /** The node's address, resolved; none if it is no address of IP. */
  readonly ip: string | undefined;
  readonly port: number;
  readonly leaseMs: number;
}

/** A node that a response tells of. */
export interface HeardNode {
  /** The service with just this node. */
  readonly service: ServiceRecord;
  /** How long to believe it; 0 takes the node back. */
  readonly ttlS: number;
}

/** Whether a question for the service can be asked: DNS bounds the length of names and of their parts. */
export function isAskable(service: string, domain: string): boolean {
  const name = `${service}.${domain}`;
  return Buffer.byteLength(name) <= maxNameLength && hasGoodLabels(service);
}

/**
 * SRV, A (or AAAA) and TXT of a node, in Go Micro's form: all in the answer section, no pointer. `isGone` says good-bye
 * by a time to live of 0. INVALID_ARGUMENT (`registry.invalid_service`) for what no packet can carry.
 */
export function nodeRecords(announcement: Announcement, realm: Realm, isGone = false): Answer[] {
  const { service, ip, port, leaseMs } = announcement;
  if (!isAskable(service.name, realm.domain)) {
    throw invalid(
      `service "${service.name}" cannot be announced over multicast DNS: each part of the name between dots has 1 to ${maxLabelLength} bytes, and all of it less than ${maxNameLength}`,
    );
  }
  const name = instanceName(announcement, realm.domain);
  const ttl = isGone ? 0 : Math.min(longestTtlS, Math.max(1, Math.ceil(leaseMs / 1_000)));
  return [
    { type: 'SRV', name, ttl, data: { priority: 10, weight: 1, port, target: realm.host } },
    { type: ip !== undefined && isIPv6(ip) ? 'AAAA' : 'A', name: realm.host, ttl, data: ip ?? '0.0.0.0' },
    { type: 'TXT', name, ttl, data: txtOf(announcement, realm, name) },
  ];
}

/** The whole answer to a question for a service: the pointer to the node comes first. */
export function withPointer(records: readonly Answer[], service: string, { domain }: Realm): Answer[] {
  const [{ name, ttl }] = records as [Extract<Answer, { type: 'SRV' }>];
  return [{ type: 'PTR', name: `${service}.${domain}`, ttl: ttl ?? longestTtlS, data: name }, ...records];
}

/**
 * What Go Micro answers to a question for `_services.<domain>`: a pointer to a service, and records that only name it.
 */
export function listingFor(service: string, { domain, host }: Realm): Answer[] {
  const name = `${service}._services.${domain}`;
  const ttl = longestTtlS;
  return [
    { type: 'PTR', name: listingName(domain), ttl, data: name },
    { type: 'SRV', name, ttl, data: { priority: 10, weight: 1, port: 9_999, target: host } },
    { type: 'A', name: host, ttl, data: '0.0.0.0' },
    { type: 'TXT', name, ttl, data: [''] },
  ];
}

/** What the question for every service is about. */
export function listingName(domain: string): string {
  return `_services.${domain}`;
}

/** RFC 6763 section 9: the question of general browsers for the types of services that there are. */
export function browsingName(domain: string): string {
  return `_services._dns-sd._udp.${domain}`;
}

/**
 * The nodes that a response tells of, and those of them that are `wanted` by the name of their records. What is not
 * ours in it, or makes no sense, is passed over. Linear in the packet, and bounded in what it unpacks: anyone on the
 * link may have sent it.
 */
export function nodesIn(packet: Packet, domain: string, wanted: (name: string) => boolean): HeardNode[] {
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
    if (record.type !== 'SRV' || !endsWith(record.name, `.${domain}`) || !wanted(record.name)) return [];
    const txt = texts.get(record.name.toLowerCase());
    if (!txt) return [];
    // Once for each text, however many records name it.
    texts.delete(record.name.toLowerCase());
    const ip = addresses.get(record.data.target.toLowerCase());
    const service = heardService(record, txt, ip, domain, room);
    return service ? [{ service, ttlS: Math.min(record.ttl ?? longestTtlS, longestTtlS) }] : [];
  });
}

/** The service with the one node that the records tell of. */
function heardService(
  { name, data: { port } }: SrvAnswer,
  txt: TxtAnswer,
  ip: string | undefined,
  domain: string,
  room: { bytes: number },
): ServiceRecord | undefined {
  try {
    const said = parsed(unpacked(txt.data, room));
    const service = serviceParts(said['Service'], {
      version: said['Version'],
      metadata: said['ServiceMetadata'],
      endpoints: said['Endpoints'],
    });
    const suffix = `.${service.name}.${domain}`;
    if (!endsWith(name, suffix)) return undefined;
    const id = said['Id'] ?? name.slice(0, -suffix.length);
    const address = said['Address'] ?? (ip && `${isIPv4(ip) ? ip : `[${ip}]`}:${port}`);
    return { ...service, nodes: [checkedNode(id, address, said['Metadata'])] };
  } catch (error) {
    if (error instanceof BrokenRecord) return undefined;
    throw error;
  }
}

/** JSON that was deflated, in hex. Throws {@link BrokenRecord}. */
function unpacked(data: unknown, room: { bytes: number }): string {
  const strings = Array.isArray(data) ? data : [data];
  const hex = strings.map((one) => Buffer.from(one as string | Buffer).toString('latin1')).join('');
  if (room.bytes <= 0) throw new BrokenRecord('is in a packet that unpacks to too much');
  const maxOutputLength = Math.min(room.bytes, maxTextBytes);
  try {
    const json = inflateSync(Buffer.from(hex, 'hex'), { maxOutputLength });
    room.bytes -= json.length;
    return json.toString();
  } catch {
    // What it would have taken was unpacked before it was too much.
    room.bytes -= maxOutputLength;
    throw new BrokenRecord('does not unpack');
  }
}

/** The names of services in the answer to a question for `_services.<domain>`. */
export function servicesIn(packet: Packet, domain: string): string[] {
  const suffix = `._services.${domain}`;
  return (packet.answers ?? []).flatMap((record) =>
    record.type === 'PTR' && endsWith(record.data, suffix) ? [record.data.slice(0, -suffix.length)] : [],
  );
}

/**
 * `small-1.small.service.micro`: what a node is called in its domain. Dots of an id begin labels of their own, as in Go
 * Micro.
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
 * JSON, deflated, in lower-case hex, cut. A call needs no endpoints, and a packet that is cut to pieces on its way is
 * easily lost: what does not fit is left out, first the shapes of requests and responses, then the endpoints.
 */
function txtOf(announcement: Announcement, realm: Realm, name: string): string[] {
  const { endpoints } = announcement.service;
  const slim = endpoints.map(({ name: endpoint, metadata }) => ({ name: endpoint, metadata }));
  const room = (bytes: number): number => bytes - overhead(announcement, realm, name);
  const texts = [endpoints, slim, []].map((some) => () => encodeTxt(announcement, name, realm, some));
  let text = '';
  for (const encode of texts) {
    text = encode();
    if (txtLength(text) <= room(realm.maxPacketBytes)) break;
  }
  if (txtLength(text) > room(mostPacketBytes)) {
    const { node, service } = announcement;
    throw invalid(
      `node "${node.id}" of service "${service.name}" cannot be announced over multicast DNS: its metadata does not fit a packet of ${mostPacketBytes} bytes. Say less, or use another registry`,
    );
  }
  return Array.from({ length: Math.ceil(text.length / txtStringLength) }, (_, index) =>
    text.slice(index * txtStringLength, (index + 1) * txtStringLength),
  );
}

function txtLength(text: string): number {
  return text.length + Math.ceil(text.length / txtStringLength);
}

/** All of an answer but its TXT data: header, question, and four records whose names are written out. */
function overhead({ service }: Announcement, { domain, host }: Realm, name: string): number {
  const [question, instance, machine] = [`${service.name}.${domain}`, name, host].map(
    (one) => Buffer.byteLength(one) + 2,
  );
  return 12 + 4 * 10 + 4 + 2 * Number(question) + 3 * Number(instance) + 2 * Number(machine) + 6 + 16;
}

function encodeTxt(
  { service, node, ip, port }: Announcement,
  instance: string,
  { domain }: Realm,
  endpoints: readonly EndpointRecord[],
): string {
  // The last three are tenon's own, and only there when Go Micro's records would lose something.
  const json = JSON.stringify({
    Metadata: node.metadata,
    Service: service.name,
    Version: service.version,
    Endpoints: endpoints,
    ...(instance === `${node.id}.${service.name}.${domain}` ? {} : { Id: node.id }),
    ...(ip !== undefined && node.address === `${isIPv4(ip) ? ip : `[${ip}]`}:${port}` ? {} : { Address: node.address }),
    ...(Object.keys(service.metadata).length === 0 ? {} : { ServiceMetadata: service.metadata }),
  });
  return deflateSync(json).toString('hex');
}

function invalid(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'registry.invalid_service', message });
}
