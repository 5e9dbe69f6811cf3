import type { BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { needsOf } from './bindings.ts';

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

/** The options that are bound to a key, as far as they are constants. */
export type KnownOptions = (key: ServiceIdentifier) => object | undefined;

/**
 * What the implementation bound to a key says that it can do; `undefined` where it says nothing, or cannot be known.
 * `optionsOf` is for a class whose capabilities depend on the options that are injected into it.
 */
export function capabilitiesBoundTo<T extends object>(
  bindings: BindingService,
  identifier: ServiceIdentifier,
  optionsOf: KnownOptions = () => undefined,
): T | undefined {
  const [binding] = [...(bindings.get(identifier) ?? [])];
  if (binding?.type === 'ServiceRedirection') {
    return capabilitiesBoundTo(bindings, binding.targetServiceIdentifier, optionsOf);
  }
  if (binding?.type === 'ConstantValue') return capabilitiesOf(binding.value);
  const needs = binding && needsOf(binding);
  const injected = needs && 'dependencies' in needs ? needs.dependencies : [];
  const options = injected.map(({ identifier: key }) => key && optionsOf(key));
  return capabilitiesIn<T>(classBoundTo(bindings, identifier), Object.assign({}, ...options) as object);
}

/** What an implementation says that it can do: itself, or else its class. */
export function capabilitiesOf<T extends object>(instance: unknown): T | undefined {
  return capabilitiesIn<T>(instance) ?? capabilitiesIn<T>((instance as object | undefined)?.constructor);
}

/** They are an object, or a function of the options where those decide. */
function capabilitiesIn<T extends object>(value: unknown, options: object = {}): T | undefined {
  const stated = (value as { readonly capabilities?: unknown } | undefined)?.capabilities;
  const capabilities: unknown = typeof stated === 'function' ? stated.call(value, options) : stated;
  return typeof capabilities === 'object' && capabilities !== null ? (capabilities as T) : undefined;
}
