import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { NatsRegistry, type NatsRegistryOptions } from '../../src/registry/nats.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { info, obliging, RawNats, ScriptedServer } from '../nats/support.ts';
import { authority } from '../support/certificates.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer, type ServerOptions } from '../support/servers.ts';
import { TestFolder } from '../support/test-folder.ts';
import { type ToxicProxy, Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 30_000;
const { clock, random, timers } = systemRuntime;
const away = { code: Code.Unavailable, reason: 'registry.unreachable' };
const watchSubject = 'micro.nats.watch';

function nats(options: NatsRegistryOptions): { readonly registry: NatsRegistry; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const registry = new NatsRegistry({ queryMs: 60, ...options }, clock, random, timers, logger);
  closing.push(() => registry.close());
  return { registry, logger };
}

async function started(options: ServerOptions = {}): Promise<BackendServer> {
  const server = new BackendServer('nats', options);
  closing.push(() => server.dispose());
  return server.start();
}

async function proxied(server: BackendServer): Promise<ToxicProxy> {
  const toxiproxy = new Toxiproxy();
  closing.push(() => toxiproxy.dispose());
  await toxiproxy.start();
  return toxiproxy.proxy(server.address);
}

/** Renews a registration as a service does, until the test has ended. */
function renew(registry: NatsRegistry, id: string, ttlMs: number): void {
  const timer = timers.every(ttlMs / 3, () => {
    registry.register(serviceOf('greeter', [id]), { ttlMs, timeoutMs: ttlMs / 3 }).catch(() => {});
  });
  closing.push(() => timer.cancel());
}

/** Watches again whenever a watch has ended, and gives the ids that the last one and the read before it say. */
function follow(registry: NatsRegistry): { readonly ids: () => string } {
  let known = new Set<string>();
  let isOver = false;
  closing.push(() => (isOver = true));
  const run = async (): Promise<void> => {
    while (!isOver) {
      try {
        const watcher = await registry.watch({ service: 'greeter' });
        known = new Set(await idsOf(registry, 'greeter'));
        for await (const { action, service } of watcher) {
          for (const { id } of service.nodes) known[action === 'delete' ? 'delete' : 'add'](id);
        }
      } catch {
        await timers.sleep(50);
      }
    }
  };
  void run();
  return { ids: () => [...known].sort().join() };
}

describeWithServer('NatsRegistry while NATS is away', new BackendServer('nats'), () => {
  it('rejects with registry.unreachable, ends watches, and works again when it is back', async () => {
    const server = await started();
    const { registry } = nats({ address: server.address });
    await registry.register(serviceOf('greeter', ['a']), { ttlMs: 600_000 });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await server.kill();
    expect(await seen.ended).toMatchObject({ code: Code.Unavailable, reason: 'registry.watch_lost' });
    const refused = {
      ...away,
      message: expect.stringMatching(
        new RegExp(`${server.address} cannot be reached .*ECONNREFUSED.*TENON_REGISTRY_ADDRESS`),
      ),
    };
    await expect(registry.getService('greeter')).rejects.toMatchObject(refused);
    await expect(registry.register(serviceOf('greeter', ['a']))).rejects.toMatchObject(refused);
    await expect(registry.listServices()).rejects.toMatchObject(refused);
    await expect(registry.watch()).rejects.toMatchObject(refused);
    await server.start();
    // It answers again, without being registered again.
    await eventually(
      'it is found',
      async () => (await idsOf(registry, 'greeter').catch(() => [])).length === 1,
      patientMs,
    );
    const again = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await registry.register(serviceOf('greeter', ['b']));
    await eventually('the new watch tells', () => again.texts.includes('create b'), patientMs);
    await expect(registry.deregister(serviceOf('greeter', ['a', 'b']))).resolves.toBeUndefined();
  });

  it('announces its nodes again after a loss, with the rest of their lease', async () => {
    const server = await started();
    const proxy = await proxied(server);
    const raw = await RawNats.to(server);
    await raw.subscribe(watchSubject);
    const { registry } = nats({ address: proxy.address });
    await registry.register(serviceOf('greeter', ['a']), { ttlMs: 600_000 });
    await raw.flush();
    expect(raw.messages(watchSubject)).toHaveLength(1);
    await proxy.cut();
    await timers.sleep(100);
    await proxy.heal();
    await eventually('it announces again', () => raw.messages(watchSubject).length === 2, patientMs);
    const [first, second] = raw.messages(watchSubject);
    expect({ ...second, leaseMs: 0 }).toEqual({ ...first, leaseMs: 0 });
    expect(second?.['leaseMs']).toBeLessThan(600_000 - 100);
    expect(second?.['leaseMs']).toBeGreaterThan(500_000);
  }, 60_000);

  it('leaves a lease that ended meanwhile: the node is not found again', async () => {
    const server = await started();
    const { registry } = nats({ address: server.address });
    await registry.register(serviceOf('greeter', ['a']), { ttlMs: 400 });
    await server.kill();
    await timers.sleep(600);
    await server.start();
    const isBack = (): Promise<boolean> =>
      registry.watch().then(
        () => true,
        () => false,
      );
    await eventually('it is connected', isBack, patientMs);
    expect(await idsOf(registry, 'greeter')).toEqual([]);
  });

  it.each([
    [
      'hangs for three leases (SIGSTOP)',
      async (server: BackendServer, ttlMs: number) => {
        server.pause();
        await timers.sleep(3 * ttlMs);
        server.resume();
      },
    ],
    [
      'is killed and started again',
      async (server: BackendServer) => {
        await server.kill();
        await server.start();
      },
    ],
  ])(
    'is followed again within two seconds when the server %s, with the same nodes',
    async (_what, disturb) => {
      const server = await started();
      const ttlMs = 1_500;
      const { registry } = nats({ address: server.address, timeoutMs: 1_000 });
      const { registry: other } = nats({ address: server.address, timeoutMs: 1_000 });
      const { registry: reader } = nats({ address: server.address, timeoutMs: 1_000 });
      await registry.register(serviceOf('greeter', ['a']), { ttlMs });
      await other.register(serviceOf('greeter', ['b']), { ttlMs });
      renew(registry, 'a', ttlMs);
      renew(other, 'b', ttlMs);
      const view = follow(reader);
      await eventually('both are seen', () => view.ids() === 'a,b', patientMs);
      await disturb(server, ttlMs);
      await eventually(
        'both are found',
        async () => String(await idsOf(reader, 'greeter').catch(() => '')) === 'a,b',
        patientMs,
      );
      await eventually('both are seen', () => view.ids() === 'a,b', patientMs);
    },
    60_000,
  );

  it('does not take a server that hangs, or a slow connection, for a service without nodes', async () => {
    const server = await started();
    const proxy = await proxied(server);
    const { registry } = nats({ address: proxy.address, timeoutMs: 3_000 });
    await registry.register(serviceOf('greeter', ['a']), { ttlMs: 600_000 });
    await proxy.add({ type: 'latency', attributes: { latency: 400 } });
    expect(await idsOf(registry, 'greeter')).toEqual(['a']);
    await proxy.heal();
    server.pause();
    expect(await failureOf(registry.getService('greeter', { timeoutMs: 1_000 }))).toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'registry.timeout',
    });
    server.resume();
    await eventually(
      'it answers',
      async () => (await idsOf(registry, 'greeter').catch(() => [])).length === 1,
      patientMs,
    );
  }, 60_000);

  it('notices a connection that swallows everything, and does not ask in a busy loop', async () => {
    const server = await started();
    const proxy = await proxied(server);
    const { registry } = nats({ address: proxy.address, timeoutMs: 500 });
    await registry.register(serviceOf('greeter', ['a']), { ttlMs: 600_000 });
    const seen = new WatchRecorder(await registry.watch());
    await proxy.swallow();
    expect(await seen.ended).toMatchObject({ reason: 'registry.watch_lost' });
    const cpu = process.cpuUsage();
    await timers.sleep(2_000);
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1_000).toBeLessThan(1_500);
    await proxy.heal();
    await eventually(
      'it is found',
      async () => (await idsOf(registry, 'greeter').catch(() => [])).length === 1,
      patientMs,
    );
  }, 60_000);
});

