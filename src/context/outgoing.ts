import type { TenonError } from '../errors/errors.ts';
import type { Context } from './context.ts';

/**
 * Controls an outgoing call, for interceptors that send it more than once or choose among its nodes.
 * {@link Context.outgoing} gives it.
 */
export interface Outgoing {
  /** The name in the registry of the service that is called, or the address that the call goes to. */
  readonly target: string;
  /** Prepares the call to be sent any number of times. The caller must {@link Attempts.settle} the result. */
  attempts(): Attempts;
  /** Adds an observer that may reject nodes, and is called for each node that the call is sent to. */
  observeRoute(observer: RouteObserver): void;
}

/** Observes and restricts the nodes that a call goes to. Nodes are named by their address. */
export interface RouteObserver {
  /**
   * Returns an error to rule the node out. If no other node is left, the call fails with it. It may be called for nodes
   * that the call is not sent to.
   */
  reject(address: string): TenonError | undefined;
  /** Called when the call is sent to the node: once for each node that an attempt tries. */
  onSend(address: string): void;
  /** Called when the node certainly did not process the call. */
  onRefused(address: string): void;
}

/** The attempts of one call. */
export interface Attempts {
  /**
   * Makes the context of another attempt, which is passed to `next`. It has its own copy of the call's metadata,
   * headers and trailers, and is aborted with the call; aborting it ends no other attempt. The attempt goes to a node
   * that no attempt was sent to, as long as there is one.
   */
  begin(): Context;
  /** True if certainly no handler saw the attempt: it was not sent, or every node that it was sent to refused it. */
  wasRefused(attempt: Context): boolean;
  /**
   * Commits the call to an attempt (gRPC: A6): the caller sees its peer, headers and trailers, also those still to
   * come. The other attempts are cancelled.
   */
  commit(attempt: Context): void;
  /** Ends the call: attempts that were not committed are cancelled. */
  settle(): void;
}
