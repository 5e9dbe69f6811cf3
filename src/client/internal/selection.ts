import type { Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { isPromise } from '../../internal/is-promise.ts';
import { quietly } from '../../internal/quietly.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { NextNode, Selector } from '../../selector/selector.ts';
import type { OutgoingContext } from './outgoing.ts';

/** The selectors whose reports have failed, each of which is logged once. */
const failing = new WeakSet<Selector>();

/** Returns the next node of a selection. INTERNAL (`client.bad_selector`) if it is none that can be called. */
export function nodeOf(next: NextNode, selector: Selector): NodeRecord {
  const node: unknown = next();
  const { id, address } = (node ?? {}) as Partial<NodeRecord>;
  if (typeof id === 'string' && typeof address === 'string') return node as NodeRecord;
  throw badSelector(
    selector,
    `gave ${describe(node, 'an object without them')} as a node: give a record with an id and an address, at once`,
  );
}

/** Checks what `select` has given. INTERNAL (`client.bad_selector`) if no node can be had of it. */
export function assertNextNode(next: unknown, selector: Selector): asserts next is NextNode {
  if (typeof next !== 'function')
    throw badSelector(
      selector,
      `gave ${describe(next, 'an object')} for a call: select returns a function, or a promise of one`,
    );
}

/** Reports to the selector that a call is sent to a node. */
export function reportBegin(selector: Selector, ctx: OutgoingContext, node: NodeRecord): void {
  if (!selector.begin) return;
  try {
    guard(selector, ctx, selector.begin(ctx.registryName, node));
  } catch (error) {
    logOnce(selector, ctx, error);
  }
}

/** Reports to the selector that a node has begun to answer. */
export function reportFirstReply(
  selector: Selector,
  ctx: OutgoingContext,
  node: NodeRecord,
  latencyMs: number | undefined,
  startMs: number,
): void {
  if (!selector.firstReply) return;
  try {
    guard(selector, ctx, selector.firstReply(ctx.registryName, node, latencyMs, startMs));
  } catch (error) {
    logOnce(selector, ctx, error);
  }
}

/** Reports the end of a call on a node to the selector, with the status that the node sent. */
export function reportEnd(
  selector: Selector,
  ctx: OutgoingContext,
  node: NodeRecord,
  error: TenonError | undefined,
  status: Status | undefined,
  latencyMs: number | undefined,
): void {
  ctx.noteStatus(status);
  try {
    guard(selector, ctx, selector.mark(ctx.registryName, node, error, latencyMs, ctx));
  } catch (thrown) {
    logOnce(selector, ctx, thrown);
  }
}

/** A report returns nothing. If it is async all the same, its rejection is not left uncaught. */
function guard(selector: Selector, ctx: OutgoingContext, result: unknown): void {
  if (isPromise(result))
    quietly(
      () => result,
      undefined,
      (error) => logOnce(selector, ctx, error),
    );
}

function logOnce(selector: Selector, ctx: OutgoingContext, error: unknown): void {
  if (failing.has(selector)) return;
  failing.add(selector);
  ctx.logger.error(`the selector "${String(selector)}" failed when it was told of a call; the call goes on`, { error });
}

function describe(value: unknown, object: string): string {
  if (isPromise(value)) {
    Promise.resolve(value).catch(() => {});
    return 'a promise';
  }
  if (value === undefined || value === null) return 'nothing';
  return typeof value === 'object' ? object : `a value of type ${typeof value}`;
}

function badSelector(selector: Selector, what: string): TenonError {
  return new TenonError({
    code: Code.Internal,
    reason: 'client.bad_selector',
    message: `the selector "${String(selector)}" ${what}`,
  });
}
