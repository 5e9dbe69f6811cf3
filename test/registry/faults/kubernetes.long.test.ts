import { registryEnv } from '../../support/servers.ts';
import { KubernetesServer } from '../kubernetes-support.ts';
import { registryFaults } from './faults.ts';

const server = new KubernetesServer();

registryFaults({
  name: 'kubernetes',
  server,
  ttlMs: 3_000,
  env: () => registryEnv(server),
  settings: () => ({ tls: { caFile: server.detail('caFile') }, credentials: { token: server.detail('token') } }),
  isShared: false,
});
