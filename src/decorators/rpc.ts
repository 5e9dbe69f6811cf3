import { Code, TenonError } from '../errors/errors.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import { type MessageSchema, recordRpc, type RpcRecord } from './metadata.ts';

/** What {@link Rpc} may be told of any method. */
export interface RpcOptions {
  /** Name on the wire. @default the method's, with a capital: `hello` is `Hello` */
  readonly name?: string | undefined;
  /**
   * Calling twice is as good as calling once, so a failed call may be repeated. @default what the `.proto` says, else
   * false
   */
  readonly idempotent?: boolean | undefined;
  /** What a request looks like, where there is no `.proto`; each is validated. */
  readonly input?: MessageSchema | undefined;
  /** What a reply looks like, where there is no `.proto`; for descriptions. */
  readonly output?: MessageSchema | undefined;
  /** Around this method only, inside its class's. */
  readonly interceptors?: readonly Interceptor[] | undefined;
}

/** Which side sends many messages; unary methods say nothing. */
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
      : { 'this method returns what a stream of this kind does not': never }
    : { 'this method takes what a stream of this kind does not': never };

/** The decorator of a unary method, or, with a `.proto`, of any. */
export type RpcDecorator = <F extends AnyMethod>(
  target: object,
  property: string,
  descriptor: TypedPropertyDescriptor<F>,
) => void;
/** The decorator of a streaming method: it compiles only on a method of that shape. */
export type StreamDecorator<K extends StreamKind> = <F extends AnyMethod>(
  target: object,
  property: string,
  descriptor: TypedPropertyDescriptor<F> & Agrees<F, K>,
) => void;

/**
 * Marks a method that answers calls: `(request, ctx) => Promise<reply>`. Where a side streams, an `AsyncIterable` takes
 * the place of the request, of the reply, or of both, and `stream` says so: it cannot be seen at run time. With a
 * `.proto` it may be left out; `verify` compares.
 *
 * A method that throws a `TenonError` answers with its status; anything else it throws is INTERNAL. Ending the
 * iteration ends the stream.
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
export function Rpc(options?: RpcOptions & { readonly stream?: undefined }): RpcDecorator;
export function Rpc<K extends StreamKind>(options: RpcOptions & { readonly stream: K }): StreamDecorator<K>;
export function Rpc(
  options: RpcOptions & { readonly stream?: StreamKind | undefined } = {},
): (target: object, property: string, descriptor: PropertyDescriptor) => void {
  return (target, property, descriptor) => {
    if (typeof property !== 'string' || typeof descriptor?.value !== 'function' || typeof target === 'function') {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'decorators.invalid',
        message: `@Rpc on ${String(property)}: only methods of instances, with a name that is a string, can answer calls`,
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
