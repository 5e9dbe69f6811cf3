import { RedisServer } from '../../support/servers.ts';
import { registryFaults } from './faults.ts';

registryFaults({ name: 'redis', server: new RedisServer({ persistent: true }), ttlMs: 1_500 });
