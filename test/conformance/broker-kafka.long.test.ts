import { describe, it } from '@jest/globals';

import { KafkaBroker } from '../../src/broker/kafka.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { brokerConformance } from '../../src/testing/broker.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';

const api = { describe, it };

describeWithServer('over kafka', new BackendServer('kafka'), (server) => {
  brokerConformance(api, 'kafka', {
    make: () => new KafkaBroker({ address: server.address, logger, partitions: 1 }),
    capabilities: KafkaBroker.capabilities({ partitions: 1 }),
    // A member hears of others by its next heartbeat.
    patienceMs: 30_000,
    // With what a batch of one record has beside it, that is 1,048,588 bytes, the default of message.max.bytes.
    maxBodyBytes: 1_048_516,
  });
});
