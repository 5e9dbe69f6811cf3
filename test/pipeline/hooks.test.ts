import { afterEach, describe, expect, it } from '@jest/globals';

import { Code, Handler, type Interceptor, Rpc, Service, System, TenonError, withHooks } from '../../src/index.ts';
import { ClientInterceptors } from '../../src/client/client.ts';
import { ServerInterceptors } from '../../src/server/server.ts';

@Handler('kinds.Kinds')
class KindsHandler {
  @Rpc() async unary({ n }: { n: number }): Promise<{ n: number }> {
    if (n < 0) throw new TenonError({ code: Code.Aborted, message: 'told to' });
    return { n };
  }
  @Rpc({ stream: 'server' }) async *server({ n }: { n: number }): AsyncIterable<{ n: number }> {
    for (let i = 0; i < n; i += 1) yield { n: i };
  }
  @Rpc({ stream: 'client' }) async client(requests: AsyncIterable<{ n: number }>): Promise<{ n: number }> {
    let sum = 0;
    for await (const { n } of requests) sum += n;
    return { n: sum };
  }
  @Rpc({ stream: 'bidi' }) async *bidi(requests: AsyncIterable<{ n: number }>): AsyncIterable<{ n: number }> {
    yield* requests;
  }
}

@Service({ name: 'kinds', handlers: [KindsHandler] })
class Kinds {}

let system: System | undefined;
afterEach(() => system?.stop());

async function start(server: Interceptor, client: Interceptor) {
  system = await System.start([Kinds], {
    profile: 'test',
    bind: (container) => {
      container.bind(ServerInterceptors).toConstantValue(server);
      container.bind(ClientInterceptors).toConstantValue(client);
    },
  });
  return system.client(KindsHandler);
}

async function* numbers(): AsyncIterable<{ n: number }> {
  yield { n: 1 };
  yield { n: 2 };
}

async function all(stream: AsyncIterable<{ n: number }>): Promise<number[]> {
  const seen: number[] = [];
  for await (const { n } of stream) seen.push(n);
  return seen;
}

describe('interceptors over the four kinds of call', () => {
  it('may be async functions that await next', async () => {
    const seen: string[] = [];
    const awaiting =
      (side: string): Interceptor =>
      (next, method) =>
      async (input, ctx) => {
        seen.push(`${side} ${method.method}`);
        const result = await next(input, ctx);
        return result;
      };
    const kinds = await start(awaiting('server'), awaiting('client'));
    expect(await kinds.unary({ n: 7 })).toEqual({ n: 7 });
    expect(await all(kinds.server({ n: 3 }))).toEqual([0, 1, 2]);
    expect(await kinds.client(numbers())).toEqual({ n: 3 });
    expect(await all(kinds.bidi(numbers()))).toEqual([1, 2]);
    const sides = ['unary', 'server', 'client', 'bidi'].flatMap((kind) => [`client ${kind}`, `server ${kind}`]);
    expect(seen.map((one) => one.toLowerCase())).toEqual(sides);
  });

  it('are made by withHooks, whose hooks are called once per call with its outcome', async () => {
    const told: string[] = [];
    const telling = (side: string): Interceptor =>
      withHooks(async (_ctx, method) => ({
        onFirst: () => told.push(`${side} ${method.kind} first`),
        onEnd: ({ outcome }) => told.push(`${side} ${method.kind} ${outcome}`),
      }));
    const kinds = await start(telling('server'), telling('client'));
    await kinds.unary({ n: 7 });
    await kinds.unary({ n: -1 }).catch(() => {});
    await all(kinds.server({ n: 2 }));
    await kinds.client(numbers());
    await all(kinds.bidi(numbers()));
    for await (const { n } of kinds.server({ n: 1_000_000 })) if (n === 1) break;
    await system?.stop();
    const of = (side: string): string[] => told.filter((one) => one.startsWith(side)).map((one) => one.slice(7));
    const expected = [
      'unary ok',
      'unary failed',
      'server first',
      'server ok',
      'client ok',
      'bidi first',
      'bidi ok',
      'server first',
      'server cancelled',
    ];
    expect(of('client')).toEqual(expected);
    expect(of('server')).toEqual(expected);
  });
});
