import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { ZooKeeperRegistry, type ZooKeeperRegistryOptions } from '../../src/registry/zookeeper.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { authority, type Certified } from '../support/certificates.ts';
import { closing } from '../support/closing.ts';
import { freePort } from '../support/process.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { Toxiproxy, type ToxicProxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { clientOf, ScriptedServer } from '../zookeeper/support.ts';
import { announcing, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const { clock, random, timers } = systemRuntime;
const patientMs = 60_000;
const ttlMs = 4_000;
const none = Buffer.alloc(0);

function registryAt(
  address: string,
  options: ZooKeeperRegistryOptions = {},
): { registry: ZooKeeperRegistry; logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const registry = new ZooKeeperRegistry({ address, ttlMs, ...options }, clock, random, timers, logger);
  closing.push(() => registry.close());
  return { registry, logger };
}

const found = async (registry: ZooKeeperRegistry, name: string): Promise<string> =>
  String(await idsOf(registry, name).catch(() => ['away']));

describeWithServer('ZooKeeperRegistry, when things go wrong', new BackendServer('zookeeper'), (shared) => {
  const toxiproxy = new Toxiproxy();
  beforeAll(() => toxiproxy.start().then(() => {}), 60_000);
  afterAll(() => toxiproxy.dispose());
  let serial = 0;
  const fresh = (): string => `/faults-${(serial += 1)}`;
  const proxied = async (): Promise<ToxicProxy> => {
    const proxy = await toxiproxy.proxy(shared.address);
    closing.push(() => proxy.heal());
    return proxy;
  };

  it('takes over the node of a process that was killed, and the node outlives the session of that', async () => {
    const [prefix, name] = [fresh(), 'greeter'];
    const child = await announcing('zookeeper', { address: shared.address, prefix }, name, 'n1', ttlMs);
    const { client } = clientOf([shared.address]);
    const path = `${prefix}/${name}/n1`;
    const before = (await client.exists(path))?.ephemeralOwner;
    await child.kill('SIGKILL');
    const { registry } = registryAt(shared.address, { prefix });
    const seen = new WatchRecorder(await registry.watch({ service: name }));
    await registry.register(serviceOf(name, ['n1']), { ttlMs: 600_000 });
    const owner = (await client.exists(path))?.ephemeralOwner;
    expect(owner).not.toBe(before);
    await timers.sleep(3 * ttlMs);
    expect((await client.exists(path))?.ephemeralOwner).toBe(owner);
    // It changed hands, and was never gone.
    expect(new Set(seen.texts)).toEqual(new Set(['update n1']));
  });

  it('registers again under the same id when its session has expired, cut off for two time-outs', async () => {
    const [prefix, proxy] = [fresh(), await proxied()];
    const { registry, logger } = registryAt(proxy.address, { prefix });
    const direct = registryAt(shared.address, { prefix }).registry;
    await registry.register(serviceOf('greeter', ['n1']), { ttlMs: 600_000 });
    await registry.register(serviceOf('greeter', ['n2']), { ttlMs });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await proxy.cut();
    const renewing = setInterval(
      () => void registry.register(serviceOf('greeter', ['n2']), { ttlMs }).catch(() => {}),
      500,
    );
    closing.push(() => clearInterval(renewing));
    await eventually('ZooKeeper has ended it', async () => (await found(direct, 'greeter')) !== 'n1,n2', patientMs);
    expect(await failureOf(registry.getService('greeter'))).toMatchObject({
      code: Code.Unavailable,
      reason: 'registry.unreachable',
      message: expect.stringMatching(/ZooKeeper at .* cannot be reached .*TENON_REGISTRY_ADDRESS/),
    });
    expect(await seen.ended).toMatchObject({ code: Code.Unavailable, reason: 'registry.watch_lost' });
    await timers.sleep(2 * ttlMs);
    await proxy.heal();
    await eventually('it is registered again', async () => (await found(direct, 'greeter')) === 'n1,n2', patientMs);
    const lost = logger.texts.filter((text) => text.includes('lost node "n2"'));
    expect(lost.length).toBeLessThanOrEqual(1);
  });

  it('notices a connection that stands and swallows everything, and comes back when it is heard again', async () => {
    const [prefix, proxy] = [fresh(), await proxied()];
    const { registry } = registryAt(proxy.address, { prefix, timeoutMs: 1_000 });
    const direct = registryAt(shared.address, { prefix }).registry;
    await registry.register(serviceOf('greeter', ['n1']), { ttlMs: 600_000 });
    await registry.register(serviceOf('greeter', ['n2']), { ttlMs });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await proxy.swallow();
    expect(await failureOf(registry.getService('greeter'))).toMatchObject({ reason: 'registry.timeout' });
    expect(await seen.ended).toMatchObject({ reason: 'registry.watch_lost' });
    await proxy.heal();
    const renew = (): Promise<boolean> =>
      registry.register(serviceOf('greeter', ['n1', 'n2'])).then(
        () => true,
        () => false,
      );
    await eventually('it is registered again', renew, patientMs);
    await eventually('both are found', async () => (await found(direct, 'greeter')) === 'n1,n2', patientMs);
  });

  it('withdraws a node whose registration took effect after nobody waited for it any more', async () => {
    const [prefix, proxy] = [fresh(), await proxied()];
    const { registry } = registryAt(proxy.address, { prefix });
    const direct = registryAt(shared.address, { prefix }).registry;
    await registry.register(serviceOf('greeter', ['n1']));
    // The first answer comes in time, so that the node is made, and the second does not.
    await proxy.add({ type: 'latency', stream: 'downstream', attributes: { latency: 1_000 } });
    const late = registry.register(serviceOf('greeter', ['n2']), { timeoutMs: 1_500 });
    expect(await failureOf(late)).toMatchObject({ reason: 'registry.timeout' });
    await proxy.heal();
    await eventually('it took effect', async () => (await found(direct, 'greeter')) === 'n1,n2', patientMs);
    await registry.deregister(serviceOf('greeter', ['n2']));
    expect(await found(direct, 'greeter')).toBe('n1');
  });

  it('has the true view after a connection that flaps while nodes come and go', async () => {
    const [prefix, proxy] = [fresh(), await proxied()];
    const { registry } = registryAt(proxy.address, { prefix });
    const direct = registryAt(shared.address, { prefix }).registry;
    const cache = new CachedRegistry(registry, { graceMs: 1_000 });
    closing.push(() => cache.close());
    await direct.register(serviceOf('greeter', ['first']), { ttlMs: 600_000 });
    await cache.getService('greeter');
    let isFlapping = true;
    const flapping = (async () => {
      while (isFlapping) {
        await timers.sleep(300);
        await proxy.cut();
        await proxy.heal();
      }
    })();
    for (let round = 0; round < 200; round += 1) {
      await direct.register(serviceOf('greeter', [`n${round}`]), { ttlMs: 600_000 });
      if (round % 3 !== 0) await direct.deregister(serviceOf('greeter', [`n${round - 1}`]));
      await timers.sleep(10);
    }
    isFlapping = false;
    await flapping;
    const truth = await found(direct, 'greeter');
    const view = async (): Promise<boolean> => String(await idsOf(cache, 'greeter').catch(() => [])) === truth;
    await eventually('the view is the truth', view, patientMs);
  });

  it('goes on with a process that was stopped for longer than its session', async () => {
    const prefix = fresh();
    const { registry } = registryAt(shared.address, { prefix });
    const child = await announcing('zookeeper', { address: shared.address, prefix }, 'greeter', 'n1', 600_000);
    const short = await announcing('zookeeper', { address: shared.address, prefix }, 'greeter', 'n2', ttlMs);
    child.signal('SIGSTOP');
    short.signal('SIGSTOP');
    await eventually('its session ends', async () => (await found(registry, 'greeter')) !== 'n1,n2', patientMs);
    await timers.sleep(ttlMs);
    child.signal('SIGCONT');
    short.signal('SIGCONT');
    // Its lease has ended: it renews nothing. The other's has not.
    await eventually('one is there again', async () => (await found(registry, 'greeter')) === 'n1', patientMs);
  });

  it('lists 20,000 nodes with names of 80 characters, and names the limit of what is more', async () => {
    const prefix = fresh();
    const { client } = clientOf([shared.address], { sessionTimeoutMs: 30_000 });
    for (const path of [prefix, `${prefix}/huge`]) await client.create(path, none, 'persistent', 'world');
    const create = (index: number): Promise<void> =>
      client.create(`${prefix}/huge/${String(index).padStart(80, 'x')}`, none, 'persistent', 'world');
    for (let at = 0; at < 20_000; at += 1_000)
      await Promise.all(Array.from({ length: 1_000 }, (_, index) => create(at + index)));
    const { registry, logger } = registryAt(shared.address, { prefix, timeoutMs: 60_000 });
    expect(await idsOf(registry, 'huge')).toEqual([]);
    expect(logger.texts.length).toBeLessThanOrEqual(1_024);
    const bounded = clientOf([shared.address], { maxReplyBytes: 1_000_000 });
    const refused = {
      errorName: 'PacketTooLarge',
      message: expect.stringMatching(/takes 1\d{6} bytes, and more than 1000000/),
    };
    for (let round = 0; round < 3; round += 1)
      await expect(bounded.client.getChildren(`${prefix}/huge`)).rejects.toMatchObject(refused);
    expect(bounded.told.sessions).toHaveLength(1);
  }, 180_000);

  it('passes over a server that accepts and never answers, wherever it is listed', async () => {
    const silent = new ScriptedServer();
    silent.onHandshake = () => {};
    const bad = await silent.listen();
    for (const address of [
      `${bad},${shared.address}`,
      `${shared.address},${bad}`,
      `127.0.0.1:1,${bad},${shared.address}`,
    ]) {
      const { registry } = registryAt(address, { prefix: fresh() });
      await registry.register(serviceOf('greeter', ['n1']));
      expect(await found(registry, 'greeter')).toBe('n1');
    }
  });
});

describe('ZooKeeperRegistry over TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-zookeeper-tls-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const ours = authority('Ours');
  const write = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const pair = (name: string, { cert, key }: Certified): { certFile: string; keyFile: string } => ({
    certFile: write(`${name}.crt`, cert),
    keyFile: write(`${name}.key`, key),
  });
  const caFile = write('ca.crt', ours.cert);
  const server = pair('server', ours.issue({ name: 'zookeeper', names: ['127.0.0.1'] }));
  const other = pair('other', ours.issue({ name: 'other', names: ['other.internal'] }));
  const mine = pair('client', ours.issue({ name: 'client' }));

  describeWithServer(
    'with client certificates',
    new BackendServer('zookeeper', { tls: { ...server, caFile, asksClients: true, probe: mine } }),
    (secure) => {
      it('registers with a certificate and a password, and is refused without', async () => {
        const credentials = { username: 'ann', password: 'secret' };
        const { registry } = registryAt(secure.address, { tls: { caFile, ...mine }, credentials, acl: 'creator' });
        await registry.register(serviceOf('greeter', ['n1']));
        expect(await found(registry, 'greeter')).toBe('n1');
        for (const tls of [{ caFile }, { ...mine }, { caFile: mine.certFile, ...mine }, undefined]) {
          const refused = registryAt(secure.address, { ...(tls && { tls }), timeoutMs: 2_000 }).registry;
          expect(await failureOf(refused.getService('greeter'))).toMatchObject({
            code: Code.Unavailable,
            reason: 'registry.unreachable',
          });
        }
      });
    },
  );

  describeWithServer('of another host', new BackendServer('zookeeper', { tls: { ...other, caFile } }), (strange) => {
    it('says which name the certificate is for, and takes it if it is told to', async () => {
      const { registry } = registryAt(strange.address, { tls: { caFile } });
      expect(await failureOf(registry.getService('greeter'))).toMatchObject({
        reason: 'registry.unreachable',
        message: expect.stringMatching(/TLS failed: .*TENON_REGISTRY_TLS_SERVER_NAME/),
      });
      const told = registryAt(strange.address, { tls: { caFile, serverName: 'other.internal' } }).registry;
      await told.register(serviceOf('greeter', ['n1']));
      expect(await found(told, 'greeter')).toBe('n1');
    });
  });
});

