import type { TenonError } from '../errors/errors.ts';
import type { Context } from './context.ts';

/**
 * What the caller's side of a call can do beyond what every context can: for interceptors that make a call more than once, or have a say in
 * where it goes. {@link Context.outgoing} gives it.
 */
export interface Outgoing {
  /** Name in the registry of the service called; the address, where the call goes to one. */
  readonly target: string;
  /** Prepares the call to be made any number of times. Whoever asks must {@link Attempts.settle} it. */
  attempts(): Attempts;
  /**
   * Asks `check` before the call is sent to an address: an error that it returns rules the node out, and becomes the call's when no node is left.
   * Asked again for each node that is tried, of each check that was given.
   */
  onNode(check: (address: string) => TenonError | undefined): void;
}

/** One call, made several times. */
export interface Attempts {
  /**
   * The context of another attempt, to be given to `next`. It has a copy of the call's metadata, headers and trailers of its own, and is aborted with
   * the call; aborting it ends no other attempt. It goes to a node that no attempt was sent to, as long as there is one.
   */
  begin(): Context;
  /** Whether no handler can have seen the attempt: it was not sent, or whoever was asked certainly did not take it. */
  wasRefused(attempt: Context): boolean;
  /** Makes the attempt the one that the caller sees: its peer, its headers and its trailers, also those that are still to come. */
  choose(attempt: Context): void;
  /** The call is over. Every attempt that was not chosen is cancelled. */
  settle(): void;
}
