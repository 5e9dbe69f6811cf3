import { MqttBroker } from '../../../src/broker/mqtt.ts';
import { silentLogger as logger } from '../../../src/logger/logger.ts';
import type { MqttVersion } from '../../../src/mqtt/mqtt.ts';
import { BackendServer } from '../../support/servers.ts';
import { type BrokerSetting, type Cells, describeGuarantees, durable, erased } from './guarantees.ts';

const makeIn =
  (version: MqttVersion): BrokerSetting['make'] =>
  (options) =>
    new MqttBroker({ ...options, version, logger, keepaliveMs: 1_000, timeoutMs: 2_000 });

const unstored = ['may', 'what Mosquitto had not stored, or had no members for'] as const;
const cells: Cells = { ...durable, kill: { here: unstored, away: unstored } };

for (const version of ['5', '3.1.1'] as const) {
  describeGuarantees({
    heading: `mqtt, in version ${version} with clientId, and Mosquitto with persistence`,
    server: new BackendServer('mosquitto', { persistent: true }),
    make: makeIn(version),
    cells,
  });
}

describeGuarantees({
  heading: 'mqtt, in version 5 with clientId, and Mosquitto without persistence',
  server: new BackendServer('mosquitto', { args: ['max_queued_messages 0'] }),
  make: makeIn('5'),
  cells: { kill: erased },
});
