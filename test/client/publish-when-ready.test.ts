import { expect, test } from '@jest/globals';

import { Client, Code, System } from '../../src/index.ts';
import { describeWithRedis } from '../support/servers.ts';

describeWithRedis('a client whose broker is away', (redis) => {
  test('publishes with waitForReady when it is there, before and after it was connected', async () => {
    const { address } = redis;
    const env = { TENON_BROKER: 'redis-streams', TENON_BROKER_ADDRESS: address, TENON_LOG_LEVEL: 'silent' };
    await redis.kill();
    const system = await System.start([], { profile: 'test', env });
    const client = system.get(Client);
    const message = client.newMessage('orders', { id: '1' });
    const unreachable = { code: Code.Unavailable, reason: 'broker.unreachable' };
    await expect(client.publish(message)).rejects.toMatchObject(unreachable);
    await expect(client.publish(message, { waitForReady: true, timeoutMs: 50 })).rejects.toMatchObject(unreachable);
    const waiting = { waitForReady: true, timeoutMs: 60_000 } as const;
    const first = client.publish(message, waiting);
    await redis.start();
    await first;
    await redis.kill();
    const second = client.publish(message, waiting);
    await redis.start();
    await second;
    expect(await redis.client().xlen('tenon:events:orders')).toBe(1);
    await system.stop();
  });
});
