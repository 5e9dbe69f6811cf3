import {
  CatchError as TheirCatchError,
  type ErrorFilter as TheirErrorFilter,
  type Guard as TheirGuard,
  type Interceptor as TheirInterceptor,
  type InterceptorTransformObject,
  type Pipe as TheirPipe,
  type PipeMetadata as TheirPipeMetadata,
  UseErrorFilter as theirUseErrorFilter,
  UseGuard as theirUseGuard,
  UseInterceptor as theirUseInterceptor,
} from '@inversifyjs/framework-core';
import { afterEach, describe, expect, it } from '@jest/globals';
import { inject } from 'inversify';
import { z } from 'zod';

import type { AppOptions } from '../../src/app/options.ts';
import { System } from '../../src/app/system.ts';
import { Broker } from '../../src/broker/broker.ts';
import { type Context, contextKey } from '../../src/context/context.ts';
import {
  CatchError,
  type Class,
  Handler,
  Rpc,
  Service,
  Subscribe,
  UseErrorFilter,
  UseGuard,
  UseInterceptor,
  UsePipe,
} from '../../src/decorators/decorators.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { Interceptor } from '../../src/pipeline/pipeline.ts';
import type { CallInterceptor, ErrorFilter, Guard, Pipe, ReplyTransforms } from '../../src/pipeline/enhancers.ts';
import { Clock } from '../../src/runtime/runtime.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { collect } from '../../src/testing/recorders.ts';
import { eventually, gate } from '../support/waiting.ts';

interface Value {
  value: number;
}

const trail = contextKey<string[]>('trail');
const seen: string[] = [];

function note(ctx: Context, what: string): void {
  const notes = ctx.get(trail) ?? [];
  ctx.set(trail, [...notes, what]);
}

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
  seen.length = 0;
});

function serviceWith(...handlers: Class[]): Class {
  @Service({ name: 'numbers', handlers })
  class Numbers {}
  return Numbers;
}

async function started(service: Class, options: AppOptions = {}): Promise<System> {
  system = await System.start([service], { profile: 'test', ...options });
  return system;
}

async function* of(...values: number[]): AsyncIterable<Value> {
  for (const value of values) yield { value };
}

/** What each step notes, in the order in which they come. */
class Noting implements Guard, CallInterceptor, Pipe<Value, Value> {
  static made = 0;
  constructor(@inject(Clock) readonly clock: Clock) {
    Noting.made += 1;
  }
  activate(ctx: Context): boolean {
    expect(this.clock.now()).toBeGreaterThan(0);
    note(ctx, 'guard of the method');
    return true;
  }
  async intercept(ctx: Context, response: Context, next: () => Promise<ReplyTransforms>): Promise<void> {
    expect(response).toBe(ctx);
    note(ctx, 'interceptor of the method');
    const reply = await next();
    reply.push((value) => ({ value: (value as Value).value * 10 }));
  }
  execute(input: Value): Value {
    return { value: input.value + 1 };
  }
}

const noting = (what: string): Guard => ({
  activate: async (ctx) => {
    note(ctx, what);
    return true;
  },
});
const notingInterceptor =
  (what: string): Interceptor =>
  (next) =>
  (input, ctx) => {
    note(ctx, what);
    return next(input, ctx);
  };

