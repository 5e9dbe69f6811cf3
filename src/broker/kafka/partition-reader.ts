import { isUtf8 } from 'node:buffer';

import { setOwn } from '../../internal/own.ts';
import type { KafkaCluster } from '../../kafka/cluster.ts';
import type { PartitionLeaders, ReadRecord } from '../../kafka/kafka.ts';
import { isLasting } from '../../kafka/meanings.ts';
import { PartitionFetcher } from '../../kafka/partition-fetcher.ts';
import { PartitionWindow } from '../../kafka/partition-window.ts';
import { endsWithin } from '../../runtime/bounded.ts';
import type { EventHeaders } from '../broker.ts';
import type { DriverSubscription, EventSink, IncomingEvent, PollRequest, ReceiveRequest } from '../kit/driver.ts';
import { orderKeyHeader } from '../kit/headers.ts';
import type { DriverSetup } from '../kit/portable-broker.ts';

/** An event, with its place in a partition. */
export interface KafkaEvent extends IncomingEvent {
  readonly window: PartitionWindow;
  readonly offset: number;
}

/** Gives a reader its topic, its connections and its sink. */
export interface ReaderSetup extends DriverSetup {
  readonly request: ReceiveRequest;
  readonly sink: EventSink<KafkaEvent>;
  /** Where a partition begins that nobody has read. */
  readonly from: 'start' | 'now';
  /** See `KafkaBrokerOptions`. */
  readonly sessionTimeoutMs: number;
  readonly revokeWaitMs: number;
  /** Connections for reads, which wait for records. */
  readonly reads: KafkaCluster;
  /** Connections for the group, whose calls wait for its other members. */
  readonly control: KafkaCluster;
  readonly leaders: () => Promise<PartitionLeaders>;
}

const maxPollMs = 5_000;
const maxAhead = 500;
// Partitions that were added are found after that time.
const refreshMs = 10_000;

/** Receives the events of all partitions of a topic, and shares no state with others. */
export class PartitionReader implements DriverSubscription<KafkaEvent> {
  readonly batchesAcks = true;
  readonly keepAliveMs: number = refreshMs;
  protected readonly setup: ReaderSetup;
  protected readonly fetcher: PartitionFetcher;
  #refreshAtMs = 0;
  #opening: Promise<void> | undefined;
  #wake = (): void => {};
  #saving = new AbortController();

  constructor(setup: ReaderSetup) {
    this.setup = setup;
    const { request, reads, logger, sink, leaders } = setup;
    const { topic, queue, maxInFlight } = request;
    const own = { topic, reads, logger, leaders, timers: setup.runtime.timers, fields: { topic, queue } };
    this.fetcher = new PartitionFetcher({
      ...own,
      ahead: Math.min(maxInFlight, maxAhead),
      isStopped: () => sink.isStopped,
      onChange: () => this.#wake(),
    });
  }

  get waiting(): number {
    return this.fetcher.waiting;
  }

  async poll({ count, fresh }: PollRequest): Promise<readonly KafkaEvent[]> {
    this.fetcher.read();
    let events = this.#begin(count, fresh);
    if (events.length === 0) {
      await this.#change();
      const { failure } = this.fetcher;
      if (failure !== undefined) throw this.failed(failure);
      events = this.#begin(count, fresh);
    }
    if (events.length === 0) return events;
    try {
      const { signal } = (this.#saving = new AbortController());
      // A rebalance may hold it up.
      const isSaved = await endsWithin(this.save(), { timers: this.setup.runtime.timers, signal });
      if (isSaved && !this.setup.sink.isStopped) return events.filter(({ window }) => !window.isLost);
    } catch (error) {
      this.fetcher.cancel(events);
      throw this.failed(error);
    }
    this.fetcher.cancel(events);
    return [];
  }

  interrupt(tried: number): void {
    this.#wake();
    if (tried > 0) this.#saving.abort();
  }

  /** Finds the partitions, and where to begin. */
  open(): Promise<void> {
    this.#refreshAtMs = this.now + refreshMs;
    return (this.#opening ??= this.#open().finally(() => (this.#opening = undefined)));
  }

  recover(): Promise<void> {
    return this.open().catch((error: unknown) => {
      throw this.failed(error);
    });
  }

  async keepAlive(): Promise<void> {
    // Heartbeats do not wait for it. What has failed is tried again the next time.
    if (this.now >= this.#refreshAtMs) this.recover().catch(() => undefined);
  }

  async ack(events: readonly KafkaEvent[]): Promise<void> {
    for (const { window, offset } of events) window.settle(offset);
    this.#wake();
    await this.save();
  }

  nack({ window, offset }: KafkaEvent, delayMs: number): void {
    window.again(offset, this.now + delayMs);
    this.#wake();
    this.setup.runtime.timers.after(delayMs, () => this.setup.sink.wake());
  }

  release(events: readonly KafkaEvent[]): void {
    for (const { window, offset } of events) window.again(offset, 0);
  }

  stop(): void {
    this.#wake();
  }

  async close(): Promise<void> {
    this.setup.reads.close();
    this.setup.control.close();
  }

  /** Ends the subscription if trying again is of no use. */
  protected failed(error: unknown): unknown {
    if (isLasting(error)) this.setup.sink.fail(error);
    return error;
  }

  protected get now(): number {
    return this.setup.runtime.clock.monotonicMs();
  }

  /** Called when partitions were found. */
  protected async onPartitions(isFirst: boolean): Promise<void> {
    const { windows, partitions } = this.fetcher;
    this.fetcher.mayBeAnew = false;
    const added = partitions.filter((partition) => !windows.has(partition));
    const at = isFirst && this.setup.from === 'now' ? 'end' : 'start';
    const starts = await this.fetcher.offsets(added, at);
    for (const partition of added) windows.set(partition, new PartitionWindow(partition, starts.get(partition) ?? 0));
  }

  /** Saves which events were begun and which are settled. */
  protected async save(): Promise<void> {}

  async #open(): Promise<void> {
    const isFirst = this.fetcher.partitions.length === 0;
    if (await this.fetcher.refresh()) await this.onPartitions(isFirst);
    this.fetcher.read();
  }

  #begin(count: number, fresh: number): KafkaEvent[] {
    return this.fetcher.begin(count, fresh, this.now).map(({ window, record, attempt }) => {
      const { offset, value } = record;
      // Nobody settles what is only watched.
      if (this.setup.request.mode === 'watch') window.settle(offset);
      // The receiver may change the body, and the event may be delivered again.
      const body = value === null ? Buffer.alloc(0) : Buffer.from(value);
      return { id: `${window.partition}-${offset}`, headers: headersOf(record), body, attempt, window, offset };
    });
  }

  /** Resolves when there may be events to begin, or something has failed. */
  async #change(): Promise<void> {
    if (this.fetcher.failure !== undefined || this.setup.sink.isStopped) return;
    const waitMs = Math.max(1, Math.min(maxPollMs, this.fetcher.nextDueMs - this.now));
    await new Promise<void>((resolve) => {
      const timer = this.setup.runtime.timers.after(waitMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}

/** The headers of a record, and its key where its publisher has named the order key nowhere else. */
function headersOf({ key, headers: all }: ReadRecord): EventHeaders {
  const headers: Record<string, string> = {};
  for (const [name, value] of all) setOwn(headers, name, value?.toString() ?? '');
  if (key && headers[orderKeyHeader] === undefined && isUtf8(key)) headers[orderKeyHeader] = key.toString();
  return headers;
}
