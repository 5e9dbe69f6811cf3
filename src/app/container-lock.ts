import type { Container, ContainerModule } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import { bindingsOf } from './internal/bindings.ts';
import { isFrameworkKey, keyName } from './internal/keys.ts';
import { withLoad } from './internal/with-load.ts';

const changing = ['bind', 'rebind', 'rebindAsync', 'unbind', 'unbindAsync'] as const;

/**
 * Locks tenon's own keys in a container: changing their bindings throws FAILED_PRECONDITION (`app.rebind_refused`), as
 * objects that were injected before would stay in use. All other keys can still be bound.
 */
export function lockContainer(container: Container): void {
  for (const name of changing) {
    const original = container[name].bind(container) as (identifier: unknown) => unknown;
    container[name] = ((identifier: unknown) => {
      assertForeign(container, identifier);
      return original(identifier);
    }) as never;
  }
  const load = container.load.bind(container);
  const loadAsync = container.loadAsync.bind(container);
  const unload = container.unload.bind(container);
  const unloadAsync = container.unloadAsync.bind(container);
  container.load = (...modules) => load(...modules.map(guarded));
  container.loadAsync = (...modules) => loadAsync(...modules.map(guarded));
  container.unload = (...modules) => {
    assertForeignModules(container, modules);
    unload(...modules);
  };
  container.unloadAsync = async (...modules) => {
    assertForeignModules(container, modules);
    await unloadAsync(...modules);
  };
  container.unbindAll = container.restore = () => refuse('every key');
  container.unbindAllAsync = async () => refuse('every key');
}

/** Wraps a module so that it cannot change the bindings of tenon's own keys. */
function guarded(module: ContainerModule): ContainerModule {
  return withLoad(module, (options) => {
    const watched = { ...options };
    for (const name of changing) {
      const original = options[name] as (identifier: unknown) => unknown;
      watched[name] = ((identifier: unknown) => {
        if (isFrameworkKey(identifier)) refuse(keyName(identifier));
        return original(identifier);
      }) as never;
    }
    return watched;
  });
}

function assertForeign(container: Container, identifier: unknown): void {
  if (isFrameworkKey(identifier)) refuse(keyName(identifier));
  // `unbind` also takes the identifier of a single binding, from `getIdentifier()`.
  const id = (identifier as { readonly id?: unknown } | undefined)?.id;
  if (typeof id === 'number') {
    for (const binding of bindingsOf(container).getById(id) ?? []) assertForeign(container, binding.serviceIdentifier);
  }
}

function assertForeignModules(container: Container, modules: readonly ContainerModule[]): void {
  for (const { id } of modules) {
    for (const binding of bindingsOf(container).getByModuleId(id) ?? [])
      assertForeign(container, binding.serviceIdentifier);
  }
}

function refuse(what: string): never {
  throw new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.rebind_refused',
    message: `${what} cannot be rebound once the application has started, as objects that were injected would stay in use: bind it before, in a module, the profile or options.bind`,
  });
}
