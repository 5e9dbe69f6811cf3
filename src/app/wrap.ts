import type { Container, ResolutionContext, ServiceIdentifier } from 'inversify';

import { declaredCapabilities } from '../internal/capabilities.ts';

/** An object that registers activation handlers: the container in `bind`, or the options of a module. */
export type ActivationTarget = Pick<Container, 'onActivation'>;

/**
 * Wraps the object that is bound to a key, whatever its class: `make` gets the object once it is constructed, and
 * returns the one that is injected. If the wrapper has no `capabilities` (and, for a transport, no `encryption`), it
 * gets those of the inner object. Call `wrap` after the last binding of the key.
 *
 * @example
 * ```ts
 * declare function traced(registry: Registry): Registry;
 *
 * await run([], { bind: (container) => wrap(container, Registry, traced) });
 * ```
 */
export function wrap<T extends object>(
  container: ActivationTarget,
  key: ServiceIdentifier<T>,
  make: (inner: T, context: ResolutionContext) => T,
): void {
  container.onActivation(key, (context, inner) => {
    const outer = make(inner, context);
    if (outer === inner) return outer;
    if (!declaredCapabilities(outer)) takeOver(outer, 'capabilities', () => declaredCapabilities(inner));
    if (!('encryption' in outer)) takeOver(outer, 'encryption', () => (inner as { encryption?: unknown }).encryption);
    return outer;
  });
}

function takeOver(target: object, name: string, get: () => unknown): void {
  if (get() !== undefined) Object.defineProperty(target, name, { get });
}
