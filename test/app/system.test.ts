import { afterEach, describe, expect, it } from '@jest/globals';

import { inject } from 'inversify';

import {
  Client,
  type ClientOf,
  clientOf,
  Code,
  type Context,
  Handler,
  Logger,
  Registry,
  Rpc,
  Service,
  Subscribe,
  System,
  Transport,
} from '../../src/index.ts';
import { collect } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';

@Handler('audit.Audit')
class AuditHandler {
  readonly seen: string[] = [];
  @Rpc() async list(): Promise<{ names: string[] }> {
    return { names: this.seen };
  }
  @Subscribe('greeted', { queue: 'audit' }) async onGreeted(event: { name: string }): Promise<void> {
    this.seen.push(event.name);
  }
}

@Handler('greeter.Greeter')
class GreeterHandler {
  constructor(
    @inject(Client) private readonly publisher: Client,
    @inject(clientOf(AuditHandler)) private readonly audit: ClientOf<AuditHandler>,
  ) {}
  @Rpc() async hello(request: { name: string }, ctx: Context): Promise<{ text: string; before: number }> {
    const { names } = await this.audit.list({}, { ctx });
    await this.publisher.publish(this.publisher.newMessage('greeted', { name: request.name }), { ctx });
    return { text: `Hello ${request.name}`, before: names.length };
  }
  @Rpc({ stream: 'server' }) async *count(request: { to: number }): AsyncIterable<{ n: number }> {
    for (let n = 1; n <= request.to; n += 1) yield { n };
  }
  @Rpc({ stream: 'client' }) async sum(numbers: AsyncIterable<{ n: number }>): Promise<{ sum: number }> {
    let sum = 0;
    for await (const { n } of numbers) sum += n;
    return { sum };
  }
  @Rpc({ stream: 'bidi' }) async *echo(lines: AsyncIterable<{ line: string }>): AsyncIterable<{ line: string }> {
    for await (const { line } of lines) yield { line: line.toUpperCase() };
  }
}

@Service({ name: 'audit', handlers: [AuditHandler] })
class Audit {}

@Service({ name: 'greeter', version: '1.2.0', handlers: [GreeterHandler] })
class Greeter {}

let system: System | undefined;
afterEach(async () => {
  await system?.stop();
  system = undefined;
});

describe.each(['test', 'local'])('services together under the profile %s', (profile) => {
  const start = async (): Promise<System> => {
    system = await System.start([Audit, Greeter], {
      profile,
      env: { TENON_LOG_LEVEL: 'silent', TENON_LAME_DUCK_MS: '0' },
    });
    return system;
  };

  it('answer all four kinds of calls, call each other, and publish to each other', async () => {
    const greeter = (await start()).client(GreeterHandler);
    expect(await greeter.hello({ name: 'Ada' })).toEqual({ text: 'Hello Ada', before: 0 });
    expect(await collect(greeter.count({ to: 3 }))).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    expect(await greeter.sum([{ n: 1 }, { n: 2 }])).toEqual({ sum: 3 });
    expect(await collect(greeter.echo([{ line: 'a' }, { line: 'b' }]))).toEqual([{ line: 'A' }, { line: 'B' }]);
    await eventually('the event is handled', async () => (await greeter.hello({ name: 'Bob' })).before > 0);
  });

  it('open a port only over a transport that has one', async () => {
    const { services } = await start();
    const addresses = services.map((service) => service.server().address);
    for (const address of addresses) expect(address).toMatch(profile === 'test' ? /^memory:/ : /^127\.0\.0\.1:\d+$/);
  });

  it('have stopped entirely when stop resolves', async () => {
    const started = await start();
    const greeter = started.client(GreeterHandler);
    const registry = started.get(Registry);
    await started.stop();
    await expect(greeter.hello({ name: 'late' })).rejects.toMatchObject({ reason: 'client.closed' });
    await expect(registry.getService('greeter')).rejects.toMatchObject({ code: Code.FailedPrecondition });
    expect(started.services.map((service) => service.state)).toEqual(['stopped', 'stopped']);
    expect(String(started.get(Transport))).toBe(profile === 'test' ? 'memory' : 'grpc');
  });
});

@Handler('patient.Patient')
class PatientHandler {
  static entered = 0;
  private static bothDrain: Promise<string[]> | undefined;
  /** Answers when both services drain: no call before the other, for then one service would have stopped. */
  @Rpc() async wait(): Promise<{ states: string[] }> {
    PatientHandler.entered += 1;
    return { states: await (PatientHandler.bothDrain ??= PatientHandler.draining()) };
  }
  private static async draining(): Promise<string[]> {
    let states: string[] = [];
    await eventually('both drain', () => {
      states = (system?.services ?? []).map((service) => service.state);
      return states.every((state) => state === 'draining');
    });
    return states;
  }
}

@Handler('second.Patient')
class SecondPatientHandler extends PatientHandler {}

@Service({ name: 'one', handlers: [PatientHandler] })
class One {}

@Service({ name: 'two', handlers: [SecondPatientHandler] })
class Two {}

describe('services that are stopped together', () => {
  it('drain in parallel, not one after the other', async () => {
    system = await System.start([One, Two], { profile: 'test', env: { TENON_LAME_DUCK_MS: '0' } });
    const calls = [system.client(PatientHandler).wait({}), system.client(SecondPatientHandler).wait({})];
    await eventually('both calls are in their handlers', () => PatientHandler.entered === 2);
    const stopped = system.stop();
    expect(await Promise.all(calls)).toEqual(Array(2).fill({ states: ['draining', 'draining'] }));
    await stopped;
  });
});

describe('a logger of the application that throws', () => {
  it('fails neither the start, nor calls, nor the code that logs, nor the stop', async () => {
    const refuse = (): never => {
      throw new Error('the disk is full');
    };
    const logger: Logger = { debug: refuse, info: refuse, warn: refuse, error: refuse, child: refuse };
    system = await System.start([Audit, Greeter], {
      profile: 'test',
      env: { TENON_MDNS_PORT: '5354' },
      bind: (container) => void container.rebind(Logger).toConstantValue(logger),
    });
    expect(await system.client(GreeterHandler).hello({ name: 'Ada' })).toEqual({ text: 'Hello Ada', before: 0 });
    const bound = system.get(Logger);
    expect(() => bound.child({ request: 1 }).error('lost')).not.toThrow();
    await system.stop();
  });
});
