import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Container, ServiceIdentifier } from 'inversify';

import {
  type AnyClass,
  errorsCaughtBy,
  type Class,
  rpcsOf,
  subscriptionsOf,
  type EnhancerKind,
  type Enhancers,
  enhancersOf,
} from '../../decorators/decorators.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import type { Interceptor } from '../../pipeline/pipeline.ts';
import {
  requestInterceptor,
  errorFilterInterceptor,
  guardInterceptor,
  interceptorOf,
  pipeInterceptor,
} from '../../pipeline/enhancer-interceptors.ts';
import {
  type CallInterceptor,
  type ErrorFilter,
  type Guard,
  isStandardSchema,
  type Pipe,
  type PipeMetadata,
} from '../../pipeline/enhancers.ts';
import { validated } from '../../pipeline/validation.ts';
import { keyName } from './keys.ts';

/** The decorator of each kind of enhancer, and the method that its classes have. */
export const enhancerKinds: Readonly<Record<EnhancerKind, { readonly decorator: string; readonly method: string }>> = {
  guard: { decorator: '@UseGuard', method: 'activate' },
  interceptor: { decorator: '@UseInterceptor', method: 'intercept' },
  pipe: { decorator: '@UsePipe', method: 'execute' },
  errorFilter: { decorator: '@UseErrorFilter', method: 'catch' },
};

/** True if an argument of a decorator is a container key, and not an instance or a function. */
export function isEnhancerKey(kind: EnhancerKind, used: unknown): used is ServiceIdentifier {
  if (typeof used === 'string' || typeof used === 'symbol') return true;
  if (typeof used !== 'function' || isStandardSchema(used)) return false;
  return kind !== 'interceptor' || isClass(used);
}

/** True if the value is a class: interceptors may be functions too. */
function isClass(value: NewableFunction | CallableFunction): boolean {
  const prototype = (value as { readonly prototype?: { readonly intercept?: unknown } }).prototype;
  return typeof prototype?.intercept === 'function' || /^class\b/.test(Function.prototype.toString.call(value));
}

/** A container key that a decorator names, and the place of that decorator. */
export interface EnhancerKey {
  readonly kind: EnhancerKind;
  readonly key: ServiceIdentifier;
  /** The place of the decorator, for people: `@UseGuard of GreeterHandler.hello`. */
  readonly place: string;
}

/** The container keys of the enhancers of a class and its methods. */
export function enhancerKeysOf(target: AnyClass): readonly EnhancerKey[] {
  const methods = [...rpcsOf(target), ...subscriptionsOf(target)].map(({ property }) => property);
  return [undefined, ...new Set(methods)].flatMap((property) =>
    (Object.keys(enhancerKinds) as EnhancerKind[]).flatMap((kind) =>
      (enhancersOf(kind, target, property) as readonly unknown[])
        .filter((used) => isEnhancerKey(kind, used))
        .map((key) => ({ kind, key, place: placeOf(kind, target, property) })),
    ),
  );
}

/** Describes the place of a decorator, for people. */
export function placeOf(kind: EnhancerKind, target: AnyClass, property: string | undefined): string {
  return `${enhancerKinds[kind].decorator} of ${target.name}${property === undefined ? '' : `.${property}`}`;
}

/** Resolves the enhancers of classes once, and turns them into interceptors. */
export class EnhancerResolver {
  readonly #made: ReadonlyMap<ServiceIdentifier, unknown>;

  private constructor(made: ReadonlyMap<ServiceIdentifier, unknown>) {
    this.#made = made;
  }

  /** Resolves the enhancers of the classes from the container. Those made asynchronously are awaited. */
  static async of(container: Container, classes: readonly Class[]): Promise<EnhancerResolver> {
    const made = new Map<ServiceIdentifier, unknown>();
    for (const { key } of classes.flatMap((target) => enhancerKeysOf(target)))
      if (!made.has(key)) made.set(key, await container.getAsync(key));
    return new EnhancerResolver(made);
  }

  /**
   * The interceptors of a method from the outside in: error filters, guards, interceptors, pipes; within each kind
   * those of the service, of the class, of the method.
   */
  interceptorsFor(service: Class, handler: Class, property: string): Interceptor[] {
    const levels = <K extends EnhancerKind>(kind: K): Enhancers[K][] => [
      enhancersOf(kind, service),
      enhancersOf(kind, handler),
      enhancersOf(kind, handler, property),
    ];
    const all = <K extends EnhancerKind>(kind: K): Enhancers[K][number][] =>
      levels(kind).flat() as Enhancers[K][number][];
    const metadata: PipeMetadata = { targetClass: handler, methodName: property, parameterIndex: 0 };
    const nearest = levels('errorFilter').reverse().flat();
    const rules = nearest.map((type) => ({
      filter: this.#ready<ErrorFilter>('errorFilter', type),
      catches: errorsCaughtBy(type),
    }));
    return [
      ...(rules.length > 0 ? [errorFilterInterceptor(rules)] : []),
      ...all('guard').map((used) => guardInterceptor(this.#ready<Guard>('guard', used))),
      ...all('interceptor').map((used) =>
        typeof used === 'function' && !isEnhancerKey('interceptor', used)
          ? used
          : interceptorOf(this.#ready<CallInterceptor>('interceptor', used)),
      ),
      ...all('pipe').map((used) =>
        isStandardSchema(used) ? validating(used) : pipeInterceptor(this.#ready<Pipe>('pipe', used), metadata),
      ),
    ];
  }

  #ready<T extends object>(kind: EnhancerKind, used: unknown): T {
    const made = (isEnhancerKey(kind, used) ? this.#made.get(used) : used) as T;
    const { decorator, method } = enhancerKinds[kind];
    if (typeof (made as Record<string, unknown> | undefined)?.[method] === 'function') return made;
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'decorators.invalid',
      message: `${decorator} was given ${nameOf(used)}, which has no method ${method}`,
    });
  }
}

function validating(schema: StandardSchemaV1): Interceptor {
  const { validate } = schema['~standard'];
  return (next, method) => requestInterceptor((input) => validated(validate, method.path, input))(next, method);
}

function nameOf(used: unknown): string {
  return typeof used === 'object' ? 'an object' : keyName(used as ServiceIdentifier);
}