describe('enhancers (guards, interceptors, pipes, error filters)', () => {
  it("run in the order of Inversify, the service's before the class's before the method's, and are made once", async () => {
    Noting.made = 0;
    let notes: readonly string[] = [];

    @UseInterceptor(notingInterceptor('interceptor of the class'))
    @UseGuard(noting('guard of the class'))
    @Handler('numbers.Numbers', { interceptors: [notingInterceptor('option of the class')] })
    class NumbersHandler {
      @UsePipe(Noting)
      @UseInterceptor(Noting)
      @UseGuard(Noting)
      @Rpc()
      async echo(request: Value, ctx: Context): Promise<Value> {
        notes = ctx.get(trail) ?? [];
        return request;
      }
      @UseGuard(Noting)
      @Rpc()
      async other(request: Value): Promise<Value> {
        return request;
      }
    }
    @UseGuard(noting('guard of the service'))
    @UseInterceptor(notingInterceptor('interceptor of the service'))
    @Service({
      name: 'numbers',
      handlers: [NumbersHandler],
      interceptors: [notingInterceptor('option of the service')],
    })
    class Numbers {}

    const client = (await started(Numbers)).client(NumbersHandler);
    expect(await client.echo({ value: 1 })).toEqual({ value: 20 });
    expect(await client.echo({ value: 2 })).toEqual({ value: 30 });
    expect(notes).toEqual([
      'option of the service',
      'option of the class',
      'guard of the service',
      'guard of the class',
      'guard of the method',
      'interceptor of the service',
      'interceptor of the class',
      'interceptor of the method',
    ]);
    expect(Noting.made).toBe(1);
  });

  it('run around streams as around unary calls', async () => {
    class Plus implements Pipe<Value, Promise<Value>> {
      async execute(input: Value): Promise<Value> {
        if (input.value === 13) throw new TenonError({ code: Code.OutOfRange, message: 'not 13' });
        return { value: input.value + 1 };
      }
    }
    class Times implements CallInterceptor {
      async intercept(_request: Context, _response: Context, next: () => Promise<ReplyTransforms>): Promise<void> {
        (await next()).push(async (value) => ({ value: (value as Value).value * 10 }));
      }
    }
    @UseGuard({ activate: async (ctx) => ctx.metadata.has('open') })
    @UseInterceptor(Times)
    @UsePipe(Plus)
    @Handler('numbers.Numbers')
    class NumbersHandler {
      @Rpc({ stream: 'server' }) async *count(request: Value): AsyncIterable<Value> {
        for (let value = 0; value < request.value; value += 1) yield { value };
      }
      @Rpc({ stream: 'client' }) async sum(requests: AsyncIterable<Value>): Promise<Value> {
        let value = 0;
        for await (const request of requests) value += request.value;
        return { value };
      }
      @Rpc({ stream: 'bidi' }) async *echo(requests: AsyncIterable<Value>): AsyncIterable<Value> {
        for await (const request of requests) yield request;
      }
    }
    const client = (await started(serviceWith(NumbersHandler))).client(NumbersHandler);
    const open = { metadata: { open: 'yes' } };
    expect(await collect(client.count({ value: 1 }, open))).toEqual([{ value: 0 }, { value: 10 }]);
    expect(await client.sum(of(1, 2), open)).toEqual({ value: 50 });
    expect(await collect(client.echo(of(1, 2), open))).toEqual([{ value: 20 }, { value: 30 }]);
    for (const refused of [collect(client.count({ value: 1 })), client.sum(of(1)), collect(client.echo(of(1)))]) {
      expect(await failureOf(refused)).toMatchObject({ code: Code.PermissionDenied, reason: 'call.permission_denied' });
    }
    const bad = [
      collect(client.count({ value: 13 }, open)),
      client.sum(of(1, 13), open),
      collect(client.echo(of(13), open)),
    ];
    for (const refused of bad) expect((await failureOf(refused)).code).toBe(Code.OutOfRange);
  });

  it('run around events too, and an event that a guard refuses is not acknowledged', async () => {
    @Handler()
    class Listener {
      @UseGuard({ activate: (ctx) => ctx.metadata.get('from') !== 'mallory' })
      @UsePipe(z.object({ value: z.number().transform((value) => value + 1) }))
      @Subscribe('counted', { deadLetter: true })
      onCounted(event: Value): void {
        seen.push(String(event.value));
      }
    }
    const broker = (await started(serviceWith(Listener))).get(Broker);
    const dead: (string | undefined)[] = [];
    await broker.subscribe('counted.dead-letter', async (event) => void dead.push(event.headers['from']));
    const body = Buffer.from('{"value":1}');
    await broker.publish('counted', { headers: { from: 'mallory' }, body });
    await broker.publish('counted', { headers: { from: 'alice' }, body });
    await broker.publish('counted', { headers: { from: 'bob' }, body: Buffer.from('{"value":"x"}') });
    await eventually('all are dealt with', () => dead.length === 2 && seen.length === 1);
    expect([new Set(dead), seen]).toEqual([new Set(['bob', 'mallory']), ['2']]);
  });

  it('refuse the call if a guard returns nothing', async () => {
    @Handler('numbers.Numbers')
    class NumbersHandler {
      @UseGuard({ activate: () => undefined as unknown as boolean })
      @Rpc()
      async sync(): Promise<object> {
        return {};
      }
      @UseGuard({ activate: async () => 'yes' as unknown as boolean })
      @Rpc()
      async later(): Promise<object> {
        return {};
      }
    }
    const client = (await started(serviceWith(NumbersHandler))).client(NumbersHandler);
    expect((await failureOf(client.sync())).code).toBe(Code.PermissionDenied);
    expect((await failureOf(client.later())).code).toBe(Code.PermissionDenied);
  });

  it('do not handle a call whose caller left while a guard waited', async () => {
    const asked = gate();
    const answered = gate();
    let finished = 0;
    @UseGuard({
      activate: async (ctx) => {
        asked.open();
        await new Promise((resolve) => ctx.onAbort(resolve));
        finished += 1;
        answered.open();
        return true;
      },
    })
    @Handler('numbers.Numbers')
    class NumbersHandler {
      @Rpc() async echo(request: Value): Promise<Value> {
        seen.push('handled');
        return request;
      }
    }
    const running = await started(serviceWith(NumbersHandler));
    const controller = new AbortController();
    const call = failureOf(running.client(NumbersHandler).echo({ value: 1 }, { signal: controller.signal }));
    await asked.opened;
    controller.abort();
    expect((await call).code).toBe(Code.Cancelled);
    await answered.opened;
    await eventually('nothing is in flight', () => running.services[0]?.server().inFlight === 0);
    expect([finished, seen]).toEqual([1, []]);
  });

  it('fail the call, and not the process, if an interceptor does not call next or does not wait for it', async () => {
    class Idle implements CallInterceptor {
      async intercept(): Promise<void> {}
    }
    class Hasty implements CallInterceptor {
      async intercept(_request: Context, _response: Context, next: () => Promise<unknown>): Promise<void> {
        void next();
      }
    }
    @Handler('numbers.Numbers')
    class NumbersHandler {
      @UseInterceptor(Idle) @Rpc() async idle(): Promise<object> {
        return {};
      }
      @UseInterceptor(Hasty) @Rpc() async hasty(): Promise<object> {
        throw new Error('too late');
      }
    }
    const client = (await started(serviceWith(NumbersHandler))).client(NumbersHandler);
    expect((await failureOf(client.idle())).reason).toBe('call.not_intercepted');
    expect((await failureOf(client.hasty())).reason).toBe('call.not_intercepted');
  });

  it('are inherited by subclasses, for methods that they override too', async () => {
    const closed: Guard = { activate: () => false };
    @UseGuard({ activate: (ctx) => ctx.metadata.has('open') })
    class Base {
      @UseGuard(closed) @Rpc() async first(): Promise<object> {
        return {};
      }
      @Rpc() async second(): Promise<object> {
        return {};
      }
    }
    @Handler('numbers.Numbers')
    class Derived extends Base {
      @Rpc() override async first(): Promise<object> {
        return {};
      }
    }
    const client = (await started(serviceWith(Derived))).client(Derived);
    expect((await failureOf(client.first({}, { metadata: { open: '1' } }))).code).toBe(Code.PermissionDenied);
    expect((await failureOf(client.second())).code).toBe(Code.PermissionDenied);
    expect(await client.second({}, { metadata: { open: '1' } })).toEqual({});
  });
});

