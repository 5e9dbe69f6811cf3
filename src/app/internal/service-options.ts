import type { BindingService } from '@inversifyjs/core';
import type { Container, ServiceIdentifier } from 'inversify';

import { ServerOptions } from '../../server/server.ts';
import { ServiceOptions } from '../../service/service.ts';
import { type Config, statedOfServices } from '../config.ts';
import { constantOf } from './check-options.ts';
import { mergeOptions } from './merge.ts';
import { environmentLayer, type OptionPart, type OptionParts } from './option-parts.ts';

/** What is said of every service, around what `@Service` says of one. */
export interface OptionsAround {
  /** What the profile says where the environment is silent. */
  readonly weaker: ServiceOptions;
  /** What the environment says, over that what layers of code say of servers, over that what they say of services. */
  readonly stronger: ServiceOptions;
}

/** What the layers say, as far as it is said by constants. */
export function constantOptionsAround(config: Config, options: OptionParts, bindings: BindingService): OptionsAround {
  const valuesOf = (key: ServiceIdentifier<object>): readonly Said[] =>
    options.of(key).map((part) => ({ ...part, value: constantOf(bindings, part.key) }));
  return optionsAround(config, valuesOf(ServerOptions), valuesOf(ServiceOptions));
}

/** What the layers say. What is made asynchronously is awaited. */
export async function resolvedOptionsAround(
  config: Config,
  options: OptionParts,
  container: Container,
): Promise<OptionsAround> {
  const valuesOf = (key: ServiceIdentifier<object>): Promise<readonly Said[]> =>
    Promise.all(
      options.of(key).map(async (part) => ({
        ...part,
        value: container.isBound(part.key) ? await container.getAsync(part.key) : undefined,
      })),
    );
  return optionsAround(config, await valuesOf(ServerOptions), await valuesOf(ServiceOptions));
}

interface Said extends OptionPart {
  readonly value: object | undefined;
}

function optionsAround(config: Config, servers: readonly Said[], services: readonly Said[]): OptionsAround {
  const isEnvironment = ({ layer }: Said): boolean => layer === environmentLayer;
  const inCode = (said: readonly Said[]): readonly (object | undefined)[] =>
    said.filter((one) => !isEnvironment(one)).map(({ value }) => value);
  const isRead = services.some(isEnvironment);
  return {
    weaker: isRead ? config.service : {},
    stronger: mergeOptions<ServiceOptions>(
      isRead ? statedOfServices(config) : undefined,
      // Interceptors of servers are put together elsewhere, with those that are bound one by one.
      ...inCode(servers).map((value) => ({ ...value, interceptors: undefined })),
      ...inCode(services),
    ),
  };
}