describeWithServer('NatsRegistry with several servers', new BackendServer('nats'), () => {
  it('goes on with another member of the cluster, and members pass on what is said to them', async () => {
    const first = await started();
    const second = await started({ join: first.details['cluster'] ?? '' });
    const address = `${first.address},${second.address}`;
    const { registry } = nats({ address, timeoutMs: 2_000 });
    const { registry: reader } = nats({ address: second.address });
    renew(registry, 'a', 2_000);
    await eventually('it is found', async () => (await idsOf(reader, 'greeter')).length === 1, patientMs);
    await first.kill();
    await eventually('it is found', async () => (await idsOf(reader, 'greeter')).length === 1, patientMs);
    const isRegistered = (): Promise<boolean> =>
      registry.register(serviceOf('other', ['b'])).then(
        () => true,
        () => false,
      );
    await eventually('it registers', isRegistered, patientMs);
    expect(await idsOf(reader, 'other')).toEqual(['b']);
  }, 60_000);

  it('is found where the first address accepts and never answers', async () => {
    const server = await started();
    const silent = await new ScriptedServer(() => {}).start();
    for (let round = 0; round < 4; round += 1) {
      const { registry } = nats({ address: `${silent.address},${server.address}`, timeoutMs: 3_000 });
      await registry.register(serviceOf('greeter', ['a']));
      expect(await idsOf(registry, 'greeter')).toEqual(['a']);
      await registry.close();
    }
    await eventually('no connection is left behind', () => silent.open === 0, patientMs);
  }, 60_000);
});

