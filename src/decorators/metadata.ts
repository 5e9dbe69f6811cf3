import 'reflect-metadata';

import type { StandardSchemaV1 } from '@standard-schema/spec';

import type { ServiceIdentifier } from 'inversify';

import type { Interceptor, MethodKind } from '../pipeline/pipeline.ts';
import type { CallInterceptor, ErrorClass, ErrorFilter, Guard, Pipe } from '../pipeline/enhancers.ts';
import type { EventHandlerOptions, ServerOptions } from '../server/server.ts';

/** Any class, abstract ones included. */
export type AnyClass = abstract new (...args: never[]) => object;
/** A class that can be constructed. */
export type Class<T = object> = new (...args: never[]) => T;

/**
 * A message's schema as `@Rpc` and `@Subscribe` take it: Standard Schema (zod, valibot, arktype), or a class with
 * fields.
 */
export type MessageSchema = StandardSchemaV1 | Class<object>;

/** Where a `.proto` is: a path, or better a URL relative to the module (`new URL('x.proto', import.meta.url)`). */
export type ProtoSource = string | URL;

/** The metadata that `@Handler` records on a class. */
export interface HandlerRecord {
  /** Full service name; absent for a class that only subscribes. */
  readonly name: string | undefined;
  readonly proto: ProtoSource | undefined;
  /** Name of the service in the registry, if it is not the package of `name`. */
  readonly service: string | undefined;
  readonly internal: boolean;
  /** Methods of the `.proto` that the class leaves out on purpose. */
  readonly unimplemented: readonly string[];
  readonly interceptors: readonly Interceptor[];
}

/** The metadata that `@Rpc` records on a method. */
export interface RpcRecord {
  readonly property: string;
  /** Name on the wire, if the decorator gives one. */
  readonly name: string | undefined;
  /** Kind of the method; `undefined` takes it from the `.proto`, and is unary where there is none. */
  readonly kind: Exclude<MethodKind, 'event'> | undefined;
  readonly idempotent: boolean | undefined;
  readonly input: MessageSchema | undefined;
  readonly output: MessageSchema | undefined;
  readonly interceptors: readonly Interceptor[];
}

/** The metadata that `@Subscribe` records on a method. */
export interface SubscribeRecord {
  readonly property: string;
  readonly topic: string;
  readonly options: EventHandlerOptions;
  /** Full name of the event's message type in the handler's `.proto`. */
  readonly message: string | undefined;
  readonly schema: MessageSchema | undefined;
  readonly interceptors: readonly Interceptor[];
}

/** Options of the services that tenon can serve beside the handlers: health and reflection. */
export interface BuiltinServiceOptions {
  /** True if `grpc.health.v1.Health` is served as well. `TENON_HEALTH` is stronger. @default true */
  readonly health?: boolean | undefined;
  /**
   * True if `grpc.reflection` is served as well, v1 and v1alpha. `TENON_REFLECTION` is stronger.
   * @default true under the profiles `dev` and `local`, else false
   */
  readonly reflection?: boolean | undefined;
}

/** The metadata that `@Service` records on a class. */
export interface ServiceClassRecord {
  readonly name: string;
  readonly version: string;
  readonly handlers: readonly Class[];
  readonly options: ServerOptions & BuiltinServiceOptions;
}

/**
 * The enhancers of a class or a method, by kind, as Inversify and Nest name guards, interceptors, pipes and error
 * filters. Each list is in the order written; the first is the outermost.
 */
export interface Enhancers {
  /** Container keys, or instances of guards. */
  readonly guard: readonly (ServiceIdentifier<Guard> | Guard)[];
  /** Container keys, instances, or functions. */
  readonly interceptor: readonly (ServiceIdentifier<CallInterceptor> | CallInterceptor | Interceptor)[];
  /** Container keys, instances of pipes, or validators in the form of Standard Schema. */
  readonly pipe: readonly (ServiceIdentifier<Pipe> | Pipe | StandardSchemaV1)[];
  /** Classes with `@CatchError`. */
  readonly errorFilter: readonly Class<ErrorFilter>[];
}

