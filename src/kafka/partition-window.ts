import type { CommittedOffset, FetchedPartition, ReadRecord } from './kafka.ts';

/** The state of an event that was begun, or was by the partition's last owner. */
interface Mark {
  attempts: number;
  state: 'running' | 'waiting' | 'done';
  /** The time from which it may be delivered again. */
  dueMs: number;
  /** True if it was in hand several times when a process ended: perhaps it is what ends them. */
  isSuspect: boolean;
}

/** An event that may be begun. */
export interface ReadyRecord {
  readonly record: ReadRecord;
  /** True if it was not begun before. */
  readonly isFresh: boolean;
  /** True if it is to be in hand alone. */
  readonly isSuspect: boolean;
}

// No event is begun that is further behind the first one that is not settled. Its mark has a place in the metadata of
// an offset, which has 4,096 bytes by default.
const maxSpan = 2_000;
const suspectAttempts = 2;
// Programs write into the metadata what they like: a number, a date, a name.
const version = 'tenon1:';
const done = '-';

/**
 * The events of one partition from the first one that is not settled. An offset can be committed when all events before
 * it are settled. Which of the events behind it are settled, and how often each of the others was begun, is written in
 * the metadata of the offset: Kafka itself counts no attempts.
 */
export class PartitionWindow {
  readonly partition: number;
  /** The offset from which records are read next. */
  position: number;
  /** True once it was given away: what is settled now does not count. */
  isLost = false;
  /** True if another member is to get it: no more events are begun. */
  isLeaving = false;
  /** True if something has changed since it was committed. */
  isDirty: boolean;
  /** Called when no event is in hand. */
  onIdle: (() => void) | undefined;
  readonly #records: ReadRecord[] = [];
  readonly #marks = new Map<number, Mark>();
  #running = 0;
  #unread = 0;
  #unreadBytes = 0;

  /** @param committed where the partition's last owner stopped; without one it begins at `start` */
  constructor(partition: number, start: number, committed?: CommittedOffset) {
    this.partition = partition;
    this.position = committed?.offset ?? start;
    this.isDirty = committed === undefined;
    if (committed?.metadata.startsWith(version)) this.#restore(committed.metadata.slice(version.length));
  }

  /** The number of events in hand. */
  get running(): number {
    return this.#running;
  }

