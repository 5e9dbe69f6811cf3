import { afterEach, describe, expect, it } from '@jest/globals';
import { type Container, injectable } from 'inversify';

import { verify } from '../../src/app/verify.ts';
import { wrap } from '../../src/app/wrap.ts';
import { Broker, type BrokerCapabilities } from '../../src/broker/broker.ts';
import { capabilitiesOf } from '../../src/broker/kit/capabilities.ts';
import { MemoryBroker } from '../../src/broker/memory.ts';
import { Handler, Registry, Rpc, Selector, Service, Subscribe, System, Transport } from '../../src/index.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { TransportTlsOptions } from '../../src/transport/tls.ts';
import { greeter, GreeterHandler, refusalOf } from './verify-support.ts';

@injectable()
class JsonRegistry extends MemoryRegistry {
  constructor() {
    super();
  }
}
@injectable()
class OwnBroker extends MemoryBroker {
  constructor() {
    super();
  }
}
@injectable()
class OwnSelector extends RandomSelector {}
@injectable()
class OwnTransport extends MemoryTransport {
  constructor() {
    super();
  }
}

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

describe("an application's own backends", () => {
  const backends = {
    registry: { json: JsonRegistry },
    broker: { own: OwnBroker },
    transport: { own: OwnTransport },
  } as const;

  it('are chosen by the variable of their contract, and given their address', async () => {
    const env = { TENON_REGISTRY: 'json://nodes.json', TENON_BROKER: 'own', TENON_TRANSPORT: 'own' };
    system = await System.start([greeter], { profile: 'test', env, backends });
    expect(system.get(Transport)).toBeInstanceOf(OwnTransport);
    expect(system.get(Broker)).toBeInstanceOf(OwnBroker);
    expect(system.get(Registry).options.address).toBe('nodes.json');
    expect(await system.client(GreeterHandler).hello({ name: 'Ada' })).toEqual({ text: 'Ada' });
  });

  it("are listed by the error for an unknown name, and cannot take the names of tenon's own", async () => {
    const wrong = await verify([greeter], { profile: 'test', env: { TENON_REGISTRY: 'jsn' }, backends });
    expect(wrong.problems[0]?.message).toContain('json');
    const taken = await verify([greeter], { profile: 'test', backends: { selector: { random: OwnSelector } } });
    expect(taken.problems[0]?.message).toContain('backends.selector: "random"');
    const nameless = await verify([greeter], { profile: 'test', backends: { selector: { 'my own': OwnSelector } } });
    expect(nameless.problems[0]?.message).toContain('backends.selector: "my own"');
  });
});

describe('a wrapped backend', () => {
  class Traced {
    readonly inner: Broker;
    constructor(inner: Broker) {
      this.inner = inner;
    }
    get options(): Broker['options'] {
      return this.inner.options;
    }
    get address(): string {
      return this.inner.address;
    }
    get status(): Broker['status'] {
      return this.inner.status;
    }
    init: Broker['init'] = (options) => this.inner.init(options);
    connect: Broker['connect'] = () => this.inner.connect();
    disconnect: Broker['disconnect'] = () => this.inner.disconnect();
    publish: Broker['publish'] = (...given) => this.inner.publish(...given);
    subscribe: Broker['subscribe'] = (...given) => this.inner.subscribe(...given);
    pull: Broker['pull'] = (...given) => this.inner.pull(...given);
    watch: Broker['watch'] = (...given) => this.inner.watch(...given);
    unwrap: Broker['unwrap'] = () => this.inner.unwrap();
  }

  @Handler('mail.Mail')
  class MailHandler {
    @Rpc() async ping(): Promise<object> {
      return {};
    }
    @Subscribe('mail', { queue: 'mail' }) async sent(): Promise<void> {}
  }
  @Service({ name: 'mail', handlers: [MailHandler] })
  class Mail {}

  it('has the capabilities of the inner one, and no false problem of missing capabilities', async () => {
    system = await System.start([Mail], {
      profile: 'test',
      bind: (container) => wrap(container, Broker, (broker) => new Traced(broker)),
    });
    const broker = system.get(Broker);
    expect(broker).toBeInstanceOf(Traced);
    expect(capabilitiesOf(broker)).toEqual(MemoryBroker.capabilities satisfies BrokerCapabilities);
  });

  class TracedTransport {
    readonly inner: Transport;
    constructor(inner: Transport) {
      this.inner = inner;
    }
    dial: Transport['dial'] = (...given) => this.inner.dial(...given);
    listen: Transport['listen'] = (...given) => this.inner.listen(...given);
    close: Transport['close'] = () => this.inner.close();
  }
  const tls = { cert: 'certificate', key: 'key' };
  const traced =
    (transport: Transport, more: Partial<Transport> = {}) =>
    (container: Container): void => {
      container.bind(TransportTlsOptions).toConstantValue({ client: { ca: 'authority' }, server: tls });
      container.rebind(Transport).toConstantValue(transport);
      wrap(container, Transport, (inner) => Object.assign(new TracedTransport(inner), more));
    };

  it('is not taken to speak more TLS than the inner transport does', async () => {
    const bind = traced(new GrpcTransport());
    const { reason } = await refusalOf([greeter], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' }, bind });
    expect(reason).toBe('app.security_not_in_force');
  });

  it('may state its own encryption', async () => {
    const bind = traced(new GrpcTransport(), { encryption: { client: true, server: true } });
    system = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' }, bind });
    expect(system.get(Transport).encryption).toEqual({ client: true, server: true });
  });

  it('is read through the cache if it is a registry', async () => {
    const seen: unknown[] = [];
    system = await System.start([greeter], {
      profile: 'test',
      bind: (container) =>
        wrap(container, Registry, (registry) => {
          seen.push(registry);
          return registry;
        }),
    });
    expect(seen).toEqual([expect.any(MemoryRegistry)]);
    expect(system.get(Registry)).not.toBeInstanceOf(MemoryRegistry);
    expect(system.get(Selector)).toBeDefined();
  });
});
