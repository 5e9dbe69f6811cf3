import type { Container, ServiceIdentifier } from 'inversify';

import { ClientInterceptors, ClientOptions } from '../../client/client.ts';
import { ServerInterceptors, ServerOptions } from '../../server/server.ts';
import { keyName } from './keys.ts';
import { asInterceptor, mergeOptions } from './merge.ts';

/** The layer of what the environment says, and of what a built-in profile says where it is silent. */
export const environmentLayer = 'the environment';
/** The layer of what nobody binds, as decorators say what is needed: handlers, guards, typed clients. */
export const decoratorsLayer = 'decorators';

/** What one layer says of the options of a key. */
export interface OptionPart {
  /** For people: `the environment`, `modules[1]`, `bind`. */
  readonly layer: string;
  /** Where it is bound. */
  readonly key: ServiceIdentifier<object>;
}

const interceptorsOf: ReadonlyMap<ServiceIdentifier, ServiceIdentifier> = new Map([
  [ClientOptions, ClientInterceptors],
  [ServerOptions, ServerInterceptors],
]);

/**
 * Options are bound in parts, one of each layer; what is bound to the key itself puts them together when it is asked
 * for.
 */
export class OptionParts {
  readonly #parts = new Map<ServiceIdentifier, OptionPart[]>();
  readonly #container: Pick<Container, 'bind' | 'unbind' | 'isCurrentBound'>;

  /** `container` as it is before anybody watches what is bound. */
  constructor(container: Container) {
    this.#container = {
      bind: container.bind.bind(container),
      unbind: container.unbind.bind(container),
      isCurrentBound: container.isCurrentBound.bind(container),
    };
  }

  /** Every key that has parts, with its parts, the weakest first. */
  get all(): ReadonlyMap<ServiceIdentifier, readonly OptionPart[]> {
    return this.#parts;
  }

  /** What the layers say of the key, the weakest first. */
  of(identifier: ServiceIdentifier): readonly OptionPart[] {
    return this.#parts.get(identifier) ?? [];
  }

  /** Where the layer is to bind what it says of the key. */
  add(identifier: symbol, layer: string): ServiceIdentifier<object> {
    // Unbound by somebody: then nothing that was said before counts.
    const before = this.#container.isCurrentBound(identifier) ? (this.#parts.get(identifier) ?? []) : [];
    const key: ServiceIdentifier<object> = Symbol(identifier.description);
    const parts = [...before, { layer, key }];
    this.#parts.set(identifier, parts);
    if (this.#container.isCurrentBound(identifier)) this.#container.unbind(identifier);
    this.#compose(identifier, parts);
    return key;
  }

  #compose(identifier: symbol, parts: readonly OptionPart[]): void {
    const keys = parts.map(({ key }) => ({ serviceIdentifier: key, optional: true as const }));
    const more = interceptorsOf.get(identifier);
    this.#container
      .bind<object>(identifier)
      .toResolvedValue(
        (...values: unknown[]) => {
          const own = values.slice(0, keys.length) as (object | undefined)[];
          if (more === undefined) return mergeOptions(...own);
          const bound = (values.at(-1) as readonly unknown[]).map((one) => asInterceptor(one, keyName(more)));
          return mergeOptions(...own, bound.length > 0 ? { interceptors: bound } : undefined);
        },
        [...keys, ...(more === undefined ? [] : [{ serviceIdentifier: more, isMultiple: true as const }])] as never,
      )
      .inSingletonScope();
  }
}
