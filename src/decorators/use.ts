import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { CallInterceptor, ErrorClass, ErrorFilter, Guard, Pipe } from '../pipeline/enhancers.ts';
import { type Class, recordCatch, recordEnhancers, type EnhancerKind } from './metadata.ts';

/** A decorator for handler classes, for their methods with `@Rpc` or `@Subscribe`, and for service classes. */
export type UseDecorator = (target: object, property?: string | symbol, descriptor?: PropertyDescriptor) => void;

/**
 * Refuses calls and events that a guard does not admit. Guards are container keys (classes, as a rule) or instances,
 * and are asked in the order given. On a class with `@Service` they guard all its handlers, on one with `@Handler` all
 * its methods; guards of the service are asked before those of the class, and these before those of the method. The
 * container makes a guard once, when the service starts.
 *
 * @example
 * ```ts
 * class OfficeHours implements Guard {
 *   constructor(@inject(Clock) private readonly clock: Clock) {}
 *   activate(): boolean {
 *     return new Date(this.clock.now()).getUTCHours() < 18;
 *   }
 * }
 *
 * @Handler('bank.Counter')
 * class Counter {
 *   @UseGuard(OfficeHours)
 *   @Rpc() async pay(request: { amount: number }): Promise<{ amount: number }> {
 *     return request;
 *   }
 * }
 * ```
 */
export function UseGuard(...guards: readonly (ServiceIdentifier<Guard> | Guard)[]): UseDecorator {
  return use('guard', 'UseGuard', guards);
}

/**
 * Puts interceptors around calls and events, inside the guards: container keys of a {@link CallInterceptor}, instances
 * of one, or functions as everywhere else in tenon. The first is the outermost.
 *
 * @example
 * ```ts
 * const quiet: Interceptor = (next) => next;
 *
 * @UseInterceptor(quiet)
 * @Handler('bank.Counter')
 * class Counter {
 *   @Rpc() async pay(request: { amount: number }): Promise<{ amount: number }> {
 *     return request;
 *   }
 * }
 * ```
 */
export function UseInterceptor(
  ...interceptors: readonly (ServiceIdentifier<CallInterceptor> | CallInterceptor | Interceptor)[]
): UseDecorator {
  return use('interceptor', 'UseInterceptor', interceptors);
}

/**
 * Changes or refuses requests before the handler sees them, inside guards and interceptors. Pipes are container keys of
 * a {@link Pipe}, instances of one, or validators in the form of Standard Schema. Where the client streams, each
 * request goes through them.
 *
 * @example
 * ```ts
 * class Trimmed implements Pipe<{ name: string }> {
 *   execute(input: { name: string }): { name: string } {
 *     return { ...input, name: input.name.trim() };
 *   }
 * }
 *
 * @Handler('greeter.Greeter')
 * class GreeterHandler {
 *   @UsePipe(Trimmed)
 *   @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
 *     return { text: `Hello ${request.name}` };
 *   }
 * }
 * ```
 */
export function UsePipe(...pipes: readonly (ServiceIdentifier<Pipe> | Pipe | StandardSchemaV1)[]): UseDecorator {
  return use('pipe', 'UsePipe', pipes);
}

/**
 * Handles errors of calls and events, whether a guard, an interceptor, a pipe or the handler threw them. Of all filters
 * on the method, the class and the service, the one whose error class is nearest to the error's handles it.
 *
 * @example
 * ```ts
 * class OutOfStock extends Error {}
 *
 * @CatchError(OutOfStock)
 * class StockFilter implements ErrorFilter<OutOfStock> {
 *   catch(error: OutOfStock): never {
 *     throw new TenonError({ code: Code.ResourceExhausted, reason: 'shop.out_of_stock', message: 'none is left', cause:
 *     error });
 *   }
 * }
 *
 * @UseErrorFilter(StockFilter)
 * @Handler('shop.Shop')
 * class Shop {
 *   @Rpc() async buy(): Promise<object> {
 *     throw new OutOfStock();
 *   }
 * }
 * ```
 */
export function UseErrorFilter(...filters: readonly Class<ErrorFilter>[]): UseDecorator {
  return use('errorFilter', 'UseErrorFilter', filters);
}

/**
 * Names the errors that a filter handles: those of the given class and of its subclasses, or every error without one.
 * See {@link UseErrorFilter}.
 */
export function CatchError(type?: ErrorClass | { readonly error?: ErrorClass }): (target: Class<ErrorFilter>) => void {
  return (target) => recordCatch(target, typeof type === 'object' ? type.error : type);
}

function use(kind: EnhancerKind, name: string, used: readonly unknown[]): UseDecorator {
  return (target, property, descriptor) => {
    const place = typeof target === 'function' ? target.name : `${target.constructor.name}.${String(property)}`;
    const isMethod =
      typeof target !== 'function' && typeof property === 'string' && typeof descriptor?.value === 'function';
    if (!(isMethod || (typeof target === 'function' && property === undefined))) {
      throw misplaced(`@${name} on ${place}: it goes on a class, or on an instance method whose name is a string`);
    }
    if (used.length === 0) throw misplaced(`@${name}() on ${place} has no argument: give it at least one`);
    const missing = used.findIndex((one) => one === undefined || one === null);
    if (missing >= 0) {
      throw misplaced(
        `argument ${missing + 1} of @${name} on ${place} is ${String(used[missing])}: if it is a class, two modules import each other; move it to a module of its own`,
      );
    }
    const odd = kind === 'errorFilter' ? used.findIndex((one) => typeof one !== 'function') : -1;
    if (odd >= 0) {
      throw misplaced(
        `argument ${odd + 1} of @${name} on ${place} is not a class: give a class with @CatchError, which says what errors it handles`,
      );
    }
    recordEnhancers(kind, target, property, used);
  };
}

function misplaced(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'decorators.invalid', message });
}
