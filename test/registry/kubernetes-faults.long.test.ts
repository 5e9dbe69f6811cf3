import { execFileSync } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, expect, it } from '@jest/globals';

import { CachedRegistry } from '../../src/registry/cache.ts';
import { KubernetesRegistry } from '../../src/registry/kubernetes.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { describeWithServer } from '../support/servers.ts';
import { Toxiproxy } from '../support/toxiproxy.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { ApiProxy, KubernetesServer, usingRegistry } from './kubernetes-support.ts';
import { announcing, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const { sleep } = systemRuntime.timers;
const patientMs = 60_000;
const folder = mkdtempSync(join(tmpdir(), 'tenon-kubernetes-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Calls the etcd of a cluster. */
async function callEtcd(cluster: KubernetesServer, method: string, body: object): Promise<{ revision: string }> {
  const url = `http://${cluster.detail('etcd')}/v3/kv/${method}`;
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`etcd refused: ${await answer.text()}`);
  return ((await answer.json()) as { header: { revision: string } }).header;
}

/** Compacts the etcd of a cluster, so that it forgets all changes so far. */
async function compact(cluster: KubernetesServer): Promise<void> {
  const { revision } = await callEtcd(cluster, 'range', { key: 'AA==' });
  await callEtcd(cluster, 'compaction', { revision, physical: true });
}

const slice = (...hosts: string[]) => ({ endpoints: hosts.map((host) => ({ addresses: [host] })) });

/** Creates a slice for each address. */
async function putAll(cluster: KubernetesServer, service: string, hosts: readonly string[]): Promise<void> {
  const left = [...hosts];
  const writers = Array.from({ length: 20 }, async () => {
    for (let host = left.pop(); host !== undefined; host = left.pop())
      await cluster.putSlice(`${service}-${host}`, service, slice(host));
  });
  await Promise.all(writers);
}

describeWithServer('KubernetesRegistry whose API server fails', new KubernetesServer(), (cluster) => {
  it('reports exactly what changed while it was cut off, though the API server has forgotten the changes', async () => {
    const proxy = await new ApiProxy(cluster).start();
    for (const name of ['a', 'kept'])
      await cluster.putSlice(`gap-${name}`, 'gap', slice(name === 'a' ? '10.0.1.1' : '10.0.1.3'));
    await usingRegistry(cluster, { address: proxy.address }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'gap' }));
      await eventually('it watches', () => proxy.requests.some((one) => one.includes('watch=true')), patientMs);
      await proxy.stop();
      await cluster.deleteSlice('gap-a');
      await cluster.putSlice('gap-b', 'gap', slice('10.0.1.2'));
      await compact(cluster);
      // Its own memory of changes goes with it.
      await cluster.kill();
      await cluster.start();
      const before = proxy.requests.length;
      await proxy.start();
      await eventually('it knows', () => seen.texts.length >= 2, patientMs);
      const again = proxy.requests.slice(before);
      expect(again.some((one) => !one.includes('watch=true'))).toBe(true);
      // As an event in an answer with status 200.
      expect(proxy.errors).toContainEqual(expect.stringMatching(/"code":410/));
      await cluster.putSlice('gap-b', 'gap', slice('10.0.1.2', '10.0.1.4'));
      await eventually('it follows', () => seen.texts.length >= 3, patientMs);
      expect(seen.texts.slice(0, 2).sort()).toEqual(['create 10.0.1.2:9000', 'delete 10.0.1.1:9000']);
      expect(seen.texts.slice(2)).toEqual(['create 10.0.1.4:9000']);
    });
    await proxy.stop();
  }, 240_000);

  it('reads a list anew whose version is forgotten between two of its pages (status 410)', async () => {
    // With a cache of its own an API server may have the pages of a version that etcd has forgotten.
    const bare = new KubernetesServer({ args: ['--watch-cache=false'] });
    await bare.start();
    const proxy = await new ApiProxy(bare).start();
    const all = Array.from({ length: 520 }, (_, index) => `10.9.${Math.floor(index / 250)}.${(index % 250) + 1}`);
    await putAll(bare, 'forgotten', all);
    proxy.rule = async ({ url = '' }): Promise<'pass'> => {
      if (url.includes('continue=') && !proxy.statuses.includes(410)) {
        await bare.deleteSlice(`forgotten-${all[0]}`);
        await compact(bare);
      }
      return 'pass';
    };
    await usingRegistry(bare, { address: proxy.address, timeoutMs: 30_000 }, async (registry) => {
      expect(await idsOf(registry, 'forgotten')).toHaveLength(519);
      expect(proxy.statuses).toEqual([200, 410, 200]);
    });
    await proxy.stop();
    await bare.dispose();
  }, 240_000);

  it('reports nothing when the API server is restarted, and goes on from there', async () => {
    await cluster.putSlice('restart-a', 'restart', slice('10.0.2.1', '10.0.2.2'));
    await usingRegistry(cluster, {}, async (registry) => {
      const [one, all] = [
        new WatchRecorder(await registry.watch({ service: 'restart' })),
        new WatchRecorder(await registry.watch()),
      ];
      await registry.register(serviceOf('restart', ['own']), { ttlMs: 60_000 });
      await eventually('it is seen', () => one.texts.length === 1 && all.texts.length === 1, patientMs);
      await cluster.kill();
      await cluster.start();
      await registry.register(serviceOf('restart', ['own']), { ttlMs: 60_000 });
      await cluster.putSlice('restart-a', 'restart', slice('10.0.2.1', '10.0.2.2', '10.0.2.3'));
      await eventually('both follow', () => one.texts.length > 1 && all.texts.length > 1, patientMs);
      for (const { texts } of [one, all]) expect(texts).toEqual(['create own', 'create 10.0.2.3:9000']);
    });
  }, 240_000);

  it('keeps leases while the API server hangs for longer than they last, and follows when it is back', async () => {
    const ttlMs = 3_000;
    const logger = new RecordingLogger();
    await usingRegistry(cluster, { logger, timeoutMs: 2_000 }, async (registry) => {
      const register = (): Promise<void> => registry.register(serviceOf('hangs', ['n1']), { ttlMs });
      await register();
      const seen = new WatchRecorder(await registry.watch({ service: 'hangs' }));
      const reader = new KubernetesRegistry({ kubeconfig: cluster.detail('kubeconfig'), timeoutMs: 2_000 });
      const other = new WatchRecorder(await reader.watch({ service: 'hangs' }));
      cluster.pause();
      const failing = register().catch((error: unknown) => error);
      await sleep(3 * ttlMs);
      expect(await failing).toMatchObject({ reason: 'registry.timeout' });
      cluster.resume();
      await eventually(
        'it is registered again',
        () =>
          register().then(
            () => true,
            () => false,
          ),
        patientMs,
      );
      await registry.register(serviceOf('hangs', ['n2']), { ttlMs: 60_000 });
      const hasBoth = (): boolean => [seen, other].every(({ texts }) => texts.includes('create n2'));
      await eventually('both follow', hasBoth, patientMs);
      // The process itself let its lease go; nobody who reads took it for dead before.
      expect(other.texts.filter((text) => text !== 'delete n1' && text !== 'create n1')).toEqual(['create n2']);
      expect(await idsOf(reader, 'hangs')).toEqual(['n1', 'n2']);
      await reader.close();
    });
  }, 240_000);

  it('keeps nodes of others whose renewals the API server could not take', async () => {
    const options = { kubeconfig: cluster.detail('kubeconfig') };
    const child = await announcing('kubernetes', options, 'alive', 'n1', 3_000);
    await usingRegistry(cluster, { timeoutMs: 2_000 }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'alive' }));
      cluster.pause();
      await sleep(12_000);
      expect(seen.texts).toEqual([]);
      cluster.resume();
      // It does not renew, and is gone once it could have.
      await eventually('it is gone', () => seen.texts.includes('delete n1'), patientMs);
    });
    await child.kill('SIGKILL');
  }, 240_000);

  it.each([
    [
      'answers 403',
      async (proxy: ApiProxy) => void (proxy.rule = () => ({ status: 403, body: '{"message":"forbidden"}' })),
    ],
    ['answers 500', async (proxy: ApiProxy) => void (proxy.rule = () => ({ status: 500 }))],
    ['breaks every connection', async (proxy: ApiProxy) => void (proxy.rule = () => 'cut')],
  ])(
    'asks at most a dozen times in half a minute while it %s, and follows afterwards',
    async (_what, fail) => {
      await cluster.putSlice('pace-a', 'pace', slice('10.0.3.1'));
      const proxy = await new ApiProxy(cluster).start();
      await usingRegistry(cluster, { address: proxy.address }, async (registry) => {
        const seen = new WatchRecorder(await registry.watch({ service: 'pace' }));
        await eventually('it watches', () => proxy.requests.some((one) => one.includes('watch=true')), patientMs);
        const before = proxy.requests.length;
        await fail(proxy);
        proxy.cut();
        await sleep(30_000);
        expect(proxy.requests.length - before).toBeLessThanOrEqual(12);
        expect(proxy.requests.length - before).toBeGreaterThan(3);
        proxy.rule = () => 'pass';
        await cluster.putSlice('pace-a', 'pace', slice('10.0.3.1', '10.0.3.2'));
        await eventually('it follows', () => seen.texts.length > 0, 90_000);
        expect(seen.texts).toEqual(['create 10.0.3.2:9000']);
      });
      await proxy.stop();
      await cluster.deleteSlice('pace-a');
    },
    240_000,
  );

  it('asks at most a dozen times in half a minute in which it has no right to, and follows afterwards', async () => {
    await cluster.putSlice('paced-a', 'paced', slice('10.0.6.1'));
    const proxy = await new ApiProxy(cluster).start();
    const account = await cluster.account('paced', ['list', 'watch']);
    proxy.token = await account.token();
    const refused = (): number => proxy.statuses.filter((status) => status === 403).length;
    await usingRegistry(cluster, { address: proxy.address }, async (registry) => {
      const mayRead = (): Promise<boolean> =>
        registry.listServices().then(
          () => true,
          () => false,
        );
      // What it may is known everywhere a moment after it was said.
      await eventually('it may read', mayRead, patientMs);
      const seen = new WatchRecorder(await registry.watch({ service: 'paced' }));
      await eventually('it watches', () => proxy.requests.some((one) => one.includes('watch=true')), patientMs);
      await account.forbid();
      await eventually('it is refused', async () => !(await mayRead()), patientMs);
      const [requests, refusals] = [proxy.requests.length, refused()];
      proxy.cut();
      await sleep(30_000);
      expect(proxy.requests.length - requests).toBeLessThanOrEqual(12);
      expect(refused() - refusals).toBeGreaterThan(3);
      await account.allow();
      await cluster.putSlice('paced-a', 'paced', slice('10.0.6.1', '10.0.6.2'));
      await eventually('it follows', () => seen.texts.length > 0, 90_000);
      expect(seen.texts).toEqual(['create 10.0.6.2:9000']);
    });
    await proxy.stop();
  }, 240_000);

  it('connects at most a dozen times in half a minute in which nobody listens, and follows afterwards', async () => {
    await cluster.putSlice('nobody-a', 'nobody', slice('10.0.7.1'));
    const proxy = await new ApiProxy(cluster).start();
    await usingRegistry(cluster, { address: proxy.address }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'nobody' }));
      await eventually('it watches', () => proxy.requests.some((one) => one.includes('watch=true')), patientMs);
      await proxy.stop();
      let attempts = 0;
      const count = (): void => void (attempts += 1);
      subscribe('net.client.socket', count);
      await sleep(30_000);
      unsubscribe('net.client.socket', count);
      expect(attempts).toBeLessThanOrEqual(12);
      expect(attempts).toBeGreaterThan(3);
      await cluster.putSlice('nobody-a', 'nobody', slice('10.0.7.1', '10.0.7.2'));
      await proxy.start();
      await eventually('it follows', () => seen.texts.length > 0, 90_000);
      expect(seen.texts).toEqual(['create 10.0.7.2:9000']);
    });
    await proxy.stop();
  }, 240_000);

  it('waits as long as Retry-After says', async () => {
    await cluster.putSlice('after-a', 'after', slice('10.0.8.1'));
    const proxy = await new ApiProxy(cluster).start();
    await usingRegistry(cluster, { address: proxy.address }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'after' }));
      await eventually('it watches', () => proxy.requests.some((one) => one.includes('watch=true')), patientMs);
      const before = proxy.requests.length;
      proxy.rule = () => ({ status: 429, headers: { 'retry-after': '25' } });
      proxy.cut();
      await sleep(20_000);
      // The one that found the connection cut, and the one that was told to wait.
      expect(proxy.requests.length - before).toBeLessThanOrEqual(2);
      proxy.rule = () => 'pass';
      await cluster.putSlice('after-a', 'after', slice('10.0.8.1', '10.0.8.2'));
      await eventually('it follows', () => seen.texts.length > 0, 90_000);
      expect(seen.texts).toEqual(['create 10.0.8.2:9000']);
    });
    await proxy.stop();
  }, 240_000);

  it('goes on with a token that was renewed in its file under open watches, and no call fails', async () => {
    const reader = await cluster.account('reader', ['list', 'watch']);
    const tokenFile = join(folder, 'token');
    const renew = async (name: string): Promise<void> => writeFileSync(tokenFile, `${await reader.boundToken(name)}\n`);
    await renew('first');
    await cluster.putSlice('token-a', 'token', slice('10.0.4.1'));
    const options = { address: cluster.address, tls: { caFile: cluster.detail('caFile') }, credentials: { tokenFile } };
    await usingRegistry(cluster, { ...options, watchMs: 2_000 }, async (registry) => {
      const isAllowed = (): Promise<boolean> =>
        registry.listServices().then(
          () => true,
          () => false,
        );
      await eventually('it may read', isAllowed, patientMs);
      // One watch is made anew every few seconds, one stands all the time.
      const lasting = new KubernetesRegistry(options);
      const seen = new WatchRecorder(await registry.watch({ service: 'token' }));
      const stood = new WatchRecorder(await lasting.watch({ service: 'token' }));
      const failures: unknown[] = [];
      let calls = 0;
      const load = setInterval(() => {
        calls += 1;
        for (const one of [registry, lasting]) one.getService('token').catch((error: unknown) => failures.push(error));
      }, 50);
      const old = new KubernetesRegistry({
        ...options,
        credentials: { token: readFileSync(tokenFile, 'utf8').trim() },
      });
      await renew('second');
      await reader.revoke('first');
      const refused = (): Promise<boolean> =>
        idsOf(old, 'token').then(
          () => false,
          () => true,
        );
      await eventually('the first token is refused', refused, patientMs);
      await old.close();
      await sleep(5_000);
      await cluster.putSlice('token-a', 'token', slice('10.0.4.1', '10.0.4.2'));
      await eventually('the watches go on', () => seen.texts.length > 0 && stood.texts.length > 0, patientMs);
      clearInterval(load);
      expect(seen.texts).toEqual(['create 10.0.4.2:9000']);
      expect(stood.texts).toEqual(['create 10.0.4.2:9000']);
      expect(await idsOf(lasting, 'token')).toEqual(['10.0.4.1:9000', '10.0.4.2:9000']);
      expect(failures).toEqual([]);
      expect(calls).toBeGreaterThan(20);
      await lasting.close();
    });
  }, 240_000);

  it('connects by the certificate of a kubeconfig, and by the token of its exec plugin', async () => {
    const files = [
      '-CA',
      cluster.detail('caFile'),
      '-CAkey',
      cluster.detail('caKeyFile'),
      '-out',
      join(folder, 'me.crt'),
    ];
    const key = [
      '-nodes',
      '-days',
      '2',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-keyout',
      join(folder, 'me.key'),
    ];
    const subject = [
      '-subj',
      '/O=system:masters/CN=me',
      '-addext',
      'extendedKeyUsage=clientAuth',
      '-addext',
      'basicConstraints=CA:FALSE',
    ];
    execFileSync('openssl', ['req', '-x509', ...files, ...key, ...subject], { stdio: 'ignore' });
    const plugin = join(folder, 'plugin.sh');
    writeFileSync(plugin, `echo '{"status":{"token":"${cluster.detail('token')}"}}'\n`);
    const users = [
      { 'client-certificate': 'me.crt', 'client-key': 'me.key' },
      { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'sh', args: [plugin] } },
    ];
    for (const [index, user] of users.entries()) {
      const kubeconfig = join(folder, `kubeconfig-${index}`);
      const server = { server: `https://${cluster.address}`, 'certificate-authority': cluster.detail('caFile') };
      const config = {
        'current-context': 'c',
        clusters: [{ name: 'c', cluster: server }],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      };
      writeFileSync(kubeconfig, JSON.stringify(config));
      await usingRegistry(cluster, { kubeconfig }, async (registry) => {
        await registry.register(serviceOf('connects', [`n${index}`]));
        expect(await idsOf(registry, 'connects')).toContain(`n${index}`);
      });
    }
  });

  it('asks the next address when the first one accepts and never answers', async () => {
    const hung = createServer(() => {});
    await new Promise<void>((resolve) => hung.listen(0, '127.0.0.1', resolve));
    const { port } = hung.address() as { port: number };
    const address = `127.0.0.1:${port},${cluster.address}`;
    const options = {
      address,
      tls: { caFile: cluster.detail('caFile') },
      credentials: { token: cluster.detail('token') },
    };
    await usingRegistry(cluster, options, async (registry) => {
      await registry.register(serviceOf('failover', ['n1']), { timeoutMs: 20_000 });
      expect(await idsOf(registry, 'failover')).toEqual(['n1']);
    });
    hung.close();
  });

  it('reads more slices than fit into a page', async () => {
    const all = Array.from({ length: 1_100 }, (_, index) => `10.1.${Math.floor(index / 250)}.${(index % 250) + 1}`);
    await putAll(cluster, 'pages', all);
    await usingRegistry(cluster, { timeoutMs: 30_000 }, async (registry) => {
      expect(await idsOf(registry, 'pages')).toHaveLength(1_100);
      const seen = new WatchRecorder(await registry.watch({ service: 'pages' }));
      await cluster.deleteSlice(`pages-${all[0]}`);
      await eventually('it goes', () => seen.texts.length > 0, patientMs);
      expect(seen.texts).toEqual([`delete ${all[0]}:9000`]);
    });
  }, 240_000);

  it('watches anew when its connection is silent, though it stands', async () => {
    const toxiproxy = new Toxiproxy();
    await toxiproxy.start();
    const proxy = await toxiproxy.proxy(cluster.address);
    const tls = { caFile: cluster.detail('caFile') };
    const options = { address: proxy.address, tls, credentials: { token: cluster.detail('token') }, watchMs: 2_000 };
    await usingRegistry(cluster, options, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'silent' }));
      await proxy.swallow();
      await cluster.putSlice('silent-a', 'silent', slice('10.0.5.1'));
      await sleep(16_000);
      expect(seen.texts).toEqual([]);
      await proxy.heal();
      await eventually('it follows', () => seen.texts.length > 0, patientMs);
      expect(seen.texts).toEqual(['create 10.0.5.1:9000']);
      await registry.register(serviceOf('silent', [nodeOf('own')]));
      await eventually('and on', () => seen.texts.includes('create own'), patientMs);
    });
    await toxiproxy.dispose();
  }, 240_000);
});

