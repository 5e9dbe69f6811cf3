import type { Binding, BindingConstraints, BindingService } from '@inversifyjs/core';
import type { ServiceIdentifier } from 'inversify';

import { Broker } from '../../broker/broker.ts';
import { Client } from '../../client/client.ts';
import { Context } from '../../context/context.ts';
import { didYouMean } from '../../internal/suggest.ts';
import { Registry } from '../../registry/registry.ts';
import { Selector } from '../../selector/selector.ts';
import { Server } from '../../server/server.ts';
import { ServiceRuntime } from '../../service/service.ts';
import { Transport } from '../../transport/transport.ts';
import type { Problem } from '../describe.ts';
import { allBindings, candidatesFor, type Dependency, dependenciesOf, dependenciesOfClass } from './bindings.ts';
import { capabilitiesBoundTo, classBoundTo } from './capabilities.ts';
import { keyName } from './keys.ts';
import { hasConstructor } from './constructor-parameters.ts';

/** Contracts whose implementations have `capabilities`. */
const withCapabilities: readonly ServiceIdentifier[] = [Transport, Registry, Selector, Broker];
/** Keys with one object for the whole process. */
const perProcess: readonly ServiceIdentifier[] = [...withCapabilities, Client];
/** Keys with an object for each service. */
const perService: readonly ServiceIdentifier[] = [Server, ServiceRuntime];

type AnyConstructor = abstract new (...args: never[]) => unknown;

/** Classes whose constructor parameters lack `@inject`, by the keys that they were bound to. */
type Undecorated = ReadonlyMap<ServiceIdentifier, AnyConstructor>;

/** A key that is required at a place other than a constructor. */
interface RequiredKey {
  readonly key: ServiceIdentifier;
  readonly place: string;
}

/**
 * Follows the dependencies of `roots`, then of all other bindings, and lists what the container could not construct, or
 * would construct wrongly. Constructs nothing.
 */
export function checkWiring(
  bindings: BindingService,
  roots: readonly ServiceIdentifier[],
  undecorated: Undecorated = new Map(),
  required: readonly RequiredKey[] = [],
): readonly Problem[] {
  return new WiringCheck(bindings, undecorated).run([
    ...roots.map((key) => ({ key, place: 'the application' })),
    ...required,
  ]);
}

class WiringCheck {
  readonly #bindings: BindingService;
  readonly #undecorated: Undecorated;
  readonly #problems: Problem[] = [];
  readonly #done = new Set<Binding>();
  readonly #stack: Binding[] = [];
  readonly #requestPaths = new Map<Binding, readonly string[] | undefined>();

  constructor(bindings: BindingService, undecorated: Undecorated) {
    this.#bindings = bindings;
    this.#undecorated = undecorated;
  }

  run(roots: readonly RequiredKey[]): readonly Problem[] {
    for (const { key, place } of roots) this.#visitKey(key, place);
    const all = allBindings(this.#bindings);
    for (const binding of all) this.#visit(binding, rootConstraints(binding.serviceIdentifier));
    const perRequest = all.some((binding) => binding.type !== 'ServiceRedirection' && binding.scope === 'Request');
    for (const binding of all) {
      this.#checkScope(binding);
      if (perRequest) this.#checkCapture(binding);
    }
    for (const identifier of withCapabilities) this.#checkCapabilities(identifier);
    return this.#problems;
  }

  #visitKey(identifier: ServiceIdentifier, place: string): void {
    const wanted = {
      identifier,
      isOptional: false,
      isMultiple: false,
      name: undefined,
      tags: new Map(),
      place: () => '',
    };
    this.#visitDependency(wanted, undefined, place);
  }

  #visit(binding: Binding, constraints: BindingConstraints): void {
    if (this.#stack.includes(binding)) this.#reportCycle(binding);
    if (this.#done.has(binding)) return;
    this.#done.add(binding);
    this.#stack.push(binding);
    const refused = this.#undecorated.get(binding.serviceIdentifier);
    const needs = refused && binding.type === 'DynamicValue' ? dependenciesOfClass(refused) : dependenciesOf(binding);
    const name = this.#nameOf(binding);
    if ('undecorated' in needs) {
      for (const place of needs.undecorated) {
        this.#report(
          'undecorated-parameter',
          `${name}, ${place}`,
          `${place} of ${name} has no @inject, so the container does not know what to give it${this.#dependencyPath()}`,
          'write @inject(Key) before it, and import Key as a value: what `import type` imports is not there at run time',
        );
      }
    } else {
      for (const dependency of needs.dependencies) this.#visitDependency(dependency, constraints, name);
      this.#checkPerServiceKeys(binding, name, needs.dependencies);
      this.#checkBase(binding, name, needs.dependencies);
    }
    this.#stack.pop();
  }

