import { InversifyCoreError } from '@inversifyjs/core';
import type { BindToFluentSyntax, Container, ContainerModule, ServiceIdentifier } from 'inversify';

import { ClientInterceptors } from '../../client/client.ts';
import { Marshaler } from '../../codec/codec.ts';
import { ServerInterceptors } from '../../server/server.ts';
import { isFrameworkKey, isOptionsKey } from './keys.ts';
import { withLoad } from './with-load.ts';
import { OptionParts } from './option-parts.ts';

type Binder = Pick<Container, 'bind' | 'rebind'>;
type AnyConstructor = abstract new (...args: never[]) => unknown;

/** Keys that may have several bindings: a layer adds to them, and replaces none. */
const multiBound: ReadonlySet<ServiceIdentifier> = new Set([Marshaler, ClientInterceptors, ServerInterceptors]);

/**
 * Loads the layers of an application, each stronger than the one before: a binding of one of tenon's own keys replaces
 * that of a weaker layer, and options are merged field by field. Classes whose constructor parameters lack `@inject`,
 * which the container would refuse one by one, are collected for `verify` to report.
 */
export class BindingLayers {
  /** Classes whose constructor parameters lack `@inject`, by the keys that they were bound to. */
  readonly undecorated = new Map<ServiceIdentifier, AnyConstructor>();
  /** The names of the layers that bound each key, one for each binding, in order. */
  readonly boundBy = new Map<ServiceIdentifier, readonly string[]>();
  /** The options that each layer bound. */
  readonly options: OptionParts;
  readonly #container: Container;

  constructor(container: Container) {
    this.#container = container;
    this.options = new OptionParts(container);
  }

  /** Loads a module as a layer. `name` is shown to people as its origin. */
  async load(module: ContainerModule, name: string): Promise<void> {
    await this.#container.loadAsync(withLoad(module, (options) => ({ ...options, ...this.#layer(options, name) })));
  }

  /** Runs a function that binds on the container, as a layer. */
  run(bind: (container: Container) => void, name: string): void {
    const container = this.#container;
    Object.assign(
      container,
      this.#layer({ bind: container.bind.bind(container), rebind: container.rebind.bind(container) }, name),
    );
    try {
      bind(container);
    } finally {
      Reflect.deleteProperty(container, 'bind');
      Reflect.deleteProperty(container, 'rebind');
    }
  }

  #layer(below: Binder, name: string): Binder {
    const boundHere = new Set<ServiceIdentifier>();
    const parts = new Map<ServiceIdentifier, ServiceIdentifier>();
    const keyToBind = <T>(identifier: ServiceIdentifier<T>): ServiceIdentifier<T> => {
      this.boundBy.set(identifier, [...(this.boundBy.get(identifier) ?? []), name]);
      if (!isOptionsKey(identifier)) return identifier;
      const part = parts.get(identifier) ?? this.options.add(identifier, name);
      parts.set(identifier, part);
      return part as ServiceIdentifier<T>;
    };
    const replaceWeaker = (identifier: ServiceIdentifier): void => {
      if (!isFrameworkKey(identifier) || multiBound.has(identifier) || boundHere.has(identifier)) return;
      boundHere.add(identifier);
      if (this.#container.isCurrentBound(identifier)) this.#container.unbind(identifier);
    };
    return {
      bind: (identifier) => {
        const place = keyToBind(identifier);
        if (place === identifier) replaceWeaker(identifier);
        return this.#deferRefusal(place, below.bind(place));
      },
      rebind: (identifier) => {
        const place = keyToBind(identifier);
        boundHere.add(identifier);
        return this.#deferRefusal(place, below.rebind(place));
      },
    };
  }

  /**
   * Makes `to` accept a class that the container refuses: the key is bound to a value that throws, and the class is
   * reported by `verify`.
   */
  #deferRefusal<T>(identifier: ServiceIdentifier<T>, syntax: BindToFluentSyntax<T>): BindToFluentSyntax<T> {
    const to = syntax.to.bind(syntax);
    syntax.to = (type) => {
      try {
        return to(type);
      } catch (error) {
        if (!InversifyCoreError.is(error)) throw error;
        this.undecorated.set(identifier, type);
        return syntax.toDynamicValue(() => {
          throw error;
        });
      }
    };
    return syntax;
  }
}
