import { Code, TenonError } from '../errors/errors.ts';
import type { ServerOptions } from '../server/server.ts';
import { type AnyClass, type Class, recordService, type StandardServices } from './metadata.ts';

/** What {@link Service} is told. */
export interface ServiceDecoratorOptions
  extends
    StandardServices,
    Pick<ServerOptions, 'address' | 'metadata' | 'dialect' | 'interceptors' | 'maxReceiveBytes' | 'maxSendBytes'> {
  /** Name in the registry. */
  readonly name: string;
  /** @default 'latest' */
  readonly version?: string | undefined;
  /** Classes with `@Handler`. */
  readonly handlers: readonly Class[];
}

/**
 * Names a service and lists what it is made of. What it runs on (transport, registry, broker, …) is said by the
 * environment, the profile or the container, never here.
 *
 * @example
 * ```ts
 * @Service({ name: 'greeter', version: '1.2.0', handlers: [] })
 * class Greeter {}
 * ```
 */
export function Service(options: ServiceDecoratorOptions): (target: AnyClass) => void {
  return (target) => {
    const { name, version, handlers, ...rest } = options;
    if (typeof name !== 'string' || name === '') {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'decorators.invalid',
        message: `@Service on ${target.name}: give it a name, the one it is found by in the registry`,
      });
    }
    recordService(target, { name, version: version ?? 'latest', handlers: handlers ?? [], options: rest });
  };
}
