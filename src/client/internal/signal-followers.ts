/** Who follows a signal that several calls were given: one listener for all, because Node warns of a leak at the eleventh. */
const followed = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `onAbort` when the signal aborts, which it must not have yet; returns what takes it back. */
export function followSignal(signal: AbortSignal, onAbort: () => void): () => void {
  const followers = followed.get(signal) ?? listenTo(signal);
  followers.add(onAbort);
  return () => {
    followers.delete(onAbort);
    if (followers.size > 0 || followed.get(signal) !== followers) return;
    followed.delete(signal);
    signal.removeEventListener('abort', tell);
  };
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const followers = new Set<() => void>();
  followed.set(signal, followers);
  signal.addEventListener('abort', tell, { once: true });
  return followers;
}

function tell(this: AbortSignal): void {
  const followers = followed.get(this);
  followed.delete(this);
  for (const onAbort of followers ?? []) onAbort();
}
