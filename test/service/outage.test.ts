import { expect, it } from '@jest/globals';

import {
  Client,
  type ClientOf,
  Code,
  Handler,
  Registry,
  Rpc,
  Service,
  Subscribe,
  System,
  TenonError,
} from '../../src/index.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { eventually } from '../support/waiting.ts';
import { describeWithRedis } from '../support/servers.ts';

@Handler('steady.Steady')
class SteadyHandler {
  readonly heard: number[] = [];
  @Rpc({ idempotent: true }) async echo(request: { n: number }): Promise<{ n: number }> {
    return request;
  }
  @Subscribe('ticks', { queue: 'steady' }) async onTick(event: { n: number }): Promise<void> {
    this.heard.push(event.n);
  }
}

@Service({ name: 'steady', handlers: [SteadyHandler] })
class Steady {}

const ttlMs = 1_500;

describeWithRedis(
  'Redis going away and coming back',
  (redis) => {
    const env = (): Record<string, string> => ({
      TENON_REGISTRY: `redis://${redis.address}`,
      TENON_BROKER: `redis-streams://${redis.address}`,
      TENON_REGISTER_TTL_MS: String(ttlMs),
      TENON_LOG_LEVEL: 'silent',
      TENON_LAME_DUCK_MS: '0',
    });

    it('costs no call, loses no acknowledged event, and the node is registered again', async () => {
      const service = await System.start([Steady], { profile: 'dev', env: env() });
      const caller = await System.start([], { profile: 'dev', env: env() });
      try {
        const steady: ClientOf<SteadyHandler> = caller.client(SteadyHandler);
        const publisher = caller.get(Client);
        const publish = (n: number): Promise<void> =>
          publisher.publish(publisher.newMessage('ticks', { n }), { timeoutMs: 5_000 });
        const { heard } = service.get(SteadyHandler);
        const accepted: number[] = [];
        const refusals: TenonError[] = [];
        const tick = async (n: number): Promise<void> => {
          expect(await steady.echo({ n })).toEqual({ n });
          await publish(n).then(
            () => accepted.push(n),
            (error: unknown) => refusals.push(TenonError.from(error)),
          );
        };
        for (let n = 0; n < 5; n += 1) await tick(n);
        await redis.kill();
        // Longer than the lease: the callers' knowledge outlives it.
        for (let n = 5; n < 25; n += 1) {
          await tick(n);
          await systemRuntime.timers.sleep(100);
        }
        await redis.start();
        for (let n = 25; n < 45; n += 1) {
          await tick(n);
          await systemRuntime.timers.sleep(100);
        }
        expect(refusals.length).toBeGreaterThan(0);
        for (const refusal of refusals) {
          expect([Code.Unavailable, Code.DeadlineExceeded]).toContain(refusal.code);
          expect(refusal.message).toContain(redis.address);
        }
        await eventually('every accepted event is handled', () => accepted.every((n) => heard.includes(n)), 20_000);
        expect(accepted.some((n) => n >= 25)).toBe(true);
        await eventually(
          'the node is announced again',
          async () => (await service.get(Registry).listServices()).some(({ name }) => name === 'steady'),
          10_000,
        );
      } finally {
        await caller.stop();
        await service.stop();
      }
    }, 60_000);
  },
  { persistent: true },
);
