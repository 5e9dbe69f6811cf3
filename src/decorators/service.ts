import { Code, TenonError } from '../errors/errors.ts';
import type { ServerOptions } from '../server/server.ts';
import { type AnyClass, type Class, recordService, type BuiltinServiceOptions } from './metadata.ts';

/** Options of {@link Service}. */
export interface ServiceDecoratorOptions
  extends
    BuiltinServiceOptions,
    Pick<ServerOptions, 'address' | 'metadata' | 'dialect' | 'interceptors' | 'maxReceiveBytes' | 'maxSendBytes'> {
  /** Name of the service in the registry. */
  readonly name: string;
  /** Version of the service in the registry. @default 'latest' */
  readonly version?: string | undefined;
  /** Classes with `@Handler` that the service consists of. */
  readonly handlers: readonly Class[];
}

/**
 * Marks a class as a service, with its name and its handlers. The transport, registry and broker that it runs on are
 * chosen by the environment, the profile or the container, never here.
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
        message: `@Service on ${target.name} has no name: give it the one that callers look up in the registry`,
      });
    }
    recordService(target, { name, version: version ?? 'latest', handlers: handlers ?? [], options: rest });
  };
}
