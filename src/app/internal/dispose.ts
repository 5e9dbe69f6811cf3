import { type Binding, type BindingService, getClassMetadata } from '@inversifyjs/core';
import type { PluginContext } from '@inversifyjs/plugin';
import type { ServiceIdentifier } from 'inversify';

import { allBindings, candidatesFor, needsOf } from './bindings.ts';

/** Whether a binding of the key, or of one it stands for, has been constructed. */
export function wasResolved(bindings: BindingService, identifier: ServiceIdentifier): boolean {
  return [...(bindings.get(identifier) ?? [])].some((binding) =>
    binding.type === 'ServiceRedirection'
      ? wasResolved(bindings, binding.targetServiceIdentifier)
      : binding.cache.isRight,
  );
}

/**
 * The constructed bindings that have something to do when they are let go of, one a key, each before what it holds. The
 * container's own order is that of binding, which would take away what others still use.
 */
export function disposalOrder({ bindingService: bindings, deactivationService }: PluginContext): readonly Binding[] {
  const order: Binding[] = [];
  const seen = new Set<Binding>();
  const visit = (binding: Binding): void => {
    if (seen.has(binding)) return;
    seen.add(binding);
    const needs = needsOf(binding);
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
