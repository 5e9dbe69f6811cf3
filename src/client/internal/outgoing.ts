import { Context, type ContextInit } from '../../context/context.ts';
import { Metadata } from '../../context/metadata.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { CallOptions } from '../client.ts';

const noOptions: CallOptions = {};

/** The context of an outgoing call: what interceptors see, and the call's options for the end of the pipeline. */
export class OutgoingContext extends Context {
  readonly options: CallOptions;
  /** Name of the service in the registry. */
  registryName = '';
  /** The node that was chosen last; absent where the call goes to an address. */
  node: NodeRecord | undefined;
  /** Set where interceptors may make the call more than once: then it is over when they say so, not with its first attempt. */
  isHeld = false;
  #release: (() => void)[] | undefined;

  constructor(init: ContextInit, options: CallOptions = noOptions) {
    super(init);
    this.options = options;
    if (options.ctx) this.#releaseWith(options.ctx.onAbort((reason) => this.abort(reason)));
    if (options.signal) this.#follow(options.signal);
  }

  /** Aborted, it has nothing to follow any more. */
  override abort(reason?: TenonError): void {
    super.abort(reason);
    this.release();
  }

  /** The call is over: lets go of the signal and the context it followed. */
  release(): void {
    if (!this.#release) return;
    for (const release of this.#release) release();
    this.#release = undefined;
  }

  #follow(signal: AbortSignal): void {
    const abort = (): void => this.abort(reasonOf(signal));
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    this.#releaseWith(() => signal.removeEventListener('abort', abort));
  }

  #releaseWith(release: () => void): void {
    (this.#release ??= []).push(release);
  }
}

/** The metadata that goes out: what the call's options say, over what travels on from the call being handled. */
export function outgoingMetadata(options: CallOptions, forward: readonly string[]): Metadata | undefined {
  const { ctx, metadata } = options;
  if (!ctx && !metadata) return undefined;
  const result = new Metadata();
  if (ctx) {
    for (const key of forward) for (const value of ctx.metadata.getAll(key)) result.append(key, value);
  }
  if (metadata) {
    const given = metadata instanceof Metadata ? metadata : new Metadata(metadata);
    for (const [key] of given) result.delete(key);
    result.merge(given);
  }
  return result;
}

/** Milliseconds since the Unix epoch, the nearer of the call's own time-out and its parent's deadline. */
export function deadlineOf(
  options: CallOptions,
  defaultTimeoutMs: number | undefined,
  clock: Clock,
): number | undefined {
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const own =
    timeoutMs === undefined || timeoutMs === 0 || timeoutMs === Number.POSITIVE_INFINITY
      ? undefined
      : clock.now() + timeoutMs;
  const parent = options.ctx?.deadline;
  if (own === undefined) return parent;
  return parent === undefined ? own : Math.min(own, parent);
}

function reasonOf(signal: AbortSignal): TenonError {
  const reason: unknown = signal.reason;
  if (TenonError.is(reason)) return reason;
  const isTimeout = reason instanceof Error && reason.name === 'TimeoutError';
  return isTimeout
    ? TenonError.from(reason)
    : new TenonError({
        code: Code.Cancelled,
        reason: 'call.cancelled',
        message: 'the call was cancelled',
        cause: reason,
      });
}
