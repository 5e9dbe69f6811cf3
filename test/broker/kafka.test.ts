import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { describe, expect, test } from '@jest/globals';

import { KafkaBroker } from '../../src/broker/kafka.ts';
import { Code } from '../../src/errors/errors.ts';
import { libraryFor } from '../../src/kafka/library.ts';
import { failureOf, thrownBy } from '../../src/testing/failures.ts';
import { closing } from '../support/closing.ts';
import { socketServer } from '../support/socket-server.ts';
import { RecordingLogger } from './support.ts';

function brokerAt(address: string, timeoutMs = 2_000) {
  const logger = new RecordingLogger();
  const broker = new KafkaBroker({ address, timeoutMs, logger });
  closing.push(() => void broker.disconnect());
  return { broker, logger };
}

describe('KafkaBroker', () => {
  test('takes several addresses, with or without scheme and port', () => {
    const { broker } = brokerAt('kafka://one, two:9093,[::1]:9094');
    expect(broker.address).toBe('one:9092,two:9093,[::1]:9094');
  });

  test('refuses an address that is none, and shows no secret of it', () => {
    const error = thrownBy(() => brokerAt('kafka://user:secret@host:9092/x'));
    expect(error).toMatchObject({ code: Code.InvalidArgument, reason: 'broker.invalid_address' });
    expect(error.message).not.toContain('secret');
  });

  test('refuses a number of partitions that no topic can have', () => {
    for (const partitions of [0, 1.5, Number.NaN])
      expect(thrownBy(() => new KafkaBroker({ partitions })).message).toContain('KafkaBrokerOptions.partitions');
  });

  test('keeps the order of a topic of one partition only', () => {
    const orders = [undefined, 1, 6].map((partitions) => KafkaBroker.capabilities({ partitions }).order);
    expect(orders).toEqual([false, true, false]);
  });

  test('says which client library is used, and warns of the one without a maintainer', () => {
    const [note] = KafkaBroker.notes();
    expect(note?.message).toContain(libraryFor());
    expect(note?.level).toBe(libraryFor() === 'kafkajs' ? 'warn' : 'info');
  });

  test('fails where nobody listens, and says what to do', async () => {
    const { broker } = brokerAt('127.0.0.1:1');
    const error = await failureOf(broker.connect());
    expect(error).toMatchObject({ code: Code.Unavailable, reason: 'broker.unreachable' });
    expect(error.message).toContain('TENON_BROKER_ADDRESS');
    expect(broker.status.state).toBe('closed');
  });

  test('fails within its time-out at a server that accepts and says nothing', async () => {
    const { broker } = brokerAt(await socketServer(() => undefined), 300);
    const error = await failureOf(broker.connect());
    expect(error).toMatchObject({ code: Code.DeadlineExceeded, reason: 'broker.timeout' });
  });

  test('fails at a server that closes', async () => {
    const { broker } = brokerAt(await socketServer((socket) => socket.destroy()));
    expect(await failureOf(broker.connect())).toMatchObject({ reason: 'broker.unreachable' });
  });

  test('says that a server of HTTP is no Kafka, at once', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => void server.close());
    const { broker } = brokerAt(`127.0.0.1:${(server.address() as AddressInfo).port}`, 30_000);
    const error = await failureOf(broker.connect());
    expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: 'broker.refused' });
    expect(error.message).toContain('no Kafka: it says "HTTP/1.1 400 Bad Request"');
  });

  test('says that a server speaks TLS', async () => {
    // The alert with which a server of TLS answers what is none.
    const alert = Buffer.from('15030300020246', 'hex');
    const { broker } = brokerAt(await socketServer((socket) => socket.once('data', () => socket.write(alert))), 30_000);
    const error = await failureOf(broker.connect());
    expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: 'broker.refused' });
    expect(error.message).toContain('TENON_BROKER_TLS=true');
  });

  test('fails at a server that answers nonsense of a likely length', async () => {
    const nonsense = Buffer.concat([Buffer.from('00000010', 'hex'), Buffer.alloc(16, 0xff)]);
    const { broker } = brokerAt(await socketServer((socket) => socket.once('data', () => socket.write(nonsense))), 500);
    const error = await failureOf(broker.connect());
    expect(['broker.unreachable', 'broker.timeout', 'broker.refused']).toContain(error.reason);
    expect(broker.status.state).toBe('closed');
  });

  test('says that a server is too old, and for which request', async () => {
    // What Kafka 2.3 takes, of which some is of Kafka 2.4 in a newer version.
    const latest = { 0: 7, 1: 11, 2: 5, 3: 8, 8: 7, 9: 5, 10: 2, 11: 5, 12: 3, 13: 2, 14: 3, 18: 2, 19: 3, 22: 1 };
    const ranges = Object.entries(latest).flatMap(([key, version]) => [Number(key), 0, version]);
    const body = Buffer.alloc(4 + 2 + 4 + 2 * ranges.length + 4);
    body.writeInt32BE(ranges.length / 3, 6);
    for (const [index, value] of ranges.entries()) body.writeInt16BE(value, 10 + 2 * index);
    const length = Buffer.alloc(4);
    length.writeInt32BE(body.length);
    const address = await socketServer((socket) => {
      socket.on('data', (request) => {
        request.copy(body, 0, 8, 12);
        socket.write(Buffer.concat([length, body]));
      });
    });
    const { broker } = brokerAt(address, 30_000);
    const error = await failureOf(broker.connect());
    expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: 'broker.refused' });
    expect(error.message).toContain('does not take Produce in version 8 (it has versions 0 to 7)');
    expect(error.message).toContain('Kafka 2.4 or newer');
  });

  test('goes to the next address if the first one does not answer', async () => {
    const silent = await socketServer(() => undefined);
    const { broker } = brokerAt(`127.0.0.1:1,${silent}`, 300);
    expect(await failureOf(broker.connect())).toMatchObject({ reason: 'broker.timeout' });
  });
});
