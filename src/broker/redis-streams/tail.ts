import { DelayedEvents } from '../kit/delayed-events.ts';
import type { DriverSubscription, PollRequest } from '../kit/driver.ts';
import { entriesFrom, entryFrom, firstId, isBefore, type RawEntry, type RawRead, type StreamEntry } from './entries.ts';
import { nextOfTailScript } from './scripts.ts';
import { Stream, type StreamSetup } from './stream.ts';

/** Everything that is added to a stream from now on, for one reader: nobody else is concerned by what it does. */
export class StreamTail implements DriverSubscription<StreamEntry> {
  readonly #stream: Stream;
  readonly #setup: StreamSetup;
  readonly #delayed: DelayedEvents;
  #cursor: string | undefined;
  /** How many entries were added up to the cursor; -1 where Redis does not count them. */
  #position = -1;
  #mayLag = true;
  #closed = false;

  constructor(setup: StreamSetup) {
    this.#setup = setup;
    this.#stream = new Stream(setup);
    this.#delayed = new DelayedEvents(setup.runtime, () => setup.sink.wake());
  }

  get waiting(): number {
    return this.#delayed.size;
  }

  async recover(): Promise<void> {
    const { last, added, length } = await this.#stream.info();
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

  async poll({ count, fresh, mayLag }: PollRequest): Promise<readonly StreamEntry[]> {
    const again = await this.#again(count);
    this.#mayLag ||= mayLag;
    if (again.length > 0 || fresh === 0) return again;
    const entries = this.#mayLag ? await this.#next(fresh) : [];
    if (entries.length > 0 || this.#setup.sink.isStopped) return entries;
    return this.#wait(fresh);
  }

  interrupt(tried: number): void {
    this.#stream.interrupt(tried);
  }

  nack({ id, attempt }: StreamEntry, delayMs: number): void {
    if (!this.#closed) this.#delayed.add(id, attempt, delayMs);
  }

  /** There is nobody else to have them. */
  release(): void {}

  stop(): void {}

  close(): void {
    this.#closed = true;
    this.#delayed.clear();
    this.#stream.close();
  }

  async #next(count: number): Promise<StreamEntry[]> {
    const { link, key } = this.#setup;
    const cursor = this.#cursor ?? firstId;
    const reply = await link.commands.callBuffer('EVAL', nextOfTailScript, 1, key, '', cursor, this.#position, count);
    const [missed, read] = reply as [number, RawRead];
    this.#stream.reportGap(missed);
    if (missed > 0) this.#position += missed;
    return this.#passed(read, cursor, count);
  }

  async #wait(count: number): Promise<StreamEntry[]> {
    const cursor = this.#cursor ?? firstId;
    const reply = await this.#stream.wait(this.#delayed.nextAtMs, (reads, blockMs) =>
      reads.xreadBuffer('COUNT', count, 'BLOCK', blockMs, 'STREAMS', this.#setup.key, cursor),
    );
    return this.#passed(reply, cursor, count);
  }

  #passed(read: RawRead, cursor: string, count: number): StreamEntry[] {
    const entries = entriesFrom(read, this.#stream.headers);
    this.#cursor = entries.at(-1)?.id ?? cursor;
    this.#mayLag = entries.length >= count;
    if (this.#position >= 0) this.#position += entries.length;
    return entries;
  }

  async #again(count: number): Promise<StreamEntry[]> {
    const { link, key, logger } = this.#setup;
    const entries: StreamEntry[] = [];
    for (const [id, { attempt }] of this.#delayed.due(count)) {
      // Its receiver owned the body: read anew.
      const [raw] = (await link.commands.xrangeBuffer(key, id, id)) as RawEntry[];
      this.#delayed.delete(id);
      const again = entryFrom(raw ?? null, attempt + 1, this.#stream.headers);
      if (again) entries.push(again);
      else logger.error('an event was lost: the stream no longer had it for its next attempt', { key, id });
    }
    return entries;
  }
}
