import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { KafkaBroker, type KafkaBrokerOptions } from '../../src/broker/kafka.ts';
import { Code } from '../../src/errors/errors.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { EventRecorder, publishText, RecordingLogger } from '../../src/testing/recorders.ts';
import { authority, type Certified } from '../support/certificates.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer, startServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';

expectNothingUncaught();

const ours = authority('Ours');
const strangers = authority('Strangers');
const folder = mkdtempSync(join(tmpdir(), 'tenon-kafka-tls-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
  return path;
}

function pair(name: string, { cert, key }: Certified): { readonly certFile: string; readonly keyFile: string } {
  return { certFile: write(`${name}.crt`, cert), keyFile: write(`${name}.key`, key) };
}

const caFile = write('ca.crt', ours.cert);
const strangersFile = write('strangers.crt', strangers.cert);
const serverFiles = pair('server', ours.issue({ name: 'kafka', names: ['127.0.0.1', 'kafka.internal'] }));
const clientFiles = pair('client', ours.issue({ name: 'tenon' }));
const patienceMs = 60_000;
const limitMs = 180_000;

function brokerOf(address: string, options: KafkaBrokerOptions) {
  const logger = new RecordingLogger();
  const broker = new KafkaBroker({ address, logger, timeoutMs: 5_000, ...options });
  closing.push(() => broker.disconnect());
  return { broker, logger };
}

const credentials = { username: 'tenon', password: 'right' };

describeWithServer(
  'KafkaBroker over TLS',
  new BackendServer('kafka', { tls: { ...serverFiles, caFile }, credentials }),
  (server) => {
    test(
      'publishes and receives, with user name and password',
      async () => {
        const { broker } = brokerOf(server.address, { tls: { caFile }, credentials, sasl: 'SCRAM-SHA-256' });
        await broker.connect();
        const received = new EventRecorder();
        await broker.subscribe('secure', received.receive, { queue: 'q' });
        await publishText(broker, 'secure', 'x');
        await eventually('the event', () => received.texts.length === 1, patienceMs);
      },
      limitMs,
    );

    test(
      'trusts no server whose certificate is of strangers, or of another name',
      async () => {
        const { broker } = brokerOf(server.address, { tls: { caFile: strangersFile }, credentials });
        const error = await failureOf(broker.connect());
        expect(error).toMatchObject({ code: Code.Unavailable, reason: 'broker.unreachable' });
        expect(error.message).toContain('TENON_BROKER_TLS_');
        const other = brokerOf(server.address, { tls: { caFile, serverName: 'other.internal' }, credentials });
        expect((await failureOf(other.broker.connect())).message).toContain('other.internal');
        const named = brokerOf(server.address, { tls: { caFile, serverName: 'kafka.internal' }, credentials });
        await named.broker.connect();
      },
      limitMs,
    );

    test(
      'says that the server speaks TLS to who does not',
      async () => {
        const { broker } = brokerOf(server.address, { credentials });
        const error = await failureOf(broker.connect());
        expect(['broker.refused', 'broker.unreachable']).toContain(error.reason);
      },
      limitMs,
    );
  },
);

describe('KafkaBroker and a server that asks for certificates', () => {
  let server: BackendServer;
  beforeAll(async () => {
    server = await startServer('kafka', { tls: { ...serverFiles, caFile, asksClients: true, probe: clientFiles } });
  }, limitMs);
  afterAll(() => server.dispose());

  test(
    'shows one',
    async () => {
      const { broker } = brokerOf(server.address, { tls: { caFile, ...clientFiles } });
      await broker.connect();
      await publishText(broker, 'certified', 'x');
    },
    limitMs,
  );

  test(
    'fails without one',
    async () => {
      const { broker } = brokerOf(server.address, { tls: { caFile } });
      expect(await failureOf(broker.connect())).toMatchObject({ reason: 'broker.unreachable' });
    },
    limitMs,
  );
});
