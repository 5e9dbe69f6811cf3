import { describe, it } from '@jest/globals';

import { RabbitMqBroker, type RabbitMqBrokerOptions } from '../../src/broker/rabbitmq.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { brokerConformance } from '../../src/testing/broker.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';

const api = { describe, it };
const { capabilities } = RabbitMqBroker;
// Each queue of a group takes RabbitMQ some time to declare.
const patienceMs = 30_000;

describeWithServer('over RabbitMQ', new BackendServer('rabbitmq'), (server) => {
  const make = (options: RabbitMqBrokerOptions) => (): RabbitMqBroker =>
    new RabbitMqBroker({ address: server.address, logger, ...options });
  const harness = { capabilities, patienceMs };
  brokerConformance(api, 'rabbitmq', { ...harness, make: make({}) });
  brokerConformance(api, 'rabbitmq, with classic queues', { ...harness, make: make({ queueType: 'classic' }) });
  brokerConformance(api, 'rabbitmq, in the dialect of Go Micro', {
    ...harness,
    make: make({ dialect: 'go-micro' }),
    addsHeaders: ['Micro-Topic'],
  });
});