describeWithServer('NatsRegistry with a user', new BackendServer('nats'), () => {
  const folder = new TestFolder('nats');

  it('proves who it is by a password or a token, from a file that may change', async () => {
    const byPassword = await started({ args: ['--user', 'tenon', '--pass', 'first"secret'] });
    const { registry } = nats({
      address: byPassword.address,
      credentials: { username: 'tenon', password: 'first"secret' },
    });
    await registry.register(serviceOf('greeter', ['a']));
    const tokenFile = folder.write('token', 'wrong\n');
    const byToken = await started({ args: ['--auth', 'the-token'] });
    const { registry: other } = nats({ address: byToken.address, credentials: { tokenFile } });
    expect(await failureOf(other.register(serviceOf('greeter', ['a'])))).toMatchObject({
      code: Code.PermissionDenied,
      reason: 'registry.refused',
      message: expect.stringMatching(/Authorization Violation.*TENON_REGISTRY_TOKEN/),
    });
    folder.write('token', 'the-token\n');
    const registered = (): Promise<boolean> =>
      other.register(serviceOf('greeter', ['a'])).then(
        () => true,
        () => false,
      );
    await eventually('it is registered', registered, patientMs);
  }, 60_000);

  it('is denied a subject that its user has no right to, and says which', async () => {
    const config = folder.write(
      'rights.conf',
      `authorization { users = [
        { user: reader, password: x, permissions: { publish: ["micro.nats.query"], subscribe: ["micro.nats.watch", "_INBOX.>"] } },
        { user: deaf, password: x, permissions: { publish: ["micro.nats.>", "_INBOX.>"], subscribe: ["_INBOX.>"] } },
        { user: all, password: x }
      ] }\n`,
    );
    const server = await started({ args: ['--config', config] });
    const as = (username: string): NatsRegistry =>
      nats({ address: server.address, prefixes: 'micro.nats', credentials: { username, password: 'x' } }).registry;
    const denied = (subject: string): object => ({
      code: Code.PermissionDenied,
      reason: 'registry.refused',
      message: expect.stringContaining(`"${subject}"`),
    });
    await as('all').register(serviceOf('greeter', ['a']));
    const [reader, deaf] = [as('reader'), as('deaf')];
    expect(await idsOf(reader, 'greeter')).toEqual(['a']);
    const seen = new WatchRecorder(await reader.watch());
    for (let time = 0; time < 2; time += 1) {
      expect(await failureOf(reader.register(serviceOf('greeter', ['b'])))).toMatchObject(denied('micro.nats.query'));
      expect(await failureOf(deaf.watch())).toMatchObject(denied('micro.nats.watch'));
      // Of two at once, one may be established by then: it ends.
      const ends = [deaf.watch(), deaf.watch({ service: 'a' })].map(async (watching) => {
        const error = await watching.then(
          (watcher) => new WatchRecorder(watcher).ended,
          (thrown: unknown) => thrown,
        );
        expect(String(error)).toContain('"micro.nats.watch"');
      });
      await Promise.all(ends);
    }
    await as('all').register(serviceOf('greeter', ['c']));
    await eventually('the reader hears', () => seen.texts.includes('create c'), patientMs);
    const wide = nats({ address: server.address, credentials: { username: 'reader', password: 'x' } }).registry;
    expect(await failureOf(wide.getService('greeter'))).toMatchObject(denied('micro.registry.nats.query'));
  }, 60_000);
});

