import { describe, it } from '@jest/globals';

import { MemoryBroker, MemoryHub } from '../../src/broker/memory.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { brokerConformance } from '../../src/testing/broker.ts';
import { describeWithRedis } from '../support/servers.ts';
import { newTopics, PolledBroker } from './polled-broker.ts';

const api = { describe, it };
const logger = silentLogger;
const hub = new MemoryHub({ logger });

brokerConformance(api, 'memory', {
  make: () => new MemoryBroker({ hub, logger }),
  capabilities: MemoryBroker.capabilities,
});

const pollMs = 5;
const topics = newTopics();
brokerConformance(api, 'polled, of few characters and small bodies', {
  make: () => new PolledBroker({ topics, pollMs }),
  capabilities: PolledBroker.capabilities(),
  maxBodyBytes: 100_000,
  pollMs,
});
brokerConformance(api, 'polled, whose options leave out groups', {
  make: () => new PolledBroker({ topics, pollMs, groups: false }),
  capabilities: PolledBroker.capabilities({ groups: false }),
  maxBodyBytes: 100_000,
  pollMs,
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
    // What was given back waits for the next look, four of which fit into that time.
    make: () => new RedisStreamsBroker({ address: redis.address, logger, claimIdleMs: 4_000 }),
    capabilities: RedisStreamsBroker.capabilities,
  });
});
