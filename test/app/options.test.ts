import { afterEach, describe, expect, it } from '@jest/globals';
import { type Container, ContainerModule, injectable } from 'inversify';

import { verify } from '../../src/app/verify.ts';
import { JsonMarshaler } from '../../src/codec/json.ts';
import { Marshaler, MessageLimits } from '../../src/codec/codec.ts';
import { ClientInterceptors, ClientOptions } from '../../src/client/client.ts';
import { Code, type Context, Handler, Rpc, Service, System } from '../../src/index.ts';
import { anySchema, type Interceptor } from '../../src/pipeline/pipeline.ts';
import type { CallInterceptor, ReplyTransforms } from '../../src/pipeline/enhancers.ts';
import { PeakEwmaSelectorOptions } from '../../src/selector/peak-ewma.ts';
import { RoundRobinSelectorOptions } from '../../src/selector/round-robin.ts';
import { ServerInterceptors, ServerOptions } from '../../src/server/server.ts';
import { ServiceOptions } from '../../src/service/service.ts';
import { greeter, GreeterHandler, refusalOf } from './verify-support.ts';

let system: System | undefined;
let order: string[] = [];
afterEach(async () => {
  await system?.stop();
  system = undefined;
  order = [];
});

const noting =
  (name: string): Interceptor =>
  (next) =>
  (input, ctx) => {
    order.push(name);
    return next(input, ctx);
  };

@injectable()
class Noting implements CallInterceptor {
  async intercept(_request: Context, _response: Context, next: () => Promise<ReplyTransforms>): Promise<void> {
    order.push('class');
    await next();
  }
}