class OutOfStock extends Error {}
class LastOne extends OutOfStock {}

function tagged(tag: string): (error: Error) => never {
  return (error) => {
    throw new TenonError({ code: Code.ResourceExhausted, message: `${tag}: ${error.message}` });
  };
}

@CatchError(OutOfStock)
class StockFilter implements ErrorFilter<OutOfStock> {
  catch(error: OutOfStock): never {
    return tagged('stock')(error);
  }
}
@CatchError({ error: LastOne })
class LastFilter implements ErrorFilter<LastOne> {
  catch(): Value {
    return { value: -1 };
  }
}
@CatchError()
class AnyFilter implements ErrorFilter {
  catch(error: Error): Error {
    return new TenonError({ code: Code.Aborted, message: `any: ${error.message}` });
  }
}
@CatchError(TypeError)
class TypeFilter implements ErrorFilter<TypeError> {
  catch(error: TypeError): never {
    return tagged('type')(error);
  }
}
@CatchError(TenonError)
class TenonFilter implements ErrorFilter<TenonError> {
  catch(error: TenonError): never {
    throw new TenonError({ code: error.code, message: `again: ${error.message}` });
  }
}

const failures: Record<number, () => Error> = {
  1: () => new OutOfStock('gone'),
  2: () => new LastOne('nearly'),
  3: () => new TypeError('secret'),
};

