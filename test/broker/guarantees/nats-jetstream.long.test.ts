import { NatsJetStreamBroker } from '../../../src/broker/nats-jetstream.ts';
import { silentLogger as logger } from '../../../src/logger/logger.ts';
import { NatsConfig } from '../../support/nats-config.ts';
import { BackendServer } from '../../support/servers.ts';
import { describeGuarantees, durable, erased } from './guarantees.ts';

const times = { ackWaitMs: 2_000, timeoutMs: 1_000 };

describeGuarantees({
  heading: 'nats-jetstream, with streams on disk',
  server: new BackendServer('nats-jetstream'),
  make: ({ address }) => new NatsJetStreamBroker({ address, logger, ...times, replicas: 1 }),
  cells: durable,
});

describeGuarantees({
  heading: 'nats-jetstream, with streams on disk and sync_interval always',
  server: new BackendServer('nats-jetstream', { args: new NatsConfig('jetstream { sync_interval: always }').args }),
  make: ({ address }) => new NatsJetStreamBroker({ address, logger, ...times, replicas: 1 }),
  cells: { kill: { here: 'none', away: 'none' } },
});

describeGuarantees({
  heading: 'nats-jetstream, with streams in memory',
  server: new BackendServer('nats-jetstream'),
  make: ({ address }) => new NatsJetStreamBroker({ address, logger, ...times, storage: 'memory' }),
  cells: { kill: erased },
});
