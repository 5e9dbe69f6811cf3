import { describe, expect, test } from '@jest/globals';

import { NatsJetStreamBroker } from '../../src/broker/nats-jetstream.ts';
import { assetName } from '../../src/broker/nats-jetstream/streams.ts';
import { Code } from '../../src/errors/errors.ts';
import { silentLogger as logger } from '../../src/logger/logger.ts';
import { socketServer } from '../support/socket-server.ts';
import { eventually } from './support.ts';

describe('names of streams and consumers', () => {
  test.each([
    ['orders', 'orders'],
    ['orders.placed', 'orders=2Eplaced'],
    ['a_b c/d\\e', 'a=5Fb=20c=2Fd=5Ce'],
    ['ü', '=C3=BC'],
  ])('%j is %s', (text, name) => {
    expect(assetName(text)).toBe(name);
  });

  test('long ones are cut, and stay different', () => {
    const [one, other] = [assetName(`${'x'.repeat(300)}1`), assetName(`${'x'.repeat(300)}2`)];
    expect(one).not.toBe(other);
    expect(one.length).toBeLessThanOrEqual(120);
    expect(assetName(`${'x'.repeat(300)}1`)).toBe(one);
  });
});

test.each([{ maxLength: Number.NaN }, { ackWaitMs: -1 }, { replicas: 0 }, { replicas: 2.5 }])(
  'NatsJetStreamBroker refuses the options %j',
  (options) => {
    expect(() => new NatsJetStreamBroker(options)).toThrow(
      expect.objectContaining({ code: Code.InvalidArgument, reason: 'options.invalid_number' }),
    );
  },
);

test('connect of NatsJetStreamBroker fails at a server that is too old, and says which is needed', async () => {
  const info = { server_id: 'x', version: '2.8.4', max_payload: 1_048_576, headers: true, jetstream: true, proto: 1 };
  let isClosed = false;
  const address = await socketServer((socket) => {
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on('data', () => socket.write('PONG\r\n'));
    socket.on('close', () => (isClosed = true));
  });
  const broker = new NatsJetStreamBroker({ address, logger });
  await expect(broker.connect()).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    reason: 'broker.unsupported',
    message: expect.stringMatching(/needs nats-server 2\.9 or newer: the server is 2\.8\.4, and lacks named consumers/),
  });
  await eventually('the end of its connection', () => isClosed);
});
