import type { BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

/** A class, of which only the name matters. */
export interface NamedClass {
  readonly name: string;
}

/** The class that a key is bound to, where it can be known without constructing it. */
export function classBoundTo(bindings: BindingService, identifier: ServiceIdentifier): NamedClass | undefined {
  const [binding] = [...(bindings.get(identifier) ?? [])];
  if (binding?.type === 'ServiceRedirection') return classBoundTo(bindings, binding.targetServiceIdentifier);
  if (binding?.type === 'Instance') return binding.implementationType;
  return binding?.type === 'ConstantValue' ? (binding.value as object | undefined)?.constructor : undefined;
}

/** What the implementation bound to a key says that it can do; `undefined` where it says nothing, or cannot be known. */
export function capabilitiesBoundTo<T extends object>(
  bindings: BindingService,
  identifier: ServiceIdentifier,
): T | undefined {
  const [binding] = [...(bindings.get(identifier) ?? [])];
  if (binding?.type === 'ServiceRedirection') return capabilitiesBoundTo(bindings, binding.targetServiceIdentifier);
  if (binding?.type === 'ConstantValue') return capabilitiesOf(binding.value);
  return capabilitiesIn<T>(classBoundTo(bindings, identifier));
}

/** What an implementation says that it can do: itself, or else its class. */
export function capabilitiesOf<T extends object>(instance: unknown): T | undefined {
  return capabilitiesIn<T>(instance) ?? capabilitiesIn<T>((instance as object | undefined)?.constructor);
}

function capabilitiesIn<T extends object>(value: unknown): T | undefined {
  const capabilities = (value as { readonly capabilities?: unknown } | undefined)?.capabilities;
  return typeof capabilities === 'object' && capabilities !== null ? (capabilities as T) : undefined;
}
