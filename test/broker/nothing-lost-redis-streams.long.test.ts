import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { RedisServer } from '../support/servers.ts';
import { describeNothingLost } from './nothing-lost.ts';

describeNothingLost({
  server: new RedisServer({ persistent: true }),
  door: 'redis-streams',
  name: 'RedisStreamsBroker',
  options: () => ({ claimIdleMs: 2_000, timeoutMs: 2_000 }),
  make: (options) => new RedisStreamsBroker({ logger, ...options }),
});
