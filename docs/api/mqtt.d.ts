// Written by `npm run api`; a test says when it is not current.

// mqtt/mqtt.ts, by tenon/broker/mqtt

import type { ConnectionOptions } from 'node:tls';
export type MqttVersion = keyof typeof protocolNumbers;
