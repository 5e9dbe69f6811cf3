import { RabbitMqBroker } from '../../src/broker/rabbitmq.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { BackendServer } from '../support/servers.ts';
import { describeNothingLost } from './nothing-lost.ts';
import { Stage } from './rabbitmq-support.ts';

const stage = new Stage();

describeNothingLost({
  server: new BackendServer('rabbitmq'),
  door: 'rabbitmq',
  name: 'RabbitMqBroker',
  options: () => ({}),
  make: (options) => new RabbitMqBroker({ logger, ...options }),
  beforeServerKill: async (server) => {
    await (await stage.client(server)).makeAnotherQueue();
    await stage.end();
  },
});
