// Compiled, never run: what guards and their like are taken for, and what not.
import { z } from 'zod';

import {
  CatchError,
  type ErrorFilter,
  type Guard,
  Handler,
  type Interceptor,
  type Pipe,
  Rpc,
  UseErrorFilter,
  UseGuard,
  UseInterceptor,
  UsePipe,
  withHooks,
} from 'tenon';
import { bearerGuard, principal, protovalidate } from 'tenon/interceptors';
import { BadRequest, badRequest, findDetail, RetryInfo } from 'tenon/errors/details';
import { contextKey } from 'tenon/context';

class Open implements Guard {
  constructor(readonly hours: number) {}
  activate(): boolean {
    return this.hours > 0;
  }
}
abstract class Sessions implements Guard {
  abstract activate(): Promise<boolean>;
}
class Trimmed implements Pipe<string, string> {
  execute(input: string): string {
    return input.trim();
  }
}
@CatchError(TypeError)
class TypeFilter implements ErrorFilter<TypeError> {
  catch(error: TypeError): string {
    return error.message;
  }
}
class Wall {
  readonly height = 3;
}
const around: Interceptor = (next) => next;
export const awaiting: Interceptor = (next) => async (input, ctx) => {
  const result = await next(input, ctx);
  return result;
};
export const hooked: Interceptor = withHooks(async () => ({ onFirst: () => {}, onEnd: ({ outcome }) => void outcome }));
// @ts-expect-error a call gives a promise or an iterable
export const numbering: Interceptor = () => () => 7;
// @ts-expect-error hooks are functions
withHooks(() => ({ onEnd: 7 }));

@UseGuard(Open, Sessions, 'a key', Symbol('another'), { activate: () => true })
@UseInterceptor(around, protovalidate())
@UsePipe(Trimmed, z.string())
@UseErrorFilter(TypeFilter)
@Handler('types.Enhancers')
export class EnhancersHandler {
  @UseGuard(Open)
  @Rpc()
  async hello(request: string): Promise<string> {
    return request;
  }
}

// @ts-expect-error a wall is no guard
UseGuard(Wall);
// @ts-expect-error nor is a function: it could not be told from a class
UseGuard(() => true);
// @ts-expect-error an answer is true or false
UseGuard({ activate: () => 'yes' });
// @ts-expect-error a guard is no pipe
UsePipe(Open);
// @ts-expect-error a filter is said by its class
UseErrorFilter(new TypeFilter());
// @ts-expect-error errors are classes
CatchError('TypeError');

const user = contextKey<{ name: string }>('user');
bearerGuard({ verify: () => ({ name: 'Ada' }), as: user });
bearerGuard({ verify: (token) => token, as: principal });
// @ts-expect-error the key is of another type
bearerGuard({ verify: () => 7, as: user });

const error = { details: [badRequest({ fieldViolations: [{ field: 'a', description: 'b' }] })] };
findDetail(error, BadRequest)?.fieldViolations.map(({ field }) => field.length);
findDetail(error, RetryInfo)?.retryDelayMs.toFixed();
// @ts-expect-error a violation has a description
badRequest({ fieldViolations: [{ field: 'a' }] });
