import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, expect, it } from '@jest/globals';

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

/** Compacts the etcd of a cluster, so that it forgets all changes so far. */
async function compact(cluster: KubernetesServer): Promise<void> {
  const url = `http://${cluster.detail('etcd')}/v3/kv`;
  const post = async (path: string, body: object): Promise<Response> =>
    fetch(`${url}/${path}`, { method: 'POST', body: JSON.stringify(body) });
  const { header } = (await (await post('range', { key: 'AA==' })).json()) as { header: { revision: string } };
  const answer = await post('compaction', { revision: header.revision, physical: true });
  if (!answer.ok) throw new Error(`etcd was not compacted: ${await answer.text()}`);
}

describeWithServer('KubernetesRegistry whose API server fails', new KubernetesServer(), (cluster) => {
  const slice = (...hosts: string[]) => ({ endpoints: hosts.map((host) => ({ addresses: [host] })) });

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
      await cluster.putSlice('gap-b', 'gap', slice('10.0.1.2', '10.0.1.4'));
      await eventually('it follows', () => seen.texts.length >= 3, patientMs);
      expect(seen.texts.slice(0, 2).sort()).toEqual(['create 10.0.1.2:9000', 'delete 10.0.1.1:9000']);
      expect(seen.texts.slice(2)).toEqual(['create 10.0.1.4:9000']);
    });
    await proxy.stop();
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

  it('reads a token again that was renewed in its file, when the old one is refused', async () => {
    const accounts = '/api/v1/namespaces/default/serviceaccounts';
    await cluster.done('POST', accounts, { metadata: { name: 'reader' } });
    const rules = [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] }];
    const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/default';
    await cluster.done('POST', `${rbac}/roles`, { metadata: { name: 'reader' }, rules });
    await cluster.done('POST', `${rbac}/rolebindings`, {
      metadata: { name: 'reader' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
      subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace: 'default' }],
    });
    /** A token that is valid as long as a Secret of this name is there. */
    const tokenOf = async (name: string): Promise<string> => {
      const secret = await cluster.done('POST', '/api/v1/namespaces/default/secrets', { metadata: { name } });
      const { uid } = secret['metadata'] as { uid: string };
      const spec = { boundObjectRef: { kind: 'Secret', apiVersion: 'v1', name, uid }, expirationSeconds: 600 };
      const { status } = await cluster.done('POST', `${accounts}/reader/token`, { spec });
      return (status as { token: string }).token;
    };
    const tokenFile = join(folder, 'token');
    const renew = async (name: string): Promise<void> => writeFileSync(tokenFile, `${await tokenOf(name)}\n`);
    await renew('first');
    await cluster.putSlice('token-a', 'token', slice('10.0.4.1'));
    const options = { address: cluster.address, tls: { caFile: cluster.detail('caFile') }, credentials: { tokenFile } };
    await usingRegistry(cluster, { ...options, watchMs: 2_000 }, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'token' }));
      expect(await idsOf(registry, 'token')).toEqual(['10.0.4.1:9000']);
      const old = new KubernetesRegistry({
        ...options,
        credentials: { token: readFileSync(tokenFile, 'utf8').trim() },
      });
      await renew('second');
      await cluster.done('DELETE', '/api/v1/namespaces/default/secrets/first');
      const refused = (): Promise<boolean> =>
        idsOf(old, 'token').then(
          () => false,
          () => true,
        );
      await eventually('the first token is refused', refused, patientMs);
      await old.close();
      expect(await idsOf(registry, 'token')).toEqual(['10.0.4.1:9000']);
      await cluster.putSlice('token-a', 'token', slice('10.0.4.1', '10.0.4.2'));
      await eventually('the watch goes on', () => seen.texts.length > 0, patientMs);
      expect(seen.texts).toEqual(['create 10.0.4.2:9000']);
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
    const free = [...all];
    const writers = Array.from({ length: 20 }, async () => {
      for (let host = free.pop(); host !== undefined; host = free.pop())
        await cluster.putSlice(`pages-${host}`, 'pages', slice(host));
    });
    await Promise.all(writers);
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
