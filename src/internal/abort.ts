/** An object that is aborted once and calls its listeners, such as the context of a call. */
export interface Abortable {
  /** Calls `listener` once, at once if it is aborted already. Returns the function that removes the listener. */
  onAbort(listener: (reason: unknown) => void): () => void;
}

interface Follower {
  readonly listener: (reason: unknown) => void;
}

/** The followers of each signal, which share one listener: Node warns of a leak at the eleventh. */
const followed = new WeakMap<AbortSignal, Set<Follower>>();

/**
 * Calls `listener` once with the signal's reason when it aborts, at once if it has. Returns the function that removes
 * the listener, so that nothing stays behind on a signal that outlives it. Without a signal nothing is called.
 */
export function onAbort(signal: AbortSignal | Abortable | undefined, listener: (reason: unknown) => void): () => void {
  if (signal === undefined) return nothing;
  if (!(signal instanceof AbortSignal)) return signal.onAbort(listener);
  if (signal.aborted) {
    listener(signal.reason);
    return nothing;
  }
  const followers = followed.get(signal) ?? listenTo(signal);
  const follower = { listener };
  followers.add(follower);
  return () => {
    followers.delete(follower);
    if (followers.size > 0 || followed.get(signal) !== followers) return;
    followed.delete(signal);
    signal.removeEventListener('abort', tell);
  };
}

function listenTo(signal: AbortSignal): Set<Follower> {
  const followers = new Set<Follower>();
  followed.set(signal, followers);
  signal.addEventListener('abort', tell, { once: true });
  return followers;
}

function tell(this: AbortSignal): void {
  const followers = followed.get(this);
  followed.delete(this);
  for (const { listener } of followers ?? []) {
    try {
      listener(this.reason);
    } catch (error) {
      // As for a listener of the signal itself: an error does not keep the others from being called.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

function nothing(): void {}
