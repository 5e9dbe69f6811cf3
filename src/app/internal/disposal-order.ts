import { type Binding, type BindingService, getClassMetadata } from '@inversifyjs/core';
import type { PluginContext } from '@inversifyjs/plugin';
import type { ServiceIdentifier } from 'inversify';

import { allBindings, candidatesFor, dependenciesOf } from './bindings.ts';

/** True if something bound to the key, or to the key that it redirects to, has been constructed. */
export function wasResolved(bindings: BindingService, identifier: ServiceIdentifier): boolean {
  return [...(bindings.get(identifier) ?? [])].some((binding) =>
    binding.type === 'ServiceRedirection'
      ? wasResolved(bindings, binding.targetServiceIdentifier)
      : binding.cache.isRight,
  );
}

/**
 * The constructed bindings that have a `@preDestroy` or `onDeactivation`, one for each key, dependents before their
 * dependencies. The container itself deactivates in the order of binding, which would destroy objects that others still
 * use.
 */
export function disposalOrder({ bindingService: bindings, deactivationService }: PluginContext): readonly Binding[] {
  const order: Binding[] = [];
  const seen = new Set<Binding>();
  const visit = (binding: Binding): void => {
    if (seen.has(binding)) return;
    seen.add(binding);
    const needs = dependenciesOf(binding);
    for (const dependency of 'dependencies' in needs ? needs.dependencies : []) {
      if (dependency.identifier === undefined) continue;
      for (const held of candidatesFor(bindings, dependency, undefined).found) visit(held);
    }
    order.push(binding);
  };
  for (const binding of allBindings(bindings)) visit(binding);
  const keys = new Set<ServiceIdentifier>();
  return order.reverse().filter((binding) => {
    const { serviceIdentifier } = binding;
    const isHeard = hasFarewell(binding) || deactivationService.get(serviceIdentifier) !== undefined;
    return isConstructed(binding) && isHeard && !keys.has(serviceIdentifier) && keys.add(serviceIdentifier);
  });
}

function isConstructed(binding: Binding): boolean {
  return binding.type !== 'ServiceRedirection' && binding.cache.isRight;
}

function hasFarewell(binding: Binding): boolean {
  if (binding.type === 'ServiceRedirection') return false;
  if (binding.onDeactivation !== undefined) return true;
  return (
    binding.type === 'Instance' && getClassMetadata(binding.implementationType).lifecycle.preDestroyMethodNames.size > 0
  );
}
