import { HeaderReader } from './redis-frame.ts';
import { settled } from './receiver.ts';
import {
  entriesFrom,
  entryFrom,
  firstId,
  infoOf,
  isBefore,
  type RawEntry,
  type StreamEntry,
} from './stream-entries.ts';
import { maxBlockMs, type StreamSetup, type StreamSource } from './stream-source.ts';

/** Everything that is added to a stream from now on, for one reader: nobody else is concerned by what it does. */
export class StreamTail implements StreamSource {
  onDue: () => void = () => {};
  readonly #setup: StreamSetup;
  readonly #headers = new HeaderReader();
  /** To be handed out again, by the time when. */
  readonly #due = new Map<StreamEntry, number>();
  #cursor: string | undefined;
  #closed = false;

  constructor(setup: StreamSetup) {
    this.#setup = setup;
  }

  async open(): Promise<void> {
    const last = await lastId(this.#setup);
    // A stream that ends before the place that was read is another one: Redis came back without its data.
    if (this.#cursor === undefined) this.#cursor = this.#setup.from === 'start' ? firstId : last;
    else if (isBefore(last, this.#cursor)) this.#cursor = firstId;
  }

  async read(count: number): Promise<StreamEntry[]> {
    const { reads, key } = this.#setup;
    const now = this.#setup.runtime.clock.monotonicMs();
    const blockMs = Math.max(1, Math.ceil(Math.min(maxBlockMs, ...Array.from(this.#due.values(), (due) => due - now))));
    const cursor = this.#cursor ?? firstId;
    const reply = await reads.xreadBuffer('COUNT', count, 'BLOCK', blockMs, 'STREAMS', key, cursor);
    const entries = entriesFrom(reply, this.#headers);
    this.#cursor = entries.at(-1)?.id ?? cursor;
    return entries;
  }

  async again(count: number): Promise<StreamEntry[]> {
    const { link, key, runtime } = this.#setup;
    const now = runtime.clock.monotonicMs();
    const entries: StreamEntry[] = [];
    for (const [entry, due] of this.#due) {
      if (due > now || entries.length >= count) continue;
      // Its receiver owned the body: read anew.
      const [raw] = (await link.commands('read an event again').xrangeBuffer(key, entry.id, entry.id)) as RawEntry[];
      this.#due.delete(entry);
      const again = entryFrom(raw ?? null, entry.attempt + 1, this.#headers);
      if (again) entries.push(again);
    }
    return entries;
  }

  ack(): Promise<void> {
    return settled;
  }

  nack(entry: StreamEntry, delayMs: number): Promise<void> {
    if (this.#closed) return settled;
    const { clock, timers } = this.#setup.runtime;
    this.#due.set(entry, clock.monotonicMs() + delayMs);
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

/** Id of the last entry that was added to the stream, whether it is still there or not. */
export async function lastId({ link, key }: StreamSetup): Promise<string> {
  try {
    return infoOf(await link.commands('subscribe').xinfo('STREAM', key), 'last-generated-id') ?? firstId;
  } catch (error) {
    if (error instanceof Error && error.message.includes('no such key')) return firstId;
    throw error;
  }
}
