import 'reflect-metadata';

import type { StandardSchemaV1 } from '@standard-schema/spec';

import type { ServiceIdentifier } from 'inversify';

import type {
  CallInterceptor,
  ErrorClass,
  ErrorFilter,
  Guard,
  Interceptor,
  MethodKind,
  Pipe,
} from '../pipeline/pipeline.ts';
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

/** What `@Handler` recorded. */
export interface HandlerRecord {
  /** Full service name; absent for a class that only subscribes. */
  readonly name: string | undefined;
  readonly proto: ProtoSource | undefined;
  /** Name in the registry, if it is not the package of `name`. */
  readonly service: string | undefined;
  readonly internal: boolean;
  /** Methods of the `.proto` that are left out on purpose. */
  readonly unimplemented: readonly string[];
  readonly interceptors: readonly Interceptor[];
}

/** What `@Rpc` recorded. */
export interface RpcRecord {
  readonly property: string;
  /** Name on the wire, if said. */
  readonly name: string | undefined;
  /** `undefined`: not said, the `.proto` knows; without one it is unary. */
  readonly kind: Exclude<MethodKind, 'event'> | undefined;
  readonly idempotent: boolean | undefined;
  readonly input: MessageSchema | undefined;
  readonly output: MessageSchema | undefined;
  readonly interceptors: readonly Interceptor[];
}

/** What `@Subscribe` recorded. */
export interface SubscribeRecord {
  readonly property: string;
  readonly topic: string;
  readonly options: EventHandlerOptions;
  /** Message type of the handler's `.proto`. */
  readonly message: string | undefined;
  readonly schema: MessageSchema | undefined;
  readonly interceptors: readonly Interceptor[];
}

/** The standard services that may be served beside the handlers. */
export interface StandardServices {
  /** Whether `grpc.health.v1.Health` is served as well. `TENON_HEALTH` is stronger. @default true */
  readonly health?: boolean | undefined;
  /**
   * Whether `grpc.reflection` is served as well, v1 and v1alpha. `TENON_REFLECTION` is stronger. @default what the
   * profile says: under `dev` and `local`
   */
  readonly reflection?: boolean | undefined;
}

/** What `@Service` recorded. */
export interface ServiceClassRecord {
  readonly name: string;
  readonly version: string;
  readonly handlers: readonly Class[];
  readonly options: ServerOptions & StandardServices;
}

/** What is done around calls, of one kind, in the order written; the first is the outermost. */
export interface Uses {
  /** Keys of the container, or guards that are ready. */
  readonly guard: readonly (ServiceIdentifier<Guard> | Guard)[];
  /** Keys of the container, or functions. */
  readonly interceptor: readonly (ServiceIdentifier<CallInterceptor> | CallInterceptor | Interceptor)[];
  /** Keys of the container, pipes that are ready, or validators. */
  readonly pipe: readonly (ServiceIdentifier<Pipe> | Pipe | StandardSchemaV1)[];
  /** Classes with `@CatchError`. */
  readonly errorFilter: readonly Class<ErrorFilter>[];
}

/** A kind of {@link Uses}. */
export type UseKind = keyof Uses;

const handlerKey = Symbol.for('tenon.decorators.handler');
const rpcsKey = Symbol.for('tenon.decorators.rpcs');
const subscriptionsKey = Symbol.for('tenon.decorators.subscriptions');
const serviceKey = Symbol.for('tenon.decorators.service');

/** Records a handler class. Own metadata: a subclass is a handler only if it says so itself. */
export function recordHandler(target: AnyClass, record: HandlerRecord): void {
  Reflect.defineMetadata(handlerKey, record, target);
}

/** What `@Handler` recorded on the class, if it was there. */
export function handlerOf(target: object): HandlerRecord | undefined {
  return Reflect.getOwnMetadata(handlerKey, target) as HandlerRecord | undefined;
}

/** Records a method that answers calls. */
export function recordRpc(target: object, record: RpcRecord): void {
  append(rpcsKey, target, record);
}

/** The methods that answer calls, those of base classes included; an overriding one replaces its base's. */
export function rpcsOf(target: AnyClass): readonly RpcRecord[] {
  return inherited<RpcRecord>(rpcsKey, target);
}

/** Records a method that handles events. */
export function recordSubscription(target: object, record: SubscribeRecord): void {
  append(subscriptionsKey, target, record);
}

