import { BackendServer } from '../../support/servers.ts';
import { registryFaults } from './faults.ts';

registryFaults({ name: 'consul', server: new BackendServer('consul', { persistent: true }), ttlMs: 1_500 });
