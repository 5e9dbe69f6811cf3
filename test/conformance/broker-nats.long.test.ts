import { describe, it } from '@jest/globals';

import { NatsBroker } from '../../src/broker/nats.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { brokerConformance } from '../../src/testing/broker.ts';
import { NatsConfig } from '../support/nats-config.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';

const api = { describe, it };
const { capabilities } = NatsBroker;

describeWithServer('over nats', new BackendServer('nats'), (server) => {
  brokerConformance(api, 'nats', {
    make: () => new NatsBroker({ address: server.address, logger }),
    capabilities,
    maxBodyBytes: 1_048_576,
  });
});

// An envelope is larger than its body.
const { args } = new NatsConfig('max_payload: 8MB');
describeWithServer('over nats with larger messages', new BackendServer('nats', { args }), (server) => {
  brokerConformance(api, 'nats, in the dialect of Go Micro', {
    make: () => new NatsBroker({ address: server.address, logger, dialect: 'go-micro' }),
    capabilities,
    addsHeaders: ['Micro-Topic'],
  });
});
