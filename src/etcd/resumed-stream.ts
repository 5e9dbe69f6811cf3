import { Code, TenonError } from '../errors/errors.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { repeatedly } from '../runtime/retrying.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { isTransient, type ReplyStream } from './messages.ts';

/** Options of a {@link ResumedStream}. */
export interface ResumedStreamOptions<Reply> {
  readonly runtime: Pick<Runtime, 'clock' | 'random' | 'timers'>;
  /** The number of addresses at which the first stream is tried. */
  readonly addressCount: number;
  /** The product's name, for messages: `etcd`. */
  readonly serverName: string;
  /** Time of silence after which the probe is sent, in milliseconds. @default no probes */
  readonly quietMs?: number | undefined;
  /** A request that the server answers at once. */
  readonly probe?: unknown;
  /** Longest time without a server, in milliseconds. */
  readonly timeoutMs: number;
  /** Opens a stream. */
  readonly open: (signal: AbortSignal) => Promise<ReplyStream>;
  /** Sends the first requests of a stream that was opened. */
  readonly begin: () => void;
  /** Handles the first reply of a stream. Resolves when the stream is established. */
  readonly onOpened: (reply: Reply) => Promise<void> | void;
  /** Handles each later reply. A stream whose reply makes it throw is opened again. */
  readonly onReply: (reply: Reply) => void;
  /** Called for each failure. True if it is mended, so that another attempt may succeed. */
  readonly onFailed: (error: unknown) => boolean;
  /**
   * The monotonic time by which a reply to what was sent has to come, where the last reply came at `heardAtMs`: without
   * one the stream is opened again. `Infinity` if none is awaited.
   * @default none is awaited
   */
  readonly dueAtMs?: ((heardAtMs: number) => number) | undefined;
  /** Called once if the stream cannot be resumed. `why` follows "the watch ended,". */
  readonly onLost: (why: string, cause: unknown) => void;
}

/** The end of a {@link ResumedStream} that another attempt does not mend. Its message follows "the watch ended,". */
export class StreamEnded extends Error {}

const backoff = { initialMs: 50, maxMs: 1_000 } as const;
// The end of a stream that lasted this long resets the back-off.
const stableMs = 10_000;
// A bound that is noticed later than this says nothing of the server: its replies may wait to be read.
const heldUpMs = 100;
const finalCodes: ReadonlySet<Code> = new Set([Code.PermissionDenied, Code.ResourceExhausted]);

/**
 * Sends requests on a stream that outlives its connections, and reads the replies: a stream that breaks, or on which
 * nothing answers, is opened again, with back-off, at another address where there is one. It ends when there was no
 * server for `timeoutMs`.
 */
export class ResumedStream<Reply> {
  readonly #options: ResumedStreamOptions<Reply>;
  /** Longest time for the first reply of a stream, and for the answer to a probe, in milliseconds. */
  readonly attemptMs: number;
  #current: ReplyStream | undefined;
  #heardAtMs = 0;
  /** When a reply is looked for that has to have come. */
  #due: { readonly atMs: number; readonly timer: Timer } | undefined;

  constructor(options: ResumedStreamOptions<Reply>) {
    this.#options = options;
    this.attemptMs = options.timeoutMs / (options.addressCount + 1);
  }

  /** True if there is a stream on which requests are sent. */
  get isOpen(): boolean {
    return this.#current !== undefined;
  }

