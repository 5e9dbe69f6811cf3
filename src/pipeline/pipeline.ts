import type { StandardSchemaV1 } from '@standard-schema/spec';

import type { Context } from '../context/context.ts';

/** The kind of a method: `server` and `client` name the side that streams, `event` is the handler of a subscription. */
export type MethodKind = 'unary' | 'server' | 'client' | 'bidi' | 'event';

/** True if the client sends a stream. */
export function clientStreams(kind: MethodKind): boolean {
  return kind === 'client' || kind === 'bidi';
}

/** True if the server sends a stream. */
export function serverStreams(kind: MethodKind): boolean {
  return kind === 'server' || kind === 'bidi';
}

/** Bounds of what one message may cost in time and memory, whatever its size in bytes is. */
export interface MessageLimits {
  /**
   * The most elements of a message that is read. Each message in it, item of a list, and key and value of a map is one
   * element. A message is one more for each of its fields that is a list, a map or `bytes`, and for every eight others.
   * A message with more is RESOURCE_EXHAUSTED (`codec.too_many_elements`).
   * @default 1_048_576
   */
  readonly maxElements?: number | undefined;
  /**
   * The deepest nesting of a message that is read or written: 250 at most, 1,000 for JSON without a `.proto`. A message
   * nested deeper is INVALID_ARGUMENT.
   * @default 100 levels, 1_000 for JSON without a `.proto`
   */
  readonly maxDepth?: number | undefined;
}

/**
 * Converts values of a message type of a `.proto` to bytes or JSON and back. It is built once per type. Values are the
 * plain objects of the mapping in `docs/codec.md`.
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
  /**
   * Converts a value to proto3 JSON (protobuf.dev: programming-guides/json): in the form `text` ready for
   * `JSON.stringify`.
   */
  toJson(value: T, limits?: MessageLimits, form?: JsonForm): unknown;
  /** The reverse of `toJson`; accepts both camelCase and original field names. */
  fromJson(json: unknown, limits?: MessageLimits, form?: JsonForm): T;
  /** The fields, for descriptions in the registry. */
  readonly fields: readonly ProtoField[];
  /**
   * The `.proto` files of the type, each after those that it imports, as serialized
   * `google.protobuf.FileDescriptorProto`; `undefined` where they are not known.
   */
  readonly fileDescriptors?: readonly Uint8Array[] | undefined;
}

/**
 * The form of the values that JSON's text has no type for. `text`: bytes are base64, integers of 64 bits are digits,
 * NaN and the infinities are names. `binary`, for formats that have the types: a `Uint8Array`, numbers, and a bigint
 * for an integer that is not safe.
 */
export type JsonForm = 'text' | 'binary';

/** A field of a {@link ProtoType}. */
export interface ProtoField {
  /** The property of a value. */
  readonly name: string;
  /** Name of the field in the `.proto`. */
  readonly original: string;
  /** Scalar type (`string`, `int64`) or full message or enum name. */
  readonly type: string;
  readonly repeated: boolean;
  readonly map: boolean;
  /** The message type, if the field has one. A getter, as types may be recursive. */
  readonly message: ProtoType | undefined;
}

/** Describes the requests or the replies of a method. Without `validate` and `proto` any JSON value is accepted. */
export interface Schema<T = unknown> {
  /** For errors, descriptions and documents. */
  readonly name: string;
  /** A validator in the form of Standard Schema (zod, valibot, arktype alike). */
  readonly validate?: StandardSchemaV1<unknown, T>['~standard']['validate'] | undefined;
  readonly proto?: ProtoType<T> | undefined;
}

/** The schema that accepts any JSON value. */
export const anySchema: Schema = { name: 'any' };

/**
 * A schema whose message type is looked up with the first message, and kept: for handlers whose `.proto` is loaded only
 * when they are called.
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
 * Describes one method. Client, server, reflection, `verify` and the registry's endpoints all read this one
 * description. It is built from decorators or a `.proto`, and never changes.
 */
export interface MethodDescriptor {
  /** Full service name: `greeter.Greeter`. For an event, the name in the registry of the service that handles it. */
  readonly service: string;
  /** The method's name on the wire: `Hello`. For an event, the method that handles it: `OrdersHandler.onOrder`. */
  readonly method: string;
  /** Path of the method on the wire: `/greeter.Greeter/Hello`; for an event `orders → OrdersHandler.onOrder`. */
  readonly path: string;
  /** The topic of an event's subscription; `undefined` for calls. */
  readonly topic?: string | undefined;
  /** Further paths that a server answers as well. */
  readonly aliases: readonly string[];
  readonly kind: MethodKind;
  readonly input: Schema;
  readonly output: Schema;
  /** True if calling twice has the effect of calling once: such a call may be repeated. */
  readonly idempotent: boolean;
  /** The content type of a call that names none: `application/grpc+proto`, `application/grpc+json`. */
  readonly defaultContentType: string;
}

/** The result of a call: a promise of its reply, or, where the server streams, an AsyncIterable of replies. */
export type CallResult = Promise<unknown> | AsyncIterable<unknown>;

/**
 * Runs the rest of a call, from any point of the pipeline on: the interceptors that follow, then the handler. `input`
 * is the request, or an AsyncIterable of requests where the client streams. Where the server streams it may also return
 * a promise of the iterable, so that an interceptor may be `async`.
 */
export type CallHandler = (input: unknown, ctx: Context) => CallResult;

/** A method of a handler as applications write it. It may also return a reply without a promise. */
export type HandlerFunction = (input: unknown, ctx: Context) => unknown;

/**
 * Wraps the calls of a method, for authentication, validation, tracing or retries. It has one shape for server and
 * client, unary calls, streams and events.
 *
 * The outer function runs once per method, when the method is registered; the function that it returns runs per call.
 * Work that does not depend on the call belongs into the outer one.
 *
 * @example
 * ```ts
 * const timing: Interceptor = (next, method) => (input, ctx) => {
 *   ctx.logger.debug(`calling ${method.path}`);
 *   return next(input, ctx);
 * };
 * ```
 */
export type Interceptor = (next: CallHandler, method: MethodDescriptor) => CallHandler;
