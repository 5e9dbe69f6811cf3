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
 * Does something around a call: Inversify's `Interceptor`. The function of the same name in `tenon/pipeline` does the
 * same for less: a class is for what needs something injected, or was written for Inversify.
 */
export interface CallInterceptor {
  /**
   * Calls `next` once, and returns. What comes in is the metadata of the {@link Context}, what goes out are its headers
   * and trailers, so `request` and `response` are both the context. `next` resolves when there is a reply, or, where
   * the server streams, an iterable of them; what is pushed onto its result changes the reply, or each of them.
   */
  intercept(request: Context, response: Context, next: () => Promise<ReplyTransforms>): Promise<void>;
}

/** Inversify's `InterceptorTransformObject`. */
export interface ReplyTransforms {
  /**
   * Changes the reply on its way out: what it returns, or its promise resolves to, takes the reply's place. Those of
   * inner interceptors come first.
   */
  push: (transform: (value: unknown) => unknown) => void;
}

/**
 * Changes or refuses the request before the handler sees it: Inversify's `Pipe`. Where the client streams, each
 * request.
 */
export interface Pipe<Input = unknown, Output = unknown> {
  execute(input: Input, metadata: PipeMetadata): Output | Promise<Output>;
}

/** Where a {@link Pipe} stands. */
export interface PipeMetadata {
  readonly targetClass: NewableFunction;
  readonly methodName: string | symbol;
  /** Always 0, the request. */
  readonly parameterIndex: number;
}

/**
 * Answers what a call failed with: Inversify's `ErrorFilter`. `@CatchError` says which errors are its business.
 *
 * What it throws is the status, and so is an error that it returns. Anything else that it returns is the reply: where
 * the server streams, an iterable of them, the last one, or with `undefined` none. To an event it means that the event
 * was handled.
 */
export interface ErrorFilter<Failure = unknown> {
  catch(error: Failure, request: Context, response: Context): unknown;
}

/** A class of errors. */
export type ErrorClass = abstract new (...args: never[]) => Error;

/** An {@link ErrorFilter} and what it is for; `undefined` is everything that is thrown. */
export interface FilterRule {
  readonly filter: ErrorFilter;
  readonly catches: readonly (ErrorClass | undefined)[];
}

/** Whether a value is a validator in the form of Standard Schema; those of arktype are functions. */
export function isStandardSchema(value: unknown): value is StandardSchemaV1 {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && '~standard' in value;
}
