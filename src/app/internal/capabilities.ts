import type { BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { dependenciesOf } from './bindings.ts';

/** A class, by its name alone. */
export interface NamedClass {
  readonly name: string;
}

/** The class that a key is bound to; `undefined` if it is only known once it is constructed. */
export function classBoundTo(bindings: BindingService, identifier: ServiceIdentifier): NamedClass | undefined {
  const [binding] = [...(bindings.get(identifier) ?? [])];
  if (binding?.type === 'ServiceRedirection') return classBoundTo(bindings, binding.targetServiceIdentifier);
  if (binding?.type === 'Instance') return binding.implementationType;
  return binding?.type === 'ConstantValue' ? (binding.value as object | undefined)?.constructor : undefined;
}

/** Looks up the options that are bound to a key, as far as they are constants. */
export type KnownOptions = (key: ServiceIdentifier) => object | undefined;

/**
 * The capabilities of the implementation that is bound to a key; `undefined` if it has none, or if they are only known
 * once it is constructed. `optionsOf` looks up injected options, for classes whose capabilities depend on them.
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
  const needs = binding && dependenciesOf(binding);
  const injected = needs && 'dependencies' in needs ? needs.dependencies : [];
  const options = injected.map(({ identifier: key }) => key && optionsOf(key));
  return capabilitiesIn<T>(classBoundTo(bindings, identifier), Object.assign({}, ...options) as object);
}

/** The capabilities of an instance, or else of its class. */
export function capabilitiesOf<T extends object>(instance: unknown): T | undefined {
  return capabilitiesIn<T>(instance) ?? capabilitiesIn<T>((instance as object | undefined)?.constructor);
}

/** Reads `capabilities`, which is an object, or a function that makes it from options. */
function capabilitiesIn<T extends object>(value: unknown, options: object = {}): T | undefined {
  const stated = (value as { readonly capabilities?: unknown } | undefined)?.capabilities;
  const capabilities: unknown = typeof stated === 'function' ? stated.call(value, options) : stated;
  return typeof capabilities === 'object' && capabilities !== null ? (capabilities as T) : undefined;
}
