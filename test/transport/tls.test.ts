import { X509Certificate } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';

import { describe, expect, it } from '@jest/globals';

import type { PeerCertificate } from '../../src/context/peer-certificate.ts';
import { okStatus } from '../../src/context/status.ts';
import { type TenonError, textOf } from '../../src/errors/errors.ts';
import { type Logger, silentLogger } from '../../src/logger/logger.ts';
import type { GrpcTransportOptions } from '../../src/transport/grpc.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import type { Listener, Message, Transport } from '../../src/transport/transport.ts';
import { closing } from '../support/closing.ts';
import { authority, type Certified } from '../support/certificates.ts';
import { grpcTransport, methods } from './support.ts';

const ours = authority('Ours');
const theirs = authority('Theirs');
const names = ['localhost', '127.0.0.1'];
const server = ours.issue({ name: 'server', names });
const client = ours.issue({ name: 'client' });
const stranger = theirs.issue({ name: 'stranger' });
const trusting = { ca: ours.cert };
const mutual = { ...pair(server), ...trusting };

function pair({ cert, key }: Certified): Pick<Certified, 'cert' | 'key'> {
  return { cert, key };
}

/** What listens: the servers of the grpc transport, and that of our own frames. */
const engines = ['grpc', 'grpc-js', 'tcp'] as const;

interface Options extends Omit<GrpcTransportOptions, 'runtime'> {
  readonly server?: (typeof engines)[number] | undefined;
}

function transportOf({ server, ...options }: Options): Transport {
  const transport = server === 'tcp' ? new TcpTransport(options) : grpcTransport(server ?? 'grpc', options);
  closing.push(() => transport.close());
  return transport;
}

/** Answers with what it was sent, and streams without an end. */
async function listen(options: Options): Promise<Listener> {
  const listener = await transportOf(options).listen('127.0.0.1:0', { routes: Object.values(methods) });
  closing.push(() => listener.close());
  listener.accept((socket, { kind }) => {
    void (async () => {
      for (let message = await socket.recv(); message; message = await socket.recv()) {
        void socket.send({ body: message.body, ...(kind === 'unary' && { status: okStatus }) });
        if (kind === 'unary') return;
      }
      void socket.send({ status: okStatus });
    })().catch(() => {});
  });
  return listener;
}

function call(transport: Transport, listener: Pick<Listener, 'addr'>): Promise<Message> {
  return transport.unary!(listener.addr(), { body: Buffer.from('hi') }, { route: methods.unary });
}

async function failureText(result: Promise<unknown>): Promise<string> {
  return result.then(
    () => 'no failure',
    (error: TenonError) => `${error.reason}: ${error.message}`,
  );
}

/** Tells when something was logged. */
function listening(): { logger: Logger; next: (level: 'info' | 'error') => Promise<string> } {
  const waiting = new Map<string, (message: string) => void>();
  const log = (level: string) => (message: string, fields?: { readonly error?: unknown }) =>
    waiting.get(level)?.(`${message} ${textOf(fields?.error)}`);
  return {
    logger: { ...silentLogger, info: log('info'), error: log('error') },
    next: (level) => new Promise((resolve) => waiting.set(level, resolve)),
  };
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tenon-tls-'));
  closing.push(() => rmSync(path, { recursive: true }));
  return path;
}

/** As those write who must not be caught in the middle. */
function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

/** Who a server says it is, to a connection made now. */
function shownBy(listener: Listener): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      {
        port: Number(listener.addr().split(':')[1]),
        host: '127.0.0.1',
        rejectUnauthorized: false,
        ALPNProtocols: ['h2', 'tenon/1'],
      },
      () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      },
    );
    socket.once('error', reject);
  });
}

