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

/** The decorator that uses things of a kind, and the method that they have. */
export const enhancerKinds: Readonly<Record<EnhancerKind, { readonly decorator: string; readonly method: string }>> = {
  guard: { decorator: '@UseGuard', method: 'activate' },
  interceptor: { decorator: '@UseInterceptor', method: 'intercept' },
  pipe: { decorator: '@UsePipe', method: 'execute' },
  errorFilter: { decorator: '@UseErrorFilter', method: 'catch' },
};

/** Whether something used is a key of the container, and not ready by itself. */
export function isKey(kind: EnhancerKind, used: unknown): used is ServiceIdentifier {
  if (typeof used === 'string' || typeof used === 'symbol') return true;
  if (typeof used !== 'function' || isStandardSchema(used)) return false;
  return kind !== 'interceptor' || isClass(used);
}

/** An interceptor that is a function is the other thing that one can be. */
function isClass(value: NewableFunction | CallableFunction): boolean {
  const prototype = (value as { readonly prototype?: { readonly intercept?: unknown } }).prototype;
  return typeof prototype?.intercept === 'function' || /^class\b/.test(Function.prototype.toString.call(value));
}

/** A key that something is used by, and where. */
export interface UsedKey {
  readonly kind: EnhancerKind;
  readonly key: ServiceIdentifier;
  /** `@UseGuard of GreeterHandler.hello` */
  readonly place: string;
}

/** The keys that are used by a class and its methods. */
export function usedKeys(target: AnyClass): readonly UsedKey[] {
  const methods = [...rpcsOf(target), ...subscriptionsOf(target)].map(({ property }) => property);
  return [undefined, ...new Set(methods)].flatMap((property) =>
    (Object.keys(enhancerKinds) as EnhancerKind[]).flatMap((kind) =>
      (enhancersOf(kind, target, property) as readonly unknown[])
        .filter((used) => isKey(kind, used))
        .map((key) => ({ kind, key, place: placeOf(kind, target, property) })),
    ),
  );
}

/** For people. */
export function placeOf(kind: EnhancerKind, target: AnyClass, property: string | undefined): string {
  return `${enhancerKinds[kind].decorator} of ${target.name}${property === undefined ? '' : `.${property}`}`;
}

/** Makes interceptors of what decorators say is used. What is made by the container is asked for once, here. */
export class EnhancerFactory {
  readonly #made: ReadonlyMap<ServiceIdentifier, unknown>;

  private constructor(made: ReadonlyMap<ServiceIdentifier, unknown>) {
    this.#made = made;
  }

  /** Those that the classes use. What is made asynchronously is awaited. */
  static async of(container: Container, classes: readonly Class[]): Promise<EnhancerFactory> {
    const made = new Map<ServiceIdentifier, unknown>();
    for (const { key } of classes.flatMap((target) => usedKeys(target)))
      if (!made.has(key)) made.set(key, await container.getAsync(key));
    return new EnhancerFactory(made);
  }

  /**
   * From the outside in: error filters, guards, interceptors, pipes; of each kind the service's, the class's, the
   * method's.
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
        typeof used === 'function' && !isKey('interceptor', used)
          ? used
          : interceptorOf(this.#ready<CallInterceptor>('interceptor', used)),
      ),
      ...all('pipe').map((used) =>
        isStandardSchema(used) ? validating(used) : pipeInterceptor(this.#ready<Pipe>('pipe', used), metadata),
      ),
    ];
  }

  #ready<T extends object>(kind: EnhancerKind, used: unknown): T {
    const made = (isKey(kind, used) ? this.#made.get(used) : used) as T;
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
