import type { BindingService } from '@inversifyjs/core';
import type { Container, ServiceIdentifier } from 'inversify';

import { ServerOptions } from '../../server/server.ts';
import { ServiceOptions } from '../../service/service.ts';
import { type Config, statedServiceOptions } from '../config.ts';
import { constantValueOf } from './check-options.ts';
import { mergeOptions } from './merge-options.ts';
import { environmentLayer, type OptionPart, type OptionParts } from './option-parts.ts';

/** The options of all services that are weaker and stronger than those of `@Service`. */
export interface ServiceOptionLayers {
  /** The values of the profile, for variables that are not set. */
  readonly weaker: ServiceOptions;
  /** The values of variables, under `ServerOptions` bound in code, under `ServiceOptions` bound in code. */
  readonly stronger: ServiceOptions;
}

/** The options that layers bind as constants. Constructs nothing. */
export function constantServiceOptions(
  config: Config,
  options: OptionParts,
  bindings: BindingService,
): ServiceOptionLayers {
  const valuesOf = (key: ServiceIdentifier<object>): readonly PartValue[] =>
    options.of(key).map((part) => ({ ...part, value: constantValueOf(bindings, part.key) }));
  return serviceOptionLayers(config, valuesOf(ServerOptions), valuesOf(ServiceOptions));
}

/** The options that layers bind. Those made asynchronously are awaited. */
export async function resolvedServiceOptions(
  config: Config,
  options: OptionParts,
  container: Container,
): Promise<ServiceOptionLayers> {
  const valuesOf = (key: ServiceIdentifier<object>): Promise<readonly PartValue[]> =>
    Promise.all(
      options.of(key).map(async (part) => ({
        ...part,
        value: container.isBound(part.key) ? await container.getAsync(part.key) : undefined,
      })),
    );
  return serviceOptionLayers(config, await valuesOf(ServerOptions), await valuesOf(ServiceOptions));
}

interface PartValue extends OptionPart {
  readonly value: object | undefined;
}

function serviceOptionLayers(
  config: Config,
  servers: readonly PartValue[],
  services: readonly PartValue[],
): ServiceOptionLayers {
  const isEnvironment = ({ layer }: PartValue): boolean => layer === environmentLayer;
  const inCode = (values: readonly PartValue[]): readonly (object | undefined)[] =>
    values.filter((one) => !isEnvironment(one)).map(({ value }) => value);
  const isRead = services.some(isEnvironment);
  return {
    weaker: isRead ? config.service : {},
    stronger: mergeOptions<ServiceOptions>(
      isRead ? statedServiceOptions(config) : undefined,
      // Interceptors of servers are merged elsewhere, with those bound to ServerInterceptors.
      ...inCode(servers).map((value) => ({ ...value, interceptors: undefined })),
      ...inCode(services),
    ),
  };
}
