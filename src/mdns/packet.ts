import type { Answer, Packet, Question } from 'dns-packet';

import { headerLength, MessageReader, type MessageRecord, readHeader } from '../internal/dns-message.ts';

// RFC 6762 section 17: the largest packet, its headers included.
const maxPacketBytes = 9_000;
const types = { 1: 'A', 12: 'PTR', 16: 'TXT', 28: 'AAAA', 33: 'SRV', 255: 'ANY' } as const;
const internet = 1;
// The highest bit of a class is the cache-flush bit, or that of a question for a unicast answer.
const flag = 0x8000;

/**
 * Decodes a packet in the form of `dns-packet`. Undefined if it is malformed, or larger than multicast DNS has them.
 * Questions and records of other types and classes are left out. Any host on the link may have sent it: unlike
 * `dns-packet`, it follows no long chains of pointers.
 */
export function decodePacket(bytes: Buffer): Packet | undefined {
  if (bytes.length < headerLength || bytes.length > maxPacketBytes) return undefined;
  try {
    const { id, isReply, questions, answers, authorities, additionals } = readHeader(bytes);
    const reader = new MessageReader(bytes, (label) => label.toString());
    const list = <T>(length: number, read: () => T[]): T[] => Array.from({ length }, read).flat();
    const records = (length: number): Answer[] => list(length, () => recordOf(bytes, reader, reader.record()));
    return {
      id,
      type: isReply ? 'response' : 'query',
      questions: list(questions, () => questionOf(reader)),
      answers: records(answers),
      authorities: records(authorities),
      additionals: records(additionals),
    };
  } catch {
    return undefined;
  }
}

function questionOf(reader: MessageReader): Question[] {
  const { name, type: number, class: of } = reader.question();
  const type = typeOf(number);
  return type !== undefined && (of & ~flag) === internet ? [{ name, type: type as Question['type'], class: 'IN' }] : [];
}

function recordOf(bytes: Buffer, reader: MessageReader, record: MessageRecord): Answer[] {
  const { name, ttl, start, end } = record;
  if ((record.class & ~flag) !== internet) return [];
  const base = { name, ttl, class: 'IN' as const, flush: (record.class & flag) !== 0 };
  const data = bytes.subarray(start, end);
  const type = typeOf(record.type);
  switch (type) {
    case 'A':
      return data.length === 4 ? [{ ...base, type, data: data.join('.') }] : [];
    case 'AAAA':
      return data.length === 16 ? [{ ...base, type, data: addressOf(data) }] : [];
    case 'PTR':
      return [{ ...base, type, data: reader.nameAt(start).name }];
    case 'SRV': {
      const [priority, weight, port] = [0, 2, 4].map((at) => data.readUInt16BE(at)) as [number, number, number];
      return [{ ...base, type, data: { priority, weight, port, target: reader.nameAt(start + 6).name } }];
    }
    case 'TXT':
      return [{ ...base, type, data: stringsIn(data) }];
    default:
      return [];
  }
}

function typeOf(number: number): (typeof types)[keyof typeof types] | undefined {
  return (types as Readonly<Record<number, (typeof types)[keyof typeof types]>>)[number];
}

function stringsIn(data: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = 0; at < data.length;) {
    const end = at + 1 + data.readUInt8(at);
    if (end > data.length) throw new Error('a string is cut off');
    strings.push(data.subarray(at + 1, end));
    at = end;
  }
  return strings;
}

/** Formats an address as RFC 5952 says, which URLs follow. */
function addressOf(data: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => data.readUInt16BE(2 * index).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