describe('options that are bound', () => {
  const env = { TENON_CLIENT_TIMEOUT_MS: '1234', TENON_DRAIN_TIMEOUT_MS: '99', TENON_SERVER_COMPRESS: 'true' };

  it.each(['bind', 'rebind'] as const)(
    'bound by %s are merged field by field with those of the environment',
    async (how) => {
      const modules = [
        new ContainerModule((options) => {
          options[how](ClientOptions).toConstantValue({ maxAttempts: 7, timeoutMs: undefined });
          options[how](ServerOptions).toConstantValue({ id: 'a1' });
          options[how](ServiceOptions).toConstantValue({ lameDuckMs: 5 });
        }),
      ];
      system = await System.start([greeter], { profile: 'test', env, modules });
      expect(system.get(ClientOptions)).toMatchObject({ timeoutMs: 1234, maxAttempts: 7, dialect: 'grpc' });
      expect(system.get(ServerOptions)).toMatchObject({ compress: true, id: 'a1' });
      expect(system.services[0]?.options).toMatchObject({ drainTimeoutMs: 99, lameDuckMs: 5 });
    },
  );

  it('have each field from the strongest layer that sets it', async () => {
    const module = (value: object): ContainerModule =>
      new ContainerModule(({ bind }) => void bind(ClientOptions).toConstantValue(value));
    const bind = (container: Container): void =>
      void container.rebind(ClientOptions).toDynamicValue(() => ({ maxAttempts: 9 }));
    const modules = [module({ timeoutMs: 1, forward: ['a'] }), module({ timeoutMs: 2, maxAttempts: 2 })];
    system = await System.start([greeter], { profile: 'test', env, modules, bind });
    expect(system.get(ClientOptions)).toMatchObject({ timeoutMs: 2, forward: ['a'], maxAttempts: 9 });
  });

  it('are stronger than the environment, ServiceOptions stronger than ServerOptions', async () => {
    const env = {
      TENON_SERVER_ADDRESS: '127.0.0.1:1',
      TENON_SERVER_ID: 'env',
      TENON_MAX_SEND_BYTES: '77',
      TENON_EXPOSE_ERRORS: 'false',
    };
    const modules = [
      new ContainerModule((options) => {
        options.bind(ServiceOptions).toConstantValue({ id: 'service' });
        options.bind(ServerOptions).toConstantValue({ address: '127.0.0.1:0', id: 'server', exposeErrors: true });
      }),
    ];
    system = await System.start([greeter], { profile: 'test', env, modules });
    expect(system.services[0]?.options).toMatchObject({
      address: '127.0.0.1:0',
      id: 'service',
      maxSendBytes: 77,
      exposeErrors: true,
    });
  });

  it('may name the service by ServerOptions, for its callers and for verify too', async () => {
    const bind = (container: Container): void =>
      void container.rebind(ServerOptions).toConstantValue({ name: 'g2', address: '127.0.0.1:5000' });
    system = await System.start([greeter], { profile: 'test', env: { TENON_SERVER_NAME: 'g1' }, bind });
    expect(system.services[0]?.options.name).toBe('g2');
    expect(await system.client(GreeterHandler).hello({ name: 'Ada' })).toEqual({ text: 'Ada' });
    @Service({ name: 'other', handlers: [GreeterHandler] })
    class Other {}
    const { problems } = await verify([greeter, Other], { profile: 'test', env: {}, bind });
    expect(problems.map(({ kind }) => kind)).toContain('duplicate-service');
  });

  it('may be made asynchronously', async () => {
    const bind = (container: Container): void => {
      container.rebind(ServerOptions).toDynamicValue(async () => ({ id: 'later' }));
    };
    system = await System.start([greeter], { profile: 'test', env: { TENON_SERVER_ID: 'env' }, bind });
    expect(system.services[0]?.options.id).toBe('later');
  });

  it('merge limits of messages field by field too', async () => {
    const env = { TENON_MAX_ELEMENTS: '3', TENON_MAX_DEPTH: '9' };
    const bind = (container: Container): void =>
      void container.bind(MessageLimits).toConstantValue({ maxDepth: 2, maxElements: undefined });
    system = await System.start([greeter], { profile: 'test', env, bind });
    expect(system.get(MessageLimits)).toEqual({ maxElements: 3, maxDepth: 2 });
    const json = system.container.getAll(Marshaler).find((one) => one instanceof JsonMarshaler);
    const read = (text: string): unknown => json?.unmarshal(anySchema, new TextEncoder().encode(text));
    expect(read('[1,2]')).toEqual([1, 2]);
    expect(() => read('[1,2,3,4]')).toThrow(expect.objectContaining({ code: Code.ResourceExhausted }));
    expect(() => read('[[[[]]]]')).toThrow(/at most 2 levels/);
  });

  it('from variables are stronger than those of the class, from the profile weaker', async () => {
    @Service({ name: 'plain', handlers: [GreeterHandler], maxSendBytes: 5_000, health: false, reflection: true })
    class Plain {}
    system = await System.start([Plain], { profile: 'test', env: {} });
    expect(system.services[0]?.options).toMatchObject({ maxSendBytes: 5_000, health: false, reflection: true });
    await system.stop();
    const env = { TENON_MAX_SEND_BYTES: '6000', TENON_HEALTH: 'true', TENON_REFLECTION: 'false' };
    system = await System.start([Plain], { profile: 'test', env });
    expect(system.services[0]?.options).toMatchObject({ maxSendBytes: 6_000, health: true, reflection: false });
  });

  it('from the profile are weaker than any of the class', async () => {
    class Plain {}
    const said = { name: 'plain', handlers: [], lameDuckMs: 7, suggest: true };
    Service(said)(Plain);
    system = await System.start([Plain], { profile: 'test', env: { TENON_SUGGEST: 'false' } });
    expect(system.services[0]?.options).toMatchObject({ lameDuckMs: 7, suggest: false });
  });

  it("no longer contain the environment's service options once ServiceOptions is unbound", async () => {
    const bind = (container: Container): void => {
      container.unbind(ServiceOptions);
      container.bind(ServiceOptions).toConstantValue({ suggest: true });
    };
    const env = { TENON_REGISTER_TTL_MS: '9000', TENON_SERVER_ID: 'a1' };
    system = await System.start([greeter], { profile: 'test', env, bind });
    const { registerTtlMs, suggest, id } = system.services[0]?.options ?? {};
    expect([registerTtlMs, suggest, id === 'a1']).toEqual([30_000, true, false]);
  });

  it('no longer count once they are unbound', async () => {
    const bind = (container: Container): void => {
      container.unbind(ClientOptions);
      container.bind(ClientOptions).toConstantValue({ maxAttempts: 2 });
    };
    system = await System.start([greeter], { profile: 'test', env, bind });
    expect(system.get(ClientOptions)).toEqual({ maxAttempts: 2 });
  });
});