describe.each(engines)('TLS before a server of %s', (engine) => {
  it('carries calls, and shows the certificate of the client where it is asked for', async () => {
    for (const [serverTls, tls] of [
      [pair(server), trusting],
      [mutual, { ...trusting, ...pair(client) }],
      [{ ...mutual, clientAuth: 'request' }, trusting],
      [{ ...mutual, clientAuth: 'none' }, trusting],
    ] satisfies [GrpcTransportOptions['serverTls'], GrpcTransportOptions['tls']][]) {
      const listener = await listen({ serverTls, server: engine });
      expect(String((await call(transportOf({ tls, server: engine }), listener)).body)).toBe('hi');
    }
  });

  it('the server sees the certificate that was verified, and nothing of others', async () => {
    const odd = ours.issue({ name: 'odd', names: ['a.example', 'spiffe://x/y, DNS:admin.example', '10.0.0.7'] });
    const seen: (PeerCertificate | undefined)[] = [];
    for (const [serverTls, tls] of [
      [mutual, { ...trusting, ...pair(odd) }],
      [{ ...mutual, clientAuth: 'request' }, trusting],
      [
        { ...mutual, clientAuth: 'none' },
        { ...trusting, ...pair(odd) },
      ],
      [undefined, undefined],
    ] satisfies [GrpcTransportOptions['serverTls'], GrpcTransportOptions['tls']][]) {
      const listener = await transportOf({ serverTls, server: engine }).listen('127.0.0.1:0', {
        routes: [methods.unary],
      });
      closing.push(() => listener.close());
      listener.accept((socket) => {
        seen.push(socket.peerCertificate, socket.peerCertificate);
        void socket.send({ body: Buffer.from('hi'), status: okStatus });
      });
      await call(transportOf({ tls, server: engine }), listener);
    }
    const { raw } = new X509Certificate(odd.cert);
    expect(seen[0]).toEqual(seen[1]);
    expect(seen[0]).toEqual({
      commonName: 'odd',
      dnsNames: ['a.example'],
      uris: ['spiffe://x/y, DNS:admin.example'],
      emails: [],
      ipAddresses: ['10.0.0.7'],
      subject: 'CN=odd',
      issuer: 'CN=Ours',
      serialNumber: expect.stringMatching(/^[0-9A-F]+$/),
      fingerprint256: new X509Certificate(raw).fingerprint256,
      validFrom: expect.any(Number),
      validTo: expect.any(Number),
      raw,
    });
    expect(seen.slice(2)).toEqual([undefined, undefined, undefined, undefined, undefined, undefined]);
  });

  it.each<[string, GrpcTransportOptions, GrpcTransportOptions, RegExp]>([
    [
      'an authority that is not trusted',
      { serverTls: pair(server) },
      { tls: { ca: theirs.cert } },
      /not trusted here; set tls\.caFile/,
    ],
    [
      'an authority that Node does not know',
      { serverTls: pair(server) },
      { tls: {} },
      /not trusted here; set tls\.caFile/,
    ],
    [
      'another name',
      { serverTls: pair(server) },
      { tls: { ...trusting, serverName: 'elsewhere' } },
      /altnames.*elsewhere.*set tls\.serverName/,
    ],
    [
      'a client in the clear',
      { serverTls: pair(server) },
      {},
      /closed before it could carry a call\. Does it speak TLS/,
    ],
    [
      'a server in the clear',
      {},
      { tls: trusting },
      /does (?:not speak TLS; let the server speak it|the server speak TLS)/,
    ],
    [
      'a client without a certificate',
      { serverTls: mutual },
      { tls: trusting },
      /asks for a certificate, and this client shows none/,
    ],
    [
      'a client of a stranger',
      { serverTls: mutual },
      { tls: { ...trusting, ...pair(stranger) } },
      /not trust the certificate of this client/,
    ],
    [
      'a client of a stranger that need not have shown one',
      { serverTls: { ...mutual, clientAuth: 'request' } },
      { tls: { ...trusting, ...pair(stranger) } },
      /not trust the certificate of this client/,
    ],
  ])('%s: nothing was processed, and the error says what to do', async (_name, serving, calling, text) => {
    const listener = await listen({ ...serving, server: engine });
    const failure = await failureText(call(transportOf({ ...calling, server: engine }), listener));
    expect(failure).toMatch(/^transport\.unreachable: /);
    expect(failure).toContain(listener.addr());
    expect(failure).toMatch(text);
  });

  it('a connection that never shakes hands is dropped, and does not hold up a stop', async () => {
    const listener = await listen({ serverTls: { ...pair(server), handshakeTimeoutMs: 50 }, server: engine });
    const socket = connectPlain(Number(listener.addr().split(':')[1]), '127.0.0.1');
    await new Promise((resolve) => socket.once('close', resolve));
    const patient = await listen({ serverTls: { ...pair(server), handshakeTimeoutMs: 3_600_000 }, server: engine });
    const held = connectPlain(Number(patient.addr().split(':')[1]), '127.0.0.1');
    const gone = new Promise((resolve) => held.once('close', resolve));
    await new Promise((resolve) => held.once('connect', resolve));
    await patient.close();
    await gone;
  });

  it('calls go on while the certificate is replaced, and new connections see the new one', async () => {
    const path = folder();
    const [certFile, keyFile] = [join(path, 'tls.crt'), join(path, 'tls.key')];
    const before = ours.issue({ name: 'before', names });
    writeFileSync(certFile, before.cert);
    writeFileSync(keyFile, before.key);
    const { logger, next } = listening();
    const listener = await listen({ serverTls: { certFile, keyFile, reloadMs: 10 }, server: engine, logger });
    const caller = transportOf({ tls: trusting, server: engine });
    const open = caller.dial(listener.addr(), { route: methods.bidi });
    void open.send({ body: Buffer.from('one') });
    const replies: string[] = [];
    const reply = async (): Promise<void> => {
      const got = replies.length;
      while (replies.length === got) {
        const body = (await open.recv())?.body;
        if (body) replies.push(String(body));
      }
    };
    await reply();
    expect(await shownBy(listener)).toBe('before');

    const after = ours.issue({ name: 'after', names });
    const complained = next('error');
    replace(certFile, after.cert);
    expect(await complained).toMatch(/the certificate before it is kept .*key.* does not belong to the certificate/);
    expect(await shownBy(listener)).toBe('before');

    const changed = next('info');
    replace(keyFile, after.key);
    await changed;
    expect(await shownBy(listener)).toBe('after');
    void open.send({ body: Buffer.from('two') });
    await reply();
    void open.close();
    expect(replies).toEqual(['one', 'two']);
  });
});

