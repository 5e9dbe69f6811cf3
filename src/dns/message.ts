import { encode, RECURSION_DESIRED } from 'dns-packet';

import { DnsFailure, type DnsRecordType, type SrvData } from './dns.ts';
import { canonicalName } from './names.ts';
import {
  headerLength,
  type MessageEntry,
  type MessageHeader,
  MessageReader,
  type MessageRecord,
  readHeader,
} from '../internal/dns-message.ts';

/** A question to a server. */
export interface DnsQuery {
  readonly id: number;
  /** In canonical form. */
  readonly name: string;
  readonly type: DnsRecordType;
}

/** A record of an answer. Its name is in lower case. */
interface DnsRecord {
  readonly name: string;
  readonly type: string;
  readonly ttlS: number;
  /** An address, the canonical name behind an alias, or the data of an SRV record. */
  readonly data: string | SrvData;
}

/** An answer of a server. */
export interface DnsReply {
  /** `NOERROR`, `NXDOMAIN`, `SERVFAIL` and so on. */
  readonly rcode: string;
  /** True if it did not fit: it is to be asked for by TCP. */
  readonly isTruncated: boolean;
  readonly answers: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  /** TTL of a negative answer in seconds (RFC 2308): undefined without an SOA record. */
  readonly negativeTtlS: number | undefined;
  /** True if it only names other servers: the server does not look up names for others. */
  readonly isReferral: boolean;
}

/** The records that answer a question. */
export interface DnsResult {
  readonly records: readonly DnsRecord[];
  /** The last name behind aliases, if the answer ends there without records. */
  readonly alias: string | undefined;
  /** The smallest TTL of aliases and records; infinite without any. */
  readonly ttlS: number;
}

// What an answer over UDP may take without fragments (DNS flag day 2020).
const udpPayloadSize = 1_232;
// No answer needs more. A record is at least 11 bytes, so that a message could have 6,000.
const maxRecords = 2_048;
const maxAliases = 8;
const types = { A: 1, NS: 2, CNAME: 5, SOA: 6, AAAA: 28, SRV: 33, OPT: 41 } as const;
const internet = 1;
const codes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;
const codeNames = Object.keys(codes);

/** Writes a query. Without EDNS answers over UDP are at most 512 bytes. */
export function encodeQuery({ id, name, type }: DnsQuery, hasEdns: boolean): Buffer {
  const edns = { type: 'OPT', name: '.', udpPayloadSize, extendedRcode: 0, ednsVersion: 0, flags: 0 } as const;
  return encode({
    type: 'query',
    id,
    flags: RECURSION_DESIRED,
    questions: [{ name, type, class: 'IN' }],
    additionals: hasEdns ? [{ ...edns, flag_do: false, options: [] }] : [],
  });
}

/**
 * Reads the answer to a query. Returns `undefined` for a message that is none: of another id or another question.
 * Throws {@link DnsFailure} (`malformed`) for one that cannot be read or has too many records.
 */
export function decodeReply(bytes: Buffer, query: DnsQuery): DnsReply | undefined {
  if (bytes.length < headerLength) return undefined;
  const header = readHeader(bytes);
  if (header.id !== query.id || !header.isReply) return undefined;
  // Some servers cut a message in the middle of a record.
  if (header.isTruncated) {
    return { rcode: '', isTruncated: true, answers: [], additionals: [], negativeTtlS: undefined, isReferral: false };
  }
  try {
    return readReply(bytes, header, query);
  } catch (error) {
    throw error instanceof DnsFailure ? error : malformed(query, 'cannot be read', error);
  }
}

function readReply(bytes: Buffer, header: MessageHeader, query: DnsQuery): DnsReply | undefined {
  const count = header.answers + header.authorities + header.additionals;
  if (count > maxRecords) throw malformed(query, `has ${count} records, more than ${maxRecords}`);
  const reader = new MessageReader(bytes);
  const list = <T>(length: number, read: () => T): T[] => Array.from({ length }, read);
  // A server that could not read the question may leave it out.
  const isAnswer = header.rcode === codes.NOERROR || header.rcode === codes.NXDOMAIN;
  if (header.questions !== 1 && (isAnswer || header.questions !== 0)) return undefined;
  if (header.questions === 1 && !isQuestion(reader.question(), query)) return undefined;
  const answers = list(header.answers, () => reader.record());
  const authorities = list(header.authorities, () => reader.record());
  const additionals = list(header.additionals, () => reader.record());
  const records = (all: readonly MessageRecord[]): DnsRecord[] => all.flatMap((one) => recordOf(bytes, reader, one));
  // The upper bits of the code are in the TTL of EDNS (RFC 6891 section 6.1.3).
  const isExtended = additionals.some(({ type, ttl }) => type === types.OPT && ttl >>> 24 !== 0);
  const ttls = authorities.flatMap((one) => negativeTtlOf(bytes, reader, one));
  const { isAuthoritative, isRecursive } = header;
  const leadsElsewhere = answers.length === 0 && authorities.some(({ type }) => type === types.NS);
  return {
    rcode: isExtended ? 'BADVERS' : (codeNames[header.rcode] ?? `the code ${header.rcode}`),
    isTruncated: false,
    answers: records(answers),
    additionals: records(additionals),
    negativeTtlS: ttls[0],
    isReferral: leadsElsewhere && !isAuthoritative && !isRecursive,
  };
}

