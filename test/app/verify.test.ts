import 'reflect-metadata';

import { describe, expect, it } from '@jest/globals';
import { ContainerModule, inject, injectable, LazyServiceIdentifier, named } from 'inversify';

import type { AppOptions } from '../../src/app/options.ts';
import { System } from '../../src/app/system.ts';
import { formatProblems, verify } from '../../src/app/verify.ts';
import { Broker } from '../../src/broker/broker.ts';
import { clientOf } from '../../src/client/client.ts';
import { Context } from '../../src/context/context.ts';
import { type Class, Handler, Rpc, Service, Subscribe } from '../../src/decorators/decorators.ts';
import { Code } from '../../src/errors/errors.ts';
import { Registry } from '../../src/registry/registry.ts';
import { Clock } from '../../src/runtime/runtime.ts';
import { Server } from '../../src/server/server.ts';
import { Transport } from '../../src/transport/transport.ts';

const proto = (name: string): URL => new URL(`./protos/${name}.proto`, import.meta.url);

/** What `verify` says, as people read it. */
async function problemsOf(services: Class | readonly (Class | undefined)[], options: AppOptions = {}): Promise<string> {
  const list = (Array.isArray(services) ? services : [services]) as Class[];
  const report = await verify(list, { profile: 'test', env: {}, ...options });
  expect(report.ok).toBe(report.problems.length === 0);
  return report.ok ? '' : formatProblems(report.problems);
}

function serviceOf(...handlers: readonly unknown[]): Class {
  @Service({ name: 'greeter', handlers: handlers as Class[] })
  class Greeter {}
  return Greeter;
}

@Handler('greeter.Greeter')
class GreeterHandler {
  @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
    return { text: request.name };
  }
}
const greeter = serviceOf(GreeterHandler);

/** A problem, as `formatProblems` writes the only one. */
function only(kind: string, where: string, message: string, fix: string): string {
  return `one problem\n1. ${kind} at ${where}\n   ${message}\n   fix: ${fix}`;
}

describe('verify', () => {
  it.each(['test', 'dev', 'local', 'prod'])(
    'finds nothing wrong with a sound service under the profile %s',
    async (profile) => {
      const report = await verify([greeter], { profile, env: {} });
      expect(formatProblems(report.problems)).toBe('0 problems');
      expect(report).toMatchObject({ ok: true, opaque: [] });
      expect(report.bindings).toBeGreaterThan(15);
    },
  );

  it('a configuration that cannot be read is a problem like any other', async () => {
    expect(await problemsOf(greeter, { env: { TENON_BROKER: 'rabbit' } })).toBe(
      only(
        'configuration',
        'the environment',
        'the configuration is wrong: TENON_BROKER is "rabbit": there are memory, redis, redis-streams.',
        'npx tenon env lists every variable with its values',
      ),
    );
  });

  it('a start fails with everything that is wrong, at once', async () => {
    @Handler('greeter.Greeter')
    class NeedyHandler {
      constructor(@inject('greetings') readonly greetings: unknown) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    class Plain {}
    const start = System.start([serviceOf(NeedyHandler, Plain), Plain], { profile: 'test', env: {} });
    await expect(start).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'app.verify_failed',
      message: [
        'Greeter, Plain cannot start: 3 problems',
        '1. not-a-handler at Plain',
        '   Plain is listed in handlers, but has no @Handler',
        "   fix: decorate it: @Handler('package.Service') class Plain",
        '2. not-a-service at Plain',
        '   Plain was given as a service, but has no @Service',
        "   fix: decorate it: @Service({ name: '…', handlers: [] }) class Plain",
        '3. missing-binding at NeedyHandler, constructor parameter 1 (greetings)',
        '   nothing is bound to greetings: NeedyHandler → greetings',
        "   fix: bind it, in a module or in options.bind: container.bind('greetings').to(…)",
      ].join('\n'),
    });
  });
});

