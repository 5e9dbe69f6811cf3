import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import { type AnyClass, handlerOf, type ProtoSource, recordHandler } from './metadata.ts';

/** Options of {@link Handler}. */
export interface HandlerDecoratorOptions {
  /** The `.proto` that defines the service. Without one, messages travel as JSON. */
  readonly proto?: ProtoSource | undefined;
  /** Name of the service in the registry. @default the package of the handler's name: `greeter` of `greeter.Greeter` */
  readonly service?: string | undefined;
  /** True if the handler's methods are left out of the service's record in the registry. @default false */
  readonly internal?: boolean | undefined;
  /**
   * Names of methods of the `.proto` that the class leaves out on purpose: callers of them get UNIMPLEMENTED.
   * @default []
   */
  readonly unimplemented?: readonly string[] | undefined;
  /** Interceptors around every method of this class, inside those of the server; the first is the outermost. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/**
 * Marks a class whose `@Rpc` methods answer calls and whose `@Subscribe` methods handle events. `name` is the full
 * service name, as in the `.proto`; a class that only subscribes needs none. The decorator only records: the container
 * constructs the class, once, when its service starts.
 *
 * Throws INVALID_ARGUMENT (`decorators.invalid`) if the name is not a full service name, or if the class already has
 * `@Handler`.
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
export function Handler(name: string, options?: HandlerDecoratorOptions): (target: AnyClass) => void;
export function Handler(options?: HandlerDecoratorOptions): (target: AnyClass) => void;
export function Handler(
  nameOrOptions: string | HandlerDecoratorOptions = {},
  options: HandlerDecoratorOptions = {},
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
