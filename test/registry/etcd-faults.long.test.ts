import { createServer } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { EtcdRegistry, type EtcdRegistryOptions } from '../../src/registry/etcd.ts';
import type { Watcher } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { authority } from '../support/certificates.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer, type ServerOptions } from '../support/servers.ts';
import { TestFolder } from '../support/test-folder.ts';
import { type ToxicProxy, Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { EtcdOperator } from './etcd-support.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 30_000;
const { clock, random, timers } = systemRuntime;
const key = (id: string): string => `/micro/registry/greeter/${id}`;
const record = (id: string): string => JSON.stringify(serviceOf('greeter', [id]));

function etcd(options: EtcdRegistryOptions): { readonly registry: EtcdRegistry; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const registry = new EtcdRegistry({ progressMs: 500, ...options }, clock, random, timers, logger);
  closing.push(() => registry.close());
  return { registry, logger };
}

async function started(options: ServerOptions = {}): Promise<BackendServer> {
  const server = new BackendServer('etcd', options);
  closing.push(() => server.dispose());
  return server.start();
}

async function proxied(server: BackendServer): Promise<ToxicProxy> {
  const toxiproxy = new Toxiproxy();
  closing.push(() => toxiproxy.dispose());
  await toxiproxy.start();
  return toxiproxy.proxy(server.address);
}

/** Calls until one succeeds. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined;
  await eventually(
    'a call succeeds',
    async () => {
      try {
        result = { value: await call() };
      } catch {
        return false;
      }
      return true;
    },
    patientMs,
  );
  return result!.value;
}

describeWithServer('EtcdRegistry, when its history is compacted,', new BackendServer('etcd'), (server) => {
  const operator = new EtcdOperator(server);

  it('reports just what changed while the watch was cut off', async () => {
    const proxy = await proxied(server);
    const { registry } = etcd({ address: proxy.address, timeoutMs: 20_000 });
    for (const id of ['a', 'c', 'd']) await operator.put(key(id), record(id));
    const seen = [
      new WatchRecorder(await registry.watch({ service: 'greeter' })),
      new WatchRecorder(await registry.watch()),
    ];
    await proxy.cut();
    await operator.remove(key('a'));
    await operator.put(key('b'), record('b'));
    await operator.put(key('c'), record('c'));
    await operator.compact();
    await proxy.heal();
    for (const watch of seen) {
      await eventually('both changes are told', () => watch.texts.length >= 2, patientMs);
      expect([...watch.texts].sort()).toEqual(['create b', 'delete a']);
    }
    await operator.put(key('e'), record('e'));
    for (const watch of seen) {
      await eventually('the watch goes on', () => watch.texts.includes('create e'), patientMs);
      expect(watch.texts).toHaveLength(3);
    }
    expect(await idsOf(registry, 'greeter')).toEqual(['b', 'c', 'd', 'e']);
    for (const id of ['b', 'c', 'd', 'e']) await operator.remove(key(id));
  }, 60_000);

  it('reports nothing where nothing changed on its prefix', async () => {
    const { registry } = etcd({ address: server.address, timeoutMs: 20_000, progressMs: 200 });
    await operator.put(key('a'), record('a'));
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    for (let round = 0; round < 300; round += 1) await operator.put('/elsewhere', String(round));
    await timers.sleep(1_000);
    await operator.compact();
    await server.kill();
    await server.start();
    await operator.put(key('b'), record('b'));
    await eventually('the watch goes on', () => seen.texts.includes('create b'), patientMs);
    expect(seen.texts).toEqual(['create b']);
    for (const id of ['a', 'b']) await operator.remove(key(id));
  }, 60_000);

  it('reads pages again whose revision was compacted meanwhile', async () => {
    const { registry } = etcd({ address: server.address, prefix: '/many/', timeoutMs: 30_000 });
    const ids = Array.from({ length: 700 }, (_, at) => `n${String(at).padStart(3, '0')}`);
    await registry.register(serviceOf('many', ids), { ttlMs: 60_000 });
    let isOver = false;
    const compacting = (async () => {
      while (!isOver) {
        await operator.put('/elsewhere', 'x');
        await operator.compact();
      }
    })();
    for (let round = 0; round < 5; round += 1) expect(await idsOf(registry, 'many')).toEqual(ids);
    isOver = true;
    await compacting;
    await registry.deregister(serviceOf('many', ids));
  }, 60_000);
});

describeWithServer('EtcdRegistry, with one stream for many,', new BackendServer('etcd'), () => {
  const names = Array.from({ length: 50 }, (_, at) => `s${String(at).padStart(2, '0')}`);
  // So patient that no stream is left for its silence.
  const patient = { timeoutMs: 60_000, progressMs: 60_000 };

  it('renews all leases on one stream, and watches all services on another', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const { registry } = etcd({ address: server.address, ...patient });
    for (const name of names) await registry.register(serviceOf(name, ['a']), { ttlMs: 60_000 });
    const watches = await Promise.all(names.map((service) => registry.watch({ service })));
    const seen = watches.map((watch) => new WatchRecorder(watch));
    for (let round = 0; round < 4; round += 1)
      await Promise.all(names.map((name) => registry.register(serviceOf(name, ['a']), { ttlMs: 60_000 })));
    expect(await operator.calls('LeaseKeepAlive')).toBe(1);
    expect(await operator.calls('Watch')).toBe(1);
    await Promise.all(names.map((name) => registry.deregister(serviceOf(name, ['a']))));
    for (const one of seen) {
      await eventually('it is told', () => one.texts.length > 0, patientMs);
      expect(one.texts).toEqual(['delete a']);
    }
  }, 60_000);

  it('registers again what it lost, and no other node, on the stream that stands', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const { registry, logger } = etcd({ address: server.address, ...patient });
    const renewAll = () => Promise.all(names.map((name) => registry.register(serviceOf(name, ['a']))));
    await renewAll();
    await renewAll();
    const [lost] = await operator.keys('/micro/registry/s07/');
    await operator.revoke(lost?.lease ?? '');
    await renewAll();
    expect(await idsOf(registry, 's07')).toEqual(['a']);
    expect(logger.texts).toEqual([expect.stringMatching(/lost node "a" of service "s07"/)]);
    expect(await operator.calls('LeaseKeepAlive')).toBe(1);
  }, 60_000);

  it('stays on the stream that was resumed while nothing changes', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const proxy = await proxied(server);
    const { registry } = etcd({ address: proxy.address, timeoutMs: 6_000, progressMs: 200 });
    await operator.put(key('a'), record('a'));
    const watches: Watcher[] = [];
    for (const service of names) watches.push(await patiently(() => registry.watch({ service })));
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await proxy.cut();
    await proxy.heal();
    await eventually('it is resumed', async () => (await operator.calls('Watch')) >= 2, patientMs);
    const before = await operator.calls('Watch');
    // Some times as long as a stream without an answer would be kept.
    await timers.sleep(12_000);
    expect(await operator.calls('Watch')).toBeLessThanOrEqual(before + 1);
    await operator.put(key('b'), record('b'));
    await eventually('it is told', () => seen.texts.length > 0, patientMs);
    expect(seen.texts).toEqual(['create b']);
    for (const watch of watches) watch.stop();
  }, 60_000);

  it('tells etcd of a watch that has ended, and nothing of it comes any more', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const { registry } = etcd({ address: server.address, ...patient });
    const watchers = async (): Promise<number> => {
      const text = await (await fetch(`http://${server.address}/metrics`)).text();
      return Number(/^etcd_debugging_mvcc_watcher_total (\S+)$/m.exec(text)?.[1]);
    };
    const kept = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    const before = await watchers();
    const watches = await Promise.all(names.map((service) => registry.watch({ service })));
    expect(await watchers()).toBe(before + names.length);
    for (const watch of watches) watch.stop();
    await eventually('etcd has ended them', async () => (await watchers()) === before, patientMs);
    await operator.put(key('a'), record('a'));
    await eventually('it is told', () => kept.texts.length === 1, patientMs);
    expect(await operator.calls('Watch')).toBe(1);
  }, 60_000);
});

describeWithServer('EtcdRegistry, when etcd is away,', new BackendServer('etcd'), () => {
  it('resumes a watch over a restart with the data: nothing is lost, repeated or made up', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const { registry } = etcd({ address: server.address, timeoutMs: 20_000 });
    await registry.register(serviceOf('greeter', ['a', 'b']), { ttlMs: 60_000 });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    const all = new WatchRecorder(await registry.watch());
    await server.kill();
    await server.start();
    await operator.remove(key('a'));
    await operator.put(key('c'), record('c'));
    for (const watch of [seen, all]) {
      await eventually('both are told', () => watch.texts.length >= 2, patientMs);
      expect(watch.texts).toEqual(['delete a', 'create c']);
    }
    await registry.register(serviceOf('greeter', ['b']), { ttlMs: 60_000 });
    expect(await idsOf(registry, 'greeter')).toEqual(['b', 'c']);
  }, 60_000);

  it.each([
    ['fewer changes than before', 0],
    ['more changes than before', 60],
  ])(
    'ends its watches when it comes back without its data, with %s',
    async (_what, changes) => {
      const server = await started();
      const operator = new EtcdOperator(server);
      const { registry, logger } = etcd({ address: server.address, timeoutMs: 20_000 });
      for (let round = 0; round < 20; round += 1) await operator.put('/elsewhere', 'x');
      // A second start, so that the cluster has had a second leader.
      await server.restart();
      const service = serviceOf('greeter', ['a']);
      await registry.register(service, { ttlMs: 60_000 });
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await server.kill();
      server.erase();
      await server.start();
      for (let round = 0; round < changes; round += 1) await operator.put('/elsewhere', 'x');
      expect(await seen.ended).toMatchObject({
        code: Code.Unavailable,
        reason: 'registry.watch_lost',
        message: expect.stringContaining('etcd has lost its data'),
      });
      expect(seen.texts).toEqual([]);
      expect(await idsOf(registry, 'greeter')).toEqual([]);
      const again = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      await registry.register(service, { ttlMs: 60_000 });
      await eventually('it is registered again', () => again.texts.includes('create a'), patientMs);
      expect(logger.texts).toEqual([
        expect.stringMatching(/lost node "a" of service "greeter": it is announced again/),
      ]);
    },
    60_000,
  );

  it('registers again within 2 s after etcd hung for three leases, with the same id and a new lease', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const { registry } = etcd({ address: server.address, timeoutMs: 2_000 });
    const service = serviceOf('greeter', ['a']);
    const ttlMs = 2_000;
    await registry.register(service, { ttlMs });
    const [before] = await operator.keys(key('a'));
    const renewing = renew(registry, service, ttlMs);
    server.pause();
    await timers.sleep(3 * ttlMs);
    server.resume();
    const backAtMs = clock.monotonicMs();
    const lease = async (): Promise<string | undefined> => (await operator.keys(key('a')))[0]?.lease;
    await eventually('it has a new lease', async () => ![undefined, before?.lease].includes(await lease()), patientMs);
    // A machine under load is given some more time than the two seconds.
    expect(clock.monotonicMs() - backAtMs).toBeLessThan(6_000);
    renewing.stop();
    expect(await idsOf(registry, 'greeter')).toEqual(['a']);
  }, 60_000);

  it('notices a connection that swallows everything, and is back after it', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const proxy = await proxied(server);
    const { registry } = etcd({ address: proxy.address, timeoutMs: 2_000 });
    const service = serviceOf('greeter', ['a']);
    const renewing = renew(registry, service, 2_000);
    await eventually('it is there', async () => (await operator.keys(key('a'))).length === 1, patientMs);
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await proxy.swallow();
    await eventually('its lease ends', async () => (await operator.keys(key('a'))).length === 0, patientMs);
    expect(await seen.ended).toMatchObject({ reason: 'registry.watch_lost' });
    await proxy.heal();
    await eventually('it is back', async () => (await operator.keys(key('a'))).length === 1, patientMs);
    renewing.stop();
  }, 60_000);

  it('keeps a watch through a connection that is swallowed for a short time', async () => {
    const server = await started();
    const operator = new EtcdOperator(server);
    const proxy = await proxied(server);
    const { registry } = etcd({ address: proxy.address, timeoutMs: 20_000 });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    const all = new WatchRecorder(await registry.watch());
    await operator.put(key('a'), record('a'));
    await eventually('it is told', () => seen.texts.length === 1, patientMs);
    await proxy.swallow();
    await operator.put(key('b'), record('b'));
    await operator.remove(key('a'));
    await timers.sleep(1_500);
    await proxy.heal();
    for (const watch of [seen, all]) {
      await eventually('all is told', () => watch.texts.length === 3, patientMs);
      expect(watch.texts).toEqual(['create a', 'create b', 'delete a']);
    }
  }, 90_000);
});

describeWithServer('EtcdRegistry with a user', new BackendServer('etcd'), () => {
  const prefix = '/micro/registry/';

  it.each(['simple', 'the default'])(
    'goes on when its token has ended: %s',
    async (kind) => {
      const args = kind === 'simple' ? ['--auth-token', 'simple', '--auth-token-ttl', '3'] : [];
      const server = await started({ args });
      const root = await new EtcdOperator(server).enableAuth(prefix);
      const credentials = { username: 'tenon', password: 'first-secret' };
      const { registry, logger } = etcd({ address: server.address, credentials, timeoutMs: 10_000 });
      const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
      const all = new WatchRecorder(await registry.watch());
      for (let round = 0; round < 5; round += 1) {
        await registry.register(serviceOf('greeter', ['a']), { ttlMs: 9_000 });
        expect(await idsOf(registry, 'greeter')).toEqual(['a']);
        // Tokens are used up to their last moment, and then no more for longer than they live.
        await timers.sleep(round < 2 ? 500 : 3_500);
        if (round === 2 && kind !== 'simple') {
          // Tokens do not outlive a server that forgets them.
          await server.kill();
          await server.start();
        }
      }
      await registry.deregister(serviceOf('greeter', ['a']));
      for (const watch of [seen, all]) {
        await eventually('all is told', () => watch.texts.includes('delete a'), patientMs);
        expect(watch.texts).toEqual(['create a', 'delete a']);
      }
      expect(logger.texts).toEqual([]);
      expect(root).toBeDefined();
    },
    90_000,
  );

  it('takes the new password after it was changed, from its file', async () => {
    const server = await started();
    const root = await new EtcdOperator(server).enableAuth(prefix);
    const folder = mkdtempSync(join(tmpdir(), 'tenon-etcd-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const passwordFile = join(folder, 'password');
    writeFileSync(passwordFile, 'first-secret\n');
    const { registry } = etcd({ address: server.address, credentials: { username: 'tenon', passwordFile } });
    const service = serviceOf('greeter', ['a']);
    await registry.register(service);
    const seen = new WatchRecorder(await registry.watch());
    await root.call('auth/user/changepw', { name: 'tenon', password: 'second-secret' });
    writeFileSync(passwordFile, 'second-secret\n');
    await patiently(() => registry.register(service));
    await registry.deregister(service);
    await eventually('it is told', () => seen.texts.includes('delete a'), patientMs);
  }, 60_000);

  it('is denied what etcd denies, and says which variables to set', async () => {
    const server = await started();
    const { registry: early } = etcd({ address: server.address });
    await early.register(serviceOf('greeter', ['a']));
    const withPassword = etcd({ address: server.address, credentials: { username: 'tenon', password: 'whatever' } });
    // A password that nobody asks for does no harm.
    expect(await idsOf(withPassword.registry, 'greeter')).toEqual(['a']);
    await new EtcdOperator(server).enableAuth(prefix);
    const denied = {
      code: Code.PermissionDenied,
      reason: 'registry.refused',
      message: expect.stringMatching(/etcd at 127\.0\.0\.1:\d+ refused: .*TENON_REGISTRY_USERNAME/),
    };
    const wrong = { address: server.address, credentials: { username: 'tenon', password: 'wrong-secret' } };
    const elsewhere = { prefix: '/others/', credentials: { username: 'tenon', password: 'first-secret' } };
    const denials = [early, withPassword.registry, etcd(wrong).registry, etcd({ ...wrong, ...elsewhere }).registry];
    for (const registry of denials) {
      const calls = [
        () => registry.getService('greeter'),
        () => registry.register(serviceOf('greeter', ['b'])),
        () => registry.watch(),
      ];
      for (const call of calls) {
        const failure = await failureOf(call());
        expect(failure).toMatchObject(denied);
        expect(failure.message).not.toContain('secret');
      }
    }
  }, 60_000);
});

describeWithServer('EtcdRegistry over TLS', new BackendServer('etcd'), () => {
  const ours = authority('Ours');
  const folder = new TestFolder('etcd-tls');
  const caFile = folder.write('ca.crt', ours.cert);
  const strangersFile = folder.write('strangers.crt', authority('Strangers').cert);

  it('registers and finds, with a client certificate where etcd asks for one', async () => {
    const files = folder.writePair('server', ours.issue({ name: 'etcd', names: ['127.0.0.1', 'etcd.internal'] }));
    const server = await started({ tls: { ...files, caFile, asksClients: true } });
    const mine = folder.writePair('client', ours.issue({ name: 'tenon' }));
    const { registry } = etcd({ address: server.address, tls: { caFile, ...mine } });
    const seen = new WatchRecorder(await registry.watch());
    await registry.register(serviceOf('greeter', ['a']));
    expect(await idsOf(registry, 'greeter')).toEqual(['a']);
    await eventually('it is told', () => seen.texts.includes('create a'), patientMs);
    const { registry: bare } = etcd({ address: server.address, tls: { caFile }, timeoutMs: 2_000 });
    expect((await failureOf(bare.getService('greeter'))).code).toBe(Code.Unavailable);
  }, 60_000);

  it('shows the certificate that its files have then, when a watch connects again', async () => {
    const files = folder.writePair('rotating', ours.issue({ name: 'etcd', names: ['127.0.0.1'] }));
    const server = await started({
      tls: { ...files, caFile, asksClients: true, probe: folder.writePair('probe', ours.issue({ name: 'probe' })) },
    });
    const proxy = await proxied(server);
    const mine = folder.writePair('mine', ours.issue({ name: 'tenon' }));
    const tls = { caFile, ...mine, reloadMs: 50 };
    const { registry } = etcd({ address: proxy.address, tls, timeoutMs: 20_000 });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await registry.register(serviceOf('greeter', ['a']), { ttlMs: 600_000 });
    await eventually('it is told', () => seen.texts.length === 1, patientMs);
    folder.writePair('mine', authority('Strangers').issue({ name: 'tenon' }));
    const codes: Code[] = [];
    // What etcd does not know it hangs up on. The files are looked at from time to time.
    await eventually(
      'a connection shows the new certificate',
      async () => {
        await proxy.cut();
        await proxy.heal();
        return registry.getService('greeter', { timeoutMs: 1_000 }).then(
          () => false,
          (error: unknown) => codes.push(TenonError.from(error).code) > 0,
        );
      },
      patientMs,
    );
    expect([Code.Unavailable, Code.DeadlineExceeded]).toContain(codes[0]);
    folder.writePair('mine', ours.issue({ name: 'tenon' }));
    await patiently(() => registry.register(serviceOf('greeter', ['b']), { ttlMs: 600_000 }));
    await eventually('it is told', () => seen.texts.length === 2, patientMs);
    expect(seen.texts).toEqual(['create a', 'create b']);
  }, 60_000);

  it('refuses a server with the certificate of another host, of another authority, or without TLS', async () => {
    const files = folder.writePair('other', ours.issue({ name: 'etcd', names: ['127.0.0.1', 'other.internal'] }));
    const server = await started({ tls: { ...files, caFile } });
    const failures: readonly [object, RegExp][] = [
      [{ caFile, serverName: 'etcd.internal' }, /TENON_REGISTRY_TLS_SERVER_NAME/],
      [{ caFile: strangersFile }, /TENON_REGISTRY_TLS_CA_FILE/],
    ];
    for (const [tls, message] of failures) {
      const { registry } = etcd({ address: server.address, tls });
      for (const call of [() => registry.getService('greeter'), () => registry.watch()]) {
        const failure = await failureOf(call());
        expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'registry.unreachable' });
        expect(failure.message).toMatch(message);
      }
    }
    const plain = await started();
    const { registry } = etcd({ address: plain.address, tls: { caFile } });
    expect((await failureOf(registry.getService('greeter'))).message).toMatch(/TLS failed/);
    const { registry: bare } = etcd({ address: server.address, timeoutMs: 2_000 });
    expect((await failureOf(bare.getService('greeter'))).code).toBe(Code.Unavailable);
  }, 60_000);
});

describeWithServer('EtcdRegistry with three members', new BackendServer('etcd'), () => {
  it('goes on with the others when a member is killed, hangs, or has lost its leader', async () => {
    const members = await cluster(3);
    const address = members.map((member) => member.address).join(',');
    const { registry } = etcd({ address, timeoutMs: 10_000 });
    const service = serviceOf('greeter', ['a']);
    const renewing = renew(registry, service, 10_000);
    await patiently(async () => expect(await idsOf(registry, 'greeter')).toEqual(['a']));
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    const all = new WatchRecorder(await registry.watch());
    const expected: string[] = [];
    let serial = 0;
    const change = async (): Promise<void> => {
      const id = `n${(serial += 1)}`;
      await patiently(() => registry.register(serviceOf('greeter', [nodeOf(id)]), { ttlMs: 60_000 }));
      expected.push(`create ${id}`);
      for (const watch of [seen, all])
        await eventually(`${id} is told`, () => watch.texts.length === expected.length, patientMs);
    };
    await change();
    for (const [at, member] of members.entries()) {
      await member.kill();
      await change();
      await member.start();
      await patiently(() => new EtcdOperator(member).call('maintenance/status'));
      member.pause();
      await change();
      member.resume();
      await patiently(() => new EtcdOperator(members[at]!).call('kv/range', { key: 'eA==' }));
    }
    // The first member that is left alone has no leader, and says so.
    await members[1]!.kill();
    await members[2]!.kill();
    const failure = await failureOf(registry.getService('greeter', { timeoutMs: 3_000 }));
    expect([Code.Unavailable, Code.DeadlineExceeded]).toContain(failure.code);
    await Promise.all([members[1]!.start(), members[2]!.start()]);
    await change();
    expect(seen.texts).toEqual(expected);
    expect(all.texts).toEqual(expected);
    renewing.stop();
  }, 180_000);
});

/** Renews as a service does, whatever fails. */
function renew(registry: EtcdRegistry, service: ReturnType<typeof serviceOf>, ttlMs: number): { stop(): void } {
  const ended = new AbortController();
  closing.push(() => ended.abort());
  const work = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      await registry.register(service, { ttlMs }).catch(() => {});
      await timers.sleep(ttlMs / 3);
    }
  };
  void work();
  return { stop: () => ended.abort() };
}

/** Members of one cluster, each a server of its own. */
async function cluster(size: number): Promise<readonly BackendServer[]> {
  const peers = await Promise.all(Array.from({ length: size }, () => freePort()));
  const all = peers.map((port, at) => `m${at}=http://127.0.0.1:${port}`).join(',');
  const members = await Promise.all(
    peers.map(async (port, at) => {
      const peer = `http://127.0.0.1:${port}`;
      const own = ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', all];
      return new BackendServer('etcd', { port: await freePort(), args: ['--name', `m${at}`, ...own] });
    }),
  );
  for (const member of members) closing.push(() => member.dispose());
  await Promise.all(members.map((member) => member.start()));
  return members;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
