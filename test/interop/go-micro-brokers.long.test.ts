import { expect, it } from '@jest/globals';

import { NatsBroker } from '../../src/broker/nats.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { EventRecorder, publishText } from '../../src/testing/recorders.ts';
import { TestProcess } from '../support/process.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { eventually } from '../support/waiting.ts';

const program = 'go-micro-v5';

describeWithTools("Go Micro's brokers", [program], () => {
  describeWithServer('over nats', new BackendServer('nats'), (server) => {
    it('publish what tenon reads, and read what tenon publishes', async () => {
      const broker = new NatsBroker({ address: server.address, logger, dialect: 'go-micro' });
      await broker.connect();
      const received = new EventRecorder();
      await broker.subscribe('greeter.events', received.receive, { queue: 'tenon' });
      const go = new TestProcess(toolPath(program), ['exchange', 'nats', server.address, 'greeter.events', 'go'], {
        withInput: true,
      });
      await go.waitForLine(/^ready$/);
      await eventually(
        'the event of tenon',
        async () => {
          await publishText(broker, 'greeter.events', 'from tenon é', { 'Content-Type': 'text/plain', k: 'v' });
          return go.lines.length > 1;
        },
        30_000,
      );
      expect(JSON.parse(go.lines[1] ?? '')).toEqual({
        topic: 'greeter.events',
        headers: { 'Content-Type': 'text/plain', 'Micro-Topic': 'greeter.events', k: 'v' },
        body: 'from tenon é',
      });
      go.writeLine('from go é');
      await eventually('the event of Go', () => received.texts.includes('from go é'), 30_000);
      const event = received.events.find(({ headers }) => headers['X-From'] === 'go-micro');
      expect(event?.headers).toMatchObject({ 'Content-Type': 'text/plain', 'X-From': 'go-micro' });
      await broker.disconnect();
    }, 120_000);
  });
});
