import type { BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { capabilitiesIn, declaredCapabilities } from '../../internal/capabilities.ts';
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
  if (binding?.type === 'ConstantValue') return declaredCapabilities<T>(binding.value);
  const needs = binding && dependenciesOf(binding);
  const injected = needs && 'dependencies' in needs ? needs.dependencies : [];
  const options = injected.map(({ identifier: key }) => key && optionsOf(key));
  return capabilitiesIn<T>(classBoundTo(bindings, identifier), Object.assign({}, ...options) as object);
}
