import { describe, it } from '@jest/globals';

import { NatsJetStreamBroker } from '../../src/broker/nats-jetstream.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { brokerConformance } from '../../src/testing/broker.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';

const api = { describe, it };
const { capabilities } = NatsJetStreamBroker;

describeWithServer('over nats with JetStream', new BackendServer('nats-jetstream'), (server) => {
  brokerConformance(api, 'nats-jetstream', {
    make: () => new NatsJetStreamBroker({ address: server.address, logger, ackWaitMs: 4_000 }),
    capabilities,
    maxBodyBytes: 1_048_576,
  });
  brokerConformance(api, 'nats-jetstream, with streams in memory', {
    make: () => {
      const { address } = server;
      return new NatsJetStreamBroker({ address, logger, storage: 'memory', streamPrefix: 'memory-' });
    },
    capabilities,
  });
});
