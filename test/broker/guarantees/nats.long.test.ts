import { NatsBroker } from '../../../src/broker/nats.ts';
import { silentLogger as logger } from '../../../src/logger/logger.ts';
import { BackendServer } from '../../support/servers.ts';
import { atMostOnce, describeGuarantees } from './guarantees.ts';

describeGuarantees({
  heading: 'nats, whose subjects store nothing',
  server: new BackendServer('nats'),
  make: ({ address }) => new NatsBroker({ address, logger, timeoutMs: 1_000 }),
  cells: atMostOnce,
});
