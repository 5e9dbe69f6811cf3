import type { TenonError } from '../errors/errors.ts';
import type { Context } from './context.ts';

/**
 * What the caller's side of a call can do beyond what every context can: for interceptors that make a call more than
 * once, or have a say in where it goes. {@link Context.outgoing} gives it.
 */
export interface Outgoing {
  /** Name in the registry of the service called; the address, where the call goes to one. */
  readonly target: string;
  /** Prepares the call to be made any number of times. Whoever asks must {@link Attempts.settle} it. */
  attempts(): Attempts;
  /** Has a say in which nodes the call goes to, and hears of those that it was sent to. */
  observeRoute(observer: RouteObserver): void;
}

/** What is asked and told of nodes; by their address. */
export interface RouteObserver {
  /**
   * An error rules the node out, and becomes the call's when no other is left. May be asked of nodes that the call is
   * not sent to.
   */
  reject(address: string): TenonError | undefined;
  /** The call is sent to the node: once for each attempt, and for each node that is tried in it. */
  onSend(address: string): void;
  /** The node certainly did not take it. */
  onRefused(address: string): void;
}

/** One call, made several times. */
export interface Attempts {
  /**
   * The context of another attempt, to be given to `next`. It has a copy of the call's metadata, headers and trailers
   * of its own, and is aborted with the call; aborting it ends no other attempt. It goes to a node that no attempt was
   * sent to, as long as there is one.
   */
  begin(): Context;
  /** Whether no handler can have seen the attempt: it was not sent, or whoever was asked certainly did not take it. */
  wasRefused(attempt: Context): boolean;
  /**
   * Makes the attempt the one that the caller sees: its peer, its headers and its trailers, also those that are still
   * to come. The others are cancelled.
   */
  commit(attempt: Context): void;
  /** The call is over: attempts that were not chosen are cancelled. */
  settle(): void;
}
