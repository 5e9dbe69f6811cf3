import { hostPort } from '../internal/host-port.ts';
import type { Logger } from '../logger/logger.ts';
import { pause } from '../runtime/bounded.ts';
import type { Timers } from '../runtime/runtime.ts';
import type { KafkaCluster } from './cluster.ts';
import {
  faults,
  type FetchedPartition,
  isFault,
  type KafkaAddress,
  type PartitionLeaders,
  type ReadRecord,
} from './kafka.ts';
import { PartitionWindow } from './partition-window.ts';

/** The parts of a {@link PartitionFetcher}. */
export interface FetcherInit {
  readonly topic: string;
  /** Connections of its own: reads wait for records. */
  readonly reads: KafkaCluster;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Fields of each log line. */
  readonly fields: object;
  /** Records of a partition that are read ahead, about. */
  readonly ahead: number;
  /** The leaders of the topic, which is created if it is not there. */
  readonly leaders: () => Promise<PartitionLeaders>;
  readonly isStopped: () => boolean;
  /** Called when there are records, and when reading has failed. */
  readonly onChange: () => void;
}

/** A record whose event is begun. */
export interface BegunRecord {
  readonly window: PartitionWindow;
  readonly record: ReadRecord;
  readonly attempt: number;
}

// A partition that can be read again, after a pause, waits for the end of a read that began without it.
const maxWaitMs = 500;
const maxBytes = 512 * 1_024;
// Of all partitions together. One that has none may have an answer more.
const maxUnreadBytes = 32 * 1_024 * 1_024;
const retryMs = 100;

/** Reads the records of partitions into their windows: the partitions of one server together. */
export class PartitionFetcher {
  readonly windows = new Map<number, PartitionWindow>();
  /** True if a server did not know the topic: it may be another one by now, in which positions mean other records. */
  mayBeAnew = false;
  readonly #init: FetcherInit;
  /** The servers that are being read from. */
  readonly #reading = new Set<string>();
  #leaders: PartitionLeaders = new Map();
  #failure: unknown;
  #lastBegun: PartitionWindow | undefined;

  constructor(init: FetcherInit) {
    this.#init = init;
  }

