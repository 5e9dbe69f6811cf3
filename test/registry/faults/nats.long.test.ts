import { BackendServer } from '../../support/servers.ts';
import { registryFaults } from './faults.ts';

registryFaults({ name: 'nats', server: new BackendServer('nats'), ttlMs: 2_000, isShared: false });
