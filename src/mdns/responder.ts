import type { RemoteInfo } from 'node:dgram';

import type { Answer, Packet, Question } from 'dns-packet';

import type { Clock } from '../runtime/runtime.ts';
import { unique } from './records.ts';

/** The records that answer a query for `name`. The first is the one that a querier may know already. */
export interface MdnsAnswer {
  readonly name: string;
  readonly records: readonly Answer[];
  /** True if no other process has the SRV and TXT records. @default false */
  readonly isUnique?: boolean | undefined;
}

/** Options of an {@link MdnsResponder}. */
export interface MdnsResponderOptions {
  readonly clock: Clock;
  /** The multicast port. A query from another port gets a unicast answer (RFC 6762 section 6.7). */
  readonly port: number;
  /** Most bytes to one address per second, and in one burst. */
  readonly maxAnswerBytesPerSecond: number;
  /** Returns all answers that this process can give to an address. */
  answers(to: string): readonly MdnsAnswer[];
  /** Names the link on which an address is. */
  linkOf(address: string): string | undefined;
  /** Sends an answer to one address, or to all on its link. */
  send(question: Question, records: readonly Answer[], to: RemoteInfo, isMulticast: boolean): void;
}

// RFC 6762 section 6: a record is multicast at most once a second.
const multicastIntervalMs = 1_000;
// Bounds the answers to queries with many forged source addresses.
const maxQueriers = 256;

/**
 * Answers queries within limits: each question of a packet once, no known answers (RFC 6762 section 7.1), multicast
 * answers once a second, and no more bytes to one address than its rate limit. So no packet, however it is made, draws
 * more bytes than the limit of one address.
 */
export class MdnsResponder {
  readonly #options: MdnsResponderOptions;
  readonly #multicastAtMs = new Map<string, number>();
  readonly #queriers = new Map<string, { bytes: number; atMs: number }>();

  constructor(options: MdnsResponderOptions) {
    this.#options = options;
  }

  answer(packet: Packet, from: RemoteInfo): void {
    const asked = new Map<string, Question>();
    for (const question of packet.questions ?? []) asked.set(question.name.toLowerCase(), question);
    if (asked.size === 0) return;
    const known = knownIn(packet);
    const isMulticast = from.port === this.#options.port;
    for (const { name, records, isUnique } of this.#options.answers(from.address)) {
      const question = asked.get(name.toLowerCase());
      // A querier that knows the PTR knows the records that it refers to.
      if (!question || isKnown(records[0], known)) continue;
      // An answer to one address is no announcement: it has no cache-flush bit (RFC 6762 section 6.7).
      if (isMulticast) this.#multicast(question, isUnique === true ? unique(records) : records, from);
      else if (this.#takeTokens(from.address, bytesOf(question, records))) {
        this.#options.send(question, records, from, false);
      }
    }
  }

  #multicast(question: Question, records: readonly Answer[], from: RemoteInfo): void {
    const now = this.#options.clock.monotonicMs();
    const key = `${this.#options.linkOf(from.address)}\n${keyOf(records[0])}`;
    const lastMs = this.#multicastAtMs.get(key) ?? Number.NEGATIVE_INFINITY;
    if (now - lastMs < multicastIntervalMs) return;
    for (const [other, atMs] of this.#multicastAtMs) {
      if (now - atMs < multicastIntervalMs) break;
      this.#multicastAtMs.delete(other);
    }
    this.#multicastAtMs.set(key, now);
    this.#options.send(question, records, from, true);
  }

  /** True if an address may be sent so many bytes now: a token bucket for each. */
  #takeTokens(address: string, bytes: number): boolean {
    const { clock, maxAnswerBytesPerSecond: most } = this.#options;
    const now = clock.monotonicMs();
    const querier = this.#queriers.get(address);
    const left = Math.min(most, querier ? querier.bytes + ((now - querier.atMs) / 1_000) * most : most);
    if (left < bytes) return false;
    if (!querier && this.#queriers.size >= maxQueriers && !this.#forgetIdle(now)) return false;
    // Inserted again, so that the map is ordered by the last query.
    this.#queriers.delete(address);
    this.#queriers.set(address, { bytes: left - bytes, atMs: now });
    return true;
  }

  #forgetIdle(now: number): boolean {
    for (const [address, { atMs }] of this.#queriers) {
      if (now - atMs < 1_000) break;
      this.#queriers.delete(address);
    }
    return this.#queriers.size < maxQueriers;
  }
}

/** Returns the known answers of a query (RFC 6762 section 7.1) with their remaining TTL. */
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
  if (record === undefined) return '';
  return `${record.name}\n${record.type === 'PTR' ? record.data : record.type}`.toLowerCase();
}

/** The size of an answer with uncompressed names. */
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