describe('interceptors of several modules', () => {
  const module = (name: string): ContainerModule =>
    new ContainerModule(({ bind }) => {
      bind(ClientOptions).toConstantValue({ interceptors: [noting(`client ${name}`)] });
      bind(ServerOptions).toConstantValue({ interceptors: [noting(`server ${name}`)] });
      bind(ServiceOptions).toConstantValue({ interceptors: [noting(`service ${name}`)] });
      bind(ClientInterceptors).toConstantValue(noting(`more client ${name}`));
      bind(ServerInterceptors).toConstantValue(noting(`more server ${name}`));
    });

  it('all run, in the order of the modules, those of the class innermost', async () => {
    @Handler('tally.Tally')
    class TallyHandler {
      @Rpc() async count(): Promise<object> {
        return {};
      }
    }
    @Service({ name: 'tally', handlers: [TallyHandler], interceptors: [noting('decorated')] })
    class Tally {}
    system = await System.start([Tally], { profile: 'test', env: {}, modules: [module('one'), module('two')] });
    await system.client(TallyHandler).count();
    expect(order).toEqual([
      'client one',
      'client two',
      'more client one',
      'more client two',
      'server one',
      'server two',
      'more server one',
      'more server two',
      'service one',
      'service two',
      'decorated',
    ]);
  });

  it('may be classes', async () => {
    const bind = (container: Container): void => void container.bind(ClientInterceptors).to(Noting);
    system = await System.start([greeter], { profile: 'test', env: {}, bind });
    await system.client(GreeterHandler).hello({ name: 'Ada' });
    expect(order).toEqual(['class']);
  });

  it('are refused if they are neither functions nor classes', async () => {
    const bind = (container: Container): void => void container.bind(ClientInterceptors).toConstantValue({} as never);
    const { reason } = await refusalOf([greeter], { profile: 'test', env: {}, bind });
    expect(reason).toBe('app.invalid_interceptor');
  });
});

describe('hooks of several modules', () => {
  it('all run, in the order of the modules', async () => {
    const module = (name: string): ContainerModule =>
      new ContainerModule(({ bind }) => {
        bind(ServiceOptions).toConstantValue({ beforeStart: [() => void order.push(name)] });
      });
    system = await System.start([greeter], { profile: 'test', env: {}, modules: [module('one'), module('two')] });
    expect(order).toEqual(['one', 'two']);
  });
});

describe('settings that nothing reads', () => {
  it('are noted by verify', async () => {
    const bind = (container: Container): void => {
      container.bind(RoundRobinSelectorOptions).toConstantValue({});
      container.bind(PeakEwmaSelectorOptions).toConstantValue({});
    };
    const env = { TENON_REGISTRY_ADDRESS: '10.0.0.1:6379', TENON_MDNS_PORT: '5354', TENON_TLS: 'true' };
    const { ok, notes } = await verify([greeter], { profile: 'test', env, bind });
    expect(ok).toBe(true);
    expect(notes.map(({ kind, where }) => `${kind} ${where}`)).toEqual([
      'unused-options RoundRobinSelectorOptions',
      'unused-options TENON_TLS_…',
      'unused-variable TENON_REGISTRY_ADDRESS',
      'unused-variable TENON_MDNS_PORT',
    ]);
  });
});
