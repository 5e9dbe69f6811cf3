import { MqttBroker } from '../../src/broker/mqtt.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { BackendServer } from '../support/servers.ts';
import { describeNothingLost } from './nothing-lost.ts';

describeNothingLost({
  server: new BackendServer('mosquitto', { args: ['max_queued_messages 0'] }),
  door: 'mqtt',
  name: 'MqttBroker',
  // A member that is killed comes back as itself, and is given what it had in hand.
  options: (member) => ({ clientId: `member-${member}` }),
  make: (options) => new MqttBroker({ logger, ...options }),
  // It keeps its sessions in memory: to store each change on a disk makes it slow, and what it has not stored is lost.
  survivesServer: false,
});
