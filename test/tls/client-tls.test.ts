import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { inspect } from 'node:util';

import { describe, expect, it } from '@jest/globals';

import { silentLogger } from '../../src/logger/logger.ts';
import { type VirtualTimers, virtualRuntime } from '../../src/testing/virtual-time.ts';
import { ClientTls } from '../../src/tls/client-tls.ts';
import type { ClientTlsOptions } from '../../src/tls/tls.ts';
import { closing } from '../support/closing.ts';
import { authority, type Certified } from '../support/certificates.ts';

const ours = authority('Ours');
function clientTls(options: ClientTlsOptions): { readonly tls: ClientTls; readonly timers: VirtualTimers } {
  const runtime = virtualRuntime();
  const owner = { name: 'the test', variables: 'TENON_TEST_TLS_' };
  const tls = new ClientTls(options, owner, { runtime, logger: silentLogger });
  closing.push(() => tls.close());
  return { tls, timers: runtime.timers };
}

/** A server that asks for certificates, and answers with the name of the one that it was shown. */
async function listening({ cert, key }: Certified): Promise<number> {
  const options = { cert, key, ca: ours.cert, requestCert: true, rejectUnauthorized: true };
  const server: Server = createServer(options, (socket) => {
    socket.on('error', () => {});
    socket.end(String(socket.getPeerCertificate().subject.CN));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** Connects as a client library does, which hands on what it was given. */
function nameSeen(port: number, { connectionOptions }: ClientTls): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({ host: '127.0.0.1', port, ...connectionOptions });
    let seen = '';
    socket.on('data', (data) => (seen += String(data)));
    socket.on('end', () => resolve(seen));
    socket.on('error', reject);
  });
}

describe('ClientTls', () => {
  it('shows the certificate that its files have at the time of each connection', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-tls-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const [certFile, keyFile, caFile] = ['tls.crt', 'tls.key', 'ca.crt'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const write = ({ cert, key }: Certified): void => {
      for (const [file, pem] of [
        [certFile, cert],
        [keyFile, key],
      ] as const) {
        writeFileSync(`${file}.new`, pem);
        renameSync(`${file}.new`, file);
      }
    };
    writeFileSync(caFile, ours.cert);
    write(ours.issue({ name: 'first' }));
    const port = await listening(ours.issue({ name: 'server', names: ['127.0.0.1'] }));
    const { tls, timers } = clientTls({ certFile, keyFile, caFile });
    expect(await nameSeen(port, tls)).toBe('first');
    const { cert } = tls.connectionOptions;
    write(ours.issue({ name: 'second' }));
    while (tls.connectionOptions.cert === cert) await timers.advance(10_000);
    expect(await nameSeen(port, tls)).toBe('second');
  });

  it('checks the name that it is told, and says what to do where the certificate is for another', async () => {
    const port = await listening(ours.issue({ name: 'server', names: ['registry.example'] }));
    const identity = ours.issue({ name: 'client' });
    const options = { ca: ours.cert, cert: identity.cert, key: identity.key };
    const { tls } = clientTls({ ...options, serverName: 'registry.example' });
    expect(await nameSeen(port, tls)).toBe('client');
    const { tls: wrong } = clientTls(options);
    const failure: unknown = await nameSeen(port, wrong).catch((error: unknown) => error);
    expect(wrong.explain(failure as Error, '127.0.0.1')).toMatch(/^TLS failed: .*TENON_TEST_TLS_SERVER_NAME/);
  });

  it('names its own variables for what is missing', () => {
    const { key } = ours.issue({ name: 'client' });
    expect(() => clientTls({ key })).toThrow(/^TLS of the test: .*TENON_TEST_TLS_CERT_FILE/);
  });

  it('shows no secret when it is printed', () => {
    const { cert, key } = ours.issue({ name: 'client' });
    const { tls } = clientTls({ cert, key, ca: ours.cert });
    const shown = [inspect(tls, { depth: 9, showHidden: true }), JSON.stringify(tls), JSON.stringify({ tls })].join();
    expect(tls.connectionOptions.key).toBe(key);
    expect(shown).not.toContain('PRIVATE KEY');
  });
});