describeWithServer('NatsRegistry over TLS', new BackendServer('nats'), () => {
  const ours = authority('Ours');
  const folder = new TestFolder('nats-tls');
  const caFile = folder.write('ca.crt', ours.cert);
  const strangersFile = folder.write('strangers.crt', authority('Strangers').cert);

  it('registers and finds, with a client certificate where NATS asks for one', async () => {
    const files = folder.writePair('server', ours.issue({ name: 'nats', names: ['127.0.0.1'] }));
    const server = await started({
      tls: { ...files, caFile, asksClients: true },
      args: ['--user', 'tenon', '--pass', 'secret'],
    });
    const mine = folder.writePair('client', ours.issue({ name: 'tenon' }));
    const credentials = { username: 'tenon', password: 'secret' };
    const { registry } = nats({ address: server.address, tls: { caFile, ...mine }, credentials });
    const seen = new WatchRecorder(await registry.watch());
    await registry.register(serviceOf('greeter', ['a']));
    expect(await idsOf(registry, 'greeter')).toEqual(['a']);
    await eventually('it is told', () => seen.texts.includes('create a'), patientMs);
    await server.restart();
    await eventually(
      'it is found',
      async () => (await idsOf(registry, 'greeter').catch(() => [])).length === 1,
      patientMs,
    );
    const { registry: bare } = nats({ address: server.address, tls: { caFile }, credentials, timeoutMs: 2_000 });
    expect(await failureOf(bare.getService('greeter'))).toMatchObject(away);
  }, 60_000);

  it('refuses a server with the certificate of another host, of another authority, or without TLS', async () => {
    const files = folder.writePair('other', ours.issue({ name: 'nats', names: ['other.internal', 'localhost'] }));
    const server = await started({ tls: { ...files, caFile } });
    const failures: readonly [object, RegExp][] = [
      [{ caFile }, /TENON_REGISTRY_TLS_SERVER_NAME/],
      [{ caFile, serverName: 'nats.internal' }, /TENON_REGISTRY_TLS_SERVER_NAME/],
      [{ caFile: strangersFile, serverName: 'other.internal' }, /TENON_REGISTRY_TLS_CA_FILE/],
    ];
    for (const [tls, message] of failures) {
      const { registry } = nats({ address: server.address, tls });
      for (const call of [() => registry.getService('greeter'), () => registry.watch()]) {
        const failure = await failureOf(call());
        expect(failure).toMatchObject(away);
        expect(failure.message).toMatch(message);
      }
    }
    const { registry: right } = nats({ address: server.address, tls: { caFile, serverName: 'other.internal' } });
    await right.register(serviceOf('greeter', ['a']));
    const { registry: inTheClear } = nats({ address: server.address });
    expect((await failureOf(inTheClear.getService('greeter'))).message).toMatch(/without TLS.*TENON_REGISTRY_TLS/);
    const plain = await started();
    const { registry } = nats({ address: plain.address, tls: { caFile } });
    expect((await failureOf(registry.getService('greeter'))).message).toMatch(/speaks no TLS.*TENON_REGISTRY_TLS/);
  }, 60_000);

  it('says nothing in the clear to a server that pretends to speak TLS, or ends its handshake', async () => {
    const server = await new ScriptedServer((socket) => socket.write(info({ tls_required: true }))).start();
    const credentials = { token: 'the-secret-token' };
    const { registry } = nats({ address: server.address, tls: { caFile }, credentials, timeoutMs: 500 });
    const calls = (): Promise<unknown> => registry.getService('greeter').catch((error: unknown) => error);
    expect(await calls()).toMatchObject({ code: expect.anything() });
    for (const socket of server.sockets) socket.destroy();
    expect(await calls()).toMatchObject({ code: expect.anything() });
    expect(server.said.join('')).not.toContain('secret');
    expect(server.said.join('')).not.toContain('CONNECT');
  }, 60_000);
});

