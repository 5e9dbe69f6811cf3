/** Something that is aborted once, and tells whoever listens: the context of a call is one. */
export interface Abortable {
  /** Calls `listener` once, at once if it is aborted already; returns what takes it back. */
  onAbort(listener: (reason: unknown) => void): () => void;
}

interface Follower {
  readonly listener: (reason: unknown) => void;
}

/** One listener for all who follow a signal: Node warns of a leak at the eleventh. */
const followed = new WeakMap<AbortSignal, Set<Follower>>();

/**
 * Calls `listener` once with the signal's reason when it aborts, at once if it has; returns what takes it back. Without
 * a signal nothing is called, and nothing is left behind on a signal that outlives what followed it.
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
      // As a listener of the signal itself: the others are told all the same.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

function nothing(): void {}
