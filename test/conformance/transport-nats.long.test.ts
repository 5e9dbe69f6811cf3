import { describe, it } from '@jest/globals';

import { transportConformance } from '../../src/testing/transport.ts';
import { NatsTransport } from '../../src/transport/nats.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';

const api = { describe, it };

describeWithServer('NATS', new BackendServer('nats'), (server) => {
  transportConformance(api, 'nats', {
    make: () => new NatsTransport({ address: server.address }),
    supports: { suggest: true },
  });
});