  /** Finds the binding that the container would choose for a dependency, and follows it. */
  #visitDependency(dependency: Dependency, parent: BindingConstraints | undefined, name: string): void {
    const { identifier } = dependency;
    const where = (): string => [name, dependency.place()].filter(Boolean).join(', ');
    if (identifier === undefined) {
      this.#report(
        'undefined-key',
        where(),
        `${dependency.place()} of ${name} is injected by a key that was undefined when the class was made${this.#dependencyPath()}`,
        'two modules import each other: move what both need to a third one, or inject new LazyServiceIdentifier(() => Key)',
      );
      return;
    }
    const { found, constraints } = candidatesFor(this.#bindings, dependency, parent);
    if (found.length === 0 && !dependency.isOptional && !dependency.isMultiple)
      this.#reportMissing(dependency, where());
    if (found.length > 1 && !dependency.isMultiple) {
      this.#report(
        'ambiguous-binding',
        where(),
        `${described(dependency)} is bound ${found.length} times (${found.map((one) => this.#nameOf(one)).join(', ')}), and one is wanted${this.#dependencyPath(identifier)}`,
        'rebind instead of binding again, tell them apart with whenNamed and @named, or take all of them with @multiInject',
      );
    }
    for (const binding of found) this.#visit(binding, constraints);
  }

  #reportMissing(dependency: Dependency, where: string): void {
    const identifier = dependency.identifier as ServiceIdentifier;
    const name = keyName(identifier);
    if (identifier === Context) {
      this.#report(
        'per-call-object',
        where,
        `a Context belongs to one call, and is not to be had from the container${this.#dependencyPath(identifier)}`,
        'take it as the second argument of the method, and pass it on',
      );
      return;
    }
    const message = `nothing is bound to ${described(dependency)}${this.#dependencyPath(identifier)}`;
    this.#report(
      'missing-binding',
      where,
      message,
      `${this.#remedy(identifier, name)}${this.#suggestion(identifier, name)}`,
    );
  }

  #remedy(identifier: ServiceIdentifier, name: string): string {
    const isBoundOtherwise = this.#bindings.get(identifier) !== undefined;
    if (isBoundOtherwise)
      return `it is bound, but none of its bindings fits here: look at their when…, at @named and @tagged`;
    if (typeof identifier === 'function')
      return `bind it, in a module or in options.bind: container.bind(${name}).toSelf()`;
    const key = typeof identifier === 'string' ? `'${identifier}'` : name;
    return `bind it, in a module or in options.bind: container.bind(${key}).to(…)`;
  }

  #suggestion(identifier: ServiceIdentifier, name: string): string {
    const bound = [...this.#bindings.getBoundServices()].filter((one) => one !== identifier);
    if (bound.some((one) => keyName(one) === name)) {
      return `. Another key of the name ${name} is bound: is it imported from two places?`;
    }
    const suggestion = didYouMean(name, bound.map(keyName));
    return suggestion === '' ? '' : `.${suggestion}`;
  }

  #reportCycle(binding: Binding): void {
    const cycle = [...this.#stack.slice(this.#stack.indexOf(binding)), binding].map((one) => this.#nameOf(one));
    this.#report(
      'cyclic-dependency',
      cycle[0] ?? '',
      `these need each other before any of them can be constructed: ${cycle.join(' → ')}`,
      'let one of them do without: move what both need to a third class, or pass it at the call',
    );
  }

  /** Reports injected keys of a server or a service, as each injection would get a new one that is never started. */
  #checkPerServiceKeys(binding: Binding, name: string, dependencies: readonly Dependency[]): void {
    if (perService.includes(binding.serviceIdentifier)) return;
    for (const { identifier, place } of dependencies) {
      if (identifier === undefined || !perService.includes(identifier)) continue;
      const key = keyName(identifier);
      this.#report(
        'per-service-object',
        [name, place()].filter(Boolean).join(', '),
        `each service of a process has a ${key} of its own, and who injects one gets yet another, which nobody starts: not the one that ${name} runs in`,
        'inject what it is wanted for (Registry, Broker, Logger, a typed client), or take it from outside: system.services[0]',
      );
    }
  }

  /**
   * Reports a subclass that lacks the `@inject` decorators of its base class: it would be constructed without
   * arguments.
   */
  #checkBase(binding: Binding, name: string, dependencies: readonly Dependency[]): void {
    if (binding.type !== 'Instance' || dependencies.length > 0) return;
    const base = constructedBy(binding.implementationType);
    const needs = base && base !== binding.implementationType ? dependenciesOfClass(base) : undefined;
    const isInjected =
      needs && 'dependencies' in needs && needs.dependencies.some((one) => one.place().startsWith('constructor'));
    if (!base || !isInjected) return;
    this.#report(
      'undecorated-base',
      name,
      `${name} inherits the constructor of ${base.name}, but not what is injected there: it would be constructed without arguments`,
      `decorate it with @injectFromBase({ extendConstructorArguments: true }), or give it a constructor`,
    );
  }

  #checkScope(binding: Binding): void {
    if (binding.type === 'ServiceRedirection') return;
    const name = keyName(binding.serviceIdentifier);
    if (perProcess.includes(binding.serviceIdentifier) && binding.scope !== 'Singleton') {
      const message = `${this.#nameOf(binding)} is bound in ${binding.scope.toLowerCase()} scope: each who asks would get another one`;
      this.#report('wrong-scope', name, message, `bind it with inSingletonScope()`);
    }
    if (perService.includes(binding.serviceIdentifier) && binding.scope === 'Singleton') {
      const message = `${this.#nameOf(binding)} is bound as a singleton: the services of a process would share it`;
      this.#report('wrong-scope', name, message, `bind it with inTransientScope()`);
    }
  }

  #checkCapture(binding: Binding): void {
    if (binding.type === 'ServiceRedirection' || binding.scope !== 'Singleton') return;
    const path = this.#pathToRequestScope(binding);
    if (path) {
      this.#report(
        'per-call-object',
        this.#nameOf(binding),
        `${this.#nameOf(binding)} is made once and would keep an object that is made per request: ${[this.#nameOf(binding), ...path].join(' → ')}`,
        `bind ${path.at(-1)} as a singleton, or pass what belongs to a call with the call`,
      );
    }
  }

  /**
   * The path from a binding through its transient dependencies to an object of request scope; `undefined` if there is
   * none.
   */
  #pathToRequestScope(binding: Binding): readonly string[] | undefined {
    const needs = dependenciesOf(binding);
    for (const dependency of 'dependencies' in needs ? needs.dependencies : []) {
      if (dependency.identifier === undefined) continue;
      for (const held of candidatesFor(this.#bindings, dependency, rootConstraints(binding.serviceIdentifier)).found) {
        const path = this.#pathFrom(held);
        if (path) return path;
      }
    }
    return undefined;
  }

  #pathFrom(binding: Binding): readonly string[] | undefined {
    if (this.#requestPaths.has(binding)) return this.#requestPaths.get(binding);
    const scope = binding.type === 'ServiceRedirection' ? 'Transient' : binding.scope;
    this.#requestPaths.set(binding, scope === 'Request' ? [this.#nameOf(binding)] : undefined);
    if (scope === 'Transient') {
      const path = this.#pathToRequestScope(binding);
      this.#requestPaths.set(binding, path && [this.#nameOf(binding), ...path]);
    }
    return this.#requestPaths.get(binding);
  }

  #checkCapabilities(identifier: ServiceIdentifier): void {
    const target = classBoundTo(this.#bindings, identifier);
    if (target === undefined || capabilitiesBoundTo(this.#bindings, identifier) !== undefined) return;
    const [key, name] = [keyName(identifier), target.name];
    this.#report(
      'no-capabilities',
      key,
      `${name} is bound to ${key}, but does not say what it can and cannot do`,
      `give the class static readonly capabilities: ${key}Capabilities`,
    );
  }

  /** The path of dependencies to the current binding, for messages. */
  #dependencyPath(identifier?: ServiceIdentifier): string {
    const names = this.#stack.map((one) => this.#nameOf(one));
    if (identifier !== undefined) names.push(keyName(identifier));
    return names.length < 2 ? '' : `: ${names.join(' → ')}`;
  }

  /** The name of a binding in messages: `Registry (FolderRegistry)`, or only the class if it is its own key. */
  #nameOf(binding: Binding): string {
    const key = keyName(binding.serviceIdentifier);
    const target =
      binding.type === 'Instance' ? binding.implementationType : this.#undecorated.get(binding.serviceIdentifier);
    return target === undefined || target.name === key ? key : `${key} (${target.name})`;
  }

  #report(kind: string, where: string, message: string, fix: string): void {
    this.#problems.push({ kind, where, message, fix });
  }
}

/** The class that defines the constructor: the class itself, or its nearest base class that has one. */
function constructedBy(target: AnyConstructor): AnyConstructor | undefined {
  for (
    let at = target;
    typeof at === 'function' && at.prototype !== undefined;
    at = Object.getPrototypeOf(at) as AnyConstructor
  ) {
    if (hasConstructor(at)) return at;
  }
  return undefined;
}

function described({ identifier, name, tags }: Dependency): string {
  const parts = [keyName(identifier as ServiceIdentifier)];
  if (name !== undefined) parts.push(`named ${String(name)}`);
  for (const [tag, value] of tags) parts.push(`tagged ${String(tag)}=${String(value)}`);
  return parts.join(' ');
}

function rootConstraints(serviceIdentifier: ServiceIdentifier): BindingConstraints {
  return { serviceIdentifier, name: undefined, tags: new Map(), getAncestor: () => undefined };
}