describe('certificates in files', () => {
  it('a folder that is swapped by its link, as Kubernetes does, is read again', async () => {
    const path = folder();
    for (const name of ['before', 'after']) {
      const { cert, key } = ours.issue({ name, names });
      writeFileSync(join(path, `${name}.crt`), cert);
      writeFileSync(join(path, `${name}.key`), key);
    }
    const link = (name: string, kind: string): void => {
      symlinkSync(`${name}.${kind}`, join(path, 'new'));
      renameSync(join(path, 'new'), join(path, `tls.${kind}`));
    };
    link('before', 'crt');
    link('before', 'key');
    const { logger, next } = listening();
    const serverTls = { certFile: join(path, 'tls.crt'), keyFile: join(path, 'tls.key'), reloadMs: 10 };
    const listener = await listen({ serverTls, logger });
    expect(await shownBy(listener)).toBe('before');
    const changed = next('info');
    link('after', 'crt');
    link('after', 'key');
    await changed;
    expect(await shownBy(listener)).toBe('after');
  });

  it('a client trusts the authorities of its file as it is now', async () => {
    const caFile = join(folder(), 'ca.crt');
    writeFileSync(caFile, theirs.cert);
    const { logger, next } = listening();
    const listener = await listen({ serverTls: pair(server) });
    const caller = transportOf({ tls: { caFile, reloadMs: 10 }, maxReconnectMs: 10, logger });
    expect(await failureText(call(caller, listener))).toContain('not trusted');
    const changed = next('info');
    replace(caFile, theirs.cert + ours.cert);
    await changed;
    const reply = await caller.unary!(
      listener.addr(),
      { body: Buffer.from('hi') },
      { route: methods.unary, waitForReady: true },
    );
    expect(String(reply.body)).toBe('hi');
  });

  it.each(engines)('a file that was missing when a client of %s was made may come later', async (engine) => {
    const caFile = join(folder(), 'ca.crt');
    const caller = transportOf({ tls: { caFile }, maxReconnectMs: 1, server: engine });
    const listener = await listen({ serverTls: pair(server), server: engine });
    expect(await failureText(call(caller, listener))).toMatch(
      /^tls\.invalid: .*cannot be read from .*ca\.crt: there is no such file/,
    );
    writeFileSync(caFile, ours.cert);
    const reply = await caller.unary!(
      listener.addr(),
      { body: Buffer.from('hi') },
      { route: methods.unary, waitForReady: true },
    );
    expect(String(reply.body)).toBe('hi');
  });

  it.each<[string, GrpcTransportOptions['serverTls'], RegExp]>([
    [
      'no file',
      { certFile: '/there/is/none', keyFile: '/nor/here' },
      /read from \/there\/is\/none: there is no such file.*TENON_TLS_CERT_FILE/,
    ],
    ['no certificate', {}, /no certificate to show: give certFile \(or TENON_TLS_CERT_FILE\)/],
    ['no key', { cert: server.cert }, /has a certificate and no private key: give keyFile/],
    ['no certificate in the file', { ...pair(server), cert: 'text' }, /holds no certificate in PEM/],
    ['a broken certificate', { ...pair(server), cert: server.cert.replace('MII', 'AAA') }, /cannot be read/],
    ['no key in the file', { ...pair(server), key: 'text' }, /holds no private key in PEM/],
    ['the key of another', { ...pair(server), key: client.key }, /does not belong to the certificate/],
    ['one that has expired', pair(ours.issue({ name: 'old', names, toDays: -0.5 })), /expired on .*: renew it/],
    ['no authority in the file', { ...pair(server), ca: server.key }, /holds no certificate in PEM/],
    ['nobody to trust', { ...pair(server), clientAuth: 'require' }, /no authority is trusted: give caFile/],
    ['file and text', { ...pair(server), certFile: 'a' }, /both given/],
  ])('a server with %s does not start, and says why', async (_name, serverTls, text) => {
    const failure = await failureText(transportOf({ serverTls }).listen('127.0.0.1:0', { routes: [] }));
    expect(failure).toMatch(/^tls\.invalid: TLS of a server: /);
    expect(failure).toMatch(text);
  });

  it('the certificate of a server that expired while it ran is not taken', async () => {
    const old = pair(ours.issue({ name: 'old', names, toDays: -0.5 }));
    const listener = createTlsServer({ ...old, ALPNProtocols: ['h2', 'tenon/1'] }, (socket) => socket.destroy());
    listener.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    closing.push(() => listener.close());
    const { port } = listener.address() as { port: number };
    const failure = await failureText(call(transportOf({ tls: trusting }), { addr: () => `127.0.0.1:${port}` }));
    expect(failure).toMatch(/^transport\.unreachable: .*has expired; renew it/);
  });
});