/** A kind of {@link Enhancers}. */
export type EnhancerKind = keyof Enhancers;

const handlerKey = Symbol.for('tenon.decorators.handler');
const rpcsKey = Symbol.for('tenon.decorators.rpcs');
const subscriptionsKey = Symbol.for('tenon.decorators.subscriptions');
const serviceKey = Symbol.for('tenon.decorators.service');

/** Records a handler class. A subclass does not inherit it: it is a handler only with its own `@Handler`. */
export function recordHandler(target: AnyClass, record: HandlerRecord): void {
  Reflect.defineMetadata(handlerKey, record, target);
}

/** The metadata of `@Handler` on the class itself; `undefined` if it has no `@Handler`. */
export function handlerOf(target: object): HandlerRecord | undefined {
  return Reflect.getOwnMetadata(handlerKey, target) as HandlerRecord | undefined;
}

/** Records a method that answers calls. */
export function recordRpc(target: object, record: RpcRecord): void {
  append(rpcsKey, target, record);
}

/** The `@Rpc` methods of a class and its base classes. A method that is decorated again replaces its base's. */
export function rpcsOf(target: AnyClass): readonly RpcRecord[] {
  return inherited<RpcRecord>(rpcsKey, target);
}

/** Records a method that handles events. */
export function recordSubscription(target: object, record: SubscribeRecord): void {
  append(subscriptionsKey, target, record);
}

/** The `@Subscribe` methods of a class and its base classes. A method that is decorated again replaces its base's. */
export function subscriptionsOf(target: AnyClass): readonly SubscribeRecord[] {
  return inherited<SubscribeRecord>(subscriptionsKey, target);
}

/** Records a service class. */
export function recordService(target: AnyClass, record: ServiceClassRecord): void {
  Reflect.defineMetadata(serviceKey, record, target);
}

/** The metadata of `@Service` on the class itself; `undefined` if it has no `@Service`. */
export function serviceOf(target: object): ServiceClassRecord | undefined {
  return Reflect.getOwnMetadata(serviceKey, target) as ServiceClassRecord | undefined;
}

const frameworkCore = '@inversifyjs/framework-core';

// Enhancers that Inversify's own decorators record count as well: a guard imported from the other package must not be
// skipped.
const enhancerKeys: Readonly<
  Record<EnhancerKind, { readonly own: symbol; readonly theirs: readonly [string, string] | undefined }>
> = {
  guard: keysOf('guard', 'Guard'),
  interceptor: keysOf('interceptor', 'Interceptor'),
  pipe: keysOf('pipe', undefined),
  errorFilter: keysOf('errorFilter', 'ErrorFilter'),
};
const catchKey = Symbol.for('tenon.decorators.catch');
const theirCatchKey = `${frameworkCore}/error-filter/catchErrorMetadataReflectKey`;

function keysOf(kind: EnhancerKind, name: string | undefined): (typeof enhancerKeys)[EnhancerKind] {
  return {
    own: Symbol.for(`tenon.decorators.use.${kind}`),
    theirs:
      name === undefined
        ? undefined
        : [
            `${frameworkCore}/class/class${name}MetadataReflectKey`,
            `${frameworkCore}/class/classMethod${name}MetadataReflectKey`,
          ],
  };
}

/**
 * Records enhancers of a class, or of a method if `property` is given. They go before those recorded earlier, since
 * decorators run from the last to the first.
 */
export function recordEnhancers(
  kind: EnhancerKind,
  target: object,
  property: string | symbol | undefined,
  used: readonly unknown[],
): void {
  const { own } = enhancerKeys[kind];
  if (property === undefined) Reflect.defineMetadata(own, [...used, ...metadataList(own, target)], target);
  else Reflect.defineMetadata(own, [...used, ...metadataList(own, target, property)], target, property);
}

