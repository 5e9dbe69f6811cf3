// Written by `npm run api`; a test says when it is not current.

// kafka/kafka.ts, by tenon/broker/kafka

import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';