/** The methods that handle events, those of base classes included; an overriding one replaces its base's. */
export function subscriptionsOf(target: AnyClass): readonly SubscribeRecord[] {
  return inherited<SubscribeRecord>(subscriptionsKey, target);
}

/** Records a service class. */
export function recordService(target: AnyClass, record: ServiceClassRecord): void {
  Reflect.defineMetadata(serviceKey, record, target);
}

/** What `@Service` recorded on the class, if it was there. */
export function serviceOf(target: object): ServiceClassRecord | undefined {
  return Reflect.getOwnMetadata(serviceKey, target) as ServiceClassRecord | undefined;
}

const frameworkCore = '@inversifyjs/framework-core';

// Those of Inversify's own decorators count as well: a guard that was taken from the other package must not be passed
// over.
const useKeys: Readonly<
  Record<UseKind, { readonly own: symbol; readonly theirs: readonly [string, string] | undefined }>
> = {
  guard: keysOf('guard', 'Guard'),
  interceptor: keysOf('interceptor', 'Interceptor'),
  pipe: keysOf('pipe', undefined),
  errorFilter: keysOf('errorFilter', 'ErrorFilter'),
};
const catchKey = Symbol.for('tenon.decorators.catch');
const theirCatchKey = `${frameworkCore}/error-filter/catchErrorMetadataReflectKey`;

function keysOf(kind: UseKind, name: string | undefined): (typeof useKeys)[UseKind] {
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
 * Records what is used on a class, or on a method where `target` is its prototype, before what was recorded there:
 * decorators run from the last to the first.
 */
export function recordUse(
  kind: UseKind,
  target: object,
  property: string | symbol | undefined,
  used: readonly unknown[],
): void {
  const { own } = useKeys[kind];
  if (property === undefined) Reflect.defineMetadata(own, [...used, ...metadataList(own, target)], target);
  else Reflect.defineMetadata(own, [...used, ...metadataList(own, target, property)], target, property);
}

/**
 * What is used on a class, or on one of its methods, of one kind: that of base classes first. What a base class asks
 * for its subclasses ask for as well, also for methods that they override.
 */
export function usesOf<K extends UseKind>(kind: K, target: AnyClass, property?: string): Uses[K] {
  const { own, theirs } = useKeys[kind];
  const used = prototypesOf(target).flatMap((prototype) => {
    const type = prototype.constructor;
    return property === undefined
      ? [...metadataList(own, type), ...(theirs ? metadataList(theirs[0], type) : [])]
      : [...metadataList(own, prototype, property), ...(theirs ? metadataList(theirs[1], type, property) : [])];
  });
  return [...new Set(used)] as unknown as Uses[K];
}

/** The methods of a class on which something is used. */
export function methodsWithUses(target: AnyClass): readonly string[] {
  const properties = prototypesOf(target).flatMap((prototype) => Object.getOwnPropertyNames(prototype));
  return [...new Set(properties)].filter((property) =>
    (Object.keys(useKeys) as UseKind[]).some((kind) => usesOf(kind, target, property).length > 0),
  );
}

/** Records which errors a filter is for; `undefined` is all. */
export function recordCatch(target: object, type: ErrorClass | undefined): void {
  Reflect.defineMetadata(catchKey, [...metadataList(catchKey, target), type], target);
}

/** Which errors a filter is for; none where it has no `@CatchError`. */
export function caughtBy(target: object): readonly (ErrorClass | undefined)[] {
  const theirs = metadataList(theirCatchKey, target).map((type) => type ?? undefined);
  return [...metadataList(catchKey, target), ...theirs] as (ErrorClass | undefined)[];
}

/** A list, or the set that Inversify has in its place. */
function metadataList(key: symbol | string, target: object, property?: string | symbol): readonly unknown[] {
  const found = (
    property === undefined ? Reflect.getOwnMetadata(key, target) : Reflect.getOwnMetadata(key, target, property)
  ) as Iterable<unknown> | undefined;
  return [...(found ?? [])];
}

/** The class's prototype behind those of its base classes. */
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
 * The records of a class and its base classes. A class that decorates a method again replaces what its base classes say
 * of that method, as a call or as events.
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

/** A method may be decorated with several topics, and answers one call. */
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
