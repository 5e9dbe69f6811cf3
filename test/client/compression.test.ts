import 'reflect-metadata';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { type Context, Handler, type Interceptor, Rpc, Service, System } from '../../src/index.ts';
import { ClientOptions } from '../../src/client/client.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { type DialOptions, Transport, type TransportClient } from '../../src/transport/transport.ts';

interface Seen {
  readonly compressed: (boolean | undefined)[];
}

@Handler('seen.Seen')
class SeenHandler {
  @Rpc()
  async one(_request: object, ctx: Context): Promise<Seen> {
    return { compressed: [ctx.wasCompressed] };
  }

  @Rpc({ stream: 'client' })
  async many(requests: AsyncIterable<{ text: string; n: number }>, ctx: Context): Promise<Seen & { order: number[] }> {
    const compressed: (boolean | undefined)[] = [];
    const order: number[] = [];
    for await (const { n } of requests) {
      compressed.push(ctx.wasCompressed);
      order.push(n);
    }
    return { compressed, order };
  }
}

@Service({ name: 'seen', handlers: [SeenHandler] })
class SeenService {}

describe('requests that are compressed', () => {
  let system: System;
  beforeAll(async () => {
    system = await System.start([SeenService], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
  });
  afterAll(() => system.stop());

  it('are those of the calls that say so', async () => {
    const client = system.client(SeenHandler);
    const seen = async (compress?: boolean): Promise<unknown> =>
      (await client.one({ text: 'words '.repeat(100) }, { compress })).compressed[0];
    expect([await seen(), await seen(true), await seen(false), await seen(undefined)]).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });

  it('stay in their order, whatever their sizes are', async () => {
    // A big one takes longer to compress than the small ones behind it.
    const requests = [300_000, 1, 200_000, 1, 1, 400_000, 1].map((size, n) => ({ text: 'x'.repeat(size), n }));
    const { compressed, order } = await system.client(SeenHandler).many(requests, { compress: true });
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(compressed).toEqual(order.map(() => true));
  });

  it('are those of a whole client, but for calls and messages that say otherwise', async () => {
    const plainFromTheThird: Interceptor = (next) => (input, ctx) => {
      async function* watched(): AsyncIterable<unknown> {
        let n = 0;
        for await (const one of input as AsyncIterable<unknown>) {
          n += 1;
          ctx.compress = n < 3;
          yield one;
        }
      }
      return next(ctx.endpoint === 'Many' ? watched() : input, ctx);
    };
    const other = await System.start([], {
      profile: 'local',
      env: { TENON_LOG_LEVEL: 'silent' },
      bind: (container) => {
        container
          .rebind(ClientOptions)
          .toConstantValue({ compress: true, interceptors: [plainFromTheThird] } satisfies ClientOptions);
      },
    });
    const address = system.services[0]?.server().address;
    const client = other.client(SeenHandler);
    try {
      expect((await client.one({}, { address })).compressed).toEqual([true]);
      expect((await client.one({}, { address, compress: false })).compressed).toEqual([false]);
      async function* requests(): AsyncIterable<{ text: string; n: number }> {
        for (const n of [1, 2, 3, 4]) yield { text: 'x', n };
      }
      expect((await client.many(requests(), { address })).compressed).toEqual([true, true, false, false]);
    } finally {
      await other.stop();
    }
  });
});

describe('requests that are not compressed', () => {
  it.each([[{}], [{ TENON_CLIENT_COMPRESS: 'false' }]])(
    'travel on a connection that does not compress: %j',
    async (env) => {
      const asked: (boolean | undefined)[] = [];
      const system = await System.start([SeenService], {
        profile: 'test',
        env,
        bind: (container) => {
          container.rebind(Transport).toConstantValue(
            new (class extends MemoryTransport {
              override dial(address: string, options: DialOptions): TransportClient {
                asked.push(options.compress);
                return super.dial(address, options);
              }
            })(),
          );
        },
      });
      try {
        await system.client(SeenHandler).many([]);
        await system.client(SeenHandler).many([], { compress: false });
        await system.client(SeenHandler).many([], { compress: true });
      } finally {
        await system.stop();
      }
      expect(asked).toEqual([false, false, true]);
    },
  );
});
