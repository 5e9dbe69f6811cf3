import { InversifyCoreError } from '@inversifyjs/core';
import type { BindToFluentSyntax, Container, ContainerModule, ServiceIdentifier } from 'inversify';

import { Marshalers } from '../../codec/codec.ts';
import { isFrameworkKey } from './keys.ts';
import { withLoad } from './modules.ts';

type Binder = Pick<Container, 'bind' | 'rebind'>;
type AnyConstructor = abstract new (...args: never[]) => unknown;

/**
 * The layers of an application, each stronger than the one before: what a layer binds of tenon's own keys takes the place of what was bound
 * before it. A class that does not say what to inject, which the container would refuse one at a time, is noted and left to `verify`.
 */
export class Layers {
  /** Classes that cannot be constructed, by the key that they were bound to. */
  readonly undecorated = new Map<ServiceIdentifier, AnyConstructor>();
  readonly #container: Container;

  constructor(container: Container) {
    this.#container = container;
  }

  async load(module: ContainerModule): Promise<void> {
    await this.#container.loadAsync(withLoad(module, (options) => ({ ...options, ...this.#layer(options) })));
  }

  /** Runs a function that binds on the container itself. */
  run(bind: (container: Container) => void): void {
    const container = this.#container;
    Object.assign(
      container,
      this.#layer({ bind: container.bind.bind(container), rebind: container.rebind.bind(container) }),
    );
    try {
      bind(container);
    } finally {
      Reflect.deleteProperty(container, 'bind');
      Reflect.deleteProperty(container, 'rebind');
    }
  }

  #layer(below: Binder): Binder {
    const ours = new Set<ServiceIdentifier>();
    const makeRoom = (identifier: ServiceIdentifier): void => {
      // Codecs are many: one more does not take the place of the others.
      if (!isFrameworkKey(identifier) || identifier === Marshalers || ours.has(identifier)) return;
      ours.add(identifier);
      if (this.#container.isCurrentBound(identifier)) this.#container.unbind(identifier);
    };
    return {
      bind: (identifier) => {
        makeRoom(identifier);
        return this.#patient(identifier, below.bind(identifier));
      },
      rebind: (identifier) => {
        ours.add(identifier);
        return this.#patient(identifier, below.rebind(identifier));
      },
    };
  }

  /** In the place of a class that the container refuses comes something that nobody will construct, as `verify` reports the class. */
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
