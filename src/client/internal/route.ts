import { errorOf, reasonKey, type Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { markReceived } from '../../errors/received.ts';
import { unthrown } from '../../errors/unthrown.ts';
import { isPromise } from '../../internal/is-promise.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import { bounded } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { NextNode, Selector } from '../../selector/selector.ts';
import type { Message } from '../../transport/transport.ts';
import { CallOnNode } from './call-on-node.ts';
import type { OutgoingContext } from './outgoing.ts';
import { assertNextNode, nodeOf, reportBegin, reportEnd } from './selection.ts';

/** Dependencies of routing, from the client. */
export interface Router {
  readonly selector: Selector;
  readonly runtime: Runtime;
  readonly maxAttempts: () => number;
}

/** The part of a call that is sent to a node. */
export interface NodeCall<T> {
  /**
   * Sends the call. The reasons `transport.unreachable` and `server.draining` of an error mean that nothing was
   * processed.
   */
  readonly send: (address: string) => Promise<T>;
  /** True if `send` returns before it is known that the node takes the call, which then cannot go to another. */
  readonly isSentOnce?: boolean | undefined;
  /** Returns the status of a call that is over after `send`. */
  readonly statusOf?: ((result: T) => Status | undefined) | undefined;
  /** Takes a call that goes on after `send`, to report its end. */
  readonly onOpen?: ((result: T, call: CallOnNode) => void) | undefined;
}

// Short delays: the caller waits for nothing else.
const readyBackoff = { initialMs: 50, maxMs: 1_000 } as const;

/**
 * Sends the call to a node of its service, and to another if the first certainly did not take it. Marks each in the
 * selector with its outcome. A call with `waitForReady` goes on until a node takes it.
 */
export function onSomeNode<T>(router: Router, ctx: OutgoingContext, call: NodeCall<T>): Promise<T> {
  ctx.isSentOnce = call.isSentOnce === true || (router.maxAttempts() === 1 && ctx.waitForReady !== true);
  if (!ctx.waitForReady) return onNodes(router, ctx, call);
  return retrying(() => onNodes(router, ctx, call), {
    runtime: router.runtime,
    backoff: readyBackoff,
    onFailure(error) {
      if (ctx.aborted || !mayComeBack(error as TenonError)) throw error;
    },
    pause: (delayMs) => withinCall(router, ctx, router.runtime.timers.sleep(delayMs, ctx.signal)),
  });
}

async function onNodes<T>(router: Router, ctx: OutgoingContext, call: NodeCall<T>): Promise<T> {
  const { selector } = router;
  const { clock } = router.runtime;
  const service = ctx.registryName;
  ctx.node = undefined;
  try {
    const next = await select(router, service, ctx);
    for (let tried = 1; ; tried += 1) {
      ctx.throwIfAborted();
      const node = ctx.routeObservers || ctx.avoided ? choose(next, selector, ctx) : nodeOf(next, selector);
      ctx.node = node;
      ctx.peer = node.address;
      reportBegin(selector, ctx, node);
      const startMs = clock.monotonicMs();
      ctx.startMs = startMs;
      let result: T;
      try {
        noteSend(node.address, ctx);
        result = await call.send(node.address);
      } catch (error) {
        const failure = TenonError.from(noteRefusal(node.address, ctx, error));
        // How long the caller of a stream waits before it leaves says nothing of the node.
        const isLeft = call.onOpen !== undefined && failure.code === Code.Cancelled;
        const latencyMs = isLeft ? undefined : clock.monotonicMs() - startMs;
        reportEnd(selector, ctx, node, failure, undefined, latencyMs);
        if (!wasNotProcessed(failure) || tried >= router.maxAttempts() || ctx.aborted) throw failure;
        continue;
      }
      if (call.onOpen) {
        call.onOpen(result, new CallOnNode(selector, clock, ctx, node, startMs));
      } else {
        reportEnd(selector, ctx, node, undefined, call.statusOf?.(result), clock.monotonicMs() - startMs);
      }
      return result;
    }
  } catch (error) {
    throw named(TenonError.from(error), service, ctx);
  }
}

/** Sends the call to the address in its options. */
export async function onAddress<T>(address: string, ctx: OutgoingContext, send: NodeCall<T>['send']): Promise<T> {
  const refusal = refusalOf(ctx, address);
  if (refusal) throw refusal;
  ctx.peer = address;
  try {
    return await sendTo(address, ctx, send);
  } catch (error) {
    // Its connection may have closed just as the call was sent, and a new one may take it: gRPC's transparent retry
    // (gRFC A6).
    if (!TenonError.is(error) || !wasNotProcessed(error) || ctx.aborted) throw error;
    return sendTo(address, ctx, send);
  }
}

async function sendTo<T>(address: string, ctx: OutgoingContext, send: NodeCall<T>['send']): Promise<T> {
  try {
    noteSend(address, ctx);
    return await send(address);
  } catch (error) {
    throw noteRefusal(address, ctx, error);
  }
}

/** Notes that the call is sent to an address. */
function noteSend(address: string, ctx: OutgoingContext): void {
  ctx.onSend();
  if (ctx.routeObservers) for (const observer of ctx.routeObservers) observer.onSend(address);
}

/**
 * Notes that nobody at the address took the call, if that is what the error says. Returns the error, or the one of an
 * observer.
 */
function noteRefusal(address: string, ctx: OutgoingContext, error: unknown): unknown {
  if (!TenonError.is(error) || !wasNotProcessed(error)) return error;
  ctx.onRefused();
  try {
    if (ctx.routeObservers) for (const observer of ctx.routeObservers) observer.onRefused(address);
    return error;
  } catch (thrown) {
    return thrown;
  }
}

/**
 * Returns the next node that no observer rejects, preferring one that the call was not sent to. If all are rejected,
 * throws the last rejection.
 */
function choose(next: NextNode, selector: Selector, ctx: OutgoingContext): NodeRecord {
  const seen = new Set<string>();
  let second: NodeRecord | undefined;
  let refusal: TenonError | undefined;
  for (let node = nodeOf(next, selector); !seen.has(node.id); node = nodeOf(next, selector)) {
    seen.add(node.id);
    if (ctx.avoided?.has(node.address)) {
      second ??= node;
      continue;
    }
    refusal = refusalOf(ctx, node.address);
    if (!refusal) return node;
  }
  if (second) {
    refusal = refusalOf(ctx, second.address);
    if (!refusal) return second;
  }
  throw refusal ?? new Error('a selector gave no node');
}

function refusalOf(ctx: OutgoingContext, address: string): TenonError | undefined {
  for (const observer of ctx.routeObservers ?? []) {
    const refusal = observer.reject(address);
    if (refusal) return refusal;
  }
  return undefined;
}

/** Returns true if certainly no handler saw the call, so that another node may take it. */
export function wasNotProcessed(error: TenonError): boolean {
  return error.reason === 'transport.unreachable' || error.reason === 'server.draining';
}

/** Throws the error of a server that took no call because it drains. Every other answer is returned. */
export function unlessDraining(message: Message | undefined): Message | undefined {
  const status = message?.status;
  if (status?.code === Code.Unavailable && status.metadata?.get(reasonKey) === 'server.draining')
    throw markReceived(errorOf(status));
  return message;
}

function mayComeBack(error: TenonError): boolean {
  return (
    wasNotProcessed(error) ||
    error.reason === 'client.no_node' ||
    error.reason === 'selector.none_available' ||
    error.reason === 'registry.unreachable'
  );
}

async function select(router: Router, service: string, ctx: OutgoingContext): Promise<NextNode> {
  const selected = router.selector.select(service, ctx);
  if (typeof selected === 'function') return selected;
  const next: unknown = isPromise(selected) ? await withinCall(router, ctx, selected) : selected;
  assertNextNode(next, router.selector);
  return next;
}

/** Settles as `promise` does, or fails at the deadline of the call, which the maker of the promise does not know. */
export function withinCall<T>(router: Router, ctx: OutgoingContext, promise: PromiseLike<T>): Promise<T> {
  const { clock, timers } = router.runtime;
  return bounded(promise, {
    timers,
    timeoutMs: ctx.deadline === undefined ? undefined : ctx.deadline - clock.monotonicMs(),
    signal: ctx,
    keepAlive: false,
    onTimeout() {
      const error = deadlineExceeded(ctx);
      ctx.abort(error);
      return error;
    },
  });
}

function deadlineExceeded(ctx: OutgoingContext): TenonError {
  return unthrown({
    code: Code.DeadlineExceeded,
    reason: 'call.deadline_exceeded',
    message: `the deadline of ${ctx.service}/${ctx.endpoint} passed before a node could be reached`,
  });
}

/** Returns the error with the name of the service in its message: an address alone tells a caller little. */
function named(error: TenonError, service: string, { node, service: called }: OutgoingContext): TenonError {
  if (error.reason === 'registry.not_found') {
    return new TenonError({
      code: Code.Unavailable,
      reason: 'client.no_node',
      message: called.startsWith(`${service}.`) ? `${error.message}${otherName(called, service)}` : error.message,
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

function otherName(called: string, service: string): string {
  return `. "${service}" is the package of ${called}; if its service has another name, say that one: service, where the client is described or in the options of the call`;
}

function isLocal(error: TenonError): boolean {
  return error.reason?.startsWith('transport.') === true || error.reason === 'server.draining';
}
