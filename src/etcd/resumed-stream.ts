import { Code, TenonError } from '../errors/errors.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { repeatedly } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** A stream of replies, and its sending side. */
export interface ReplyStream {
  next(): Promise<IteratorResult<unknown, undefined>>;
  send(request: unknown): void | Promise<void>;
  /** Ends a stream whose server does not answer, or cannot serve it: others are tried before its address. */
  giveUp(): void;
  /** Ends the stream. */
  return(): Promise<unknown>;
}

/** Options of a {@link ResumedStream}. */
export interface ResumedStreamOptions<Reply> {
  readonly runtime: Pick<Runtime, 'clock' | 'random' | 'timers'>;
  /** The number of addresses at which the first stream is tried. */
  readonly addressCount: number;
  /** The product's name, for messages: `etcd`. */
  readonly serverName: string;
  /** Time of silence after which the probe is sent, in milliseconds. */
  readonly quietMs: number;
  /** A request that the server answers at once. */
  readonly probe: unknown;
  /** Longest time without a server, in milliseconds. */
  readonly timeoutMs: number;
  /** Opens a stream with its first request. */
  readonly open: (signal: AbortSignal) => Promise<ReplyStream>;
  /** Handles the first reply of a stream. Resolves when the stream is established. */
  readonly onOpened: (reply: Reply) => Promise<void> | void;
  /** Handles each later reply. A stream whose reply makes it throw is opened again. */
  readonly onReply: (reply: Reply) => void;
  /** Called for each failure. True if it is mended, so that another attempt may succeed. */
  readonly onFailed: (error: unknown) => boolean;
  /** Called once if the stream cannot be resumed. `why` follows "the watch ended,". */
  readonly onLost: (why: string, cause: unknown) => void;
}

/** The end of a {@link ResumedStream} that another attempt does not mend. Its message follows "the watch ended,". */
export class StreamEnded extends Error {}

const backoff = { initialMs: 50, maxMs: 1_000 } as const;
// The end of a stream that lasted this long resets the back-off.
const stableMs = 10_000;
const finalCodes: ReadonlySet<Code> = new Set([Code.PermissionDenied, Code.ResourceExhausted]);

/**
 * Reads the replies of a stream that outlives its connections: one that breaks, or that does not answer a probe, is
 * opened again, with back-off, at another address where there is one. It ends when there was no server for `timeoutMs`.
 */
export class ResumedStream<Reply> {
  readonly #options: ResumedStreamOptions<Reply>;
  readonly #attemptMs: number;

  constructor(options: ResumedStreamOptions<Reply>) {
    this.#options = options;
    this.#attemptMs = options.timeoutMs / (options.addressCount + 1);
  }

  /** Resolves when the first stream is established. Rejects if there is none at any address. */
  async start(signal: AbortSignal): Promise<void> {
    for (let left = this.#options.addressCount; ; left -= 1) {
      try {
        void this.#run(await this.#open(signal), signal);
        return;
      } catch (error) {
        if (left === 0 || signal.aborted || this.#isFinal(error)) throw error;
      }
    }
  }

  /** Never rejects. */
  async #run(first: ReplyStream, signal: AbortSignal): Promise<void> {
    const { runtime, timeoutMs, serverName } = this.#options;
    const now = (): number => runtime.clock.monotonicMs();
    let stream: ReplyStream | undefined = first;
    let openedAtMs = now();
    /** Since when there is no stream, after one that broke. */
    let brokenAtMs: number | undefined;
    const follow = async (): Promise<void> => {
      if (!stream) {
        stream = await this.#open(signal);
        openedAtMs = now();
      }
      brokenAtMs = undefined;
      const current = stream;
      stream = undefined;
      await this.#read(current);
    };
    try {
      await repeatedly(follow, {
        runtime,
        backoff,
        signal,
        onFailure: (error, delayMs, failures) => {
          brokenAtMs ??= now();
          if (this.#isFinal(error) || now() - brokenAtMs > timeoutMs) throw error;
          const wasStable = now() - openedAtMs >= stableMs;
          // Further failures are those of attempts.
          openedAtMs = Number.POSITIVE_INFINITY;
          if (!wasStable) return delayMs;
          failures.succeeded();
          return failures.failed();
        },
      });
    } catch (error) {
      const why = error instanceof StreamEnded ? error.message : `as ${serverName} cannot be reached`;
      this.#options.onLost(why, error);
    }
  }

  async #open(signal: AbortSignal): Promise<ReplyStream> {
    const stream = await this.#options.open(signal);
    try {
      await this.#options.onOpened(await this.#reply(stream, this.#attemptMs));
      return stream;
    } catch (error) {
      void stream.return();
      throw error;
    }
  }

  /** Reads a stream until it breaks. Always rejects. */
  async #read(stream: ReplyStream): Promise<never> {
    const { runtime, probe, quietMs, onReply } = this.#options;
    try {
      for (;;) {
        const asking = runtime.timers.after(quietMs, () => void stream.send(probe));
        const reply = await this.#reply(stream, quietMs + this.#attemptMs).finally(() => asking.cancel());
        onReply(reply);
      }
    } catch (error) {
      // A server that answers, and cannot serve the stream, is no better than one that is gone.
      if (TenonError.from(error).code === Code.Unavailable) stream.giveUp();
      throw error;
    } finally {
      void stream.return();
    }
  }

  /** Reads the next reply. Gives the stream up if it ends or does not answer. */
  async #reply(stream: ReplyStream, timeoutMs: number): Promise<Reply> {
    const { runtime, serverName } = this.#options;
    const next = stream.next();
    const isThere = await endsWithin(next, { timers: runtime.timers, timeoutMs, keepAlive: false });
    const result = isThere ? await next : undefined;
    if (result?.done === false) return result.value as Reply;
    next.catch(() => {});
    stream.giveUp();
    throw new Error(result ? `${serverName} ended the stream` : `${serverName} does not answer`);
  }

  #isFinal(error: unknown): boolean {
    if (this.#options.onFailed(error)) return false;
    return error instanceof StreamEnded || finalCodes.has(TenonError.from(error).code);
  }
}