  /** The number of events that are to be delivered again. */
  get waiting(): number {
    let waiting = 0;
    for (const { state } of this.#marks.values()) if (state === 'waiting') waiting += 1;
    return waiting;
  }

  /** The number of records that were read and not begun. */
  get unread(): number {
    return this.#unread;
  }

  /** The bytes of those records. */
  get unreadBytes(): number {
    return this.#unreadBytes;
  }

  /** True if an event is in hand beside which no other is begun. */
  get runsAlone(): boolean {
    return (
      this.#running > 0 && [...this.#marks.values()].some(({ state, isSuspect }) => state === 'running' && isSuspect)
    );
  }

  /** The offset that can be committed, with its metadata. */
  get committable(): CommittedOffset {
    const offset = this.#head;
    let metadata = version;
    const last = Math.max(-1, ...this.#marks.keys());
    for (let at = offset; at <= last; at += 1) metadata += symbolOf(this.#marks.get(at));
    return { offset, metadata: last < 0 ? '' : metadata };
  }

  /** The earliest time at which an event is due again. */
  get nextDueMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { state, dueMs } of this.#marks.values()) if (state === 'waiting') next = Math.min(next, dueMs);
    return next;
  }

  add({ records, next = this.position }: FetchedPartition): void {
    for (const record of records) {
      if (record.offset < this.position) continue;
      const mark = this.#marks.get(record.offset);
      this.#records.push(mark?.state === 'done' ? placeOf(record) : record);
      if (mark) continue;
      this.#unread += 1;
      this.#unreadBytes += bytesOf(record);
    }
    this.position = Math.max(this.position, next);
    this.#advance();
  }

  /** Goes on at an offset: the records before it are gone. */
  skipTo(offset: number): void {
    this.position = offset;
    this.isDirty = true;
    this.#advance();
  }

  /** The next event that may be begun: the first one, or, with `isFresh` false, one that was begun before. */
  ready(nowMs: number, isFresh: boolean): ReadyRecord | undefined {
    if (this.isLeaving) return undefined;
    const head = this.#head;
    for (const record of this.#records) {
      if (record.offset - head >= maxSpan) return undefined;
      const mark = this.#marks.get(record.offset);
      if (mark ? mark.state === 'waiting' && mark.dueMs <= nowMs : isFresh)
        return { record, isFresh: !mark, isSuspect: mark?.isSuspect ?? false };
    }
    return undefined;
  }

  /** Notes that an event is begun. Returns its attempt. */
  begin(offset: number): number {
    const known = this.#marks.get(offset);
    if (!known) {
      this.#unread -= 1;
      this.#unreadBytes -= bytesOf(this.#records[this.#indexOf(offset)]);
    }
    const mark = known ?? { attempts: 0, state: 'waiting', dueMs: 0, isSuspect: false };
    mark.attempts += 1;
    mark.state = 'running';
    this.#marks.set(offset, mark);
    this.#running += 1;
    this.isDirty = true;
    return mark.attempts;
  }

  /** Notes that an event was not begun after all. */
  cancel(offset: number): void {
    const mark = this.#marks.get(offset);
    if (mark?.state !== 'running') return;
    mark.attempts -= 1;
    this.again(offset, 0);
  }

  /** Notes that an event is to be delivered again. */
  again(offset: number, dueMs: number): void {
    const mark = this.#marks.get(offset);
    if (mark?.state !== 'running') return;
    mark.state = 'waiting';
    mark.dueMs = dueMs;
    mark.isSuspect = false;
    this.#ended();
  }

  /** Notes that an event is settled. */
  settle(offset: number): void {
    const mark = this.#marks.get(offset);
    if (mark?.state !== 'running') return;
    mark.state = 'done';
    this.#forgetBody(offset);
    this.#ended();
    this.#advance();
  }

  /** Takes it from its owner. */
  lose(): void {
    this.isLost = true;
    this.#running = 0;
    this.onIdle?.();
  }

  get #head(): number {
    return this.#records[0]?.offset ?? this.position;
  }

  /** Events that are not settled may hold up many that are: only their places are kept. */
  #forgetBody(offset: number): void {
    const index = this.#indexOf(offset);
    if (index >= 0) this.#records[index] = placeOf({ offset });
  }

  /** The place of a record; -1 if it was not read. */
  #indexOf(offset: number): number {
    let [from, to] = [0, this.#records.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((this.#records[middle]?.offset ?? 0) < offset) from = middle + 1;
      else to = middle;
    }
    return this.#records[from]?.offset === offset ? from : -1;
  }

  #ended(): void {
    this.#running -= 1;
    this.isDirty = true;
    if (this.#running === 0) this.onIdle?.();
  }

  /** Forgets the events at the beginning that are settled. */
  #advance(): void {
    let settled = 0;
    for (const { offset } of this.#records) {
      if (this.#marks.get(offset)?.state !== 'done') break;
      this.#marks.delete(offset);
      settled += 1;
    }
    this.#records.splice(0, settled);
    // Marks of records that are gone.
    for (const offset of this.#marks.keys()) if (offset < this.#head) this.#marks.delete(offset);
  }

  #restore(symbols: string): void {
    for (const [index, symbol] of Array.from(symbols).entries()) {
      const value = symbol.charCodeAt(0) - 48;
      const attempts = symbol === done ? 1 : value >> 1;
      if (attempts < 1) continue;
      const isSuspect = (value & 1) === 1 && attempts >= suspectAttempts;
      const state = symbol === done ? 'done' : 'waiting';
      this.#marks.set(this.position + index, { attempts, state, dueMs: 0, isSuspect });
    }
  }
}

/** The place of a record that is settled, without what it holds. */
function placeOf({ offset }: Pick<ReadRecord, 'offset'>): ReadRecord {
  return { offset, key: null, value: null, headers: [] };
}

function bytesOf(record: ReadRecord | undefined): number {
  let bytes = record?.value?.length ?? 0;
  for (const [name, value] of record?.headers ?? []) bytes += name.length + (value?.length ?? 0);
  return bytes;
}

/** One printable character: whether it is settled, else its attempts, up to 38, and whether it is in hand. */
function symbolOf(mark: Mark | undefined): string {
  if (mark?.state === 'done') return done;
  return String.fromCharCode(48 + 2 * Math.min(38, mark?.attempts ?? 0) + (mark?.state === 'running' ? 1 : 0));
}
