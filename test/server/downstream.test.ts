import { inject } from 'inversify';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { clientOf, Code, type Context, Handler, Rpc, Service, System, TenonError } from '../../src/index.ts';
import { failureOf } from '../../src/testing/failures.ts';

interface Ask {
  readonly code: number;
  readonly passOn?: boolean;
}

@Handler('two.Back')
class BackHandler {
  @Rpc() async fail({ code }: Ask): Promise<Ask> {
    throw new TenonError({ code: code as Code, reason: 'back.secret', message: 'of the inner service' });
  }
  @Rpc({ stream: 'server' }) async *failLate(ask: Ask): AsyncIterable<Ask> {
    yield ask;
    await this.fail(ask);
  }
}

@Handler('two.Front')
class FrontHandler {
  constructor(@inject(clientOf(BackHandler)) private readonly back: BackHandler) {}

  @Rpc() async unary(ask: Ask, ctx: Context): Promise<Ask> {
    try {
      return await (this.back as unknown as { fail(ask: Ask, options: object): Promise<Ask> }).fail(ask, { ctx });
    } catch (error) {
      throw ask.passOn ? TenonError.passOn(error) : error;
    }
  }
  @Rpc({ stream: 'server' }) async *stream(ask: Ask): AsyncIterable<Ask> {
    yield* this.back.failLate(ask);
  }
}

@Service({ name: 'two', handlers: [FrontHandler, BackHandler] })
class Two {}

describe.each(['memory', 'grpc'])('the error of a call that a handler made, over %s', (transport) => {
  let system: System;

  beforeAll(async () => {
    const env = { TENON_LOG_LEVEL: 'silent', TENON_TRANSPORT: transport };
    const address = transport === 'memory' ? {} : { TENON_SERVER_ADDRESS: '127.0.0.1:0' };
    system = await System.start([Two], { profile: 'test', env: { ...env, ...address } });
  });
  afterAll(() => system.stop());

  it.each([Code.Unauthenticated, Code.NotFound, Code.InvalidArgument])(
    'is not the answer to its caller: %i',
    async (code) => {
      const client = system.client(FrontHandler);
      const read = async (): Promise<void> => {
        for await (const _ of client.stream({ code }));
      };
      for (const failure of [await failureOf(client.unary({ code })), await failureOf(read())]) {
        expect([failure.code, failure.reason]).toEqual([Code.Internal, 'server.dependency_failed']);
        expect(failure.message).not.toContain('inner');
      }
    },
  );

  it('keeps a code that says when to call again', async () => {
    const failure = await failureOf(system.client(FrontHandler).unary({ code: Code.Unavailable }));
    expect([failure.code, failure.reason]).toEqual([Code.Unavailable, 'server.dependency_failed']);
  });

  it('is passed on by one line', async () => {
    const failure = await failureOf(system.client(FrontHandler).unary({ code: Code.Unauthenticated, passOn: true }));
    expect([failure.code, failure.reason, failure.message]).toEqual([
      Code.Unauthenticated,
      'back.secret',
      'of the inner service',
    ]);
  });
});
