import type { Redis } from 'ioredis';

import { backoffMs } from '../../internal/backoff.ts';
import type { EventHeaders } from '../broker.ts';
import { FailureLog } from './failure-log.ts';
import { Pauses } from './pauses.ts';
import { isRefusal, type StreamEntry } from './stream-entries.ts';
import type { StreamSetup, StreamSource } from './stream-source.ts';

/** Where entries go. */
export interface StreamSink {
  /** How many it takes now. */
  readonly room: number;
  hand(entry: StreamEntry, headers: EventHeaders, body: Uint8Array, attempt: number): void;
}

const retry = { initialMs: 20, maxMs: 1_000 } as const;
const unblockEveryMs = 50;

/** Brings entries from a source to a sink, as many as the sink has room for, one read at a time, until it is stopped. Outlives outages. */
export class StreamReader {
  readonly #setup: StreamSetup;
  readonly #source: StreamSource;
  readonly #sink: StreamSink;
  readonly #pauses: Pauses;
  #ended: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  /** It was woken since it looked last. */
  #isAwake = false;
  /** There may be entries that came while nothing was read: what is gone of them is found out only by asking. */
  #mayLag = true;
  /** Number of the blocking read of this connection, for CLIENT UNBLOCK. */
  #connectionId: number | undefined;
  #isReading = false;
  /** What was read for room that others have taken since: it comes before anything else, in its order. */
  #rest: StreamEntry[] = [];
  #stopped = false;
  #failures = 0;
  readonly #log: FailureLog;

  constructor(setup: StreamSetup, source: StreamSource, sink: StreamSink) {
    this.#setup = setup;
    this.#source = source;
    this.#sink = sink;
    this.#pauses = new Pauses(setup.runtime.timers);
    this.#log = new FailureLog(setup.logger, { key: setup.key });
    source.onDue = () => {
      this.wake();
      this.#unblock();
    };
  }

  start(): void {
    const { reads } = this.#setup;
    const identify = (): void => {
      this.#connectionId = undefined;
      reads.client('ID').then(
        (id) => {
          this.#connectionId = id;
        },
        () => undefined,
      );
    };
    reads.on('ready', identify);
    identify();
    this.#ended = this.#run().finally(() => reads.off('ready', identify));
  }

  /** There is room, or something to hand out again. */
  wake(): void {
    this.#isAwake = true;
    this.#wake?.();
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> {
    const { runtime, reads } = this.#setup;
    this.#stopped = true;
    this.#pauses.end();
    this.wake();
    let tried = 0;
    const unblock = (): void => {
      tried += 1;
      // The read may not have begun to block when it was told to end, so it is told again; then it is cut off.
      if (tried > 20 || !this.#unblock()) reads.disconnect();
    };
    if (this.#isReading) unblock();
    const timer = runtime.timers.every(unblockEveryMs, () => {
      if (this.#isReading) unblock();
    });
    await this.#ended;
    timer.cancel();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#isAwake = false;
      const { room } = this.#sink;
      if (room === 0) {
        await this.#sleep();
        continue;
      }
      if (this.#rest.length > 0) {
        this.#hand(this.#rest);
        continue;
      }
      try {
        const fresh = Math.min(room, this.#source.room);
        const again = await this.#source.again(room, fresh);
        if (again.length > 0 || this.#stopped) this.#hand(again);
        else if (fresh > 0) this.#hand(await this.#read(fresh));
        else await this.#sleep();
        this.#failures = 0;
        this.#log.succeeded();
      } catch (error) {
        await this.#recover(error);
      }
    }
    if (this.#rest.length > 0) await this.#source.giveBack(this.#rest);
  }

  /** Until it is woken. */
  async #sleep(): Promise<void> {
    this.#mayLag = true;
    if (this.#isAwake || this.#stopped) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  async #read(count: number): Promise<StreamEntry[]> {
    let entries = this.#mayLag ? await this.#source.next(count) : [];
    if (entries.length === 0 && !this.#stopped) entries = await this.#wait(count);
    this.#mayLag = entries.length >= count;
    return entries;
  }

  async #wait(count: number): Promise<StreamEntry[]> {
    this.#isReading = true;
    try {
      return await this.#source.wait(count);
    } finally {
      this.#isReading = false;
    }
  }

  #hand(entries: readonly StreamEntry[]): void {
    let handed = 0;
    for (const entry of entries) {
      // Events that have waited may have taken the places.
      if (this.#stopped || this.#sink.room === 0) break;
      handed += 1;
      this.#sink.hand(entry, entry.headers, entry.body, entry.attempt);
    }
    this.#rest = entries.slice(handed);
  }

  async #recover(error: unknown): Promise<void> {
    const { logger, runtime, key, link } = this.#setup;
    this.#failures += 1;
    this.#mayLag = true;
    // Losing the connection is reported where it is noticed.
    if (isRefusal(error)) this.#log.failed('redis refuses to hand out events; it is tried again', error);
    else logger.debug('events could not be read; it is tried again', { key, failures: this.#failures, error });
    await this.#pauses.wait(backoffMs(this.#failures, () => runtime.random.next(), retry));
    if (this.#stopped) return;
    try {
      await this.#source.open(error);
    } catch (cause) {
      if (link.ready) this.#log.failed('the place in the stream could not be found again; it is tried again', cause);
    }
  }

  /** Ends the read that blocks. Whether Redis could be told. */
  #unblock(): boolean {
    const commands: Redis | undefined = this.#setup.link.ready;
    if (!this.#isReading) return true;
    if (!commands || this.#connectionId === undefined) return false;
    commands.client('UNBLOCK', this.#connectionId).catch(() => undefined);
    return true;
  }
}
