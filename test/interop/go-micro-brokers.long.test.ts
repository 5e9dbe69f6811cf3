import { afterEach, describe, expect, test } from '@jest/globals';

import type { Broker } from '../../src/broker/broker.ts';
import { NatsBroker } from '../../src/broker/nats.ts';
import { RabbitMqBroker } from '../../src/broker/rabbitmq.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { EventRecorder, publishText } from '../../src/testing/recorders.ts';
import { TestProcess } from '../support/process.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { eventually } from '../support/waiting.ts';

const program = 'go-micro-v5';
const patienceMs = 60_000;
const topic = 'greeter.events';
const dialect = 'go-micro';
const brokers: readonly (readonly [name: string, make: (address: string) => Broker])[] = [
  ['nats', (address) => new NatsBroker({ address, logger, dialect })],
  ['rabbitmq', (address) => new RabbitMqBroker({ address, logger, dialect })],
];
const open = new Set<Broker>();

afterEach(async () => {
  for (const broker of open) await broker.disconnect();
  open.clear();
});

describeWithTools("Go Micro's brokers", [program], () => {
  describe.each(brokers)('%s', (name, make) => {
    describeWithServer(`over ${name}`, new BackendServer(name), (server) => {
      test('publishes what tenon reads, and reads what tenon publishes', async () => {
        const broker = make(server.address);
        open.add(broker);
        await broker.connect();
        const received = new EventRecorder();
        await broker.subscribe(topic, received.receive, { queue: 'tenon' });
        const go = new TestProcess(toolPath(program), ['exchange', name, server.address, topic, 'go'], {
          withInput: true,
        });
        await go.waitForLine(/^ready$/, patienceMs);
        await eventually(
          'the event of tenon',
          async () => {
            await publishText(broker, topic, 'from tenon é', { 'Content-Type': 'text/plain', k: 'v' });
            return go.lines.length > 1;
          },
          patienceMs,
        );
        expect(JSON.parse(go.lines[1] ?? '')).toEqual({
          topic,
          headers: { 'Content-Type': 'text/plain', 'Micro-Topic': topic, k: 'v' },
          body: 'from tenon é',
        });
        go.writeLine('from go é');
        await eventually('the event of Go', () => received.texts.includes('from go é'), patienceMs);
        const event = received.events.find(({ headers }) => headers['X-From'] === 'go-micro');
        expect(event?.headers).toMatchObject({ 'Content-Type': 'text/plain', 'X-From': 'go-micro' });
      }, 180_000);
    });
  });
});
