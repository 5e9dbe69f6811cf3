import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import { type MessageSchema, recordRpc, type RpcRecord } from './metadata.ts';

/** Options of {@link Rpc} that every kind of method has. */
export interface RpcDecoratorOptions {
  /** Name on the wire. @default the method's name with a capital: `hello` is `Hello` */
  readonly name?: string | undefined;
  /**
   * True if calling twice has the same effect as calling once, so that a failed call may be repeated.
   * @default what the `.proto` says, else false
   */
  readonly idempotent?: boolean | undefined;
  /** Schema of the request, for handlers without a `.proto`. Every request is validated against it. */
  readonly input?: MessageSchema | undefined;
  /** Schema of the reply, for handlers without a `.proto`. It only describes: replies are not validated. */
  readonly output?: MessageSchema | undefined;
  /** Interceptors around this method only, inside those of its class. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/** The side of a call that sends many messages: the server, the client, or both. */
export type StreamKind = 'server' | 'client' | 'bidi';

// Only `any` accepts every parameter list in a constraint.
// oxlint-disable-next-line typescript/no-explicit-any
type AnyMethod = (...args: any[]) => any;
type IsAny<T> = 0 extends 1 & T ? true : false;
type Streams<T> = IsAny<T> extends true ? unknown : T extends AsyncIterable<unknown> ? true : false;
type KindFlags = {
  server: { input: false; output: true };
  client: { input: true; output: false };
  bidi: { input: true; output: true };
};
type Fits<Flag, Expected> = unknown extends Flag ? true : Flag extends Expected ? true : false;
type Agrees<F extends AnyMethod, K extends StreamKind> =
  Fits<Streams<Parameters<F>[0]>, KindFlags[K]['input']> extends true
    ? Fits<Streams<ReturnType<F>>, KindFlags[K]['output']> extends true
      ? unknown
      : { returnsAnotherKindOfStream: never }
    : { takesAnotherKindOfStream: never };

/** A method decorator that accepts every method: unary ones, and with a `.proto` those of any kind. */
export type RpcDecorator = <F extends AnyMethod>(
  target: object,
  property: string,
  descriptor: TypedPropertyDescriptor<F>,
) => void;
/** A method decorator that compiles only on methods of the given stream kind. */
export type StreamDecorator<K extends StreamKind> = <F extends AnyMethod>(
  target: object,
  property: string,
  descriptor: TypedPropertyDescriptor<F> & Agrees<F, K>,
) => void;

/**
 * Marks a method that answers calls: `(request, ctx) => Promise<reply>`. Where a side streams, an `AsyncIterable` takes
 * the place of the request, of the reply, or of both. `stream` names that side, as the shape of a method cannot be seen
 * at run time. With a `.proto` it may be left out; `verify` compares it with the `.proto`.
 *
 * A method that throws a `TenonError` answers with its status; anything else that it throws is INTERNAL. A stream ends
 * when the returned iterable ends.
 *
 * @example
 * ```ts
 * @Handler('clock.Clock')
 * class ClockHandler {
 *   @Rpc({ stream: 'server' })
 *   async *tick(request: { count: number }): AsyncIterable<{ n: number }> {
 *     for (let n = 0; n < request.count; n += 1) yield { n };
 *   }
 * }
 * ```
 */
export function Rpc(options?: RpcDecoratorOptions & { readonly stream?: undefined }): RpcDecorator;
export function Rpc<K extends StreamKind>(options: RpcDecoratorOptions & { readonly stream: K }): StreamDecorator<K>;
export function Rpc(
  options: RpcDecoratorOptions & { readonly stream?: StreamKind | undefined } = {},
): (target: object, property: string, descriptor: PropertyDescriptor) => void {
  return (target, property, descriptor) => {
    if (typeof property !== 'string' || typeof descriptor?.value !== 'function' || typeof target === 'function') {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'decorators.invalid',
        message: `@Rpc on ${String(property)}: only an instance method whose name is a string can answer calls; move @Rpc to one`,
      });
    }
    const record: RpcRecord = {
      property,
      name: options.name,
      kind: options.stream,
      idempotent: options.idempotent,
      input: options.input,
      output: options.output,
      interceptors: options.interceptors ?? [],
    };
    recordRpc(target, record);
  };
}
