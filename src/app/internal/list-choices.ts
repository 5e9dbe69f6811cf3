import type { Binding, BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { Broker } from '../../broker/broker.ts';
import { DefaultMarshaler } from '../../codec/codec.ts';
import { Logger } from '../../logger/logger.ts';
import { Registry } from '../../registry/registry.ts';
import { Selector } from '../../selector/selector.ts';
import { Transport } from '../../transport/transport.ts';
import type { Choice, ChoiceSources } from '../choices.ts';
import type { Config } from '../config.ts';
import { isFrameworkKey, isOptionsKey, keyName } from './keys.ts';
import { optionChoices } from './option-choices.ts';
import { environmentLayer } from './option-parts.ts';
import { originOf } from './origins.ts';
import type { VariableName } from './variable-list.ts';

/** The variable that chooses the implementation of a key, in the order in which the keys are listed. */
const chosen: ReadonlyMap<ServiceIdentifier, VariableName> = new Map<ServiceIdentifier, VariableName>([
  [Transport, 'TENON_TRANSPORT'],
  [DefaultMarshaler, 'TENON_CODEC'],
  [Registry, 'TENON_REGISTRY'],
  [Selector, 'TENON_SELECTOR'],
  [Broker, 'TENON_BROKER'],
]);

/** Lists the profile, every binding and every option in force, each with its origin. Constructs nothing. */
export function listChoices(bindings: BindingService, sources: ChoiceSources): readonly Choice[] {
  const { config, profileOrigin } = sources;
  return [
    { kind: 'profile', name: 'profile', value: config.profile, origin: profileOrigin },
    ...bindingChoices(bindings, sources),
    ...optionChoices(bindings, sources),
  ];
}

function bindingChoices(bindings: BindingService, sources: ChoiceSources): Choice[] {
  const parts = new Set([...sources.options.all.values()].flat().map(({ key }) => key as ServiceIdentifier));
  const keys = [...bindings.getBoundServices()].filter((key) => !parts.has(key) && !isOptionsKey(key));
  const ours = keys.filter((key) => isFrameworkKey(key) && !chosen.has(key));
  ours.sort((a, b) => keyName(a).localeCompare(keyName(b), 'en'));
  const theirs = keys.filter((key) => !isFrameworkKey(key));
  return [...[...chosen.keys()].filter((key) => keys.includes(key)), ...ours, ...theirs].flatMap((key) => {
    const bound = [...(bindings.get(key) ?? [])];
    // Bindings that were removed again came first, so the last names belong to the bindings that are there.
    const layers = (sources.boundBy.get(key) ?? []).slice(-bound.length);
    return bound.map((binding, index) => ({
      kind: 'binding' as const,
      name: keyName(key),
      value: targetOf(binding, sources),
      origin: bindingOrigin(key, layers[index], sources.config),
    }));
  });
}

function bindingOrigin(key: ServiceIdentifier, layer: string | undefined, config: Config): string {
  if (layer !== undefined && layer !== environmentLayer) return layer;
  const variable = chosen.get(key);
  return variable === undefined ? 'default' : originOf(variable, config);
}

/** Describes the target of a binding by its class, if it has one. Never shows a value, as it may be a secret. */
function targetOf(binding: Binding, { undecorated, boundBy, config }: ChoiceSources): string {
  const key = binding.serviceIdentifier;
  const isOurs = boundBy.get(key)?.at(-1) === environmentLayer;
  if (key === Logger && isOurs) return config.log.level === 'silent' ? 'silentLogger' : 'ConsoleLogger';
  switch (binding.type) {
    case 'Instance':
      return binding.implementationType.name;
    case 'ConstantValue':
      return isOurs ? 'built in' : constantName(binding.value);
    case 'ServiceRedirection':
      return `what is bound to ${keyName(binding.targetServiceIdentifier)}`;
    case 'DynamicValue':
      return undecorated.get(key)?.name ?? 'made by a function';
    case 'Factory':
      return 'a factory';
    default:
      return 'made by a function';
  }
}

function constantName(value: unknown): string {
  if (typeof value === 'function') return value.name || 'a function';
  if (typeof value !== 'object' || value === null) return `a ${value === null ? 'null' : typeof value}`;
  const { name } = (value as { readonly constructor?: { readonly name?: string } }).constructor ?? {};
  return name === undefined || name === 'Object' ? 'an object' : name;
}
