import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import type { CallInterceptor, ErrorClass, ErrorFilter, Guard, Interceptor, Pipe } from '../pipeline/pipeline.ts';
import { type Class, recordCatch, recordUse, type UseKind } from './metadata.ts';

/** A decorator of handler classes, of their methods with `@Rpc` or `@Subscribe`, and of service classes. */
export type UseDecorator = (target: object, property?: string | symbol, descriptor?: PropertyDescriptor) => void;

/**
 * Lets only those calls and events through that every guard admits, the first asked first: keys of the container
 * (classes, as a rule), or guards that are ready. On a class with `@Service` it is for all its handlers, on one with
 * `@Handler` for all its methods; the guards of the service come before those of the class, and those before the
 * method's. A class is made by the container, once, when the service starts.
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
 * Does something around calls and events, inside the guards: keys of the container to a {@link CallInterceptor}, or
 * functions as everywhere else in tenon. The first is the outermost.
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
 * Changes or refuses the request before the handler sees it, behind guards and interceptors: keys of the container to a
 * {@link Pipe}, pipes that are ready, or validators in the form of Standard Schema. Where the client streams, each
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
 * Answers what calls and events fail with, wherever it comes from: guards, interceptors, pipes or the handler. Of the
 * filters of method, class and service the one for the nearest class of error has it.
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
 * Says which errors the filter is for: those of the class given and of its subclasses; without one, whatever is thrown.
 * See {@link UseErrorFilter}.
 */
export function CatchError(type?: ErrorClass | { readonly error?: ErrorClass }): (target: Class<ErrorFilter>) => void {
  return (target) => recordCatch(target, typeof type === 'object' ? type.error : type);
}

function use(kind: UseKind, name: string, used: readonly unknown[]): UseDecorator {
  return (target, property, descriptor) => {
    const place = typeof target === 'function' ? target.name : `${target.constructor.name}.${String(property)}`;
    const isMethod =
      typeof target !== 'function' && typeof property === 'string' && typeof descriptor?.value === 'function';
    if (!(isMethod || (typeof target === 'function' && property === undefined))) {
      throw misplaced(
        `@${name} on ${place}: it goes on classes, and on methods of instances with a name that is a string`,
      );
    }
    if (used.length === 0) throw misplaced(`@${name}() on ${place}: say what to use`);
    const missing = used.findIndex((one) => one === undefined || one === null);
    if (missing >= 0) {
      throw misplaced(
        `argument ${missing + 1} of @${name} on ${place} is ${String(used[missing])}: if it is a class, two modules import each other; move it to a module of its own`,
      );
    }
    const odd = kind === 'errorFilter' ? used.findIndex((one) => typeof one !== 'function') : -1;
    if (odd >= 0) {
      throw misplaced(
        `argument ${odd + 1} of @${name} on ${place} is no class: which errors it is for is said by @CatchError on a class`,
      );
    }
    recordUse(kind, target, property, used);
  };
}

function misplaced(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'decorators.invalid', message });
}
