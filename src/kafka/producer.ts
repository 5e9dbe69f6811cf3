import { retrying } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { KafkaCluster } from './cluster.ts';
import { faults, isFault, KafkaFault, type NewRecord, type PartitionLeaders, type ProducerId } from './kafka.ts';
import { murmur2 } from './murmur2.ts';

/** The parts of a {@link KafkaProducer}. */
export interface ProducerInit {
  readonly cluster: KafkaCluster;
  readonly runtime: Runtime;
  /** Time in which a server that refuses for the moment is tried again. */
  readonly timeoutMs: number;
  /** The leaders of a topic, which is created if it is not there. */
  leaders(topic: string): Promise<PartitionLeaders>;
}

/** A record that waits to be written. */
export interface PendingRecord {
  readonly record: NewRecord;
  /** Resolves when all replicas that are in step have it. */
  readonly written: Promise<void>;
  /** Takes it back. True if it has not been sent. */
  withdraw(): boolean;
}

interface Waiting {
  readonly record: NewRecord;
  state: 'waiting' | 'sent' | 'withdrawn';
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The records of one partition. One batch of them is under way at a time, so that they keep their order. */
interface PartitionQueue {
  readonly topic: string;
  readonly partition: number;
  readonly waiting: Waiting[];
  isBusy: boolean;
  producer: ProducerId | undefined;
  /** The number of the next record of that producer. */
  sequence: number;
}

const maxBatchBytes = 900_000;
const maxBatch = 1_000;
// Partitions that were added are found after that time.
const leadersAgeMs = 60_000;
const retry = { initialMs: 20, maxMs: 500 } as const;

/**
 * Writes records to all replicas in step, in batches for each partition, each record once: the servers know a batch
 * that was written already by the producer's id and its number.
 */
export class KafkaProducer {
  readonly #init: ProducerInit;
  readonly #queues = new Map<string, PartitionQueue>();
  readonly #leaders = new Map<string, { readonly atMs: number; readonly found: Promise<PartitionLeaders> }>();
  #producer: Promise<ProducerId> | undefined;

  constructor(init: ProducerInit) {
    this.#init = init;
  }

  /** Adds a record. One without a key goes to the partition at `share` (from 0 to 1) of all. */
  add(topic: string, record: NewRecord, share: number): PendingRecord {
    let entry: Waiting | undefined;
    const written = new Promise<void>((resolve, reject) => {
      entry = { record, state: 'waiting', resolve, reject };
      this.#enqueue(topic, entry, share).catch(reject);
    });
    const withdraw = (): boolean => {
      if (entry?.state !== 'waiting') return false;
      entry.state = 'withdrawn';
      return true;
    };
    return { record, written, withdraw };
  }

  async #enqueue(topic: string, entry: Waiting, share: number): Promise<void> {
    const { size } = await this.#leadersOf(topic);
    const { key } = entry.record;
    const partition = key ? murmur2(key) % size : Math.floor(share * size);
    const name = `${topic} ${partition}`;
    let queue = this.#queues.get(name);
    if (!queue) {
      queue = { topic, partition, waiting: [], isBusy: false, producer: undefined, sequence: 0 };
      this.#queues.set(name, queue);
    }
    queue.waiting.push(entry);
    if (queue.isBusy) return;
    queue.isBusy = true;
    // Others of this turn are about to be added.
    queueMicrotask(() => void this.#drain(queue));
  }

  #leadersOf(topic: string): Promise<PartitionLeaders> {
    const atMs = this.#init.runtime.clock.monotonicMs();
    const known = this.#leaders.get(topic);
    if (known && atMs - known.atMs < leadersAgeMs) return known.found;
    const found = this.#init.leaders(topic);
    const entry = { atMs, found };
    this.#leaders.set(topic, entry);
    found.catch(() => this.#leaders.get(topic) === entry && this.#leaders.delete(topic));
    return found;
  }