/** Follows the aliases of the question. Throws {@link DnsFailure} (`malformed`) if there are more than eight. */
export function resultOf({ answers }: DnsReply, { name, type }: Pick<DnsQuery, 'name' | 'type'>): DnsResult {
  let at = name;
  let ttlS = Number.POSITIVE_INFINITY;
  for (let aliases = 0; aliases <= maxAliases; aliases += 1) {
    const records = answers.filter((record) => record.name === at && record.type === type);
    if (records.length > 0) {
      return { records, alias: undefined, ttlS: Math.min(ttlS, ...records.map((record) => record.ttlS)) };
    }
    const alias = answers.find((record) => record.name === at && record.type === 'CNAME');
    if (!alias) return { records, alias: at === name ? undefined : at, ttlS };
    ttlS = Math.min(ttlS, alias.ttlS);
    at = alias.data as string;
  }
  throw malformed({ name, type }, `has more than ${maxAliases} aliases`);
}

/** Returns the addresses that an answer has beside the records that were asked for, with their smallest TTL. */
export function addressesBeside(
  { additionals }: DnsReply,
  host: string,
): { readonly addresses: readonly string[]; readonly ttlS: number } {
  const of = (type: DnsRecordType): readonly DnsRecord[] =>
    additionals.filter((record) => record.name === host && record.type === type);
  const v4 = of('A');
  const records = v4.length > 0 ? v4 : of('AAAA');
  return {
    addresses: records.map(({ data }) => data as string),
    ttlS: Math.min(Number.POSITIVE_INFINITY, ...records.map(({ ttlS }) => ttlS)),
  };
}

function isQuestion({ name, type, class: of }: MessageEntry, query: DnsQuery): boolean {
  return name === query.name && type === types[query.type] && of === internet;
}

/** Returns a record that can be used, in a list; an empty list for any other. */
function recordOf(bytes: Buffer, reader: MessageReader, record: MessageRecord): readonly DnsRecord[] {
  const { name, type, start, end } = record;
  if (record.class !== internet) return [];
  const data = bytes.subarray(start, end);
  const base = { name, ttlS: secondsOf(record.ttl) };
  switch (type) {
    case types.A:
      return data.length === 4 ? [{ ...base, type: 'A', data: data.join('.') }] : [];
    case types.AAAA:
      return data.length === 16 ? [{ ...base, type: 'AAAA', data: textOfIpv6(data) }] : [];
    case types.CNAME: {
      const alias = canonicalName(reader.nameAt(start).name);
      return alias === undefined ? [] : [{ ...base, type: 'CNAME', data: alias }];
    }
    case types.SRV: {
      const target = reader.nameAt(start + 6).name;
      const [priority, weight, port] = [0, 2, 4].map((at) => data.readUInt16BE(at)) as [number, number, number];
      return [{ ...base, type: 'SRV', data: { target, port, priority, weight } }];
    }
    default:
      return [];
  }
}

/** RFC 2308 section 5: the smaller of the TTL of the SOA record and its last field. */
function negativeTtlOf(bytes: Buffer, reader: MessageReader, { type, ttl, start }: MessageRecord): readonly number[] {
  if (type !== types.SOA) return [];
  const numbers = reader.nameAt(reader.nameAt(start).next).next;
  return [Math.min(secondsOf(ttl), secondsOf(bytes.readUInt32BE(numbers + 16)))];
}

/** RFC 5952, but that the first zeros are shortened and not the most. */
function textOfIpv6(data: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => data.readUInt16BE(2 * index).toString(16));
  return groups.join(':').replace(/(?:^|:)0(?::0)+(?::|$)/, '::');
}

/** RFC 2181 section 8: a TTL with the highest bit set counts as 0. */
function secondsOf(ttl: number): number {
  return ttl > 0x7f_ff_ff_ff ? 0 : ttl;
}

function malformed({ name, type }: Pick<DnsQuery, 'name' | 'type'>, why: string, cause?: unknown): DnsFailure {
  return new DnsFailure('malformed', `the answer to ${name} ${type} ${why}`, cause);
}