describe('error filters', () => {
  @UseErrorFilter(TypeFilter)
  @Handler('numbers.Numbers')
  class NumbersHandler {
    @UseErrorFilter(StockFilter, LastFilter)
    @Rpc()
    async buy(request: Value): Promise<Value> {
      throw failures[request.value]?.() ?? new Error('none');
    }
    @UseErrorFilter(StockFilter, LastFilter)
    @Rpc({ stream: 'server' })
    async *list(request: Value): AsyncIterable<Value> {
      yield { value: 0 };
      throw failures[request.value]?.() ?? new Error('none');
    }
    @UseErrorFilter(AnyFilter, TenonFilter)
    @UseGuard({ activate: () => false })
    @Rpc()
    async guarded(): Promise<object> {
      return {};
    }
    @UseErrorFilter(StockFilter, LastFilter)
    @Subscribe('bought', { deadLetter: true })
    onBought(event: Value): void {
      throw failures[event.value]?.() ?? new Error('none');
    }
  }

  it('handle an error by the nearest error class; what the filter throws is the status, what it returns the reply', async () => {
    const client = (await started(serviceWith(NumbersHandler))).client(NumbersHandler);
    expect(await failureOf(client.buy({ value: 1 }))).toMatchObject({
      code: Code.ResourceExhausted,
      message: 'stock: gone',
    });
    expect(await client.buy({ value: 2 })).toEqual({ value: -1 });
    expect(await failureOf(client.buy({ value: 3 }))).toMatchObject({
      code: Code.ResourceExhausted,
      message: 'type: secret',
    });
    expect(await failureOf(client.buy({ value: 4 }))).toMatchObject({ reason: 'server.handler_failed' });
  });

  it('pass an error that a filter throws to filters of wider classes', async () => {
    const client = (await started(serviceWith(NumbersHandler))).client(NumbersHandler);
    expect((await failureOf(client.guarded())).message).toMatch(/^any: again: this caller may not call/);
  });

  it('end a stream with the returned reply, after the replies that were sent', async () => {
    const client = (await started(serviceWith(NumbersHandler))).client(NumbersHandler);
    expect(await collect(client.list({ value: 2 }))).toEqual([{ value: 0 }, { value: -1 }]);
    const got: Value[] = [];
    const reading = (async () => {
      for await (const value of client.list({ value: 1 })) got.push(value);
    })();
    expect((await failureOf(reading)).message).toBe('stock: gone');
    expect(got).toEqual([{ value: 0 }]);
  });

  it('acknowledge an event whose error they handled', async () => {
    const broker = (await started(serviceWith(NumbersHandler))).get(Broker);
    const dead: string[] = [];
    await broker.subscribe('bought.dead-letter', async (event) => void dead.push(Buffer.from(event.body).toString()));
    for (const value of [2, 1]) {
      await broker.publish('bought', { headers: {}, body: Buffer.from(JSON.stringify({ value })) });
    }
    await eventually('one is dead', () => dead.length === 1);
    expect(dead).toEqual(['{"value":1}']);
  });
});

describe('an enhancer written for @inversifyjs/framework-core', () => {
  class TheirsGuard implements TheirGuard<Context> {
    activate(request: Context): boolean {
      return request.metadata.has('open');
    }
  }
  class TheirsInterceptor implements TheirInterceptor<Context, Context> {
    async intercept(
      _request: Context,
      response: Context,
      next: () => Promise<InterceptorTransformObject>,
    ): Promise<void> {
      const transform = await next();
      response.headers.set('intercepted', 'yes');
      transform.push((value) => ({ value: (value as Value).value * 2 }));
    }
  }
  class TheirsPipe implements TheirPipe<Value, Value> {
    execute(input: Value, metadata: TheirPipeMetadata): Value {
      seen.push(`${metadata.targetClass.name}.${String(metadata.methodName)}[${metadata.parameterIndex}]`);
      if (input.value < 0) throw new RangeError('negative');
      return input;
    }
  }
  @TheirCatchError(RangeError)
  class TheirsFilter implements TheirErrorFilter<RangeError, Context, Context, never> {
    catch(error: RangeError): never {
      throw new TenonError({ code: Code.OutOfRange, message: error.message });
    }
  }

  async function behaves(handler: Class<{ echo(request: Value): Promise<Value> }>): Promise<void> {
    const client = (await started(serviceWith(handler))).client(handler);
    const headers: unknown[] = [];
    const open = {
      metadata: { open: '1' },
      onHeaders: (got: { get(key: string): unknown }) => headers.push(got.get('intercepted')),
    };
    expect(await client.echo({ value: 2 }, open)).toEqual({ value: 4 });
    expect(headers).toEqual(['yes']);
    expect((await failureOf(client.echo({ value: 2 }))).code).toBe(Code.PermissionDenied);
    expect(await failureOf(client.echo({ value: -2 }, open))).toMatchObject({
      code: Code.OutOfRange,
      message: 'negative',
    });
    expect(seen[0]).toMatch(/^\w+\.echo\[0\]$/);
  }

  it('works unchanged', async () => {
    @UseErrorFilter(TheirsFilter)
    @UseGuard(TheirsGuard)
    @Handler('numbers.Numbers')
    class NumbersHandler {
      @UsePipe(TheirsPipe)
      @UseInterceptor(TheirsInterceptor)
      @Rpc()
      async echo(request: Value): Promise<Value> {
        return request;
      }
    }
    await behaves(NumbersHandler);
  });

  it('is not skipped when the decorators of that package name it', async () => {
    @theirUseErrorFilter(TheirsFilter)
    @theirUseGuard(TheirsGuard)
    @Handler('numbers.Numbers')
    class NumbersHandler {
      @UsePipe(TheirsPipe)
      @theirUseInterceptor(TheirsInterceptor)
      @Rpc()
      async echo(request: Value): Promise<Value> {
        return request;
      }
    }
    await behaves(NumbersHandler);
  });
});
