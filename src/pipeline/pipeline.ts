import type { StandardSchemaV1 } from '@standard-schema/spec';

import type { Context } from '../context/context.ts';

/** How many messages go each way: `server` and `client` name the side that streams. `event` is a subscription. */
export type MethodKind = 'unary' | 'server' | 'client' | 'bidi' | 'event';

/** Says if the client sends a stream. */
export function clientStreams(kind: MethodKind): boolean {
  return kind === 'client' || kind === 'bidi';
}

/** Says if the server sends a stream. */
export function serverStreams(kind: MethodKind): boolean {
  return kind === 'server' || kind === 'bidi';
}

/** What one message may cost, whatever its size in bytes is. */
export interface MessageLimits {
  /**
   * How much may be in a message that is read. Each message in it, item of a list, and key and value of a map is one
   * element. A message is one more for each of its fields that is a list, a map or `bytes`, and for every eight others.
   * More is RESOURCE_EXHAUSTED (`codec.too_many_elements`).
   * @default 1_048_576
   */
  readonly maxElements?: number | undefined;
  /**
   * How deep messages are nested, read or written: 250 levels at most, 1,000 for JSON without a `.proto`. Deeper is
   * INVALID_ARGUMENT.
   * @default 100 levels, 1_000 for JSON without a `.proto`
   */
  readonly maxDepth?: number | undefined;
}

/**
 * How a type of a `.proto` becomes a value and back, built once per type. Values are the plain objects of the mapping
 * that `docs/codec.md` describes.
 */
export interface ProtoType<T = unknown> {
  /** Full name without a leading dot: `greeter.HelloRequest`. */
  readonly name: string;
  /** Throws INVALID_ARGUMENT (`codec.encode`) that names the field when the value does not fit the type. */
  encode(value: T, limits?: MessageLimits): Uint8Array;
  /**
   * Throws INVALID_ARGUMENT (`codec.decode`) when the bytes are not a message of the type, RESOURCE_EXHAUSTED
   * (`codec.too_many_elements`) when it holds more than `limits` allow. The result shares no memory with `bytes`.
   */
  decode(bytes: Uint8Array, limits?: MessageLimits): T;
  /** Proto3 JSON (protobuf.dev: programming-guides/json), as a value for `JSON.stringify`. */
  toJson(value: T, limits?: MessageLimits): unknown;
  /** The reverse of `toJson`; accepts both camelCase and original field names. */
  fromJson(json: unknown, limits?: MessageLimits): T;
  /** The fields, for descriptions in the registry. */
  readonly fields: readonly ProtoField[];
  /**
   * The files that it is made of, each behind those it imports, as serialized `google.protobuf.FileDescriptorProto`;
   * `undefined` where they are not known.
   */
  readonly fileDescriptors?: readonly Uint8Array[] | undefined;
}

/** A field of a {@link ProtoType}. */
export interface ProtoField {
  /** The property of a value. */
  readonly name: string;
  /** As the `.proto` says it. */
  readonly original: string;
  /** Scalar type (`string`, `int64`) or full message or enum name. */
  readonly type: string;
  readonly repeated: boolean;
  readonly map: boolean;
  /** The message type, if the field has one. Read when needed: types may be recursive. */
  readonly message: ProtoType | undefined;
}

/** What a message of a method looks like. Without `validate` and `proto` any JSON value is taken. */
export interface Schema<T = unknown> {
  /** For errors, descriptions and documents. */
  readonly name: string;
  /** A validator in the form of Standard Schema (zod, valibot, arktype alike). */
  readonly validate?: StandardSchemaV1<unknown, T>['~standard']['validate'] | undefined;
  readonly proto?: ProtoType<T> | undefined;
}

/** The schema of a message about which nothing was said. */
export const anySchema: Schema = { name: 'any' };

/**
 * The schema of a message type of a `.proto` that is found with the first message, once: for handlers that come with a
 * file of their own.
 */
export function lazySchema(name: string, findType: (name: string) => ProtoType | undefined): Schema {
  let type: ProtoType | undefined;
  return {
    name,
    get proto() {
      return (type ??= findType(name));
    },
  };
}

/**
 * One method, said once: client, server, reflection, `verify`, the registry's endpoints and documents all
 * read this. Built from decorators or a `.proto`, immutable.
 */
export interface MethodDescriptor {
  /** Full service name: `greeter.Greeter`. Of an event, the service that handles it, by its name in the registry. */
  readonly service: string;
  /** The method's name on the wire: `Hello`. Of an event, the method that handles it: `OrdersHandler.onOrder`. */
  readonly method: string;
  /** `/greeter.Greeter/Hello`; of an event `orders → OrdersHandler.onOrder`. */
  readonly path: string;
  /** The topic that events are subscribed to; `undefined` of calls. */
  readonly topic?: string | undefined;
  /** Further paths that a server answers as well. */
  readonly aliases: readonly string[];
  readonly kind: MethodKind;
  readonly input: Schema;
  readonly output: Schema;
  /** Calling twice is as good as calling once: such a call may be repeated. */
  readonly idempotent: boolean;
  /** The codec of a call that names none: `application/grpc+proto`, `application/grpc+json`. */
  readonly defaultContentType: string;
}

/** What a call gives: a promise of its reply, or, where the server streams, an AsyncIterable of replies. */
export type CallResult = Promise<unknown> | AsyncIterable<unknown>;

/**
 * A call, from any point of the pipeline on. `input` is the request, or an AsyncIterable of requests where
 * the client streams. Where the server streams, a promise of the iterable is as good as the iterable, so that an
 * interceptor may be `async`.
 */
export type Invoke = (input: unknown, ctx: Context) => CallResult;

/** The end of the pipeline as applications write it: a reply may also be given without a promise. */
export type HandlerFunction = (input: unknown, ctx: Context) => unknown;

/**
 * Something done around calls: authentication, validation, tracing, retries. One shape for server and client,
 * unary, streams and events.
 *
 * It is called once per method when the method is registered, and returns what is called per call: work that does not
 * depend on the call belongs into the outer function.
 *
 * @example
 * ```ts
 * const timing: Interceptor = (next, method) => (input, ctx) => {
 *   ctx.logger.debug(`calling ${method.path}`);
 *   return next(input, ctx);
 * };
 * ```
 */
export type Interceptor = (next: Invoke, method: MethodDescriptor) => Invoke;