describe('nothing is constructed', () => {
  it('neither by verify, nor by a start that fails', async () => {
    let count = 0;
    class Counted {
      constructor() {
        count += 1;
      }
    }
    @Handler('counted.Counted')
    class CountedHandler extends Counted {
      static {
        inject(Counted)(this, undefined, 0);
      }
      constructor(readonly dependency: Counted) {
        super();
      }
      @Rpc() async hello(): Promise<object> {
        return this.dependency;
      }
    }
    class CountedRegistry extends Counted {
      static readonly capabilities = { expires: true, shared: true, watches: true };
    }
    const options: AppOptions = {
      profile: 'test',
      env: {},
      bind: (container) => {
        container.bind(Counted).toSelf();
        container.rebind(Registry).to(CountedRegistry as never);
        container.bind('dynamic').toDynamicValue(() => new Counted());
        container.bind('resolved').toResolvedValue(() => new Counted());
        container.bind('factory').toFactory((() => () => new Counted()) as never);
      },
    };
    const report = await verify([serviceOf(CountedHandler)], options);
    expect(formatProblems(report.problems)).toBe('0 problems');
    expect(report.opaque).toEqual(['dynamic', 'factory']);
    const broken = serviceOf(CountedHandler, CountedHandler);
    await expect(System.start([broken], options)).rejects.toMatchObject({ reason: 'app.verify_failed' });
    expect(count).toBe(0);
  });
});

