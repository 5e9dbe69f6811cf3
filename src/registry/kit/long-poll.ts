import { pause } from '../../runtime/bounded.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';

/** The answer of one read of what a {@link LongPoll} follows. */
export interface PolledRead {
  /**
   * The server's number of the last change: the next read with it returns when there is a later one. 0 if it is not
   * known: the next read is not held.
   */
  readonly index: number;
  /** The parts that are compared, by keys. */
  readonly content: ReadonlyMap<string, string>;
}

/** The parts of a {@link LongPoll}. */
export interface LongPollOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Shortest time between two reads, in milliseconds. */
  readonly minReadMs: number;
  /** Time between two reads that are not held, in milliseconds, if it is longer than `minReadMs`. @default 1_000 */
  readonly unheldReadMs?: number | undefined;
  /** Failures in a row after which it is lost, such as the number of addresses. */
  readonly maxFailures: number;
  /** Reads at once with index 0, else as soon as something has changed since, or after a time of the server's own. */
  read(index: number, signal: AbortSignal): Promise<PolledRead>;
  /** Called with the keys whose content is another than before, those that are gone among them. */
  onChange(keys: readonly string[]): void;
  /** Called after a read that others before it had failed, and before `onChange`. @default nothing */
  onResumed?(): void;
  /** Called once, when changes may be missed from now on. It has stopped. */
  onLost(error: unknown): void;
}

const defaultUnheldReadMs = 1_000;

/**
 * Follows what a server has by reads that it holds until something has changed. Any change of the server may end a
 * read: one whose content is the same is not reported, and the next waits for its turn. After an index lower than the
 * one before, reading begins anew; if content is gone with it, the server has lost its data, and the poll is lost.
 * Where there is no index, it polls.
 */
export class LongPoll {
  readonly #options: LongPollOptions;
  readonly #stopping = new AbortController();
  #index = 0;
  /** True if the last answer had no index. */
  #isUnheld = false;
  #content: ReadonlyMap<string, string> = new Map();

  constructor(options: LongPollOptions) {
    this.#options = options;
  }

  /** The keys of the last read. */
  get keys(): readonly string[] {
    return [...this.#content.keys()];
  }

  /** Makes the first read. Changes after it are reported. Rejects as the read does. */
  async start(): Promise<void> {
    const { signal } = this.#stopping;
    const { index, content } = await this.#options.read(0, signal);
    this.#setIndex(index);
    this.#content = content;
    if (!signal.aborted) void this.#run();
  }

  /** Ends the read that is held. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { clock, timers, maxFailures } = this.#options;
    const { signal } = this.#stopping;
    let failures = 0;
    if (this.#isUnheld) await pause(timers, this.#paceMs, signal);
    while (!signal.aborted) {
      const startedMs = clock.monotonicMs();
      try {
        const answer = await this.#options.read(this.#index, signal);
        if (signal.aborted) return;
        if (failures > 0) this.#options.onResumed?.();
        failures = 0;
        this.#take(answer);
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        if (failures >= maxFailures) this.#lose(error);
      }
      await pause(timers, Math.max(0, this.#paceMs - (clock.monotonicMs() - startedMs)), signal);
    }
  }

  #take({ index, content }: PolledRead): void {
    const before = this.#content;
    const gone = [...before.keys()].filter((key) => !content.has(key));
    const changed = [...content].filter(([key, text]) => before.get(key) !== text).map(([key]) => key);
    const wentBack = index > 0 && index < this.#index;
    this.#setIndex(index);
    if (wentBack) this.#index = 0;
    this.#content = content;
    if (wentBack && gone.length > 0) this.#lose(new Error('it seems to have lost its data'));
    else if (gone.length + changed.length > 0) this.#options.onChange([...gone, ...changed]);
  }

  get #paceMs(): number {
    const { minReadMs, unheldReadMs = defaultUnheldReadMs } = this.#options;
    return this.#isUnheld ? Math.max(minReadMs, unheldReadMs) : minReadMs;
  }

  #setIndex(index: number): void {
    this.#index = index;
    this.#isUnheld = index === 0;
  }

  #lose(error: unknown): void {
    this.stop();
    this.#options.onLost(error);
  }
}
