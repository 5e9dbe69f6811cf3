import { HeaderReader } from './redis-frame.ts';
import { settled } from './receiver.ts';
import {
  entriesFrom,
  entryFrom,
  firstId,
  infoOf,
  isBefore,
  type RawEntry,
  type RawRead,
  type StreamEntry,
} from './stream-entries.ts';
import { nextOfTailScript } from './stream-scripts.ts';
import { maxBlockMs, reportGap, type StreamSetup, type StreamSource } from './stream-source.ts';

/** Everything that is added to a stream from now on, for one reader: nobody else is concerned by what it does. */
export class StreamTail implements StreamSource {
  onDue: () => void = () => {};
  readonly #setup: StreamSetup;
  readonly #headers = new HeaderReader();
  /** To be handed out again, by their ids. */
  readonly #due = new Map<string, { readonly atMs: number; readonly attempt: number }>();
  #cursor: string | undefined;
  /** How many entries were added up to the cursor; -1 where Redis does not count them. */
  #position = -1;
  #closed = false;

  constructor(setup: StreamSetup) {
    this.#setup = setup;
  }

  get room(): number {
    return Math.max(0, this.#setup.maxWaiting - this.#due.size);
  }

  async open(): Promise<void> {
    const { last, added, length } = await streamInfo(this.#setup);
    if (this.#cursor === undefined) {
      const fromStart = this.#setup.from === 'start';
      this.#cursor = fromStart ? firstId : last;
      this.#position = fromStart && added >= 0 ? added - length : added;
    } else if (isBefore(last, this.#cursor)) {
      // A stream that ends before the place that was read is another one: Redis came back without its data.
      this.#cursor = firstId;
      this.#position = added < 0 ? -1 : 0;
    }
  }

  async next(count: number): Promise<StreamEntry[]> {
    const { link, key } = this.#setup;
    const cursor = this.#cursor ?? firstId;
    const reply = await link
      .commands('read events')
      .callBuffer('EVAL', nextOfTailScript, 1, key, '', cursor, this.#position, count);
    const [missed, read] = reply as [number, RawRead];
    reportGap(this.#setup, missed);
    if (missed > 0) this.#position += missed;
    return this.#passed(entriesFrom(read, this.#headers), cursor);
  }

  async wait(count: number): Promise<StreamEntry[]> {
    const { reads, key } = this.#setup;
    const now = this.#setup.runtime.clock.monotonicMs();
    let blockMs = maxBlockMs;
    for (const { atMs } of this.#due.values()) blockMs = Math.min(blockMs, atMs - now);
    const cursor = this.#cursor ?? firstId;
    const until = Math.max(1, Math.ceil(blockMs));
    const reply = await reads.xreadBuffer('COUNT', count, 'BLOCK', until, 'STREAMS', key, cursor);
    return this.#passed(entriesFrom(reply, this.#headers), cursor);
  }

  #passed(entries: StreamEntry[], cursor: string): StreamEntry[] {
    this.#cursor = entries.at(-1)?.id ?? cursor;
    if (this.#position >= 0) this.#position += entries.length;
    return entries;
  }

  async again(count: number): Promise<StreamEntry[]> {
    const { link, key, runtime, logger } = this.#setup;
    const now = runtime.clock.monotonicMs();
    const entries: StreamEntry[] = [];
    for (const [id, { atMs, attempt }] of this.#due) {
      if (atMs > now) continue;
      if (entries.length >= count) break;
      // Its receiver owned the body: read anew.
      const [raw] = (await link.commands('read an event again').xrangeBuffer(key, id, id)) as RawEntry[];
      this.#due.delete(id);
      const again = entryFrom(raw ?? null, attempt + 1, this.#headers);
      if (again) entries.push(again);
      else logger.error('an event was lost: the stream no longer had it for its next attempt', { key, id });
    }
    return entries;
  }

  ack(): Promise<void> {
    return settled;
  }

  nack({ id, attempt }: StreamEntry, delayMs: number): Promise<void> {
    if (this.#closed) return settled;
    const { clock, timers } = this.#setup.runtime;
    this.#due.set(id, { atMs: clock.monotonicMs() + delayMs, attempt });
    timers.after(delayMs, () => this.onDue());
    return settled;
  }

  /** There is nobody else to have them. */
  giveBack(): Promise<void> {
    return settled;
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#due.clear();
    return settled;
  }
}

/** What is known of a stream, whether it is there or not. */
export interface StreamInfo {
  /** Id of the last entry that was added, whether it is still there or not. */
  readonly last: string;
  /** How many entries were ever added; -1 where Redis does not count them. */
  readonly added: number;
  readonly length: number;
}

export async function streamInfo({ link, key }: StreamSetup): Promise<StreamInfo> {
  try {
    const info = await link.commands('subscribe').xinfo('STREAM', key);
    const added = infoOf(info, 'entries-added');
    return {
      last: infoOf(info, 'last-generated-id') ?? firstId,
      added: added === undefined ? -1 : Number(added),
      length: Number(infoOf(info, 'length') ?? 0),
    };
  } catch (error) {
    if (error instanceof Error && error.message.includes('no such key')) return { last: firstId, added: 0, length: 0 };
    throw error;
  }
}