  /** All partitions of the topic. */
  get partitions(): readonly number[] {
    return [...this.#leaders.keys()];
  }

  /** The reason for which nothing is read, until {@link refresh}. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Finds the leaders. True if the number of partitions has changed, or positions have to be found again. */
  async refresh(): Promise<boolean> {
    const { size } = this.#leaders;
    this.#leaders = await this.#init.leaders();
    this.#failure = undefined;
    // The topic may have been made anew, with fewer of them.
    this.lose(...[...this.windows.values()].filter(({ partition }) => !this.#leaders.has(partition)));
    return this.mayBeAnew || this.#leaders.size !== size;
  }

  /** The offsets at which partitions begin or end. */
  async offsets(partitions: readonly number[], at: 'start' | 'end'): Promise<ReadonlyMap<number, number>> {
    const { reads, topic } = this.#init;
    const found = new Map<number, number>();
    for (const { leader, partitions: some } of this.#byLeader(partitions)) {
      const offsets = await reads.call((connection) => connection.offsets(topic, some, at), { at: leader });
      for (const [partition, offset] of offsets) found.set(partition, offset);
    }
    return found;
  }

  /** Gives partitions away: what is settled of them from now on does not count. */
  lose(...windows: readonly PartitionWindow[]): void {
    for (const window of windows) {
      window.lose();
      if (this.windows.get(window.partition) === window) this.windows.delete(window.partition);
    }
  }

  /** The number of events that are to be delivered again. */
  get waiting(): number {
    return [...this.windows.values()].reduce((sum, window) => sum + window.waiting, 0);
  }

  /** The earliest time at which an event is due again. */
  get nextDueMs(): number {
    return Math.min(...Array.from(this.windows.values(), ({ nextDueMs }) => nextDueMs));
  }

  /** Begins events that are ready, in turn from each partition: `count` of them, `fresh` for the first time. */
  begin(count: number, fresh: number, nowMs: number): readonly BegunRecord[] {
    const windows = this.#inTurn();
    const begun: BegunRecord[] = [];
    if (windows.some(({ runsAlone }) => runsAlone)) return begun;
    let [running, left] = [windows.reduce((sum, one) => sum + one.running, 0), fresh];
    for (let isMore = true; isMore;) {
      isMore = false;
      for (const window of windows) {
        const ready = begun.length < count ? window.ready(nowMs, left > 0) : undefined;
        if (!ready) continue;
        // One that may end the process is to end it for no other event.
        if (ready.isSuspect && running > 0) return begun;
        const { record } = ready;
        this.#lastBegun = window;
        begun.push({ window, record, attempt: window.begin(record.offset) });
        if (ready.isSuspect) return begun;
        [running, left, isMore] = [running + 1, left - (ready.isFresh ? 1 : 0), true];
      }
    }
    return begun;
  }

  /** Takes back the beginning of events that nobody was given. */
  cancel(events: readonly { readonly window: PartitionWindow; readonly offset: number }[]): void {
    for (const { window, offset } of events) window.cancel(offset);
  }

  /** Reads what there is room for, from each server that is not being read from. */
  read(): void {
    const { ahead, isStopped } = this.#init;
    if (isStopped() || this.#failure !== undefined) return;
    const windows = [...this.windows.values()];
    const isFull = windows.reduce((sum, { unreadBytes }) => sum + unreadBytes, 0) >= maxUnreadBytes;
    const hasRoom = ({ isLeaving, unread }: PartitionWindow): boolean =>
      !isLeaving && (isFull ? unread === 0 : unread < ahead);
    const wanted = windows.filter(hasRoom).map(({ partition }) => partition);
    for (const { name, leader, partitions } of this.#byLeader(wanted)) {
      if (this.#reading.has(name)) continue;
      this.#reading.add(name);
      void this.#readFrom(leader, partitions).then((isDone) => {
        this.#reading.delete(name);
        if (isDone) this.read();
      });
    }
  }

  /** The windows, from the one behind that which was served last: with room for one event each still gets its turn. */
  #inTurn(): PartitionWindow[] {
    const windows = [...this.windows.values()];
    const last = this.#lastBegun ? windows.indexOf(this.#lastBegun) : -1;
    return [...windows.slice(last + 1), ...windows.slice(0, last + 1)];
  }

  /** Reads once. False if it has failed. */
  async #readFrom(at: KafkaAddress, partitions: readonly number[]): Promise<boolean> {
    const { reads, topic, onChange } = this.#init;
    const windows = new Map<number, PartitionWindow>();
    for (const partition of partitions) {
      const window = this.windows.get(partition);
      if (window) windows.set(partition, window);
    }
    const positions = new Map(Array.from(windows, ([partition, { position }]) => [partition, position]));
    const request = { topic, positions, maxWaitMs, maxBytes };
    try {
      const all = await reads.call((connection) => connection.fetch(request), { at, waitMs: maxWaitMs });
      for (const one of all) this.#add(windows.get(one.partition), one);
      return true;
    } catch (error) {
      try {
        if (!isFault(error, faults.offsetOutOfRange)) throw error;
        for (const window of windows.values())
          if (error.partition === undefined || window.partition === error.partition) await this.#findPosition(window);
        return true;
      } catch (cause) {
        if (isFault(cause, faults.unknownTopic)) this.mayBeAnew = true;
        this.#failure = cause;
        onChange();
        return false;
      }
    }
  }

  #add(window: PartitionWindow | undefined, fetched: FetchedPartition): void {
    if (!window || window.isLost) return;
    window.add(fetched);
    if (fetched.records.length > 0) this.#init.onChange();
  }

  /** The partition has no more what was to be read next, or is another one than it was. */
  async #findPosition(window: PartitionWindow): Promise<void> {
    const { partition } = window;
    const start = (await this.offsets([partition], 'start')).get(partition) ?? 0;
    const end = (await this.offsets([partition], 'end')).get(partition) ?? 0;
    if (window.isLost) return;
    const { logger, timers } = this.#init;
    const fields = { ...this.#init.fields, partition };
    if (window.position < start) {
      const events = start - window.position;
      logger.error('events were lost: the topic no longer had them when they were to be read', { ...fields, events });
      window.skipTo(start);
    } else if (window.position > end) {
      logger.warn('a partition begins anew: its topic was deleted, or the server came back without its data', fields);
      this.lose(window);
      this.windows.set(partition, new PartitionWindow(partition, start));
    } else await pause(timers, retryMs);
  }

  #byLeader(partitions: readonly number[]): readonly LedPartitions[] {
    const found = new Map<string, LedPartitions>();
    for (const partition of partitions) {
      const leader = this.#leaders.get(partition);
      // It is read once it has one.
      if (!leader) continue;
      const name = hostPort(leader.host, leader.port);
      const led = found.get(name) ?? { name, leader, partitions: [] };
      led.partitions.push(partition);
      found.set(name, led);
    }
    return [...found.values()];
  }
}

/** Partitions of one server. */
interface LedPartitions {
  readonly name: string;
  readonly leader: KafkaAddress;
  readonly partitions: number[];
}
