import 'reflect-metadata';

import { describe, expect, it } from '@jest/globals';
import { inject, injectable, type Newable } from 'inversify';

import type { AppOptions } from '../../src/app/options.ts';
import { Broker } from '../../src/broker/broker.ts';
import { clientOf } from '../../src/client/client-of.ts';
import { type Class, Handler, Rpc, Service, Subscribe } from '../../src/decorators/decorators.ts';
import { MemoryRegistry, MemoryRegistryOptions } from '../../src/registry/memory.ts';
import { Registry, type RegistryCapabilities, type RegistryOptions } from '../../src/registry/registry.ts';
import { greeter, GreeterHandler, only, problemsOf, serviceOf } from './verify-support.ts';

const proto = (name: string): URL => new URL(`./protos/${name}.proto`, import.meta.url);

describe('verify of services', () => {
  it('reports a handler that is given as a service', async () => {
    expect(await problemsOf(GreeterHandler)).toBe(
      only(
        'not-a-service',
        'GreeterHandler',
        'GreeterHandler is a handler, and not a service',
        "list it in a service: @Service({ name: '…', handlers: [GreeterHandler] })",
      ),
    );
  });

  it('reports a service and a handler that are undefined, as in an import cycle', async () => {
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

  it('reports two services with one name', async () => {
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

  it('reports two services at one port', async () => {
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

  it('reports two handlers for one method', async () => {
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

  it('accepts one handler in two services', async () => {
    @Service({ name: 'other', handlers: [GreeterHandler] })
    class Other {}
    expect(await problemsOf([greeter, Other])).toBe('');
  });

  it('reports a handler without methods', async () => {
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

  it('reports @Rpc methods of a handler without a name', async () => {
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

  it('reports an async generator that is declared unary', async () => {
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

describe('verify of handlers and their .proto', () => {
  function withProto(file: URL, name = 'greeter.Greeter'): Class {
    @Handler(name, { proto: file })
    class ProtoHandler {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    return serviceOf(ProtoHandler);
  }

  it('reports a method that the .proto lacks, and one that the class lacks', async () => {
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
        '   fix: add @Rpc() count(…) to ProtoHandler, or name it in unimplemented of its @Handler',
      ].join('\n'),
    );
  });

  it('accepts methods named in unimplemented, and reports names that are unknown or implemented', async () => {
    @Handler('greeter.Greeter', { proto: proto('greeter'), unimplemented: ['Count'] })
    class Partial {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(Partial))).toBe('');
    @Handler('greeter.Greeter', { proto: proto('greeter'), unimplemented: ['Count', 'Hello', 'Countt'] })
    class Confused {
      @Rpc() async hello(): Promise<object> {
        return {};
      }
    }
    const fix = '   fix: take it out of unimplemented, or name a method of the .proto as it stands there';
    expect(await problemsOf(serviceOf(Confused))).toBe(
      [
        '2 problems',
        '1. unknown-method at Confused',
        '   @Handler on Confused leaves Hello unimplemented, and Confused has an @Rpc method for it',
        fix,
        '2. unknown-method at Confused',
        '   @Handler on Confused leaves Countt unimplemented, which greeter.Greeter in greeter.proto does not have.',
        fix,
      ].join('\n'),
    );
  });

  it('reports a method named then, for which await takes the handler for a promise', async () => {
    @Handler('suite.Later')
    class LaterHandler {
      // oxlint-disable-next-line unicorn/no-thenable
      @Rpc() async then(): Promise<object> {
        return {};
      }
    }
    expect(await problemsOf(serviceOf(LaterHandler))).toBe(
      only(
        'thenable-method',
        'LaterHandler.then',
        'LaterHandler has a method named then, so await takes it for a promise',
        "name it otherwise, and give the name on the wire apart: { name: 'Then' }",
      ),
    );
  });

  it('reports a method whose kind differs from the .proto, by its decorator or its shape', async () => {
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

  it('reports a service that the .proto lacks', async () => {
    expect(await problemsOf(withProto(proto('greeter'), 'greeter.Greter'))).toBe(
      only(
        'unknown-service',
        'ProtoHandler',
        'greeter.proto has no service greeter.Greter, only greeter.Greeter. Did you mean "greeter.Greeter"?',
        'give the full name with its package, as the .proto has it',
      ),
    );
  });

  it('reports a .proto file that does not exist', async () => {
    const found = await problemsOf(withProto(proto('nowhere')));
    expect(found).toMatch(/^one problem\n1\. unreadable-proto at ProtoHandler\n {3}.*nowhere\.proto/);
    expect(found).toContain("fix: give the file relative to the module: new URL('../proto/x.proto', import.meta.url)");
  });

  it('reports a .proto that does not parse, with file and line', async () => {
    const found = await problemsOf(withProto(proto('broken')));
    expect(found).toMatch(/^one problem\n1\. invalid-proto at ProtoHandler\n {3}.*broken\.proto.*\b7\b/);
    expect(found).toContain('fix: correct the .proto at that place');
  });

  it('reports a codec that cannot carry the messages', async () => {
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

describe('verify of services on a read-only registry', () => {
  const Base: Newable<Registry, [MemoryRegistryOptions?]> = MemoryRegistry;
  @injectable()
  class PoorRegistry extends Base {
    static readonly capabilities = { ...MemoryRegistry.capabilities, registers: false };
    constructor() {
      super();
    }
  }
  @injectable()
  class ModalRegistry extends Base {
    static readonly capabilities = ({ address }: RegistryOptions = {}): RegistryCapabilities => ({
      ...MemoryRegistry.capabilities,
      registers: address !== 'read-only',
    });
    constructor(@inject(MemoryRegistryOptions) options: MemoryRegistryOptions) {
      super(options);
    }
  }
  const bound = (implementation: Newable<Registry>, address?: string): AppOptions => ({
    bind: (container) => {
      container.rebind(Registry).to(implementation);
      container.bind(MemoryRegistryOptions).toConstantValue({ address });
    },
  });

  it('reports that they could not register', async () => {
    expect(await problemsOf(greeter, bound(PoorRegistry))).toBe(
      only(
        'registry-cannot',
        'Greeter',
        'Greeter would announce itself, and PoorRegistry only finds services: callers would not find it',
        'bind a registry that registers (docs/registry.md has the table), or set TENON_REGISTER=false if it is announced by other means',
      ),
    );
    expect(await problemsOf([], bound(PoorRegistry))).toBe('');
  });

  it('accepts them with register: false', async () => {
    expect(await problemsOf(greeter, { ...bound(PoorRegistry), env: { TENON_REGISTER: 'false' } })).toBe('');
    expect(await problemsOf(greeter, { ...bound(PoorRegistry), env: { TENON_REGISTER: 'true' } })).toContain(
      'registry-cannot at Greeter',
    );
  });

  it("takes capabilities from the registry's options if they depend on these", async () => {
    expect(await problemsOf(greeter, bound(ModalRegistry))).toBe('');
    expect(await problemsOf(greeter, bound(ModalRegistry, 'read-only'))).toContain('registry-cannot at Greeter');
  });
});

describe('verify of subscriptions', () => {
  function subscriberOf(options: Parameters<typeof Subscribe>[1], file?: URL): Class {
    @Handler(file === undefined ? {} : { proto: file })
    class AuditHandler {
      @Subscribe('greeted', options)
      async onGreeted(): Promise<void> {}
    }
    return serviceOf(AuditHandler);
  }

  it('reports options that the bound broker cannot satisfy', async () => {
    const found = await problemsOf(subscriberOf({ queue: 'audit' }), { env: { TENON_BROKER: 'redis' } });
    expect(found).toMatch(
      /^one problem\n1\. broker-cannot at AuditHandler\.onGreeted\n {3}@Subscribe\("greeted"\) asks for what neither RedisBroker nor tenon can do: the queue "audit"/,
    );
    expect(await problemsOf(subscriberOf({ queue: 'audit' }))).toBe('');
    expect(await problemsOf(subscriberOf({ queue: 'audit' }), { env: { TENON_BROKER: 'redis-streams' } })).toBe('');
  });

  it('checks them against a broker of the application too', async () => {
    const broker = { capabilities: { groups: false } } as never;
    const options: AppOptions = { bind: (container) => void container.rebind(Broker).toConstantValue(broker) };
    expect(await problemsOf(subscriberOf({ queue: 'audit' }), options)).toContain(
      'broker-cannot at AuditHandler.onGreeted',
    );
  });

  it('reports a message that the .proto lacks, or that has no .proto', async () => {
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

describe('verify of clients', () => {
  it('reports a class that is no handler, and a .proto without the service', async () => {
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
        '   fix: give the full name with its package, as the .proto has it',
      ].join('\n'),
    );
  });
});
