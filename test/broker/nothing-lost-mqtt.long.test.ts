import { MqttBroker } from '../../src/broker/mqtt.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { BackendServer } from '../support/servers.ts';
import { describeNothingLost } from './nothing-lost.ts';

describeNothingLost({
  server: new BackendServer('mosquitto', { persistent: true, args: ['max_queued_messages 0'] }),
  door: 'mqtt',
  name: 'MqttBroker',
  // A member that is killed comes back as itself, and is given what it had in hand.
  options: (member) => ({ clientId: `member-${member}` }),
  make: (options) => new MqttBroker({ logger, ...options }),
  // What Mosquitto has not written yet is lost with its process.
  survivesServer: false,
});
