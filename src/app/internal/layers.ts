import { InversifyCoreError } from '@inversifyjs/core';
import type { BindToFluentSyntax, Container, ContainerModule, ServiceIdentifier } from 'inversify';

import { ClientInterceptors } from '../../client/client.ts';
import { Marshaler } from '../../codec/codec.ts';
import { ServerInterceptors } from '../../server/server.ts';
import { isFrameworkKey, isOptionsKey } from './keys.ts';
import { withLoad } from './modules.ts';
import { OptionParts } from './option-parts.ts';

type Binder = Pick<Container, 'bind' | 'rebind'>;
type AnyConstructor = abstract new (...args: never[]) => unknown;

/** Keys of which there are many: one more does not take the place of the others. */
const many: ReadonlySet<ServiceIdentifier> = new Set([Marshaler, ClientInterceptors, ServerInterceptors]);

/**
 * The layers of an application, each stronger than the one before: what a layer binds of tenon's own keys takes the
 * place of what was bound before it, of options field by field. A class that does not say what to inject, which the
 * container would refuse one at a time, is noted and left to `verify`.
 */
export class Layers {
  /** Classes that cannot be constructed, by the key that they were bound to. */
  readonly undecorated = new Map<ServiceIdentifier, AnyConstructor>();
  /** The layers that bound each key, a name for each time, the last one last. */
  readonly boundBy = new Map<ServiceIdentifier, readonly string[]>();
  /** What the layers say of options. */
  readonly options: OptionParts;
  readonly #container: Container;

  constructor(container: Container) {
    this.#container = container;
    this.options = new OptionParts(container);
  }

  /** `name` is for people. */
  async load(module: ContainerModule, name: string): Promise<void> {
    await this.#container.loadAsync(withLoad(module, (options) => ({ ...options, ...this.#layer(options, name) })));
  }

  /** Runs a function that binds on the container itself. */
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
    const ours = new Set<ServiceIdentifier>();
    const parts = new Map<ServiceIdentifier, ServiceIdentifier>();
    const placeOf = <T>(identifier: ServiceIdentifier<T>): ServiceIdentifier<T> => {
      this.boundBy.set(identifier, [...(this.boundBy.get(identifier) ?? []), name]);
      if (!isOptionsKey(identifier)) return identifier;
      const part = parts.get(identifier) ?? this.options.add(identifier, name);
      parts.set(identifier, part);
      return part as ServiceIdentifier<T>;
    };
    const makeRoom = (identifier: ServiceIdentifier): void => {
      if (!isFrameworkKey(identifier) || many.has(identifier) || ours.has(identifier)) return;
      ours.add(identifier);
      if (this.#container.isCurrentBound(identifier)) this.#container.unbind(identifier);
    };
    return {
      bind: (identifier) => {
        const place = placeOf(identifier);
        if (place === identifier) makeRoom(identifier);
        return this.#patient(place, below.bind(place));
      },
      rebind: (identifier) => {
        const place = placeOf(identifier);
        ours.add(identifier);
        return this.#patient(place, below.rebind(place));
      },
    };
  }

  /**
   * In the place of a class that the container refuses comes something that nobody will construct, as `verify` reports
   * the class.
   */
  #patient<T>(identifier: ServiceIdentifier<T>, syntax: BindToFluentSyntax<T>): BindToFluentSyntax<T> {
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
