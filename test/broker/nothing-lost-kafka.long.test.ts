import { KafkaBroker } from '../../src/broker/kafka.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { BackendServer } from '../support/servers.ts';
import { describeNothingLost } from './nothing-lost.ts';

describeNothingLost({
  server: new BackendServer('kafka'),
  door: 'kafka',
  name: 'KafkaBroker',
  options: () => ({ partitions: 6, sessionTimeoutMs: 6_000 }),
  make: (options) => new KafkaBroker({ logger, ...options }),
  keepsOrder: true,
});
