import type { Redis } from 'ioredis';

import { backoffMs } from '../../internal/backoff.ts';
import type { EventHeaders } from '../broker.ts';
import { Pauses } from './pauses.ts';
import type { StreamEntry } from './stream-entries.ts';
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
  /** Number of the blocking read of this connection, for CLIENT UNBLOCK. */
  #connectionId: number | undefined;
  #isReading = false;
  #stopped = false;
  #failures = 0;

  constructor(setup: StreamSetup, source: StreamSource, sink: StreamSink) {
    this.#setup = setup;
    this.#source = source;
    this.#sink = sink;
    this.#pauses = new Pauses(setup.runtime.timers);
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
    this.#wake?.();
    this.#wake = undefined;
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
      const { room } = this.#sink;
      if (room === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      try {
        const again = await this.#source.again(room);
        await this.#hand(again.length > 0 || this.#stopped ? again : await this.#read(room));
        this.#failures = 0;
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #read(room: number): Promise<StreamEntry[]> {
    this.#isReading = true;
    try {
      return await this.#source.read(room);
    } finally {
      this.#isReading = false;
    }
  }

  async #hand(entries: readonly StreamEntry[]): Promise<void> {
    const refused: StreamEntry[] = [];
    for (const entry of entries) {
      // A reader that asked may have left since.
      if (this.#stopped || this.#sink.room === 0) refused.push(entry);
      else this.#sink.hand(entry, entry.headers, entry.body, entry.attempt);
    }
    if (refused.length > 0) await this.#source.giveBack(refused);
  }

  async #recover(error: unknown): Promise<void> {
    const { logger, runtime, key } = this.#setup;
    this.#failures += 1;
    // Losing the connection is reported where it is noticed.
    logger.debug('events could not be read; it is tried again', { key, failures: this.#failures, error });
    await this.#pauses.wait(backoffMs(this.#failures, () => runtime.random.next(), retry));
    if (this.#stopped) return;
    try {
      await this.#source.open();
    } catch (cause) {
      logger.debug('the place in the stream could not be found again', { key, error: cause });
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
