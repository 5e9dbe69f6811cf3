import { KafkaBroker } from '../../../src/broker/kafka.ts';
import { silentLogger as logger } from '../../../src/logger/logger.ts';
import { BackendServer } from '../../support/servers.ts';
import { describeGuarantees, durable } from './guarantees.ts';

const server = new BackendServer('kafka');

describeGuarantees({
  heading: 'kafka, on a single server',
  server,
  make: ({ address }) => new KafkaBroker({ address, logger, partitions: 3, sessionTimeoutMs: 6_000, timeoutMs: 4_000 }),
  // Clients go to the address that it tells them: one listener tells that of the proxy, and another one its own.
  prepare: async (proxy) => {
    server.options.advertised = proxy.address;
    await server.restart();
  },
  direct: () => server.details['internal'] ?? '',
  cells: durable,
});
