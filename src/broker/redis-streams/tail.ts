import { entryFrom, firstId, isBefore, type RawEntry, type RawRead, type StreamEntry } from './entries.ts';
import { StreamReader } from './reader.ts';
import { nextOfTailScript } from './scripts.ts';

/** Reads what is added to a stream from now on, without a group: it shares no state with other readers. */
export class StreamTail extends StreamReader {
  #cursor: string | undefined;
  /** The number of entries that were added up to the cursor; -1 where Redis does not count them. */
  #position = -1;

  override async recover(): Promise<void> {
    const { last, added, length } = await this.info();
    if (this.#cursor === undefined) {
      const fromStart = this.setup.from === 'start';
      this.#cursor = fromStart ? firstId : last;
      this.#position = fromStart && added >= 0 ? added - length : added;
    } else if (isBefore(last, this.#cursor)) {
      // A stream that ends before the place that was read is another one: Redis came back without its data.
      this.#cursor = firstId;
      this.#position = added < 0 ? -1 : 0;
    }
  }

  nack({ id, attempt }: StreamEntry, delayMs: number): void {
    this.delayed.add(id, attempt, delayMs);
  }

  /** Does nothing: there are no other members to take them. */
  release(): void {}

  protected override async again(count: number): Promise<StreamEntry[]> {
    const { link, key, logger } = this.setup;
    const entries: StreamEntry[] = [];
    for (const [id, { attempt }] of this.delayed.due(count)) {
      // The receiver may have changed the body, so it is read again.
      const [raw] = (await link.commands.xrangeBuffer(key, id, id)) as RawEntry[];
      this.delayed.delete(id);
      const again = entryFrom(raw ?? null, attempt + 1, this.headers);
      if (again) entries.push(again);
      else logger.error('an event was lost: the stream no longer had it for its next attempt', { key, id });
    }
    return entries;
  }

  protected override async next(count: number): Promise<RawRead> {
    const { link, key } = this.setup;
    const from = this.#cursor ?? firstId;
    const reply = await link.commands.callBuffer('EVAL', nextOfTailScript, 1, key, '', from, this.#position, count);
    const [missed, read] = reply as [number, RawRead];
    this.reportGap(missed);
    if (missed > 0) this.#position += missed;
    return read;
  }

  protected override wait(count: number, blockMs: number): Promise<RawRead> {
    const from = this.#cursor ?? firstId;
    return this.setup.reads.xreadBuffer('COUNT', count, 'BLOCK', blockMs, 'STREAMS', this.setup.key, from);
  }

  protected override onRead(entries: readonly StreamEntry[]): void {
    this.#cursor = entries.at(-1)?.id ?? this.#cursor;
    if (this.#position >= 0) this.#position += entries.length;
  }
}