/**
 * The enhancers of one kind on a class, or on one of its methods, those of base classes first. A subclass inherits
 * them, for methods that it overrides too.
 */
export function enhancersOf<K extends EnhancerKind>(kind: K, target: AnyClass, property?: string): Enhancers[K] {
  const { own, theirs } = enhancerKeys[kind];
  const used = prototypesOf(target).flatMap((prototype) => {
    const type = prototype.constructor;
    return property === undefined
      ? [...metadataList(own, type), ...(theirs ? metadataList(theirs[0], type) : [])]
      : [...metadataList(own, prototype, property), ...(theirs ? metadataList(theirs[1], type, property) : [])];
  });
  return [...new Set(used)] as unknown as Enhancers[K];
}

/** The names of the methods of a class that have an enhancer. */
export function methodsWithEnhancers(target: AnyClass): readonly string[] {
  const properties = prototypesOf(target).flatMap((prototype) => Object.getOwnPropertyNames(prototype));
  return [...new Set(properties)].filter((property) =>
    (Object.keys(enhancerKeys) as EnhancerKind[]).some((kind) => enhancersOf(kind, target, property).length > 0),
  );
}

/** Records an error class that a filter catches; `undefined` stands for every error. */
export function recordCatch(target: object, type: ErrorClass | undefined): void {
  Reflect.defineMetadata(catchKey, [...metadataList(catchKey, target), type], target);
}

/** The error classes that a filter catches; empty if it has no `@CatchError`. */
export function errorsCaughtBy(target: object): readonly (ErrorClass | undefined)[] {
  const theirs = metadataList(theirCatchKey, target).map((type) => type ?? undefined);
  return [...metadataList(catchKey, target), ...theirs] as (ErrorClass | undefined)[];
}

/** Reads a list of metadata. Inversify keeps some as a set, which is read as a list too. */
function metadataList(key: symbol | string, target: object, property?: string | symbol): readonly unknown[] {
  const found = (
    property === undefined ? Reflect.getOwnMetadata(key, target) : Reflect.getOwnMetadata(key, target, property)
  ) as Iterable<unknown> | undefined;
  return [...(found ?? [])];
}

/** The prototypes of a class and its base classes, the outermost base first. */
function prototypesOf(target: AnyClass): readonly object[] {
  const chain: object[] = [];
  for (
    let at: object | null = target.prototype as object;
    at && at !== Object.prototype;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    chain.unshift(at);
  }
  return chain;
}

function append(key: symbol, target: object, record: unknown): void {
  Reflect.defineMetadata(key, [...recordsAt(key, target), record], target);
}

/**
 * The records of a class and its base classes. A class that decorates a method again, with `@Rpc` or `@Subscribe`,
 * replaces all records of its base classes for that method.
 */
function inherited<T extends { readonly property: string }>(key: symbol, target: AnyClass): readonly T[] {
  const replaced = new Set<string>();
  const found: T[] = [];
  for (const prototype of prototypesOf(target).toReversed()) {
    const records = recordsAt<T>(key, prototype).filter(({ property }) => !replaced.has(property));
    found.unshift(...lastOfEach(key, records));
    for (const kind of [rpcsKey, subscriptionsKey])
      for (const { property } of recordsAt<T>(kind, prototype)) replaced.add(property);
  }
  return found;
}

/** The last record of each method, and of each topic for subscriptions: a method may have several topics. */
function lastOfEach<T extends { readonly property: string }>(key: symbol, records: readonly T[]): readonly T[] {
  const byId = new Map<string, T>();
  for (const record of records) {
    const topic = key === subscriptionsKey ? (record as unknown as SubscribeRecord).topic : '';
    byId.set(`${record.property} ${topic}`, record);
  }
  return [...byId.values()];
}

function recordsAt<T>(key: symbol, prototype: object): readonly T[] {
  return (Reflect.getOwnMetadata(key, prototype) as T[] | undefined) ?? [];
}
