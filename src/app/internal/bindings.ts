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

import { parameterNames } from './constructor-parameters.ts';

/** A dependency of a binding: a key that is injected into it. */
export interface Dependency {
  /** The injected key; `undefined` if it was not defined yet when the class was made, as in an import cycle. */
  readonly identifier: ServiceIdentifier | undefined;
  readonly isOptional: boolean;
  readonly isMultiple: boolean;
  readonly name: MetadataName | undefined;
  readonly tags: Map<MetadataTag, unknown>;
  /**
   * Describes the place of the dependency: `constructor parameter 2 (clock)`. A function, as it parses the class's
   * text.
   */
  readonly place: () => string;
}

/** The dependencies of a class; or, if some lack `@inject`, the places of those. */
export type Dependencies =
  { readonly dependencies: readonly Dependency[] } | { readonly undecorated: readonly string[] };

/** The container's table of bindings. Reading it constructs nothing. */
export function bindingsOf(container: Container): BindingService {
  return contextOf(container).bindingService;
}

/** The container's internal tables, as its plug-ins get them. */
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

/** All bindings of the container, in the order of their keys. */
export function allBindings(bindings: BindingService): Binding[] {
  return [...bindings.getBoundServices()].flatMap((identifier) => [...(bindings.get(identifier) ?? [])]);
}

/** The dependencies of a binding. Those of dynamic values and factories are unknown, so none are returned for them. */
export function dependenciesOf(binding: Binding): Dependencies {
  if (binding.type === 'Instance') return dependenciesOfClass(binding.implementationType);
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

/** The bindings that the container would choose from for a dependency, with those behind `toService`. */
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

const classNeeds = new WeakMap<object, Dependencies>();

/** The dependencies of a class, from its decorators. They are read once per class. */
export function dependenciesOfClass(target: abstract new (...args: never[]) => unknown): Dependencies {
  let needs = classNeeds.get(target);
  if (!needs) classNeeds.set(target, (needs = readDependencies(target)));
  return needs;
}

function readDependencies(target: abstract new (...args: never[]) => unknown): Dependencies {
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

/** Reads from the container's error message which parameters lack `@inject`, as nothing else of the error says it. */
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
