import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { inspect } from 'node:util';

import { afterEach, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';

import type { Broker } from '../../src/broker/broker.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import type { TenonError } from '../../src/errors/errors.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';
import type { ConnectionSecurityOptions } from '../../src/tls/connection.ts';
import { authority, type Certified } from '../support/certificates.ts';
import { describeWithRedis, redisServer, type RedisServer, type ServerOptions } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';

expectNothingUncaught();

const ours = authority('Ours');
const strangers = authority('Strangers');
const folder = mkdtempSync(join(tmpdir(), 'tenon-redis-tls-'));
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Writes a file as those who rotate certificates do. */
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
const serverFiles = pair('server', ours.issue({ name: 'redis', names: ['127.0.0.1', 'redis.internal'] }));

async function redisOverTls(options: ServerOptions & { readonly asksClients?: boolean } = {}): Promise<RedisServer> {
  const { asksClients = false, ...more } = options;
  const server = await redisServer({ tls: { ...serverFiles, caFile, asksClients }, ...more });
  closing.push(() => server.dispose());
  return server;
}

/** One way to reach a Redis, as its user sees it. */
interface Reached {
  /** Resolves when Redis has answered. */
  use(): Promise<unknown>;
  readonly logger: RecordingLogger;
  readonly instance: object;
  close(): Promise<void>;
}

type Reach = (
  address: string,
  options: ConnectionSecurityOptions & { readonly client?: Redis; readonly timeoutMs?: number },
) => Reached;

const overBroker =
  (kind: typeof RedisBroker | typeof RedisStreamsBroker): Reach =>
  (address, options) => {
    const logger = new RecordingLogger();
    const broker: Broker = new kind({ address, logger, timeoutMs: 10_000, ...options });
    const close = (): Promise<void> => broker.disconnect();
    const use = async (): Promise<void> => {
      await broker.connect();
      await broker.publish('news', { headers: {}, body: Buffer.from('secret news') });
    };
    closing.push(close);
    return { use, logger, instance: broker, close };
  };

const reaches: [name: string, room: 'registry' | 'broker', reach: Reach][] = [
  [
    'the registry redis',
    'registry',
    (address, options) => {
      const logger = new RecordingLogger();
      const registry = new RedisRegistry(
        { address, timeoutMs: 10_000, ...options },
        undefined,
        undefined,
        undefined,
        logger,
      );
      const close = (): Promise<void> => registry.close();
      closing.push(close);
      return { use: () => registry.listServices(), logger, instance: registry, close };
    },
  ],
  ['the broker redis', 'broker', overBroker(RedisBroker)],
  ['the broker redis-streams', 'broker', overBroker(RedisStreamsBroker)],
];

async function refusalOf(reached: Reached): Promise<TenonError> {
  const error: unknown = await reached.use().then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toMatchObject({ code: expect.any(Number), reason: expect.any(String) });
  return error as TenonError;
}

interface Eavesdropper {
  readonly address: string;
  readonly port: number;
  readonly heard: () => Buffer;
}

/** Somebody who listens, and keeps all that he is sent. */
function eavesdropper(): Promise<Eavesdropper> {
  // As a Redis that does not speak TLS.
  return scripted((socket) => socket.once('data', () => socket.write('-ERR Protocol error\r\n')));
}

/** A sentinel, whose only master is at `port`. */
function sentinel(port: number, tls?: TlsOptions): Promise<Eavesdropper> {
  const text = (value: string): string => `$${value.length}\r\n${value}\r\n`;
  return scripted((socket) => {
    socket.on('data', (data) => {
      const commands = [...data.toString('latin1').matchAll(/hello|client|get-master-addr|sentinels\r/gi)];
      if (commands.length === 0) socket.write('-ERR Protocol error\r\n');
      for (const [command] of commands) {
        if (command.startsWith('get')) socket.write(`*2\r\n${text('127.0.0.1')}${text(String(port))}`);
        else socket.write({ hello: '%0\r\n', client: '+OK\r\n' }[command.toLowerCase()] ?? '*0\r\n');
      }
    });
  }, tls);
}

/** A client as a user has one for a group that sentinels watch. */
function sentinelClient({ port }: Eavesdropper, options: object = {}): Redis {
  const client = new Redis({ sentinels: [{ host: '127.0.0.1', port }], name: 'main', lazyConnect: true, ...options });
  closing.push(() => client.disconnect());
  return client;
}

/** A server that keeps all that it is sent; over TLS, what was encrypted. */
async function scripted(converse: (socket: Socket) => unknown, tls?: TlsOptions): Promise<Eavesdropper> {
  const heard: Buffer[] = [];
  const sockets = new Set<Socket>();
  const onSocket = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => heard.push(data));
    converse(socket);
  };
  const server: Server = tls ? createTlsServer(tls, onSocket) : createServer(onSocket);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as { readonly port: number };
  return {
    address: `127.0.0.1:${port}`,
    port,
    heard: () => Buffer.concat(heard),
  };
}

