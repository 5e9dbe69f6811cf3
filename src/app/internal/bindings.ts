import {
  type Binding,
  type BindingConstraints,
  type BindingService,
  ClassElementMetadataKind,
  getClassMetadata,
  ResolvedValueElementMetadataKind,
} from '@inversifyjs/core';
import { Plugin, type PluginContext } from '@inversifyjs/plugin';
import {
  type Container,
  LazyServiceIdentifier,
  type MetadataName,
  type MetadataTag,
  type ServiceIdentifier,
} from 'inversify';

import { parameterNames } from './parameters.ts';

/** What something bound needs. */
export interface Dependency {
  /** `undefined` where the class that was to be the key did not exist yet: an import cycle. */
  readonly identifier: ServiceIdentifier | undefined;
  readonly isOptional: boolean;
  readonly isMultiple: boolean;
  readonly name: MetadataName | undefined;
  readonly tags: Map<MetadataTag, unknown>;
  /** For people: `constructor parameter 2 (clock)`. Made when asked for, as it is read out of the class's text. */
  readonly place: () => string;
}

/** What a class needs, or what is wrong with what it says of that. */
export type Needs = { readonly dependencies: readonly Dependency[] } | { readonly undecorated: readonly string[] };

/** The container's table of bindings; it constructs nothing. */
export function bindingsOf(container: Container): BindingService {
  return contextOf(container).bindingService;
}

/** The container's tables, as its plug-ins see them. */
export function contextOf(container: Container): PluginContext {
  const seen: PluginContext[] = [];
  container.register(
    class extends Plugin<Container> {
      override load(): void {
        seen.push(this._context);
      }
    },
  );
  return seen[0] as PluginContext;
}

/** Every binding of the container, in the order of the keys. */
export function allBindings(bindings: BindingService): Binding[] {
  return [...bindings.getBoundServices()].flatMap((identifier) => [...(bindings.get(identifier) ?? [])]);
}

/**
 * What a binding needs before it can be constructed. A dynamic value or a factory asks as it likes: nothing is known of
 * that.
 */
export function needsOf(binding: Binding): Needs {
  if (binding.type === 'Instance') return needsOfClass(binding.implementationType);
  if (binding.type === 'ServiceRedirection') {
    return {
      dependencies: [dependency({ value: binding.targetServiceIdentifier }, () => 'the service it stands for')],
    };
  }
  if (binding.type !== 'ResolvedValue') return { dependencies: [] };
  return {
    dependencies: binding.metadata.arguments.map((argument, index) =>
      dependency(
        { ...argument, isMultiple: argument.kind === ResolvedValueElementMetadataKind.multipleInjection },
        () => `argument ${index + 1} of its function`,
      ),
    ),
  };
}

/** The bindings that satisfy a dependency, those behind `toService` included, as the container would choose them. */
export function candidatesFor(
  bindings: BindingService,
  wanted: Pick<Dependency, 'identifier' | 'name' | 'tags'>,
  parent: BindingConstraints | undefined,
): { readonly found: Binding[]; readonly constraints: BindingConstraints } {
  const serviceIdentifier = wanted.identifier as ServiceIdentifier;
  const constraints = { serviceIdentifier, name: wanted.name, tags: wanted.tags, getAncestor: () => parent };
  const found = [...(bindings.get(serviceIdentifier) ?? [])].filter((binding) => binding.isSatisfiedBy(constraints));
  return { found, constraints };
}

const classNeeds = new WeakMap<object, Needs>();

/** What a class says of what is to be injected. */
export function needsOfClass(target: abstract new (...args: never[]) => unknown): Needs {
  let needs = classNeeds.get(target);
  if (!needs) classNeeds.set(target, (needs = readClass(target)));
  return needs;
}

function readClass(target: abstract new (...args: never[]) => unknown): Needs {
  const placeOf = (index: number): string => {
    const name = parameterNames(target)[index];
    return `constructor parameter ${index + 1}${name === undefined ? '' : ` (${name})`}`;
  };
  let metadata;
  try {
    metadata = getClassMetadata(target as never);
  } catch (error) {
    const places = undecoratedIndexes(String(error), target.length).map(placeOf);
    return { undecorated: places.length === 0 ? ['a constructor parameter'] : places };
  }
  const elements = [
    ...metadata.constructorArguments.map((element, index) => [element, () => placeOf(index)] as const),
    ...[...metadata.properties].map(([key, element]) => [element, () => `property ${String(key)}`] as const),
  ];
  return {
    dependencies: elements.flatMap(([element, place]) =>
      element.kind === ClassElementMetadataKind.unmanaged
        ? []
        : [dependency({ ...element, isMultiple: element.kind === ClassElementMetadataKind.multipleInjection }, place)],
    ),
  };
}

/** The container tells only in its message which parameters it means. */
function undecoratedIndexes(message: string, length: number): number[] {
  const few = /requires at least \d+ arguments, found (\d+)/.exec(message);
  if (few) return Array.from({ length: length - Number(few[1]) }, (_, index) => Number(few[1]) + index);
  const listed = /constructor indexes ((?:"\d+"(?:, )?)+)/.exec(message)?.[1] ?? '';
  const single = [...message.matchAll(/with index (\d+)/g)].map((match) => Number(match[1]));
  return [...single, ...[...listed.matchAll(/\d+/g)].map(Number)];
}

interface Element {
  readonly value: ServiceIdentifier | LazyServiceIdentifier | undefined;
  readonly optional?: boolean;
  readonly isMultiple?: boolean;
  readonly name?: MetadataName | undefined;
  readonly tags?: Map<MetadataTag, unknown>;
}

function dependency(element: Element, place: () => string): Dependency {
  return {
    identifier: LazyServiceIdentifier.is(element.value) ? element.value.unwrap() : element.value,
    isOptional: element.optional ?? false,
    isMultiple: element.isMultiple ?? false,
    name: element.name,
    tags: element.tags ?? new Map(),
    place,
  };
}
