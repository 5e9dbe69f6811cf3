import type { StandardSchemaV1 } from '@standard-schema/spec';

import type { Context } from '../context/context.ts';
import type { MethodDescriptor } from './pipeline.ts';

/**
 * Decides whether a call may go on: Inversify's `Guard`, whose request is the {@link Context}.
 *
 * Anything but `true` refuses the call with PERMISSION_DENIED (`call.permission_denied`); a `TenonError` that it throws
 * is the status. A guard that answers without a promise costs no promise. An instance serves all calls at once, and has
 * no state of one.
 */
export interface Guard {
  /** `input` is the request, or the iterable of requests where the client streams: that is the handler's to read. */
  activate(ctx: Context, input: unknown, method: MethodDescriptor): boolean | Promise<boolean>;
}

/**
 * Wraps a call as a class does: Inversify's `Interceptor`. The function type `Interceptor` of `tenon/pipeline` costs
 * less per call; use a class for what needs something injected, or was written for Inversify.
 */
export interface CallInterceptor {
  /**
   * Calls `next` once, and returns. `request` and `response` are both the {@link Context}: its metadata came with the
   * request, its headers and trailers go out with the reply. `next` resolves when there is a reply, or an iterable of
   * them where the server streams. Functions pushed onto its result change the reply, or each of the replies.
   */
  intercept(request: Context, response: Context, next: () => Promise<ReplyTransforms>): Promise<void>;
}

/**
 * The list of changes to a reply, which `next` of a {@link CallInterceptor} gives: Inversify's
 * `InterceptorTransformObject`.
 */
export interface ReplyTransforms {
  /**
   * Adds a function that changes the reply on its way out: the result of the function, or of its promise, takes the
   * reply's place. The functions of inner interceptors run first.
   */
  push: (transform: (value: unknown) => unknown) => void;
}

/**
 * Changes or refuses a request before the handler sees it: Inversify's `Pipe`. Where the client streams it is called
 * for each request.
 */
export interface Pipe<Input = unknown, Output = unknown> {
  execute(input: Input, metadata: PipeMetadata): Output | Promise<Output>;
}

/** The method that a {@link Pipe} is used on. */
export interface PipeMetadata {
  readonly targetClass: NewableFunction;
  readonly methodName: string | symbol;
  /** Always 0, the request. */
  readonly parameterIndex: number;
}

/**
 * Turns an error of a call into its reply or its status: Inversify's `ErrorFilter`. `@CatchError` says which classes of
 * errors it handles.
 *
 * An error that it throws or returns becomes the status. Anything else that it returns is the reply; where the server
 * streams, an iterable gives the remaining replies, `undefined` ends the stream, and any other value is its last reply.
 * For an event, a filter that does not throw means that the event was handled.
 */
export interface ErrorFilter<Failure = unknown> {
  catch(error: Failure, request: Context, response: Context): unknown;
}

/** A class whose instances are errors. */
export type ErrorClass = abstract new (...args: never[]) => Error;

/** An {@link ErrorFilter} and the classes of errors that it handles; `undefined` stands for everything thrown. */
export interface FilterRule {
  readonly filter: ErrorFilter;
  readonly catches: readonly (ErrorClass | undefined)[];
}

/** True if a value is a validator in the form of Standard Schema. Those of arktype are functions. */
export function isStandardSchema(value: unknown): value is StandardSchemaV1 {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && '~standard' in value;
}