describe('bindings', () => {
  class Gazetteer {}
  class Store {
    constructor(@inject(Gazetteer) readonly gazetteer: unknown) {}
  }

  function handlerWith(key: unknown): Class {
    @Handler('greeter.Greeter')
    class NeedyHandler {
      constructor(@inject(key as symbol) readonly thing: unknown) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    return serviceOf(NeedyHandler);
  }

  it('missing, with the way to who needs it', async () => {
    expect(await problemsOf(handlerWith(Store), { bind: (container) => void container.bind(Store).toSelf() })).toBe(
      only(
        'missing-binding',
        'Store, constructor parameter 1 (gazetteer)',
        'nothing is bound to Gazetteer: NeedyHandler → Store → Gazetteer',
        'bind it, in a module or in options.bind: container.bind(Gazetteer).toSelf()',
      ),
    );
  });

  it('missing, with a key of a similar name', async () => {
    const options: AppOptions = { bind: (container) => void container.bind(Symbol('Gazeteer')).toConstantValue(1) };
    expect(await problemsOf(handlerWith(Gazetteer), options)).toBe(
      only(
        'missing-binding',
        'NeedyHandler, constructor parameter 1 (thing)',
        'nothing is bound to Gazetteer: NeedyHandler → Gazetteer',
        'bind it, in a module or in options.bind: container.bind(Gazetteer).toSelf(). Did you mean "Gazeteer"?',
      ),
    );
  });

  it('missing, with another key of the very same name', async () => {
    expect(await problemsOf(handlerWith(Symbol('Clock')))).toBe(
      only(
        'missing-binding',
        'NeedyHandler, constructor parameter 1 (thing)',
        'nothing is bound to Clock: NeedyHandler → Clock',
        'bind it, in a module or in options.bind: container.bind(Clock).to(…). Another key of the name Clock is bound: is it imported from two places?',
      ),
    );
  });

  it('bound, but under another name than the one that is asked for', async () => {
    @Handler('greeter.Greeter')
    class NeedyHandler {
      constructor(@inject('store') @named('fast') readonly store: unknown) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    const bind: AppOptions['bind'] = (container) => void container.bind('store').toConstantValue(1).whenNamed('slow');
    expect(await problemsOf(serviceOf(NeedyHandler), { bind })).toBe(
      only(
        'missing-binding',
        'NeedyHandler, constructor parameter 1 (store)',
        'nothing is bound to store named fast: NeedyHandler → store',
        'it is bound, but none of its bindings fits here: look at their when…, at @named and @tagged',
      ),
    );
  });

  it('ambiguous', async () => {
    class FileStore {}
    class MemoryStore {}
    const bind: AppOptions['bind'] = (container) => {
      container.bind('store').to(FileStore);
      container.bind('store').to(MemoryStore);
    };
    expect(await problemsOf(handlerWith('store'), { bind })).toBe(
      only(
        'ambiguous-binding',
        'NeedyHandler, constructor parameter 1 (thing)',
        'store is bound 2 times (store (FileStore), store (MemoryStore)), and one is wanted: NeedyHandler → store',
        'rebind instead of binding again, tell them apart with whenNamed and @named, or take all of them with @multiInject',
      ),
    );
  });

  it('cyclic', async () => {
    class Chicken {
      constructor(@inject('egg') readonly egg: unknown) {}
    }
    class Egg {
      constructor(@inject(Chicken) readonly chicken: unknown) {}
    }
    const bind: AppOptions['bind'] = (container) => {
      container.bind(Chicken).toSelf();
      container.bind('egg').to(Egg);
    };
    expect(await problemsOf(handlerWith(Chicken), { bind })).toBe(
      only(
        'cyclic-dependency',
        'Chicken',
        'these need each other before any of them can be constructed: Chicken → egg (Egg) → Chicken',
        'let one of them do without: move what both need to a third class, or pass it at the call',
      ),
    );
  });

  it('a constructor parameter without @inject, as an import of a type only leaves it', async () => {
    @Handler('greeter.Greeter')
    class NeedyHandler {
      constructor(
        @inject(Clock) readonly clock: Clock,
        readonly store = new Map<string, string>([['a', '(b, c)']]),
        readonly gazetteer: Gazetteer,
      ) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    // The second one has a default, and then all that follow count for nothing in a function's length.
    inject(Gazetteer)(NeedyHandler, undefined, 2);
    expect(
      await problemsOf(serviceOf(NeedyHandler), { bind: (container) => void container.bind(Gazetteer).toSelf() }),
    ).toBe(
      only(
        'undecorated-parameter',
        'NeedyHandler, constructor parameter 2 (store)',
        'constructor parameter 2 (store) of NeedyHandler has no @inject, so the container does not know what to give it',
        'write @inject(Key) before it, and import Key as a value: what `import type` imports is not there at run time',
      ),
    );
  });

  it('constructor parameters without any @inject', async () => {
    @Handler('greeter.Greeter')
    class NeedyHandler {
      constructor(
        readonly clock: Clock,
        readonly gazetteer: Gazetteer,
      ) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    const found = await problemsOf(serviceOf(NeedyHandler));
    expect(found).toContain('1. undecorated-parameter at NeedyHandler, constructor parameter 1 (clock)');
    expect(found).toContain('2. undecorated-parameter at NeedyHandler, constructor parameter 2 (gazetteer)');
  });

  it('a subclass whose base is injected', async () => {
    class Base {
      constructor(@inject(Clock) readonly clock: Clock) {}
    }
    @Handler('greeter.Greeter')
    class NeedyHandler extends Base {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(NeedyHandler))).toBe(
      only(
        'undecorated-base',
        'NeedyHandler',
        'NeedyHandler inherits the constructor of Base, but not what is injected there: it would be constructed without arguments',
        'decorate it with @injectFromBase({ extendConstructorArguments: true }), or give it a constructor',
      ),
    );
  });

  it('a key that was undefined when the class was made, as in an import cycle', async () => {
    expect(await problemsOf(handlerWith(undefined))).toBe(
      only(
        'undefined-key',
        'NeedyHandler, constructor parameter 1 (thing)',
        'constructor parameter 1 (thing) of NeedyHandler is injected by a key that was undefined when the class was made',
        'two modules import each other: move what both need to a third one, or inject new LazyServiceIdentifier(() => Key)',
      ),
    );
    expect(await problemsOf(handlerWith(new LazyServiceIdentifier(() => Clock)))).toBe('');
  });

  it('a singleton that would keep an object of one request', async () => {
    class Session {}
    class Visitor {
      constructor(@inject(Session) readonly session: Session) {}
    }
    const bind: AppOptions['bind'] = (container) => {
      container.bind(Session).toSelf().inRequestScope();
      container.bind(Visitor).toSelf().inTransientScope();
    };
    expect(await problemsOf(handlerWith(Visitor), { bind })).toBe(
      only(
        'per-call-object',
        'NeedyHandler',
        'NeedyHandler is made once and would keep an object that is made per request: NeedyHandler → Visitor → Session',
        'bind Session as a singleton, or pass what belongs to a call with the call',
      ),
    );
  });

  it('a context in a constructor', async () => {
    expect(await problemsOf(handlerWith(Context))).toBe(
      only(
        'per-call-object',
        'NeedyHandler, constructor parameter 1 (thing)',
        'a Context belongs to one call, and is not to be had from the container: NeedyHandler → Context',
        'take it as the second argument of the method, and pass it on',
      ),
    );
  });

  it('an implementation that does not say what it can do', async () => {
    @injectable()
    class FolderRegistry {}
    const bind: AppOptions['bind'] = (container) => void container.rebind(Registry).to(FolderRegistry as never);
    expect(await problemsOf(greeter, { bind })).toBe(
      only(
        'no-capabilities',
        'Registry',
        'FolderRegistry is bound to Registry, but does not say what it can and cannot do',
        'give the class static readonly capabilities: RegistryCapabilities',
      ),
    );
  });

  it('a singleton that is none, and a server that is one', async () => {
    class OtherTransport {
      static readonly capabilities = { network: false, grpc: false };
    }
    class OtherServer {}
    const bind: AppOptions['bind'] = (container) => {
      container
        .rebind(Transport)
        .to(OtherTransport as never)
        .inTransientScope();
      container.rebind(Server).to(OtherServer as never);
    };
    const found = await problemsOf(greeter, { bind });
    expect(found).toContain(
      'wrong-scope at Transport\n   Transport (OtherTransport) is bound in transient scope: each who asks would get another one\n   fix: bind it with inSingletonScope()',
    );
    expect(found).toContain(
      'wrong-scope at Server\n   Server (OtherServer) is bound as a singleton: the services of a process would share it\n   fix: bind it with inTransientScope()',
    );
  });
});

describe('services', () => {
  it('a handler in the place of a service', async () => {
    expect(await problemsOf(GreeterHandler)).toBe(
      only(
        'not-a-service',
        'GreeterHandler',
        'GreeterHandler is a handler, and not a service',
        "list it in a service: @Service({ name: '…', handlers: [GreeterHandler] })",
      ),
    );
  });

  it('a service and a handler that are undefined, as in an import cycle', async () => {
    expect(await problemsOf([serviceOf(undefined), undefined])).toBe(
      [
        '2 problems',
        '1. not-a-handler at Greeter',
        '   handlers[0] of Greeter is undefined, not a class',
        '   fix: if it is a class, two modules import each other: move it to a module of its own',
        '2. not-a-service at undefined',
        '   undefined was given as a service, but is no class',
        '   fix: if it is a class, two modules import each other: move it to a module of its own',
      ].join('\n'),
    );
  });

  it('two services of one name', async () => {
    @Service({ name: 'greeter', handlers: [GreeterHandler] })
    class Other {}
    expect(await problemsOf([greeter, Other])).toBe(
      only(
        'duplicate-service',
        'Other',
        'Greeter and Other are both named "greeter"',
        'give each service a name of its own',
      ),
    );
    @Service({ name: 'other', handlers: [GreeterHandler] })
    class Third {}
    expect(await problemsOf([greeter, Third], { env: { TENON_SERVER_NAME: 'both' } })).toBe(
      only(
        'duplicate-service',
        'Third',
        'Greeter and Third are both named "both"',
        'unset TENON_SERVER_NAME: it names every service of the process',
      ),
    );
  });

  it('two services at one port', async () => {
    @Service({ name: 'other', handlers: [GreeterHandler] })
    class Other {}
    expect(await problemsOf([greeter, Other], { env: { TENON_SERVER_ADDRESS: '127.0.0.1:50051' } })).toBe(
      only(
        'shared-address',
        'TENON_SERVER_ADDRESS',
        '2 services of one process would all listen at 127.0.0.1:50051',
        'use port 0, or give each service its address: @Service({ address })',
      ),
    );
    expect(await problemsOf([greeter, Other], { env: { TENON_SERVER_ADDRESS: '127.0.0.1:0' } })).toBe('');
  });

  it('two handlers for one method', async () => {
    @Handler('greeter.Greeter')
    class Other {
      @Rpc({ name: 'Hello' }) async welcome(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(GreeterHandler, Other))).toBe(
      only(
        'duplicate-method',
        'Other.welcome',
        'greeter.Greeter/Hello has two handlers in Greeter: GreeterHandler.hello and Other.welcome',
        'take one of them out of handlers, or give it another name',
      ),
    );
  });

  it('one handler in two services is sound', async () => {
    @Service({ name: 'other', handlers: [GreeterHandler] })
    class Other {}
    expect(await problemsOf([greeter, Other])).toBe('');
  });

  it('a handler without methods', async () => {
    @Handler('greeter.Greeter')
    class Empty {}
    expect(await problemsOf(serviceOf(Empty))).toBe(
      only(
        'empty-handler',
        'Empty',
        'Empty has @Handler, but no method with @Rpc or @Subscribe',
        'decorate the methods that answer calls with @Rpc(), those that handle events with @Subscribe(topic)',
      ),
    );
  });

  it('methods of a handler without a name', async () => {
    @Handler()
    class Nameless {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(Nameless))).toBe(
      only(
        'nameless-handler',
        'Nameless.hello',
        'Nameless has @Rpc methods, but its @Handler has no name to call them by',
        "name the service: @Handler('package.Nameless')",
      ),
    );
  });

  it('an async generator that is declared unary', async () => {
    @Handler('greeter.Greeter')
    class Streaming {
      @Rpc() async *hello(): AsyncIterable<object> {
        yield {};
      }
    }
    expect(await problemsOf(serviceOf(Streaming))).toBe(
      only(
        'kind-mismatch',
        'Streaming.hello',
        'Streaming.hello is an async generator, but a unary method by its @Rpc',
        "say which side streams: @Rpc({ stream: 'server' }), or 'bidi' if it also takes a stream",
      ),
    );
  });
});

describe('handlers and their .proto', () => {
  function withProto(file: URL, name = 'greeter.Greeter'): Class {
    @Handler(name, { proto: file })
    class ProtoHandler {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    return serviceOf(ProtoHandler);
  }

  it('a method that the .proto does not have, and one that the class does not', async () => {
    @Handler('greeter.Greeter', { proto: proto('greeter') })
    class ProtoHandler {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
      @Rpc() async coutn(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(ProtoHandler))).toBe(
      [
        '2 problems',
        '1. unknown-method at ProtoHandler.coutn',
        '   greeter.Greeter in greeter.proto has no method Coutn. Did you mean "Count"?',
        '   fix: add it to the .proto, rename the method, or name it with @Rpc({ name })',
        '2. missing-method at ProtoHandler',
        '   greeter.Greeter.Count is in greeter.proto, but ProtoHandler has no @Rpc method for it',
        '   fix: add @Rpc() count(…) to ProtoHandler, or take it out of the .proto',
      ].join('\n'),
    );
  });

  it('a method whose kind is another one in the .proto, said or seen', async () => {
    @Handler('greeter.Greeter', { proto: proto('greeter') })
    class ProtoHandler {
      @Rpc({ stream: 'client' }) async hello(_names: AsyncIterable<object>): Promise<object> {
        return {};
      }
      @Rpc() async *count(): AsyncIterable<object> {
        yield {};
      }
    }
    expect(await problemsOf(serviceOf(ProtoHandler))).toBe(
      only(
        'kind-mismatch',
        'ProtoHandler.hello',
        'greeter.Greeter.Hello is a unary method in greeter.proto, but a client stream method here',
        'write @Rpc() and give the method that shape, or change the .proto',
      ),
    );
  });

  it('a service that the .proto does not have', async () => {
    expect(await problemsOf(withProto(proto('greeter'), 'greeter.Greter'))).toBe(
      only(
        'unknown-service',
        'ProtoHandler',
        'greeter.proto has no service greeter.Greter, only greeter.Greeter. Did you mean "greeter.Greeter"?',
        'give the full name, package and all, as it stands in the .proto',
      ),
    );
  });

  it('a .proto that is not there', async () => {
    const found = await problemsOf(withProto(proto('nowhere')));
    expect(found).toMatch(/^one problem\n1\. unreadable-proto at ProtoHandler\n {3}.*nowhere\.proto/);
    expect(found).toContain("fix: give the file relative to the module: new URL('../proto/x.proto', import.meta.url)");
  });

  it('a .proto that does not parse, with file and line', async () => {
    const found = await problemsOf(withProto(proto('broken')));
    expect(found).toMatch(/^one problem\n1\. invalid-proto at ProtoHandler\n {3}.*broken\.proto.*\b7\b/);
    expect(found).toContain('fix: mend the .proto at that place');
  });

  it('a codec that cannot carry its messages', async () => {
    @Handler('greeter.Greeter', { proto: proto('greeter') })
    class ProtoHandler {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
      @Rpc() async *count(): AsyncIterable<object> {
        yield {};
      }
    }
    expect(await problemsOf(serviceOf(ProtoHandler), { env: { TENON_CODEC: 'bytes' } })).toBe(
      only(
        'codec-mismatch',
        'ProtoHandler',
        'ProtoHandler has messages of a .proto, and the codec bytes carries bytes only: no client of this process could call it',
        'choose proto or json: TENON_CODEC=proto',
      ),
    );
  });
});

describe('subscriptions', () => {
  function subscriberOf(options: Parameters<typeof Subscribe>[1], file?: URL): Class {
    @Handler(file === undefined ? {} : { proto: file })
    class AuditHandler {
      @Subscribe('greeted', options)
      async onGreeted(): Promise<void> {}
    }
    return serviceOf(AuditHandler);
  }

  it('that ask for what the bound broker cannot do', async () => {
    const found = await problemsOf(subscriberOf({ queue: 'audit' }), { env: { TENON_BROKER: 'redis' } });
    expect(found).toMatch(
      /^one problem\n1\. broker-cannot at AuditHandler\.onGreeted\n {3}@Subscribe\("greeted"\) asks for what neither RedisBroker nor tenon can do: the queue "audit"/,
    );
    expect(await problemsOf(subscriberOf({ queue: 'audit' }))).toBe('');
    expect(await problemsOf(subscriberOf({ queue: 'audit' }), { env: { TENON_BROKER: 'redis-streams' } })).toBe('');
  });

  it('are checked against a broker of the application, too', async () => {
    const broker = { capabilities: { groups: false } } as never;
    const options: AppOptions = { bind: (container) => void container.rebind(Broker).toConstantValue(broker) };
    expect(await problemsOf(subscriberOf({ queue: 'audit' }), options)).toContain(
      'broker-cannot at AuditHandler.onGreeted',
    );
  });

  it('that name a message which the .proto does not have, or have no .proto', async () => {
    expect(await problemsOf(subscriberOf({ message: 'greeter.Greeted' }, proto('greeter')))).toBe(
      only(
        'unknown-message',
        'AuditHandler.onGreeted',
        '@Subscribe("greeted") names the message greeter.Greeted, which is not in greeter.proto',
        'name a message of the .proto by its full name, or give a schema',
      ),
    );
    expect(await problemsOf(subscriberOf({ message: 'greeter.Greeted' }))).toContain(
      '@Subscribe("greeted") names the message greeter.Greeted, but AuditHandler has no .proto',
    );
  });
});

describe('clients', () => {
  it('of a class that is no handler, and of a .proto without the service', async () => {
    class Plain {
      async hello(): Promise<void> {}
    }
    class Caller {
      constructor(
        @inject(clientOf(Plain)) readonly plain: unknown,
        @inject(clientOf({ proto: proto('greeter'), name: 'greeter.Gretter' })) readonly greeter: unknown,
        @inject(clientOf(GreeterHandler)) readonly sound: unknown,
      ) {}
    }
    expect(await problemsOf(greeter, { bind: (container) => void container.bind(Caller).toSelf() })).toBe(
      [
        '2 problems',
        '1. not-a-handler at clientOf(Plain)',
        '   Plain has no @Handler with a name, so there is nothing to call',
        '   fix: give the class of a handler, a contract(...), or { proto, name }',
        '2. unknown-service at clientOf(greeter.Gretter)',
        '   greeter.proto has no service greeter.Gretter, only greeter.Greeter. Did you mean "greeter.Greeter"?',
        '   fix: give the full name, package and all, as it stands in the .proto',
      ].join('\n'),
    );
  });
});

describe('layers', () => {
  it('a module that binds a key of tenon again takes its place', async () => {
    class Silent {
      static readonly capabilities = { expires: true, shared: false, watches: true };
    }
    const module = new ContainerModule(({ bind }) => void bind(Registry).to(Silent as never));
    expect(await problemsOf(greeter, { modules: [module] })).toBe('');
  });
});
