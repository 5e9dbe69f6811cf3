import { describe, it } from '@jest/globals';

import { MemoryBroker, MemoryHub } from '../../src/broker/memory.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { brokerConformance } from '../../src/testing/broker.ts';
import { describeWithRedis } from '../support/servers.ts';

const api = { describe, it };
const logger = silentLogger;
const hub = new MemoryHub({ logger });

brokerConformance(api, 'memory', {
  make: () => new MemoryBroker({ hub, logger }),
  capabilities: MemoryBroker.capabilities,
});

describeWithRedis('over redis', (redis) => {
  const { capabilities } = RedisBroker;
  brokerConformance(api, 'redis', { make: () => new RedisBroker({ address: redis.address, logger }), capabilities });
  brokerConformance(api, 'redis, in the dialect of Go Micro', {
    make: () => new RedisBroker({ address: redis.address, logger, dialect: 'go-micro' }),
    capabilities,
    addsHeaders: ['Micro-Topic'],
  });
  brokerConformance(api, 'redis-streams', {
    make: () => new RedisStreamsBroker({ address: redis.address, logger }),
    capabilities: RedisStreamsBroker.capabilities,
  });
});
