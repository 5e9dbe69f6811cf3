import { errorOf, reasonKey } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Next, Selector } from '../../selector/selector.ts';
import type { Message } from '../../transport/transport.ts';
import type { OutgoingContext } from './outgoing.ts';

/** What routing needs of the client. */
export interface Router {
  readonly selector: Selector;
  readonly runtime: Runtime;
  readonly maxAttempts: () => number;
}

/**
 * Runs `attempt` on a node of `service`, and on another when the first certainly did not take the call. Marks the selector with how each
 * went. `attempt` tells by the error's reason: `transport.unreachable` and `server.draining` mean that nothing was processed.
 */
export async function onSomeNode<T>(
  router: Router,
  service: string,
  ctx: OutgoingContext,
  attempt: (address: string) => Promise<T>,
): Promise<T> {
  const { clock } = router.runtime;
  for (let round = 1; ; round += 1) {
    ctx.node = undefined;
    try {
      const next = await select(router, service, ctx);
      for (let tried = 1; ; tried += 1) {
        const node = next();
        ctx.node = node;
        ctx.peer = node.address;
        const startMs = clock.monotonicMs();
        try {
          const result = await attempt(node.address);
          router.selector.mark(service, node, undefined, clock.monotonicMs() - startMs);
          return result;
        } catch (error) {
          const failure = TenonError.from(error);
          router.selector.mark(service, node, failure, clock.monotonicMs() - startMs);
          if (!wasNotProcessed(failure) || tried >= router.maxAttempts() || ctx.aborted) throw failure;
        }
      }
    } catch (error) {
      const failure = TenonError.from(error);
      if (!ctx.options.waitForReady || ctx.aborted || !mayComeBack(failure)) throw named(failure, service, ctx.node);
      await untilAborted(
        router,
        ctx,
        backoffMs(round, () => router.runtime.random.next(), { initialMs: 50, maxMs: 1_000 }),
      );
    }
  }
}

/** Whether it is certain that no handler saw the call, so that another node may have it. */
export function wasNotProcessed(error: TenonError): boolean {
  return error.reason === 'transport.unreachable' || error.reason === 'server.draining';
}

/** Throws what a server said that took no call because it drains; every other answer is the call's. */
export function unlessDraining(message: Message | undefined): Message | undefined {
  const status = message?.status;
  if (status?.code === Code.Unavailable && status.metadata?.get(reasonKey) === 'server.draining') throw errorOf(status);
  return message;
}

function mayComeBack(error: TenonError): boolean {
  return (
    wasNotProcessed(error) ||
    error.reason === 'registry.not_found' ||
    error.reason === 'selector.none_available' ||
    error.reason === 'registry.unreachable'
  );
}

async function select(router: Router, service: string, ctx: OutgoingContext): Promise<Next> {
  const { filters } = ctx.options;
  const selected = router.selector.select(service, filters ? { filters, signal: ctx.signal } : undefined);
  return typeof selected === 'function' ? selected : bounded(router, ctx, selected);
}

/** The registry knows nothing of the call's deadline. */
function bounded<T>(router: Router, ctx: OutgoingContext, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = ctx.onAbort(reject);
    const timer =
      ctx.deadline === undefined
        ? undefined
        : router.runtime.timers.after(ctx.deadline - router.runtime.clock.now(), () =>
            ctx.abort(deadlineExceeded(ctx)),
          );
    const done = (): void => {
      stop();
      timer?.cancel();
    };
    promise.then(resolve, reject).finally(done);
  });
}

async function untilAborted(router: Router, ctx: OutgoingContext, delayMs: number): Promise<void> {
  await bounded(router, ctx, router.runtime.timers.sleep(delayMs, ctx.signal));
}

function deadlineExceeded(ctx: OutgoingContext): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'call.deadline_exceeded',
    message: `the deadline of ${ctx.service}/${ctx.endpoint} passed before a node could be reached`,
  });
}

/** The same failure, with the name of the service in its message: an address alone tells a caller little. */
function named(error: TenonError, service: string, node: NodeRecord | undefined): TenonError {
  if (error.reason === 'registry.not_found') {
    return new TenonError({
      code: Code.Unavailable,
      reason: 'client.no_node',
      message: error.message,
      cause: error,
    });
  }
  if (error.code !== Code.Unavailable || error.message.includes(`"${service}"`) || !isLocal(error)) return error;
  return new TenonError({
    code: error.code,
    reason: error.reason,
    message: `service "${service}"${node ? ` at ${node.address}` : ''}: ${error.message}`,
    details: error.details,
    metadata: error.metadata,
    cause: error,
  });
}

function isLocal(error: TenonError): boolean {
  return error.reason?.startsWith('transport.') === true || error.reason === 'server.draining';
}
