import type { RemoteInfo } from 'node:dgram';
import { isIPv4 } from 'node:net';

import type { Answer, Packet, Question } from 'dns-packet';

import type { Clock } from '../../runtime/runtime.ts';

/** An address of this machine, and the mask of its network. */
export interface LinkAddress {
  readonly address: string;
  readonly netmask: string;
}

/** What is told to who asks for `name`; the pointer comes first. */
export interface MdnsReply {
  readonly name: string;
  readonly records: readonly Answer[];
}

/** What an {@link MdnsResponder} works with. */
export interface MdnsResponderOptions {
  readonly clock: Clock;
  /** The port of the group: who asks from another is answered alone. */
  readonly port: number;
  /** One address is sent so much in a second at the most, and so much at once. */
  readonly maxAnswerBytesPerSecond: number;
  /** Everything that may be told now. */
  replies(): readonly MdnsReply[];
  /** To one address, or to everyone. */
  send(question: Question, records: readonly Answer[], to: RemoteInfo | undefined): void;
}

// RFC 6762 section 6: a record is multicast once in a second.
const multicastIntervalMs = 1_000;
// Who pretends to be many askers gets no more than these are owed together.
const maxAskers = 256;

/** Whether a packet from there was sent by a machine on one of these links (RFC 6762 section 11). */
export function isOnLink(from: string, links: readonly LinkAddress[]): boolean {
  const source = bitsOf(from);
  if (source === undefined) return false;
  return links.some(({ address, netmask }) => {
    const [own, mask] = [bitsOf(address), bitsOf(netmask)];
    return own !== undefined && mask !== undefined && ((source ^ own) & mask) === 0;
  });
}

/**
 * Answers the questions of others, and no more than that takes: each question of a packet once, nothing that the asker
 * knows already, a record to everyone once in a second, and to one address no more than its share. A packet of
 * questions is thereby never worth more than one share, however it is made.
 */
export class MdnsResponder {
  readonly #options: MdnsResponderOptions;
  readonly #multicastAtMs = new Map<string, number>();
  readonly #askers = new Map<string, { bytes: number; atMs: number }>();

  constructor(options: MdnsResponderOptions) {
    this.#options = options;
  }

  answer(packet: Packet, from: RemoteInfo): void {
    const asked = new Map<string, Question>();
    for (const question of packet.questions ?? []) asked.set(question.name.toLowerCase(), question);
    if (asked.size === 0) return;
    const known = knownIn(packet);
    const isForAll = from.port === this.#options.port;
    for (const { name, records } of this.#options.replies()) {
      const question = asked.get(name.toLowerCase());
      // Who knows the pointer knows what it leads to.
      if (!question || isKnown(records[0], known)) continue;
      if (isForAll) this.#tellAll(question, records);
      else if (this.#takes(from.address, bytesOf(question, records))) this.#options.send(question, records, from);
    }
  }

  #tellAll(question: Question, records: readonly Answer[]): void {
    const now = this.#options.clock.monotonicMs();
    const key = keyOf(records[0]);
    const lastMs = this.#multicastAtMs.get(key) ?? Number.NEGATIVE_INFINITY;
    if (now - lastMs < multicastIntervalMs) return;
    for (const [other, atMs] of this.#multicastAtMs) {
      if (now - atMs < multicastIntervalMs) break;
      this.#multicastAtMs.delete(other);
    }
    this.#multicastAtMs.set(key, now);
    this.#options.send(question, records, undefined);
  }

  /** Whether the address may be sent so much now. */
  #takes(address: string, bytes: number): boolean {
    const { clock, maxAnswerBytesPerSecond: most } = this.#options;
    const now = clock.monotonicMs();
    const asker = this.#askers.get(address);
    const left = Math.min(most, asker ? asker.bytes + ((now - asker.atMs) / 1_000) * most : most);
    if (left < bytes) return false;
    if (!asker && this.#askers.size >= maxAskers && !this.#forgetIdle(now)) return false;
    // In the order of their last questions, so that the idle come first.
    this.#askers.delete(address);
    this.#askers.set(address, { bytes: left - bytes, atMs: now });
    return true;
  }

  #forgetIdle(now: number): boolean {
    for (const [address, { atMs }] of this.#askers) {
      if (now - atMs < 1_000) break;
      this.#askers.delete(address);
    }
    return this.#askers.size < maxAskers;
  }
}

/** Known answers of RFC 6762 section 7.1, by record, with how long they are still known. */
function knownIn({ answers = [] }: Packet): ReadonlyMap<string, number> {
  const pointers = answers.filter(({ type }) => type === 'PTR');
  return new Map(pointers.map((record) => [keyOf(record), ttlOf(record)]));
}

function isKnown(record: Answer | undefined, known: ReadonlyMap<string, number>): boolean {
  const ttl = known.get(keyOf(record));
  return ttl !== undefined && ttl >= ttlOf(record) / 2;
}

function ttlOf(record: Answer | undefined): number {
  return record && 'ttl' in record ? (record.ttl ?? 0) : 0;
}

function keyOf(record: Answer | undefined): string {
  if (record?.type !== 'PTR') return '';
  return `${record.name}\n${record.data}`.toLowerCase();
}

/** What the answer takes in a packet: names are written out. */
function bytesOf(question: Question, records: readonly Answer[]): number {
  return records.reduce(
    (sum, record) => sum + nameBytes(record.name) + 10 + dataBytes(record),
    12 + nameBytes(question.name) + 4,
  );
}

function dataBytes(record: Answer): number {
  switch (record.type) {
    case 'PTR':
      return nameBytes(record.data);
    case 'SRV':
      return 6 + nameBytes(record.data.target);
    case 'TXT':
      return [record.data].flat().reduce((sum, text) => sum + 1 + Buffer.byteLength(text), 0);
    default:
      return 16;
  }
}

function nameBytes(name: string): number {
  return Buffer.byteLength(name) + 2;
}

function bitsOf(address: string): number | undefined {
  if (!isIPv4(address)) return undefined;
  return address.split('.').reduce((bits, part) => (bits << 8) | Number(part), 0);
}
