/** Partitions by topic. */
export type TopicPartitions = ReadonlyMap<string, readonly number[]>;

/** A member of a group, as it describes itself when it joins. */
export interface Subscription {
  readonly topics: readonly string[];
  /** The partitions that it has, and keeps until it says otherwise. */
  readonly owned: TopicPartitions;
}

/** The name of the way in which partitions are assigned, and of the form of what members say: Kafka's own. */
export const assignmentProtocol = 'cooperative-sticky';

/** Writes a subscription in version 1 of Kafka's consumer protocol. */
export function encodeSubscription({ topics, owned }: Subscription): Buffer {
  return Buffer.concat([int16(1), array(topics, text), int32(-1), partitionsOf(owned)]);
}

/** Reads a subscription of that version or a newer one; of an older one nothing is owned. */
export function decodeSubscription(bytes: Buffer): Subscription {
  const reader = new Reader(bytes);
  const version = reader.int16();
  const topics = reader.array(() => reader.text());
  reader.skip(Math.max(0, reader.int32()));
  return { topics, owned: version > 0 ? reader.partitions() : new Map() };
}

/** Writes the partitions of a member. */
export function encodeAssignment(partitions: TopicPartitions): Buffer {
  return Buffer.concat([int16(1), partitionsOf(partitions), int32(-1)]);
}

/** Reads the partitions of a member: an empty answer is none. */
export function decodeAssignment(bytes: Buffer): TopicPartitions {
  if (bytes.length === 0) return new Map();
  const reader = new Reader(bytes);
  reader.int16();
  return reader.partitions();
}

/**
 * Assigns partitions to members: evenly for each topic, and so that as few as possible change hands. A partition that
 * is to go to another member is assigned to nobody as long as its owner has it: the owner gives it up, joins again, and
 * it is assigned then (KIP-429).
 */
export function assign(
  members: ReadonlyMap<string, Subscription>,
  partitionCounts: ReadonlyMap<string, number>,
): ReadonlyMap<string, TopicPartitions> {
  const assigned = new Map(Array.from(members.keys(), (id) => [id, new Map<string, number[]>()]));
  const load = (id: string): number => Array.from(assigned.get(id) ?? []).reduce((sum, [, all]) => sum + all.length, 0);
  for (const [topic, count] of partitionCounts) {
    const subscribers = [...members].filter(([, { topics }]) => topics.includes(topic));
    // A member that takes no more has its partitions until it has given them up.
    const owners = ownersOf(topic, count, [...members]);
    const kept = new Map(subscribers.map(([id]) => [id, [] as number[]]));
    for (const [partition, id] of owners) kept.get(id)?.push(partition);
    // Who has most keeps one more than others, where the partitions do not come out even.
    const inOrder = [...kept].toSorted(
      ([a, ofA], [b, ofB]) => ofB.length - ofA.length || load(a) - load(b) || (a < b ? -1 : 1),
    );
    const least = Math.floor(count / Math.max(1, inOrder.length));
    const quota = new Map(inOrder.map(([id], index) => [id, least + (index < count % inOrder.length ? 1 : 0)]));
    for (const [id, partitions] of inOrder) partitions.splice(quota.get(id) ?? 0);
    for (let partition = 0; partition < count; partition += 1) {
      if (owners.has(partition)) continue;
      const taker = inOrder.find(([id, partitions]) => partitions.length < (quota.get(id) ?? 0));
      taker?.[1].push(partition);
    }
    for (const [id, partitions] of kept) if (partitions.length > 0) assigned.get(id)?.set(topic, partitions);
  }
  return assigned;
}

/** The owner of each partition. One that two members claim is nobody's, so that both give it up. */
function ownersOf(
  topic: string,
  count: number,
  members: readonly (readonly [string, Subscription])[],
): Map<number, string> {
  const owners = new Map<number, string>();
  for (const [id, { owned }] of members) {
    for (const partition of owned.get(topic) ?? [])
      if (partition < count) owners.set(partition, owners.has(partition) ? '' : id);
  }
  return owners;
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([int16(bytes.length), bytes]);
}

function array<T>(values: readonly T[], write: (value: T) => Buffer): Buffer {
  return Buffer.concat([int32(values.length), ...values.map(write)]);
}

function partitionsOf(partitions: TopicPartitions): Buffer {
  return array([...partitions], ([topic, all]) => Buffer.concat([text(topic), array(all, int32)]));
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  skip(bytes: number): number {
    this.#at += bytes;
    return this.#at - bytes;
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.skip(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.skip(4));
  }

  text(): string {
    const length = this.int16();
    const at = this.skip(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  array<T>(read: () => T): T[] {
    return Array.from({ length: Math.max(0, this.int32()) }, read);
  }

  partitions(): TopicPartitions {
    return new Map(this.array(() => [this.text(), this.array(() => this.int32())] as const));
  }
}
