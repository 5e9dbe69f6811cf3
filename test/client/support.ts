/** A signal that counts who listens. */
export function countedSignal(): { signal: AbortSignal; abort: () => void; listeners: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  Object.assign(signal, {
    addEventListener: (...args: Parameters<typeof add>) => ((listeners += 1), add(...args)),
    removeEventListener: (...args: Parameters<typeof remove>) => ((listeners -= 1), remove(...args)),
  });
  // Who listens once is gone with the event.
  return { signal, abort: () => controller.abort(), listeners: () => (signal.aborted ? 0 : listeners) };
}