  async #drain(queue: PartitionQueue): Promise<void> {
    while (queue.waiting.length > 0) {
      const batch = nextBatch(queue.waiting);
      if (batch.length > 0) await this.#write(queue, batch);
    }
    queue.isBusy = false;
  }

  async #write(queue: PartitionQueue, batch: readonly Waiting[]): Promise<void> {
    try {
      await this.#writeRetrying(
        queue,
        batch.map(({ record }) => record),
      );
      for (const { resolve } of batch) resolve();
    } catch (error) {
      const isTooLarge = isFault(error, faults.messageTooLarge, faults.recordListTooLarge);
      if (isTooLarge && batch.length > 1) {
        const half = batch.length >> 1;
        await this.#write(queue, batch.slice(0, half));
        return this.#write(queue, batch.slice(half));
      }
      for (const { reject } of batch) reject(error);
    }
  }

  async #writeRetrying(queue: PartitionQueue, records: readonly NewRecord[]): Promise<void> {
    const { runtime, timeoutMs } = this.#init;
    const untilMs = runtime.clock.monotonicMs() + timeoutMs;
    const onFailure = (error: unknown): void => {
      const isUnknown = !(error instanceof KafkaFault);
      const isOver = isUnknown || runtime.clock.monotonicMs() >= untilMs;
      // Whether the batch was written is not known, or the servers know the producer no longer: with another id the
      // next batch is not taken for this one.
      const isTried = !isOver && (error.isPassing || isFault(error, faults.unknownTopic, ...ofProducer));
      if ((!isTried && !isFault(error, ...unwritten)) || isFault(error, ...ofProducer)) this.#producer = undefined;
      if (isUnknown) this.#leaders.delete(queue.topic);
      if (!isTried) throw error;
      this.#leaders.delete(queue.topic);
    };
    await retrying(() => this.#send(queue, records), { runtime, backoff: retry, onFailure });
  }

  async #send(queue: PartitionQueue, records: readonly NewRecord[]): Promise<void> {
    const { cluster, timeoutMs } = this.#init;
    const { topic, partition } = queue;
    const leaders = await this.#leadersOf(topic);
    const at = leaders.get(partition);
    const missing = leaders.has(partition) ? faults.leaderNotAvailable : faults.unknownTopic;
    if (!at) throw new KafkaFault(missing, `partition ${partition} has no leader`);
    const producer = await this.#producerId();
    if (queue.producer !== producer) queue.sequence = 0;
    queue.producer = producer;
    const { sequence } = queue;
    const request = { topic, partition, producer, sequence, records, timeoutMs };
    try {
      await cluster.call((connection) => connection.produce(request), { at });
    } catch (error) {
      // It is there already.
      if (!isFault(error, faults.duplicateSequence)) throw error;
    }
    queue.sequence = (sequence + records.length) % 0x8000_0000;
  }

  #producerId(): Promise<ProducerId> {
    if (this.#producer) return this.#producer;
    const made = this.#init.cluster.call((connection) => connection.producerId());
    this.#producer = made;
    made.catch(() => this.#producer === made && (this.#producer = undefined));
    return made;
  }
}

/** Refusals by which nothing was written. */
const unwritten = [
  faults.messageTooLarge,
  faults.recordListTooLarge,
  faults.topicDenied,
  faults.clusterDenied,
  faults.policyViolation,
] as const;
const ofProducer = [
  faults.outOfOrderSequence,
  faults.unknownProducer,
  faults.invalidProducerEpoch,
  faults.invalidProducerMapping,
] as const;

/** Takes the next records that are written together. */
function nextBatch(waiting: Waiting[]): readonly Waiting[] {
  const batch: Waiting[] = [];
  let bytes = 0;
  while (waiting.length > 0 && batch.length < maxBatch) {
    const [next] = waiting as [Waiting];
    const size = next.record.value.length + 500;
    if (batch.length > 0 && bytes + size > maxBatchBytes) break;
    waiting.shift();
    if (next.state === 'withdrawn') continue;
    next.state = 'sent';
    bytes += size;
    batch.push(next);
  }
  return batch;
}
