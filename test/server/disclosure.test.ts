import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';

import { Code, type Context, type Guard, Handler, Logger, Rpc, Service, System, TenonError } from '../../src/index.ts';
import { UseGuard } from '../../src/decorators/decorators.ts';
import { ConsoleLogger } from '../../src/logger/console.ts';
import { failureOf } from '../../src/testing/failures.ts';

const address = '10.11.12.13:6379';

class MaxRetriesPerRequestError extends Error {
  override readonly name = 'MaxRetriesPerRequestError';
}

function systemError(): Error {
  return Object.assign(new Error(`connect ECONNREFUSED ${address}`), {
    code: 'ECONNREFUSED',
    syscall: 'connect',
    address: '10.11.12.13',
    port: 6379,
  });
}

function own(code: Code, reason: string): TenonError {
  return new TenonError({
    code,
    reason,
    message: `${address} cannot be reached: set TENON_SOMETHING`,
    details: [{ type: 'a.Detail', value: new TextEncoder().encode(address) }],
    metadata: { node: address },
    cause: systemError(),
  });
}

/** What the libraries within a handler throw, by name. */
const failures: Readonly<Record<string, () => unknown>> = {
  'a system error': systemError,
  'an ioredis error': () => new MaxRetriesPerRequestError(`Reached the max retries per request limit: ${address}`),
  'several errors at once': () => new AggregateError([systemError()], `all of ${address} failed`),
  'an error of grpc-js': () => Object.assign(new Error(`14 UNAVAILABLE: ${address}`), { code: 14, details: address }),
  'a text': () => `lost ${address}`,
  'an error of the broker': () => own(Code.Unavailable, 'broker.unreachable'),
  'an error of the registry': () => own(Code.FailedPrecondition, 'registry.invalid_address'),
  'an error of the client': () => own(Code.Unavailable, 'client.no_node'),
  'an error of the selector': () => own(Code.Unavailable, 'selector.none_available'),
  'an error of a connection': () => own(Code.Unavailable, 'transport.unreachable'),
  'an error of the configuration': () => own(Code.InvalidArgument, 'config.invalid'),
};

function thrown(what: string): unknown {
  return (failures[what] as () => unknown)();
}

class Refusing implements Guard {
  activate(ctx: Context): boolean {
    throw thrown(ctx.metadata.text('what') ?? '');
  }
}

interface Ask {
  readonly what: string;
}

@Handler('disclosure.Inner')
class InnerHandler {
  @Rpc() async unary({ what }: Ask): Promise<Ask> {
    throw thrown(what);
  }
  @Rpc({ stream: 'server' }) async *within(ask: Ask): AsyncIterable<Ask> {
    yield ask;
    throw thrown(ask.what);
  }
  @Rpc({ stream: 'client' }) async sum(asks: AsyncIterable<Ask>): Promise<Ask> {
    for await (const { what } of asks) throw thrown(what);
    return { what: '' };
  }
  @UseGuard(Refusing) @Rpc() async guarded(ask: Ask): Promise<Ask> {
    return ask;
  }
}

@Service({ name: 'disclosure', handlers: [InnerHandler] })
class Disclosing {}

describe.each(['memory', 'grpc', 'tcp'])('the address that an inner failure names, over %s', (transport) => {
  const log: string[] = [];
  let system: System;

  beforeAll(async () => {
    const listen = transport === 'memory' ? {} : { TENON_SERVER_ADDRESS: '127.0.0.1:0' };
    system = await System.start([Disclosing], {
      profile: 'test',
      env: { TENON_TRANSPORT: transport, ...listen },
      bind: (container) =>
        void container
          .rebind(Logger)
          .toConstantValue(new ConsoleLogger({ format: 'json', write: (line) => log.push(line) })),
    });
  });
  beforeEach(() => void log.splice(0));
  afterAll(() => system.stop());

  async function read(replies: AsyncIterable<unknown>): Promise<void> {
    for await (const _ of replies);
  }

  /** All that a caller is told, where it is. */
  function told({ code, reason, message, details, metadata }: TenonError): string {
    const texts = details.map((detail) => JSON.stringify(detail) + Buffer.from(detail.value).toString('latin1'));
    return [code, reason, message, ...texts, JSON.stringify(metadata)].join('\n');
  }

  it.each(Object.keys(failures))('reaches the log and not the caller: %s', async (what) => {
    const client = system.client(InnerHandler);
    const guarded = client.guarded as unknown as (ask: Ask, options: object) => Promise<Ask>;
    for (const call of [
      () => client.unary({ what }),
      () => read(client.within({ what })),
      () => (client.sum as unknown as (asks: readonly Ask[]) => Promise<Ask>)([{ what }]),
      () => guarded({ what }, { metadata: { what } }),
    ]) {
      const before = log.length;
      const failure = await failureOf(call());
      expect(['server.handler_failed', 'server.dependency_failed']).toContain(failure.reason);
      expect(told(failure)).not.toMatch(/10\.11\.12\.13|TENON_SOMETHING/);
      expect(log.slice(before).join('\n')).toContain(address);
    }
  });
});