describeWithServer('NatsRegistry among attackers', new BackendServer('nats'), (server) => {
  const record = (id: string): object => serviceOf('greeter', [id]);
  const nested = (depth: number): string => `${'['.repeat(depth)}`;

  it('passes over what is no record, logs it once, and goes on', async () => {
    const raw = await RawNats.to(server);
    const { registry, logger } = nats({ timeoutMs: 30_000, address: server.address });
    const seen = new WatchRecorder(await registry.watch());
    await registry.register(serviceOf('greeter', ['mine']));
    const broken: readonly (object | string)[] = [
      '',
      'not json',
      'null',
      '[]',
      '{}',
      nested(400_000),
      { Service: null, Action: 'create' },
      { Service: [], Action: 'create' },
      { Service: record('a'), Action: 'destroy' },
      { Service: record('a') },
      { Service: { ...record('a'), name: '' }, Action: 'create' },
      { Service: { ...record('a'), name: 7 }, Action: 'create' },
      { Service: { ...record('a'), nodes: null }, Action: 'create' },
      { Service: { ...record('a'), nodes: [null] }, Action: 'create' },
      { Service: { ...record('a'), nodes: [{ id: 'a', address: '127.0.0.1:0' }] }, Action: 'create' },
      { Service: { ...record('a'), nodes: [{ id: 'a', address: '127.0.0.1:99999' }] }, Action: 'create' },
      { Service: { ...record('a'), nodes: [{ id: '', address: '127.0.0.1:1' }] }, Action: 'create' },
      { Service: serviceOf('greeter', [nodeOf('a', { metadata: { much: 'x'.repeat(300_000) } })]), Action: 'create' },
      `{"Service":{"name":"greeter","endpoints":[{"name":"e","request":${'{"values":['.repeat(5_000)}`,
    ];
    for (const subject of [watchSubject, 'micro.nats.query', 'micro.registry.nats.watch']) {
      for (const text of broken) for (let time = 0; time < 2; time += 1) await raw.publish(subject, text, 'answers');
    }
    await raw.publish(watchSubject, { Service: record('last'), Action: 'create' });
    await eventually('it goes on', () => seen.texts.includes('create last'), patientMs);
    expect(seen.texts).toEqual(['create mine', 'create last']);
    expect(await idsOf(registry, 'greeter')).toEqual(['mine']);
    expect(logger.texts.length).toBeGreaterThan(0);
    expect(new Set(logger.texts).size).toBe(logger.texts.length);
  }, 60_000);

  it('passes over answers that are none, of another service, or without end', async () => {
    const raw = await RawNats.to(server);
    await raw.subscribe('micro.nats.query');
    const many = Array.from({ length: 40_000 }, (_, index) => ({ id: `n${index}`, address: '127.0.0.1:1' }));
    const endpoints = Array.from({ length: 2_000 }, (_, index) => ({ name: `E${index}`, metadata: {} }));
    const answers: readonly (object | string)[] = [
      'not json',
      '{}',
      serviceOf('another', ['x']),
      { ...serviceOf('greeter', []), nodes: many.slice(0, 8_000), endpoints },
      { ...serviceOf('greeter', ['negative']), leaseMs: -5 },
      { ...serviceOf('greeter', ['endless']), leaseMs: 1e300 },
      { ...serviceOf('greeter', ['none']), leaseMs: 'x' },
    ];
    const answering = timers.every(5, () => {
      for (const { reply = '' } of raw.heard.splice(0)) for (const answer of answers) void raw.publish(reply, answer);
    });
    closing.push(() => answering.cancel());
    const { registry, logger } = nats({
      timeoutMs: 30_000,
      address: server.address,
      maxNodes: 50,
      goMicroTtlMs: 500,
      maxReadMs: 200,
    });
    expect(await idsOf(registry, 'greeter')).toEqual(['endless', 'negative', 'none']);
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    answering.cancel();
    await eventually('those without a lease go', () => seen.texts.length === 2, patientMs);
    expect([...seen.texts].sort()).toEqual(['delete negative', 'delete none']);
    expect(logger.texts.length).toBeGreaterThan(0);
  }, 60_000);

  it('bounds the nodes that it takes, ends a watch whose reader is behind, and answers all the while', async () => {
    const raw = await RawNats.to(server);
    const { registry, logger } = nats({ timeoutMs: 30_000, address: server.address, maxNodes: 100 });
    await registry.register(serviceOf('greeter', ['mine']));
    const idle = await registry.watch({ service: 'flooded' });
    const seen = new WatchRecorder(await registry.watch({ service: 'flooded' }));
    for (let index = 0; index < 5_000; index += 1) {
      const text = JSON.stringify({ Service: serviceOf('flooded', [`n${index % 500}`]), Action: 'create' });
      raw.write(`PUB ${watchSubject} ${text.length}\r\n${text}\r\n`);
    }
    await raw.flush();
    expect(await idsOf(registry, 'greeter')).toEqual(['mine']);
    await eventually('as many as there may be', () => seen.texts.length >= 100, patientMs);
    expect(seen.texts).toHaveLength(100);
    expect(logger.texts.filter((text) => text.includes('more than 100 nodes'))).toHaveLength(1);
    idle.stop();
    const slow = await registry.watch({ service: 'flapping' });
    for (let index = 0; index < 3_000; index += 1) {
      const text = JSON.stringify({
        Service: serviceOf('flapping', ['n']),
        Action: index % 2 === 0 ? 'create' : 'delete',
      });
      raw.write(`PUB ${watchSubject} ${text.length}\r\n${text}\r\n`);
    }
    await raw.flush();
    await registry.listServices();
    expect(await new WatchRecorder(slow).ended).toMatchObject({ reason: 'registry.watch_lost' });
  }, 60_000);

  it('survives a flood of questions, and one whose answers it may not send', async () => {
    const raw = await RawNats.to(server);
    const { registry } = nats({ timeoutMs: 30_000, address: server.address });
    await registry.register(serviceOf('greeter', ['mine']));
    const question = JSON.stringify({ Service: null, Action: 'list' });
    for (const reply of ['_INBOX.a', 'micro.nats.query', watchSubject, '>', 'a..b', '$SYS.REQ', '']) {
      for (let time = 0; time < 1_000; time += 1)
        raw.write(`PUB micro.nats.query ${reply} ${question.length}\r\n${question}\r\n`);
    }
    await raw.flush();
    expect(await idsOf(registry, 'greeter')).toEqual(['mine']);
    await registry.register(serviceOf('greeter', ['mine', 'more']));
    expect(await idsOf(registry, 'greeter')).toEqual(['mine', 'more']);
  }, 60_000);

  it('is not dropped as a slow consumer by what it answers for', async () => {
    const { registry } = nats({ timeoutMs: 30_000, address: server.address });
    const { registry: reader } = nats({ timeoutMs: 30_000, address: server.address, maxQueryMs: 10_000 });
    const metadata = { much: 'x'.repeat(200_000) };
    const nodes = Array.from({ length: 100 }, (_, index) => nodeOf(`n${index}`, { metadata }));
    await registry.register(serviceOf('heavy', nodes), { ttlMs: 600_000 });
    const seen = new WatchRecorder(await reader.watch({ service: 'other' }));
    // A process that is too busy may not have read all answers in time.
    await eventually('all are found', async () => (await idsOf(reader, 'heavy')).length === 100, patientMs);
    await reader.register(serviceOf('other', ['n']));
    await eventually('the watch goes on', () => seen.texts.includes('create n'), patientMs);
  }, 60_000);

  it('is dropped as a slow consumer when it does not read, and comes back', async () => {
    const own = await started({ args: [] });
    const proxy = await proxied(own);
    const raw = await RawNats.to(own);
    const { registry } = nats({ address: proxy.address, timeoutMs: 30_000 });
    await registry.register(serviceOf('greeter', ['mine']), { ttlMs: 600_000 });
    const seen = new WatchRecorder(await registry.watch());
    await proxy.add({ type: 'bandwidth', attributes: { rate: 1 }, stream: 'downstream' });
    const text = JSON.stringify({ Service: serviceOf('x', [nodeOf('n', { metadata: { m: 'x'.repeat(900_000) } })]) });
    for (let index = 0; index < 150; index += 1) await raw.publish(watchSubject, text);
    await eventually(
      'NATS drops it',
      async () => {
        const response = await fetch(`http://${own.details['monitor']}/varz`);
        return ((await response.json()) as { readonly slow_consumers: number }).slow_consumers > 0;
      },
      patientMs,
    );
    await proxy.heal();
    expect(await seen.ended).toMatchObject({ reason: 'registry.watch_lost' });
    await eventually(
      'it is found',
      async () => (await idsOf(registry, 'greeter').catch(() => [])).length === 1,
      patientMs,
    );
  }, 90_000);
});

describe('NatsRegistry and what is no NATS', () => {
  it.each([
    ['a server of something else', new ScriptedServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))],
    ['one that ends connections', new ScriptedServer((socket) => socket.destroy())],
    ['one that says too much', new ScriptedServer((socket) => socket.write(Buffer.alloc(1_000_000, 'x')))],
    ['one that answers nonsense', obliging((socket) => socket.write('MSG x y z\r\n'))],
  ])('%s is registry.unreachable, with its address and what to do', async (_what, server) => {
    await server.start();
    const { registry } = nats({ address: server.address, timeoutMs: 1_000 });
    const failure = async () => {
      const error = await registry.getService('greeter').catch((thrown: unknown) => thrown);
      return error as { readonly message: string };
    };
    await eventually('it says so', async () => (await failure()).message.includes('TENON_REGISTRY_ADDRESS'), patientMs);
    expect(await failure()).toMatchObject({ ...away, message: expect.stringContaining(server.address) });
  });
});
