import { describe, it } from '@jest/globals';

import { MqttBroker, type MqttBrokerOptions } from '../../src/broker/mqtt.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { brokerConformance } from '../../src/testing/broker.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';

const api = { describe, it };
const server = new BackendServer('mosquitto', { args: ['max_queued_messages 0'] });

describeWithServer('over mosquitto', server, () => {
  let brokers = 0;
  const make = (options: MqttBrokerOptions) => (): MqttBroker => {
    const clientId = options.clientId && `${options.clientId}-${(brokers += 1)}`;
    return new MqttBroker({ address: server.address, logger, ...options, clientId });
  };
  const named = { clientId: 'conformance' };
  const patienceMs = 30_000;
  brokerConformance(api, 'mqtt', { make: make(named), capabilities: MqttBroker.capabilities(named), patienceMs });
  brokerConformance(api, 'mqtt, in version 3.1.1', {
    make: make({ ...named, version: '3.1.1' }),
    capabilities: MqttBroker.capabilities(named),
    patienceMs,
  });
  brokerConformance(api, 'mqtt, without a client id', {
    make: make({}),
    capabilities: MqttBroker.capabilities({}),
    patienceMs,
  });
  brokerConformance(api, 'mqtt, in version 3.1.1 without a client id', {
    make: make({ version: '3.1.1' }),
    capabilities: MqttBroker.capabilities({}),
    patienceMs,
  });
});
