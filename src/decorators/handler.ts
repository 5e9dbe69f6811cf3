import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import { type AnyClass, handlerOf, type ProtoSource, recordHandler } from './metadata.ts';

/** What {@link Handler} may be told. */
export interface HandlerOptions {
  /** The `.proto` that defines the service. Without one, messages travel as JSON. */
  readonly proto?: ProtoSource | undefined;
  /** Name of the service in the registry. @default the package of the handler's name: `greeter` of `greeter.Greeter` */
  readonly service?: string | undefined;
  /** Leave it out of the registry's record. @default false */
  readonly internal?: boolean | undefined;
  /**
   * Methods of the `.proto`, by their names there, that are left out on purpose: callers of them get UNIMPLEMENTED.
   * @default []
   */
  readonly unimplemented?: readonly string[] | undefined;
  /** Around every method of this class, inside the server's own; the first is the outermost. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/**
 * Marks a class whose `@Rpc` methods answer calls and whose `@Subscribe` methods handle events. `name` is the full
 * service name, as in the `.proto`; a class that only subscribes needs none. It records and does nothing else: the
 * class is constructed by the container, once, when its service starts.
 *
 * Throws INVALID_ARGUMENT (`decorators.invalid`) for a name that is none, or on a class that already is a handler.
 *
 * @example
 * ```ts
 * @Handler('greeter.Greeter')
 * class GreeterHandler {
 *   @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
 *     return { text: `Hello ${request.name}` };
 *   }
 * }
 * ```
 */
export function Handler(name: string, options?: HandlerOptions): (target: AnyClass) => void;
export function Handler(options?: HandlerOptions): (target: AnyClass) => void;
export function Handler(
  nameOrOptions: string | HandlerOptions = {},
  options: HandlerOptions = {},
): (target: AnyClass) => void {
  const name = typeof nameOrOptions === 'string' ? nameOrOptions : undefined;
  const given = typeof nameOrOptions === 'string' ? options : nameOrOptions;
  return (target) => {
    if (name !== undefined && !/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(name)) {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'decorators.invalid',
        message: `@Handler("${name}") on ${target.name}: a service name is identifiers joined by dots, as in "greeter.Greeter"`,
      });
    }
    if (handlerOf(target)) {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'decorators.invalid',
        message: `${target.name} has @Handler twice: split it into two classes`,
      });
    }
    recordHandler(target, {
      name,
      proto: given.proto,
      service: given.service,
      internal: given.internal ?? false,
      unimplemented: given.unimplemented ?? [],
      interceptors: given.interceptors ?? [],
    });
  };
}
