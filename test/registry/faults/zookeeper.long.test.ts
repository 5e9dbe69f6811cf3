import { BackendServer } from '../../support/servers.ts';
import { registryFaults } from './faults.ts';

registryFaults({ name: 'zookeeper', server: new BackendServer('zookeeper'), ttlMs: 4_000 });
