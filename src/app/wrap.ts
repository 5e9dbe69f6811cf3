import type { Container, ResolutionContext, ServiceIdentifier } from 'inversify';

import { capabilitiesOf } from './internal/capabilities.ts';

/** What can be told of a binding's activation: the container in `bind`, or the options of a module. */
export type Activating = Pick<Container, 'onActivation'>;

/**
 * Puts something around what is bound to a key, whichever implementation that is: `make` gets it when it has been made,
 * and gives what others get. What it can do (`capabilities`, and of a transport its `encryption`) is taken over where
 * the wrapper says nothing. Call it after the key was bound for the last time.
 *
 * @example
 * ```ts
 * declare function traced(registry: Registry): Registry;
 *
 * await run([], { bind: (container) => wrap(container, Registry, traced) });
 * ```
 */
export function wrap<T extends object>(
  container: Activating,
  key: ServiceIdentifier<T>,
  make: (inner: T, context: ResolutionContext) => T,
): void {
  container.onActivation(key, (context, inner) => {
    const outer = make(inner, context);
    if (outer === inner) return outer;
    if (!capabilitiesOf(outer)) takeOver(outer, 'capabilities', () => capabilitiesOf(inner));
    if (!('encryption' in outer)) takeOver(outer, 'encryption', () => (inner as { encryption?: unknown }).encryption);
    return outer;
  });
}

function takeOver(target: object, name: string, get: () => unknown): void {
  if (get() !== undefined) Object.defineProperty(target, name, { get });
}
