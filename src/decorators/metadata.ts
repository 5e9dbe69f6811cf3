import 'reflect-metadata';

import type { StandardSchemaV1 } from '@standard-schema/spec';

import type { Interceptor, MethodKind } from '../pipeline/pipeline.ts';
import type { EventHandlerOptions, ServerOptions } from '../server/server.ts';

/** Any class, abstract ones included. */
export type AnyClass = abstract new (...args: never[]) => object;
/** A class that can be constructed. */
export type Class<T = object> = new (...args: never[]) => T;

/** A message's schema as `@Rpc` and `@Subscribe` take it: Standard Schema (zod, valibot, arktype), or a class with fields. */
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

/** What `@Service` recorded. */
export interface ServiceClassRecord {
  readonly name: string;
  readonly version: string;
  readonly handlers: readonly Class[];
  readonly options: ServerOptions;
}

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

/** The methods that handle events, those of base classes included. */
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

function append(key: symbol, target: object, record: unknown): void {
  const records = (Reflect.getOwnMetadata(key, target) as unknown[] | undefined) ?? [];
  Reflect.defineMetadata(key, [...records, record], target);
}

function inherited<T extends { readonly property: string }>(key: symbol, target: AnyClass): readonly T[] {
  const chain: object[] = [];
  for (
    let at: object | null = target.prototype as object;
    at && at !== Object.prototype;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    chain.unshift(at);
  }
  const seen = new Set<string>();
  return chain
    .flatMap((prototype) => (Reflect.getOwnMetadata(key, prototype) as T[] | undefined) ?? [])
    .reverse()
    .filter((record) => {
      // Two subscriptions of one method are two; a base's record of an overridden one is not.
      const id =
        key === subscriptionsKey
          ? `${record.property} ${(record as unknown as SubscribeRecord).topic}`
          : record.property;
      return !seen.has(id) && seen.add(id);
    })
    .reverse();
}
