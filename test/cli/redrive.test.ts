import { describe, expect, it } from '@jest/globals';

import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { collector, publishText } from '../broker/support.ts';
import { describeWithRedis } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';
import { cli } from './support.ts';

describe('tenon redrive', () => {
  it('refuses the broker of one process, and a limit that is none', async () => {
    const env = { TENON_BROKER: 'memory' };
    expect(await cli(['redrive', 'orders.dead-letter'], { env })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('TENON_BROKER names one that others share'),
    });
    for (const limit of ['0', '-1', 'all', '1.5'])
      expect(await cli(['redrive', 'orders.dead-letter', `--limit=${limit}`], { env })).toMatchObject({ code: 2 });
    expect(await cli(['redrive'], { env })).toMatchObject({ code: 2 });
  });
});

describeWithRedis('tenon redrive over redis-streams', (redis) => {
  it('publishes dead letters again, those of one reason or all, and says how many', async () => {
    const broker = new RedisStreamsBroker({ address: redis.address, logger });
    await broker.connect();
    const seen = collector();
    await broker.subscribe('orders', seen.receive);
    const bury = (body: string, reason: string): Promise<void> =>
      publishText(broker, 'orders.dead-letter', body, {
        'tenon-original-topic': 'orders',
        'tenon-dead-letter-reason': reason,
      });
    for (const [body, reason] of [
      ['a', 'stock.empty'],
      ['b', 'card.refused'],
      ['c', 'stock.empty'],
      ['d', 'stock.empty'],
    ] as const)
      await bury(body, reason);
    const env = { TENON_BROKER: 'redis-streams', TENON_BROKER_ADDRESS: redis.address };
    const run = (...args: string[]): Promise<unknown> => cli(['redrive', 'orders.dead-letter', ...args], { env });
    expect(await run('--reason', 'card.refused')).toEqual({
      code: 0,
      stderr: '',
      stdout: '1 event published again; 3 events stayed in orders.dead-letter\n',
    });
    expect(await run('--limit', '2')).toMatchObject({ stdout: '2 events published again\n' });
    expect(await run()).toMatchObject({ stdout: '1 event published again\n' });
    expect(await run()).toMatchObject({ stdout: '0 events published again\n' });
    await eventually('all of them', () => seen.texts.length === 4);
    expect(seen.texts.toSorted()).toEqual(['a', 'b', 'c', 'd']);
    await broker.disconnect();
  });

  it('fails with the error of a broker that is away', async () => {
    const env = { TENON_BROKER: 'redis-streams', TENON_BROKER_ADDRESS: '127.0.0.1:1' };
    expect(await cli(['redrive', 'orders.dead-letter'], { env })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the broker "redis-streams" at 127.0.0.1:1 does not answer'),
    });
  });
});
