import { RabbitMqBroker } from '../../../src/broker/rabbitmq.ts';
import { silentLogger as logger } from '../../../src/logger/logger.ts';
import { BackendServer } from '../../support/servers.ts';
import { Stage } from '../rabbitmq-support.ts';
import { describeGuarantees, durable } from './guarantees.ts';

const stage = new Stage();
const quorum = new BackendServer('rabbitmq');

describeGuarantees({
  heading: 'rabbitmq, with quorum queues',
  server: quorum,
  // It gives a server up that was silent for three heartbeats.
  make: ({ address }) => new RabbitMqBroker({ address, logger, heartbeatMs: 1_000 }),
  beforeFault: async () => (await stage.client(quorum)).makeAnotherQueue(),
  cells: durable,
});

describeGuarantees({
  heading: 'rabbitmq, with classic queues',
  server: new BackendServer('rabbitmq'),
  make: ({ address }) => new RabbitMqBroker({ address, logger, heartbeatMs: 1_000, queueType: 'classic' }),
  cells: durable,
});
