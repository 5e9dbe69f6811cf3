import type { StandardSchemaV1 } from '@standard-schema/spec';

import { Code, TenonError } from '../errors/errors.ts';
import { isPromise } from '../internal/is-promise.ts';
import { type Interceptor, type MethodDescriptor, serverStreams } from '../pipeline/pipeline.ts';
import { requestInterceptor } from '../pipeline/enhancer-interceptors.ts';
import { formatViolations, type Validate, validated, violationsOf } from '../pipeline/validation.ts';

/** Options of {@link validation}. */
export interface ValidationOptions {
  /** Validator of requests. @default the method's own, `@Rpc({ input })` */
  readonly input?: StandardSchemaV1 | undefined;
  /** Validator of replies. @default the method's own, `@Rpc({ output })` */
  readonly output?: StandardSchemaV1 | undefined;
}

/**
 * Makes an interceptor, for either side, that validates requests and replies, and each message of a stream. The sender
 * of a message only checks it; the receiver goes on with the value that the validator returns.
 *
 * An invalid request is INVALID_ARGUMENT (`call.invalid_input`) with a `BadRequest`, and a client does not send it. An
 * invalid reply is INTERNAL (`call.invalid_output`): the server logs what is wrong with it, and does not tell the
 * caller. A server validates requests by the method's own validator in any case: there this interceptor is for replies,
 * and for methods of a `.proto`.
 *
 * @example
 * ```ts
 * import { z } from 'zod';
 *
 * const Greeting = z.object({ name: z.string().min(1) });
 *
 * @Handler('greeter.Greeter', { proto: new URL('greeter.proto', import.meta.url) })
 * class GreeterHandler {
 *   @UseInterceptor(validation({ input: Greeting }))
 *   @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
 *     return { text: `Hello ${request.name}` };
 *   }
 * }
 * ```
 */
export function validation(options: ValidationOptions = {}): Interceptor {
  return (next, method) => {
    const output = options.output?.['~standard'].validate ?? method.output.validate;
    const within = output ? replyValidator(output)(next, method) : next;
    const given = options.input?.['~standard'].validate;
    const input = given ?? method.input.validate;
    if (!input) return within;
    const sending = requestInterceptor((value) => checked(validated(input, method.path, value), value))(within, method);
    const receiving = given
      ? requestInterceptor((value) => validated(given, method.path, value))(within, method)
      : within;
    return (value, ctx) => (ctx.outgoing ? sending(value, ctx) : receiving(value, ctx));
  };
}

/** Gives the value itself once `result`, its validation, has succeeded. */
function checked(result: unknown, value: unknown): unknown {
  return isPromise(result) ? Promise.resolve(result).then(() => value) : value;
}

function replyValidator(validate: Validate): Interceptor {
  return (next, method) => {
    if (!serverStreams(method.kind)) {
      return async (input, ctx) =>
        validReply(validate, method, await next(input, ctx), ctx.outgoing === undefined, ctx.logger);
    }
    return async function* (input, ctx) {
      for await (const reply of next(input, ctx) as AsyncIterable<unknown>) {
        yield await validReply(validate, method, reply, ctx.outgoing === undefined, ctx.logger);
      }
    };
  };
}

async function validReply(
  validate: Validate,
  { path }: MethodDescriptor,
  reply: unknown,
  isOurs: boolean,
  logger: { error(message: string, fields?: Record<string, unknown>): void },
): Promise<unknown> {
  const result = await validate(reply);
  if (!result.issues) return isOurs ? reply : result.value;
  const wrong = formatViolations(violationsOf(result.issues));
  if (isOurs) logger.error(`the reply of ${path} is not valid`, { wrong });
  throw new TenonError({
    code: Code.Internal,
    reason: 'call.invalid_output',
    message: isOurs
      ? `the server made an invalid reply of ${path}: see its log`
      : `the reply of ${path} is not valid: ${wrong}`,
  });
}
