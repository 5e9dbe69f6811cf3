import { describe, expect, it } from '@jest/globals';
import { inject, injectable } from 'inversify';

import {
  type Class,
  CatchError,
  Handler,
  Rpc,
  UseErrorFilter,
  UseGuard,
  UseInterceptor,
  UsePipe,
} from '../../src/decorators/decorators.ts';
import type { Interceptor } from '../../src/pipeline/pipeline.ts';
import type { ErrorFilter, Guard } from '../../src/pipeline/enhancers.ts';
import { Server } from '../../src/server/server.ts';
import { ServiceRuntime } from '../../src/service/service.ts';
import { only, problemsOf, serviceOf } from './verify-support.ts';

const quiet: Interceptor = (next) => next;

/** A handler that uses a guard. */
function guardedBy(guard: unknown): Class {
  @Handler('greeter.Greeter')
  class GreeterHandler {
    @UseGuard(guard as Guard)
    @Rpc()
    async hello(): Promise<object> {
      return {};
    }
  }
  return serviceOf(GreeterHandler);
}

describe('verify of enhancers (guards, interceptors, pipes, error filters)', () => {
  it('finds no problem in correct ones', async () => {
    class ByProperty {
      activate = (): boolean => true;
    }
    class Inherited extends ByProperty {}
    abstract class Abstract {
      abstract activate(): boolean;
    }
    @CatchError()
    class Filter implements ErrorFilter {
      catch(): undefined {
        return undefined;
      }
    }
    @UseErrorFilter(Filter)
    @UseGuard(Inherited, Abstract)
    @UseInterceptor(quiet)
    @UsePipe({ execute: (input) => input })
    @Handler('greeter.Greeter')
    class GreeterHandler {
      @UseGuard(ByProperty, { activate: () => true })
      @Rpc()
      async hello(): Promise<object> {
        return {};
      }
    }
    const bind = {
      bind: (container: { bind: (key: never) => { to(type: never): unknown } }) =>
        void container.bind(Abstract as never).to(ByProperty as never),
    };
    expect(await problemsOf(serviceOf(GreeterHandler), bind as never)).toBe('');
  });

  it('reports a guard whose key is not bound', async () => {
    expect(await problemsOf(guardedBy('admins'))).toBe(
      only(
        'missing-binding',
        '@UseGuard of GreeterHandler.hello',
        'nothing is bound to admins',
        "bind it, in a module or in options.bind: container.bind('admins').to(…)",
      ),
    );
  });

  it('reports a guard with a dependency that is not bound', async () => {
    class Needy implements Guard {
      constructor(@inject('keys') readonly keys: unknown) {}
      activate(): boolean {
        return true;
      }
    }
    expect(await problemsOf(guardedBy(Needy))).toBe(
      only(
        'missing-binding',
        'Needy, constructor parameter 1 (keys)',
        'nothing is bound to keys: Needy → keys',
        "bind it, in a module or in options.bind: container.bind('keys').to(…)",
      ),
    );
  });

  it('reports a guard whose constructor parameter has no @inject', async () => {
    @injectable()
    class Mute implements Guard {
      constructor(readonly keys: unknown) {}
      activate(): boolean {
        return true;
      }
    }
    expect(await problemsOf(guardedBy(Mute))).toContain(
      'undecorated-parameter at Mute, constructor parameter 1 (keys)',
    );
  });

  it('reports a class without the method of a guard', async () => {
    class Wall {}
    expect(await problemsOf(guardedBy(Wall))).toBe(
      only(
        'wrong-enhancer',
        '@UseGuard of GreeterHandler.hello',
        'Wall has no method activate, so it can do nothing there',
        'write activate(…) in Wall, or use another class',
      ),
    );
  });

  it('reports an error filter without @CatchError', async () => {
    class Filter implements ErrorFilter {
      catch(): undefined {
        return undefined;
      }
    }
    @UseErrorFilter(Filter)
    @Handler('greeter.Greeter')
    class GreeterHandler {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(GreeterHandler))).toBe(
      only(
        'filter-without-errors',
        '@UseErrorFilter of GreeterHandler',
        'Filter does not say which errors it is for, and would never be asked',
        'decorate it: @CatchError(SomeError) class Filter, or @CatchError() for all',
      ),
    );
  });

  it('reports a guard on a method without @Rpc and @Subscribe', async () => {
    @Handler('greeter.Greeter')
    class GreeterHandler {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
      @UseGuard({ activate: () => false })
      async helo(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(GreeterHandler))).toBe(
      only(
        'unused-enhancer',
        'GreeterHandler.helo',
        'GreeterHandler.helo has @UseGuard, but is called by nobody: it has neither @Rpc nor @Subscribe',
        'decorate it with @Rpc() or @Subscribe(topic), or take @UseGuard away',
      ),
    );
  });

  it.each([
    [Server, 'Server'],
    [ServiceRuntime, 'ServiceRuntime'],
  ])('a handler that injects %s, and would get one that nobody starts', async (key, name) => {
    @Handler('greeter.Greeter')
    class GreeterHandler {
      constructor(@inject(key) readonly server: unknown) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(GreeterHandler))).toBe(
      only(
        'per-service-object',
        'GreeterHandler, constructor parameter 1 (server)',
        `each service of a process has a ${name} of its own, and who injects one gets yet another, which nobody starts: not the one that GreeterHandler runs in`,
        'inject what it is wanted for (Registry, Broker, Logger, a typed client), or take it from outside: system.services[0]',
      ),
    );
  });

  it.each([
    [
      () => UseErrorFilter({ catch: () => undefined } as never),
      /^argument 1 of @UseErrorFilter on Plain is not a class/,
    ],
    [() => UseGuard(), /^@UseGuard\(\) on Plain has no argument: give it at least one$/],
    [
      () => UseGuard(undefined as never),
      /^argument 1 of @UseGuard on Plain is undefined: if it is a class, two modules import each other/,
    ],
  ])('is not reached if a decorator has no argument, or undefined: that throws at once', (make, message) => {
    class Plain {}
    expect(() => make()(Plain)).toThrow(
      expect.objectContaining({ reason: 'decorators.invalid', message: expect.stringMatching(message) }),
    );
  });
});
