import type { Container, ServiceIdentifier } from 'inversify';

import { ClientInterceptors, ClientOptions } from '../../client/client.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { ServerInterceptors, ServerOptions } from '../../server/server.ts';
import type { ConnectionSecurityOptions } from '../../tls/connection.ts';
import { keyName, roomOf } from './keys.ts';
import { asInterceptor, mergeOptions } from './merge-options.ts';

/** Name of the layer of the environment, with the built-in profile for variables that are not set. */
export const environmentLayer = 'the environment';
/** Name of the layer of keys that decorators require and no module binds: handlers, enhancers, typed clients. */
export const decoratorsLayer = 'decorators';

/** The options that protect connections to a server. One of another layer replaces them as a whole. */
export const securityFields = ['tls', 'credentials'] as const;

/** True if options of a backend give one of the {@link securityFields}. */
export function hasSecurity(
  options: ConnectionSecurityOptions | undefined,
  field: (typeof securityFields)[number],
): boolean {
  return options?.[field] !== undefined;
}

/** The options that one layer binds for a key. */
export interface OptionPart {
  /** Name of the layer, for people: `the environment`, `modules[1]`, `bind`. */
  readonly layer: string;
  /** The key that this part is bound to. */
  readonly key: ServiceIdentifier<object>;
}

const interceptorsOf: ReadonlyMap<ServiceIdentifier, ServiceIdentifier> = new Map([
  [ClientOptions, ClientInterceptors],
  [ServerOptions, ServerInterceptors],
]);

/**
 * Binds options in parts, one for each layer. The key of the options is bound to a value that merges the parts when it
 * is resolved.
 */
export class OptionParts {
  readonly #parts = new Map<ServiceIdentifier, OptionPart[]>();
  readonly #container: Pick<Container, 'bind' | 'unbind' | 'isCurrentBound'>;

  /** Keeps the original methods of `container`, before layers replace them. */
  constructor(container: Container) {
    this.#container = {
      bind: container.bind.bind(container),
      unbind: container.unbind.bind(container),
      isCurrentBound: container.isCurrentBound.bind(container),
    };
  }

  /** All keys that have parts, with their parts, the weakest first. */
  get all(): ReadonlyMap<ServiceIdentifier, readonly OptionPart[]> {
    return this.#parts;
  }

  /** The parts of a key, the weakest first. */
  of(identifier: ServiceIdentifier): readonly OptionPart[] {
    return this.#parts.get(identifier) ?? [];
  }

  /** Adds a part, and returns the key that the layer has to bind its options to. */
  add(identifier: symbol, layer: string): ServiceIdentifier<object> {
    // If a layer unbound the key, the parts of weaker layers no longer count.
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
          assertNoneReplaced(identifier, parts, own);
          if (more === undefined) return mergeOptions(...own);
          const bound = (values.at(-1) as readonly unknown[]).map((one) => asInterceptor(one, keyName(more)));
          return mergeOptions(...own, bound.length > 0 ? { interceptors: bound } : undefined);
        },
        [...keys, ...(more === undefined ? [] : [{ serviceIdentifier: more, isMultiple: true as const }])] as never,
      )
      .inSingletonScope();
  }
}

/**
 * Throws FAILED_PRECONDITION (`app.security_not_in_force`) if a backend would be told other TLS or credentials for its
 * connections to a server than the environment says, also where `verify` could not look.
 */
function assertNoneReplaced(
  identifier: ServiceIdentifier,
  parts: readonly OptionPart[],
  values: readonly (object | undefined)[],
): void {
  const room = roomOf(identifier);
  const ours = parts.findIndex(({ layer }) => layer === environmentLayer);
  if (ours < 0 || (room !== 'transport' && room !== 'registry' && room !== 'broker')) return;
  for (const field of securityFields) {
    const said = values.map((value) => hasSecurity(value, field));
    const replacing = said.lastIndexOf(true);
    if (said[ours] !== true || replacing <= ours) continue;
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'app.security_not_in_force',
      message: `${parts[replacing]?.layer} gives ${keyName(identifier)} ${field}, and so do variables (TENON_${room.toUpperCase()}_…), which would have no effect: say all of it in one place`,
    });
  }
}
