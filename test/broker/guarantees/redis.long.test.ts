import { RedisBroker } from '../../../src/broker/redis.ts';
import { silentLogger as logger } from '../../../src/logger/logger.ts';
import { RedisServer } from '../../support/servers.ts';
import { atMostOnce, describeGuarantees } from './guarantees.ts';

describeGuarantees({
  heading: 'redis, whose channels store nothing',
  server: new RedisServer(),
  make: ({ address }) => new RedisBroker({ address, logger, timeoutMs: 1_000 }),
  cells: atMostOnce,
});