describeWithServer('ZooKeeperRegistry with an ensemble of three', new BackendServer('zookeeper'), () => {
  it('goes on with its session when the server that it uses is killed, and misses nothing', async () => {
    const ports = await Promise.all([1, 2, 3, 4, 5, 6].map(freePort));
    const lines = [1, 2, 3].map((id) => `server.${id}=127.0.0.1:${ports[2 * id - 2]}:${ports[2 * id - 1]}`);
    const args = ['initLimit=20', 'syncLimit=10', ...lines];
    const servers = [1, 2, 3].map((member) => new BackendServer('zookeeper', { args, member }));
    closing.push(() => Promise.all(servers.map((server) => server.dispose())));
    await Promise.all(servers.map((server) => server.start()));
    const address = servers.map((server) => server.address).join();
    const [{ registry, logger }, { registry: other }] = [
      registryAt(address, { ttlMs: 30_000 }),
      registryAt(address, { ttlMs: 30_000 }),
    ];
    const seen = new WatchRecorder(await other.watch({ service: 'greeter' }));
    await registry.register(serviceOf('greeter', ['n1']));
    await eventually('it is seen', () => seen.texts.length === 1, patientMs);
    for (const server of servers) {
      await server.kill();
      const change = async (): Promise<boolean> =>
        registry.register(serviceOf('greeter', [nodeOf('n1', { metadata: { without: server.address } })])).then(
          () => true,
          () => false,
        );
      await eventually('a change is taken', change, patientMs);
      const isKnown = async (): Promise<boolean> =>
        (await other.getService('greeter').catch(() => []))[0]?.nodes[0]?.metadata['without'] === server.address;
      await eventually('it is found', isKnown, patientMs);
      await server.start();
    }
    expect(logger.texts).toEqual([]);
    expect(seen.texts).not.toContain('delete n1');
  }, 240_000);
});