describeWithRedis('over TLS', (plain) => {
  it.each(reaches)('%s connects with the right authority', async (_name, _room, reach) => {
    const redis = await redisOverTls();
    await reach(redis.address, { tls: { caFile } }).use();
    await reach(`rediss://${redis.address}`, { tls: { ca: ours.cert } }).use();
    await reach(redis.address, { tls: { caFile, serverName: 'redis.internal' } }).use();
  });

  it.each(reaches)(
    '%s refuses a server of another authority, and says which file and variable decide',
    async (_name, room, reach) => {
      const redis = await redisOverTls();
      const { message, reason } = await refusalOf(reach(redis.address, { tls: { caFile: strangersFile } }));
      expect(reason).toBe(`${room}.unreachable`);
      expect(message).toContain(strangersFile);
      expect(message).toContain(`set tls.caFile (TENON_${room.toUpperCase()}_TLS_CA_FILE)`);
      expect(message).toContain(redis.address);
    },
  );

  it.each(reaches)(
    '%s explains a failure of TLS for rediss:// as for tls, though no option says tls',
    async (_name, room, reach) => {
      const redis = await redisOverTls();
      const { message } = await refusalOf(reach(`rediss://${redis.address}`, {}));
      expect(message).toContain('TLS failed: the certificate of "127.0.0.1" was signed by an authority');
      expect(message).toContain(`TENON_${room.toUpperCase()}_TLS_CA_FILE`);
    },
  );

  it.each(reaches)('%s tells the name in the address in the handshake', async (_name, _room, reach) => {
    const named = ours.issue({ name: 'redis', names: ['localhost', 'redis.internal'] });
    const told = new Set<string>();
    const SNICallback: TlsOptions['SNICallback'] = (name, done) => {
      told.add(name);
      done(null);
    };
    const { port } = await scripted((socket) => socket.destroy(), { cert: named.cert, key: named.key, SNICallback });
    for (const [name, address, options] of [
      [undefined, `127.0.0.1:${port}`, { tls: { insecureSkipVerify: true } }],
      ['localhost', `localhost:${port}`, { tls: { caFile } }],
      ['localhost', `rediss://localhost:${port}`, {}],
      ['redis.internal', `localhost:${port}`, { tls: { caFile, serverName: 'redis.internal' } }],
      [undefined, `localhost:${port}`, { tls: { caFile, serverName: '127.0.0.1' } }],
    ] as const) {
      told.clear();
      const reached = reach(address, options);
      await refusalOf(reached);
      await reached.close();
      expect([...told]).toEqual(name === undefined ? [] : [name]);
    }
  });

  it.each(reaches)(
    '%s does not speak in the clear to sentinels and their master where tls is said',
    async (_name, _room, reach) => {
      const master = await eavesdropper();
      const clear = await sentinel(master.port);
      const options = { tls: { caFile }, credentials: { username: 'tenon', password: 'hush-hush' }, timeoutMs: 2_000 };
      await refusalOf(reach('', { ...options, client: sentinelClient(clear) }));
      await eventually('the sentinel is spoken to', () => clear.heard().length > 0);
      expect(clear.heard()[0]).toBe(0x16);
      expect(clear.heard().toString('latin1')).not.toMatch(/hello|client|get-master/i);
      expect(master.heard().toString('latin1')).not.toMatch(/hush|auth|hello|client/i);

      // Even where a sentinel is believed that is asked in the clear, its master is spoken to over TLS.
      const believing = sentinelClient(clear, { sentinelTLS: null });
      await refusalOf(reach('', { ...options, client: believing }));
      await eventually('the master is spoken to', () => master.heard().length > 0);
      expect(master.heard()[0]).toBe(0x16);
      expect(master.heard().toString('latin1')).not.toMatch(/hush|auth|hello|client/i);
    },
  );

  it.each(reaches)('%s reaches over TLS what sentinels watch over TLS', async (_name, _room, reach) => {
    const redis = await redisOverTls();
    const names = ['127.0.0.1'];
    const sure = await sentinel(redis.port, ours.issue({ name: 'sentinel', names }));
    await reach('', { client: sentinelClient(sure), tls: { caFile } }).use();
    const others = await sentinel(redis.port, strangers.issue({ name: 'sentinel', names }));
    const client = sentinelClient(others, { sentinelTLS: { ca: strangers.cert } });
    await reach('', { client, tls: { caFile } }).use();
  });

  it.each(reaches)(
    '%s keeps no password in errors, nor in their causes, of a Redis that does not believe it',
    async (_name, room, reach) => {
      const acl = ['--user', 'tenon', 'on', '>right', '~*', '&*', '+@all', '--user', 'default', 'off'];
      const redis = await redisServer({ args: acl });
      closing.push(() => redis.dispose());
      const credentials = { username: 'tenon', password: 'wrong-one' };
      for (const reached of [
        reach(redis.address, { credentials }),
        reach(`redis://tenon:wrong-one@${redis.address}`, {}),
      ]) {
        const error = await refusalOf(reached);
        expect([error.reason, error.message]).toEqual([`${room}.refused`, expect.stringContaining('WRONGPASS')]);
        const shown = { error, instance: reached.instance, lines: reached.logger.lines };
        expect(inspect(shown, { depth: 10 })).not.toContain('wrong-one');
      }
    },
  );

  it.each(reaches)('%s refuses a certificate for another name', async (_name, room, reach) => {
    const redis = await redisOverTls();
    const { message } = await refusalOf(reach(redis.address, { tls: { caFile, serverName: 'other.internal' } }));
    expect(message).toContain(`TENON_${room.toUpperCase()}_TLS_SERVER_NAME`);
  });

  it.each(reaches)(
    '%s shows its certificate where it is asked, and says what is missing without',
    async (_name, room, reach) => {
      const redis = await redisOverTls({ asksClients: true });
      const mine = pair('client', ours.issue({ name: 'client' }));
      await reach(redis.address, { tls: { caFile, ...mine } }).use();
      const { message } = await refusalOf(reach(redis.address, { tls: { caFile } }));
      expect(message).toContain(`TENON_${room.toUpperCase()}_TLS_CERT_FILE`);
    },
  );

  it.each(reaches)('%s trusts any server only where that is said, and warns', async (_name, _room, reach) => {
    const redis = await redisOverTls();
    const reached = reach(redis.address, { tls: { insecureSkipVerify: true } });
    await reached.use();
    const warnings = reached.logger.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
    expect(warnings).toEqual([expect.stringContaining('any server is trusted')]);
  });

  it.each(reaches)('%s sends nothing in the clear to who does not speak TLS', async (_name, _room, reach) => {
    const { address, heard } = await eavesdropper();
    const credentials = { username: 'tenon', password: 'hush-hush' };
    const { message } = await refusalOf(reach(address, { tls: { caFile }, credentials }));
    expect(message).toContain('does not speak TLS');
    expect(message).not.toContain('hush-hush');
    // All that is sent are beginnings of handshakes.
    expect(heard()[0]).toBe(0x16);
    expect(heard().toString('latin1')).not.toMatch(/hush|AUTH|HELLO|CLIENT|secret news/);
  });

  it.each(reaches)(
    '%s shows the certificate that its files have when it connects again',
    async (name, _room, reach) => {
      const redis = await redisOverTls({ asksClients: true });
      const id = name.replaceAll(' ', '-');
      const probe = pair('probe', strangers.issue({ name: 'probe' }));
      const mine = pair(id, ours.issue({ name: 'client' }));
      const reached = reach(redis.address, { tls: { caFile, ...mine, reloadMs: 20 } });
      await reached.use();
      // The server begins to trust another authority: only the certificate that comes then is taken.
      await redis.stop();
      const next = await redisServer({
        port: redis.port,
        tls: { ...serverFiles, caFile: strangersFile, asksClients: true, probe },
      });
      closing.push(() => next.dispose());
      await eventually('the old certificate is refused', () => refusalOf(reached).then(() => true));
      pair(id, strangers.issue({ name: 'client' }));
      await eventually('the new certificate is taken', () =>
        reached.use().then(
          () => true,
          () => false,
        ),
      );
    },
  );

  it.each(reaches)(
    '%s proves who it is, and says which variables decide where it is not believed',
    async (name, room, reach) => {
      const acl = ['--user', 'tenon', 'on', '>right', '~*', '&*', '+@all', '--user', 'default', 'off'];
      const redis = await redisOverTls({ args: acl });
      const tls = { caFile };
      await reach(redis.address, { tls, credentials: { username: 'tenon', password: 'right' } }).use();
      const wrong = await refusalOf(
        reach(redis.address, { tls, credentials: { username: 'tenon', password: 'wrong-one' } }),
      );
      expect([wrong.reason, wrong.message]).toEqual([`${room}.refused`, expect.stringContaining('WRONGPASS')]);
      expect(wrong.message).toContain(`TENON_${room.toUpperCase()}_PASSWORD`);
      expect(wrong.message).not.toContain('wrong-one');

      const passwordFile = write(`${name.replaceAll(' ', '-')}.password`, 'right\n');
      const reached = reach(redis.address, { tls, credentials: { username: 'tenon', passwordFile } });
      await reached.use();
      expect(inspect(reached.instance, { depth: 9, showHidden: true })).not.toContain('right');
    },
  );

  it.each(reaches)('%s reads the file of its password again when it connects again', async (name, _room, reach) => {
    const user = (password: string): string[] => ['--user', 'default', 'on', `>${password}`, '~*', '&*', '+@all'];
    const redis = await redisOverTls({ args: user('first') });
    const passwordFile = write(`${name.replaceAll(' ', '-')}.rotated`, 'first');
    const reached = reach(redis.address, { tls: { caFile }, credentials: { passwordFile } });
    await reached.use();
    await redis.stop();
    write(`${name.replaceAll(' ', '-')}.rotated`, 'second');
    const next = await redisServer({
      port: redis.port,
      tls: { ...serverFiles, caFile },
      args: user('second'),
    });
    closing.push(() => next.dispose());
    await eventually('the new password is taken', () =>
      reached.use().then(
        () => true,
        () => false,
      ),
    );
  });

  it.each(reaches)('%s says what is missing before it connects', async (_name, room, reach) => {
    const variable = `TENON_${room.toUpperCase()}`;
    const missing = join(folder, 'missing');
    const noCa = await refusalOf(reach(plain.address, { tls: { caFile: missing } }));
    expect([noCa.reason, noCa.message]).toEqual(['tls.invalid', expect.stringContaining(`${variable}_TLS_CA_FILE`)]);
    const noPassword = await refusalOf(reach(plain.address, { credentials: { passwordFile: missing } }));
    expect([noPassword.reason, noPassword.message]).toEqual([
      'tls.invalid_credentials',
      expect.stringContaining(`${variable}_PASSWORD_FILE`),
    ]);
    const twice = { credentials: { password: 'a', passwordFile: missing } };
    expect((await refusalOf(reach(plain.address, twice))).message).toContain('say it once');
    expect(() => reach(`redis://me:hush@${plain.address}`, { credentials: { password: 'hush' } })).toThrow(
      /say them once/,
    );
    expect(() => reach(plain.address, { credentials: { token: 'hush' } })).toThrow(
      expect.objectContaining({ reason: `${room}.unsupported`, message: expect.not.stringContaining('hush') }),
    );
  });
});