  /**
   * Sends a request on the stream that is open. While there is none nothing is sent, and `begin` has to send it.
   *
   * @param dueAtMs the time by which it has to be answered, see the option `dueAtMs`
   */
  send(request: unknown, dueAtMs = Number.POSITIVE_INFINITY): void {
    void this.#current?.send(request);
    if (this.#current && dueAtMs < (this.#due?.atMs ?? Number.POSITIVE_INFINITY)) this.#look(dueAtMs);
  }

  /** Resolves when the first stream is established. Rejects if there is none at any address. */
  async start(signal: AbortSignal): Promise<void> {
    for (let left = this.#options.addressCount; ; left -= 1) {
      try {
        void this.#run(await this.#open(signal), signal);
        return;
      } catch (error) {
        if (this.#isFinal(error) || left === 0 || signal.aborted) throw error;
      }
    }
  }

  /** Never rejects. */
  async #run(first: ReplyStream, signal: AbortSignal): Promise<void> {
    const { runtime, timeoutMs, serverName } = this.#options;
    const now = (): number => this.#now();
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
          // Another request is next, which may be allowed.
          const isOfOne = TenonError.from(error).code === Code.PermissionDenied;
          if (!wasStable && !isOfOne) return delayMs;
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
      this.#current = stream;
      this.#options.begin();
      await this.#options.onOpened(await this.#reply(stream, this.attemptMs));
      // Nobody reads it any more.
      if (signal.aborted) this.#leave(stream);
      return stream;
    } catch (error) {
      if (isUnfit(error)) stream.giveUp();
      this.#leave(stream);
      throw error;
    }
  }

  /** Reads a stream until it breaks. Always rejects. */
  async #read(stream: ReplyStream): Promise<never> {
    const { runtime, probe, quietMs = Number.POSITIVE_INFINITY, onReply } = this.#options;
    const isProbed = quietMs !== Number.POSITIVE_INFINITY;
    try {
      for (;;) {
        const asking = isProbed ? runtime.timers.after(quietMs, () => void stream.send(probe)) : undefined;
        const reply = await this.#reply(stream, quietMs + this.attemptMs).finally(() => asking?.cancel());
        onReply(reply);
      }
    } catch (error) {
      if (isUnfit(error)) stream.giveUp();
      throw error;
    } finally {
      this.#leave(stream);
    }
  }

  /** Reads the next reply. Gives the stream up if it ends or does not answer. */
  async #reply(stream: ReplyStream, timeoutMs: number): Promise<Reply> {
    const { runtime, serverName } = this.#options;
    const { timers } = runtime;
    const next = stream.next();
    const untilMs = this.#now() + timeoutMs;
    let isThere = await endsWithin(next, { timers, timeoutMs, keepAlive: false });
    if (!isThere && this.#now() - untilMs > heldUpMs)
      isThere = await endsWithin(next, { timers, timeoutMs: heldUpMs, keepAlive: false });
    const result = isThere ? await next : undefined;
    if (result?.done === false) {
      this.#heardAtMs = this.#now();
      return result.value as Reply;
    }
    next.catch(() => {});
    const isGivenUp = this.#current !== stream;
    if (!isGivenUp) stream.giveUp();
    throw new Error(result && !isGivenUp ? `${serverName} ended the stream` : `${serverName} does not answer`);
  }

  /** Looks at `atMs` whether what has to have come did. */
  #look(atMs: number, isSecondLook = false): void {
    this.#due?.timer.cancel();
    const { timers } = this.#options.runtime;
    const timer = timers.after(Math.max(0, atMs - this.#now()), () => this.#onDue(atMs, isSecondLook));
    this.#due = { atMs, timer };
  }

  #onDue(atMs: number, isSecondLook: boolean): void {
    this.#due = undefined;
    const stream = this.#current;
    const nextMs = this.#options.dueAtMs?.(this.#heardAtMs) ?? Number.POSITIVE_INFINITY;
    if (!stream || nextMs === Number.POSITIVE_INFINITY) return;
    const now = this.#now();
    if (nextMs > now) return this.#look(nextMs);
    if (now - atMs > heldUpMs && !isSecondLook) return this.#look(now + heldUpMs, true);
    // Its reader is told by its end.
    stream.giveUp();
    this.#leave(stream);
  }

  #leave(stream: ReplyStream): void {
    if (this.#current === stream) {
      this.#current = undefined;
      this.#due?.timer.cancel();
      this.#due = undefined;
    }
    void stream.return();
  }

  #now(): number {
    return this.#options.runtime.clock.monotonicMs();
  }

  #isFinal(error: unknown): boolean {
    if (this.#options.onFailed(error)) return false;
    return error instanceof StreamEnded || finalCodes.has(TenonError.from(error).code);
  }
}

/** True for a server that answers, and cannot serve the stream: it is no better than one that is gone. */
function isUnfit(error: unknown): boolean {
  return TenonError.from(error).code === Code.Unavailable || isTransient(error);
}
