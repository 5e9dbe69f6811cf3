import { expect, it } from '@jest/globals';

import { Handler, Rpc, Service, System } from '../../src/index.ts';
import { healthProto } from '../../src/health/handler.ts';
import { describeWithRedis } from '../support/servers.ts';

@Handler('lost.Lost')
class LostHandler {
  @Rpc() async here(_request: object): Promise<object> {
    return {};
  }
}
@Service({ name: 'lost', handlers: [LostHandler] })
class Lost {}

interface HealthApi {
  check(request: { service?: string }, options: { readonly address: string }): Promise<{ status: string }>;
  watch(request: { service?: string }, options: { readonly address: string }): AsyncIterable<{ status: string }>;
}

describeWithRedis('a registry that goes away and comes back', (redis) => {
  it('makes a node NOT_SERVING when its lease ends, and SERVING again, once each; its process stays live', async () => {
    const env = {
      TENON_REGISTRY: `redis://${redis.address}`,
      TENON_REGISTER_TTL_MS: '1500',
      TENON_LOG_LEVEL: 'silent',
    };
    const served = await System.start([Lost], { profile: 'local', env });
    const caller = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
    try {
      const address = served.services[0]!.server().address as string;
      const health = caller.client<HealthApi>({ proto: healthProto, name: 'grpc.health.v1.Health', service: 'lost' });
      const seen: string[] = [];
      for await (const { status } of health.watch({ service: 'lost.Lost' }, { address })) {
        seen.push(status);
        if (seen.length === 1) await redis.kill();
        else if (seen.length === 2) {
          expect(await health.check({ service: 'liveness' }, { address })).toEqual({ status: 'SERVING' });
          expect(await health.check({}, { address })).toEqual({ status: 'NOT_SERVING' });
          // Those who know the address are served all the same.
          expect(await caller.client(LostHandler).here({}, { address })).toEqual({});
          await redis.start();
        } else break;
      }
      expect(seen).toEqual(['SERVING', 'NOT_SERVING', 'SERVING']);
    } finally {
      await caller.stop();
      await served.stop();
    }
  }, 60_000);
});
