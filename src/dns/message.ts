import { isIP } from 'node:net';

import { type Answer, decode, encode, type Question, RECURSION_DESIRED } from 'dns-packet';

import { DnsFailure, type DnsRecordType, type SrvData } from './dns.ts';
import { canonicalName } from './names.ts';

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
const headerLength = 12;

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
  if (bytes.length < headerLength || bytes.readUInt16BE(0) !== query.id || (bytes[2] ?? 0) < 0x80) return undefined;
  // Some servers cut a message in the middle of a record.
  if (((bytes[2] ?? 0) & 0x02) !== 0) {
    return { rcode: '', isTruncated: true, answers: [], additionals: [], negativeTtlS: undefined, isReferral: false };
  }
  const count = [6, 8, 10].reduce((sum, at) => sum + bytes.readUInt16BE(at), 0);
  if (count > maxRecords) throw malformed(query, `has ${count} records, more than ${maxRecords}`);
  const packet = decoded(bytes, query);
  const { questions = [], answers = [], authorities = [], additionals = [] } = packet;
  const extended = additionals.find(({ type }) => type === 'OPT') as { readonly extendedRcode: number } | undefined;
  const rcode = extended && extended.extendedRcode > 0 ? 'BADVERS' : packet.rcode;
  // A server that could not read the question may leave it out.
  const isAnswer = rcode === 'NOERROR' || rcode === 'NXDOMAIN';
  if ((isAnswer || questions.length > 0) && !isQuestion(questions, query)) return undefined;
  const negativeTtlS = authorities.map(negativeTtlOf).find((ttlS) => ttlS !== undefined);
  return {
    rcode,
    isTruncated: false,
    answers: answers.flatMap(recordOf),
    additionals: additionals.flatMap(recordOf),
    negativeTtlS,
    isReferral:
      answers.length === 0 && !packet.flag_aa && !packet.flag_ra && authorities.some(({ type }) => type === 'NS'),
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

type Decoded = ReturnType<typeof decode> & { readonly rcode: string };

function decoded(bytes: Buffer, query: DnsQuery): Decoded {
  let packet: Decoded;
  try {
    packet = decode(bytes) as Decoded;
  } catch (error) {
    throw malformed(query, 'cannot be read', error);
  }
  // Addresses are read beyond the end of a message without an error.
  if (decode.bytes > bytes.length) throw malformed(query, 'is cut off');
  return packet;
}

function isQuestion(questions: readonly Question[], query: DnsQuery): boolean {
  const [question] = questions;
  if (!question || questions.length !== 1) return false;
  return question.name.toLowerCase() === query.name && question.type === query.type && question.class === 'IN';
}

/** Returns a record that can be used, in a list; an empty list for any other. */
function recordOf(answer: Answer): readonly DnsRecord[] {
  if (answer.type === 'OPT' || answer.class !== 'IN') return [];
  const base = { name: answer.name.toLowerCase(), type: answer.type, ttlS: secondsOf(answer.ttl) };
  switch (answer.type) {
    case 'A':
    case 'AAAA':
      return isIP(answer.data) === (answer.type === 'A' ? 4 : 6) ? [{ ...base, data: answer.data }] : [];
    case 'CNAME': {
      const name = canonicalName(answer.data);
      return name === undefined ? [] : [{ ...base, data: name }];
    }
    case 'SRV': {
      const { target, port, priority = 0, weight = 0 } = answer.data;
      return [{ ...base, data: { target: target.toLowerCase(), port, priority, weight } }];
    }
    default:
      return [];
  }
}

/** RFC 2308 section 5: the smaller of the TTL of the SOA record and its last field. */
function negativeTtlOf(answer: Answer): number | undefined {
  return answer.type === 'SOA' ? Math.min(secondsOf(answer.ttl), secondsOf(answer.data.minimum)) : undefined;
}

/** RFC 2181 section 8: a TTL with the highest bit set counts as 0. */
function secondsOf(ttl = 0): number {
  return ttl > 0x7f_ff_ff_ff ? 0 : ttl;
}

function malformed({ name, type }: Pick<DnsQuery, 'name' | 'type'>, why: string, cause?: unknown): DnsFailure {
  return new DnsFailure('malformed', `the answer to ${name} ${type} ${why}`, cause);
}
