import 'reflect-metadata';

import { EventEmitter } from 'node:events';

import { describe, expect, it } from '@jest/globals';
import { ContainerModule, inject, injectable, LazyServiceIdentifier, named } from 'inversify';

import type { AppOptions } from '../../src/app/options.ts';
import { formatProblems, verify } from '../../src/app/verify.ts';
import { Context } from '../../src/context/context.ts';
import { type Class, Handler, Rpc } from '../../src/decorators/decorators.ts';
import { Code } from '../../src/errors/errors.ts';
import { Registry } from '../../src/registry/registry.ts';
import { Clock } from '../../src/runtime/runtime.ts';
import { Server } from '../../src/server/server.ts';
import { Transport } from '../../src/transport/transport.ts';
import { greeter, only, problemsOf, refusalOf, serviceOf } from './verify-support.ts';

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

  it('reports a configuration that cannot be read as a problem', async () => {
    expect(await problemsOf(greeter, { env: { TENON_BROKER: 'pigeon' } })).toBe(
      only(
        'configuration',
        'the environment',
        'the configuration is wrong: TENON_BROKER is "pigeon": there are memory, redis, redis-streams, nats, nats-jetstream, rabbitmq, kafka, mqtt.',
        'npx tenon env lists every variable with its values',
      ),
    );
  });

  it('fails a start with all problems at once', async () => {
    @Handler('greeter.Greeter')
    class NeedyHandler {
      constructor(@inject('greetings') readonly greetings: unknown) {}
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    class Plain {}
    expect(await refusalOf([serviceOf(NeedyHandler, Plain), Plain], { profile: 'test', env: {} })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'app.verify_failed',
      message: [
        'Greeter, Plain cannot start: 3 problems',
        '1. not-a-handler at Plain',
        '   Plain is listed in handlers, but has no @Handler decorator',
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

describe('construction during verification', () => {
  it('does not happen, neither by verify nor by a start that fails', async () => {
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
    expect((await refusalOf([broken], options)).reason).toBe('app.verify_failed');
    expect(count).toBe(0);
  });
});

describe('verify of bindings', () => {
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

  it('reports a missing binding, with the path of dependencies to it', async () => {
    expect(await problemsOf(handlerWith(Store), { bind: (container) => void container.bind(Store).toSelf() })).toBe(
      only(
        'missing-binding',
        'Store, constructor parameter 1 (gazetteer)',
        'nothing is bound to Gazetteer: NeedyHandler → Store → Gazetteer',
        'bind it, in a module or in options.bind: container.bind(Gazetteer).toSelf()',
      ),
    );
  });

  it('reports a missing binding, and suggests a key with a similar name', async () => {
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

  it('reports a missing binding, and another key with the same name', async () => {
    expect(await problemsOf(handlerWith(Symbol('Clock')))).toBe(
      only(
        'missing-binding',
        'NeedyHandler, constructor parameter 1 (thing)',
        'nothing is bound to Clock: NeedyHandler → Clock',
        'bind it, in a module or in options.bind: container.bind(Clock).to(…). Another key of the name Clock is bound: is it imported from two places?',
      ),
    );
  });

  it('reports a key that is bound under another name than the injected one', async () => {
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

  it('reports an ambiguous binding', async () => {
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

  it('reports a cyclic dependency', async () => {
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

  it('reports a constructor parameter without @inject, as `import type` leaves it', async () => {
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

  it('reports a class whose constructor parameters all lack @inject', async () => {
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

  it('reports a subclass without the @inject decorators of its base', async () => {
    class Base {
      constructor(@inject(Clock) readonly clock: Clock) {}
    }
    class Between extends Base {}
    @Handler('greeter.Greeter')
    class NeedyHandler extends Between {
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

  it('accepts a subclass of a class that is not of the application', async () => {
    class Board extends EventEmitter {}
    class Failure extends Error {}
    const bind: AppOptions['bind'] = (container) => {
      container.bind(Board).toSelf();
      container.bind(Failure).toSelf();
    };
    expect(await problemsOf(greeter, { bind })).toBe('');
  });

  it('reports all classes without @inject, each once', async () => {
    class First {
      constructor(readonly clock: Clock) {}
    }
    class Second {
      constructor(readonly clock: Clock) {}
    }
    const bind: AppOptions['bind'] = (container) => {
      container.bind(First).toSelf().inSingletonScope();
      container.bind('second').to(Second).whenDefault();
    };
    const report = await verify([handlerWith('second')], { profile: 'test', env: {}, bind });
    expect(report.opaque).toEqual([]);
    expect(formatProblems(report.problems)).toBe(
      [
        '2 problems',
        '1. undecorated-parameter at second (Second), constructor parameter 1 (clock)',
        '   constructor parameter 1 (clock) of second (Second) has no @inject, so the container does not know what to give it: NeedyHandler → second (Second)',
        '   fix: write @inject(Key) before it, and import Key as a value: what `import type` imports is not there at run time',
        '2. undecorated-parameter at First, constructor parameter 1 (clock)',
        '   constructor parameter 1 (clock) of First has no @inject, so the container does not know what to give it',
        '   fix: write @inject(Key) before it, and import Key as a value: what `import type` imports is not there at run time',
      ].join('\n'),
    );
  });

  it('reports a key that was undefined when the class was made, as in an import cycle', async () => {
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

  it('reports a singleton that would keep an object of request scope', async () => {
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

  it('reports a Context in a constructor', async () => {
    expect(await problemsOf(handlerWith(Context))).toBe(
      only(
        'per-call-object',
        'NeedyHandler, constructor parameter 1 (thing)',
        'a Context belongs to one call, and is not to be had from the container: NeedyHandler → Context',
        'take it as the second argument of the method, and pass it on',
      ),
    );
  });

  it('reports an implementation without capabilities', async () => {
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

  it('reports a transient binding of a singleton key, and a singleton binding of Server', async () => {
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

describe('layers', () => {
  it('let a later module replace the binding of a key of tenon', async () => {
    class Silent {
      static readonly capabilities = { expires: true, shared: false, watches: true };
    }
    const module = new ContainerModule(({ bind }) => void bind(Registry).to(Silent as never));
    expect(await problemsOf(greeter, { modules: [module] })).toBe('');
  });
});
