import { BackendServer } from '../../support/servers.ts';
import { registryFaults } from './faults.ts';

registryFaults({ name: 'etcd', server: new BackendServer('etcd'), ttlMs: 2_000, changesMeanwhile: true });
