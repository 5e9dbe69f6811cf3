import { afterAll, beforeAll, describe, it } from '@jest/globals';

import { CachedRegistry } from '../../src/registry/cache.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { registryConformance } from '../../src/testing/registry.ts';
import { describeWithRedis } from '../support/servers.ts';

const api = { describe, it, beforeAll, afterAll };

registryConformance(api, 'memory', { make: () => new MemoryRegistry(), capabilities: MemoryRegistry.capabilities });
registryConformance(api, 'cache over memory', {
  make: () => new CachedRegistry(new MemoryRegistry()),
  capabilities: MemoryRegistry.capabilities,
});
describeWithRedis('with a real server', (redis) => {
  registryConformance(api, 'redis', {
    make: () => new RedisRegistry({ address: redis.address }),
    capabilities: RedisRegistry.capabilities,
    shortTtlMs: 200,
  });
});