describeWithServer('KubernetesRegistry whose API server has lost its data', new KubernetesServer(), (cluster) => {
  it('says so to its watchers; the cache keeps what was known for a while, and then has the truth', async () => {
    const graceMs = 30_000;
    await cluster.putSlice('lost-a', 'lost', slice('10.0.1.1', '10.0.1.2'));
    // So that what comes afterwards is at a lower revision.
    for (let times = 0; times < 3_000; times += 1) await callEtcd(cluster, 'put', { key: 'AA==', value: 'AA==' });
    await cluster.putSlice('lost-a', 'lost', slice('10.0.1.1', '10.0.1.2', '10.0.1.3'));
    await usingRegistry(cluster, {}, async (registry) => {
      const register = (): Promise<boolean> =>
        registry.register(serviceOf('lost', ['own']), { ttlMs: 60_000 }).then(
          () => true,
          () => false,
        );
      await register();
      const cached = new CachedRegistry(registry, { graceMs });
      const ids = (): string =>
        (cached.peek('lost') ?? [])
          .flatMap(({ nodes }) => nodes.map(({ id }) => id))
          .sort()
          .join();
      const before = '10.0.1.1:9000,10.0.1.2:9000,10.0.1.3:9000,own';
      await cached.getService('lost');
      expect(ids()).toBe(before);
      const seen = [
        new WatchRecorder(await registry.watch({ service: 'lost' })),
        new WatchRecorder(await registry.watch()),
      ];
      await cluster.kill();
      rmSync(join(cluster.folder, 'data'), { recursive: true });
      const views = new Set<string>();
      const looking = setInterval(() => views.add(ids()), 5);
      await cluster.start();
      for (const { ended } of seen) {
        expect(await ended).toMatchObject({
          reason: 'registry.watch_lost',
          message: expect.stringMatching(/the API server has lost its data/),
        });
      }
      expect(seen.flatMap(({ texts }) => texts)).toEqual([]);
      await eventually('it is registered again', register, patientMs);
      await cluster.putSlice('lost-b', 'lost', slice('10.0.1.2', '10.0.1.4'));
      await eventually('what is new is seen', () => ids().includes('10.0.1.4:9000'), patientMs);
      await eventually('what has gone is forgotten', () => ids() === '10.0.1.2:9000,10.0.1.4:9000,own', patientMs);
      clearInterval(looking);
      // Until then nothing that lives was missing for a moment.
      for (const view of views) expect(view).toMatch(/10\.0\.1\.2:9000.*own/);
      await cached.close();
    });
  }, 240_000);
});
