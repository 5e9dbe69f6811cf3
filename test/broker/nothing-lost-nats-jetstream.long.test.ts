import { NatsJetStreamBroker } from '../../src/broker/nats-jetstream.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { BackendServer } from '../support/servers.ts';
import { describeNothingLost } from './nothing-lost.ts';

describeNothingLost({
  server: new BackendServer('nats-jetstream'),
  door: 'nats-jetstream',
  name: 'NatsJetStreamBroker',
  options: () => ({ ackWaitMs: 2_000, timeoutMs: 2_000 }),
  make: (options) => new NatsJetStreamBroker({ logger, ...options }),
});
