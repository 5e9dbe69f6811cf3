import { describe, expect, test } from '@jest/globals';

import { KafkaClient } from '../../src/kafka/client.ts';
import {
  faults,
  type KafkaAddress,
  type KafkaConnection,
  KafkaFault,
  type KafkaLibrary,
} from '../../src/kafka/kafka.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import type { ConnectionSecurity } from '../../src/tls/connection.ts';
import { closing } from '../support/closing.ts';
import type { FakeCalls } from './fake.ts';

const [one, two] = [
  { host: 'one', port: 1 },
  { host: 'two', port: 2 },
];

/** A client of a cluster whose servers the test plays. */
async function connected(callsOf: (address: KafkaAddress) => FakeCalls): Promise<KafkaClient> {
  const library: KafkaLibrary = {
    name: 'fake',
    connect: async (target) => {
      const basic = { client: target, isOpen: true, close: () => undefined, ping: async () => undefined };
      return { ...basic, ...callsOf(target) } as KafkaConnection;
    },
  };
  const security = {} as ConnectionSecurity;
  const options = { timeoutMs: 5_000, sasl: 'PLAIN', createTopics: true, partitions: 2 } as const;
  const client = new KafkaClient({ addresses: [one], runtime: systemRuntime, security, library, ...options });
  closing.push(() => client.close());
  await client.open({ away: () => undefined, back: () => undefined });
  return client;
}

describe('KafkaClient', () => {
  test('has topics made by the controller, which it looks up again if that is another one by now', async () => {
    const [made, controllers] = [[] as string[], [one, two]];
    let isThere = false;
    const client = await connected(({ host }) => ({
      leaders: async () => {
        if (!isThere) throw new KafkaFault(faults.unknownTopic, 'unknown');
        return new Map([[0, one]]);
      },
      controller: async () => controllers.shift(),
      createTopic: async () => {
        made.push(host);
        if (host === 'one') throw new KafkaFault(faults.notController, 'another one');
        isThere = true;
      },
    }));
    expect(await client.leaders('t')).toEqual(new Map([[0, one]]));
    expect(made).toEqual(['one', 'two']);
  });

  test('waits for the leaders of a new topic, and a moment only for one that is missing', async () => {
    const found = [
      [undefined, undefined],
      [one, undefined],
    ];
    let asked = 0;
    const client = await connected(() => ({
      leaders: async () =>
        new Map((found[Math.min((asked += 1), 2) - 1] ?? []).map((leader, index) => [index, leader])),
    }));
    expect([...(await client.leaders('t'))]).toEqual([
      [0, one],
      [1, undefined],
    ]);
    expect(asked).toBeGreaterThan(2);
  });
});
