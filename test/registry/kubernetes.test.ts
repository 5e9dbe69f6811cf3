import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import type { EndpointSlice } from '../../src/kubernetes/endpoint-slice.ts';
import { KubernetesRegistry } from '../../src/registry/kubernetes.ts';
import { stateKey } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { ApiProxy, KubernetesServer, usingRegistry } from './kubernetes-support.ts';
import { announcing, foundElsewhere, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 30_000;

describe('the address of KubernetesRegistry', () => {
  it.each(['', 'a b', 'host:99999', 'https://', 'ftp://host', 'https://user:secret@host', 'host:port'])(
    'may not be "%s"',
    (address) => {
      const invalid = expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_address' });
      expect(() => new KubernetesRegistry({ address })).toThrow(invalid);
      expect(() => new KubernetesRegistry().init({ address })).toThrow(/address/);
      expect(() => new KubernetesRegistry({ address })).not.toThrow(/secret/);
    },
  );

  it.each([
    'host',
    'host:6443',
    '[::1]:6443',
    'a:1,b:2',
    'https://host',
    'http://127.0.0.1:8001',
    'https://a:1,b:2/k8s',
  ])('may be "%s"', (address) => {
    expect(new KubernetesRegistry({ address }).options.address).toBe(address);
  });

  it('that is without TLS takes no credentials: they would be sent in the clear', async () => {
    const registry = new KubernetesRegistry({ address: 'http://127.0.0.1:1', credentials: { token: 'secret' } });
    await expect(registry.listServices()).rejects.toMatchObject({
      reason: 'registry.invalid_address',
      message: expect.stringMatching(/sent in the clear: write https/),
    });
    await registry.close();
  });

  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'true', interactiveMode: 'Never' };
  it.each([
    ['token of a program', {}, { exec }, undefined],
    ['authority', { 'certificate-authority': 'ca.crt' }, {}, undefined],
    ['authority, were it in an address of its own', { 'certificate-authority': 'ca.crt' }, {}, 'http://127.0.0.1:1'],
    ['certificate of a client', {}, { 'client-certificate': 'me.crt', 'client-key': 'me.key' }, undefined],
    ['name to verify', { 'tls-server-name': 'api' }, {}, undefined],
  ])('that is without TLS takes no %s of a kubeconfig either', async (_what, cluster, user, address) => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-kubeconfig-'));
    const kubeconfig = join(folder, 'config');
    const config = {
      'current-context': 'test',
      clusters: [{ name: 'test', cluster: { server: 'http://127.0.0.1:1', ...cluster } }],
      users: [{ name: 'test', user }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
    const registry = new KubernetesRegistry({ kubeconfig, address });
    await expect(registry.listServices()).rejects.toMatchObject({
      reason: 'registry.invalid_address',
      message: expect.stringMatching(/sent in the clear: write https/),
    });
    await registry.close();
    rmSync(folder, { recursive: true });
  });
});

describe('KubernetesRegistry that is closed', () => {
  it('while it connects first has sent nothing, and sends nothing afterwards', async () => {
    const requests: string[] = [];
    const server = createServer(({ url = '' }, response) => {
      requests.push(url);
      if (url === '/last') response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const registry = new KubernetesRegistry({ address: `http://127.0.0.1:${port}` });
    const calls = [registry.listServices(), registry.watch(), registry.register(serviceOf('s', ['n']))];
    const outcomes = Promise.allSettled(calls);
    await registry.close();
    const closed = { status: 'rejected', reason: expect.objectContaining({ reason: 'registry.closed' }) };
    expect(await outcomes).toEqual([closed, closed, closed]);
    // Whatever was on its way would have come before this one.
    await fetch(`http://127.0.0.1:${port}/last`);
    expect(requests).toEqual(['/last']);
    server.closeAllConnections();
    server.close();
  });
});

describeWithServer('KubernetesRegistry', new KubernetesServer(), (cluster) => {
  const ip = (host: string, more: object = {}): { addresses: string[] } => ({ addresses: [host], ...more });
  const endpoints = (...all: object[]): EndpointSlice => ({ endpoints: all });

  it('writes a slice per node, with its record, its lease, and an endpoint that others can use', async () => {
    await usingRegistry(cluster, {}, async (registry) => {
      const node = nodeOf('layout-1', { address: '10.0.0.7:50051', metadata: { zone: 'a' } });
      const service = serviceOf('layout', [node], { endpoints: [{ name: 'Greeter.Hello', metadata: {} }] });
      await registry.register(service, { ttlMs: 12_000 });
      const [slice, ...others] = await cluster.slices('layout');
      expect(others).toEqual([]);
      const { name, labels, annotations } = slice?.metadata ?? {};
      expect(name).toMatch(/^layout-[\da-f]{32}$/);
      expect(labels).toEqual({
        'kubernetes.io/service-name': 'layout',
        'endpointslice.kubernetes.io/managed-by': 'tenon',
        'app.kubernetes.io/version': '1.0.0',
        'tenon/owner': expect.stringMatching(/^[\da-f-]{36}$/),
      });
      expect(JSON.parse(annotations?.['tenon/record'] ?? '')).toEqual(service);
      const lease = JSON.parse(annotations?.['tenon/lease'] ?? '') as { renewTime: string };
      expect(lease).toEqual({ renewTime: expect.any(String), leaseDurationSeconds: 12 });
      expect(Math.abs(Date.parse(lease.renewTime) - Date.now())).toBeLessThan(60_000);
      expect(slice).toMatchObject({
        addressType: 'IPv4',
        endpoints: [{ addresses: ['10.0.0.7'], conditions: { ready: true, serving: true, terminating: false } }],
        ports: [{ name: 'grpc', port: 50051, protocol: 'TCP', appProtocol: 'grpc' }],
      });
      const drained = { ...node, metadata: { [stateKey]: 'draining' } };
      await registry.register(serviceOf('layout', [drained]));
      const [changed] = await cluster.slices('layout');
      expect(changed?.endpoints).toMatchObject([{ conditions: { ready: false, serving: true, terminating: true } }]);
      await registry.deregister(service);
      expect(await cluster.slices('layout')).toEqual([]);
    });
  });

  it('lists no address in an endpoint that the API does not take, and finds it all the same', async () => {
    await usingRegistry(cluster, {}, async (registry) => {
      const addresses = [
        '127.0.0.1:1',
        'host.example:2',
        '[::1]:3',
        '169.254.0.1:4',
        '[fd00::7]:5',
        'unix:/run/x.sock',
      ];
      for (const [index, address] of addresses.entries()) {
        await registry.register(serviceOf('unlisted', [nodeOf(`n${index}`, { address })]));
      }
      const found = await registry.getService('unlisted');
      expect(found.flatMap(({ nodes }) => nodes.map(({ address }) => address)).sort()).toEqual([...addresses].sort());
      const listed = (await cluster.slices('unlisted')).flatMap((one) => one.endpoints ?? []);
      expect(listed.map((one) => one.addresses)).toEqual([['fd00::7']]);
    });
  });

  it('finds the endpoints that controllers list, with pod, zone, node and version', async () => {
    await cluster.putSlice('foreign-a', 'foreign', {
      metadata: { labels: { 'app.kubernetes.io/version': '2.1' } },
      endpoints: [
        ip('10.1.0.1', { targetRef: { kind: 'Pod', name: 'foreign-0' }, zone: 'z1', nodeName: 'machine-1' }),
        ip('10.1.0.2', { hostname: 'second' }),
        ip('10.1.0.3', { conditions: { ready: false } }),
      ],
    });
    await usingRegistry(cluster, {}, async (registry) => {
      expect(await registry.getService('foreign')).toEqual([
        {
          name: 'foreign',
          version: '2.1',
          metadata: {},
          endpoints: [],
          nodes: [
            {
              id: 'foreign-0',
              address: '10.1.0.1:9000',
              metadata: {
                zone: 'z1',
                nodeName: 'machine-1',
              },
            },
            {
              id: 'second',
              address: '10.1.0.2:9000',
              metadata: {},
            },
          ],
        },
      ]);
      expect((await registry.listServices()).map(({ name }) => name)).toContain('foreign');
    });
  });

  it('reports nothing when an endpoint moves from one slice to another', async () => {
    const both = endpoints(ip('10.2.0.1', { zone: 'a' }), ip('10.2.0.2', { zone: 'a' }));
    await cluster.putSlice('moved-a', 'moved', both);
    await usingRegistry(cluster, {}, async (registry) => {
      const seen = new WatchRecorder(await registry.watch({ service: 'moved' }));
      await cluster.putSlice('moved-b', 'moved', endpoints(ip('10.2.0.2', { zone: 'a' }), ip('10.2.0.3')));
      await eventually('the new one comes', () => seen.texts.length > 0, patientMs);
      await cluster.putSlice('moved-a', 'moved', endpoints(ip('10.2.0.1', { zone: 'a' })));
      await cluster.deleteSlice('moved-a');
      await eventually('the other goes', () => seen.texts.length > 1, patientMs);
      expect(seen.texts).toEqual(['create 10.2.0.3:9000', 'delete 10.2.0.1:9000']);
      expect(await idsOf(registry, 'moved')).toEqual(['10.2.0.2:9000', '10.2.0.3:9000']);
    });
  });

  it('uses endpoints that terminate only where no other serves', async () => {
    const terminating = { conditions: { ready: false, serving: true, terminating: true } };
    await cluster.putSlice(
      'last-a',
      'last',
      endpoints(ip('10.3.0.1', { conditions: {} }), ip('10.3.0.2', terminating)),
    );
    await usingRegistry(cluster, {}, async (registry) => {
      const states = async (): Promise<string[]> => {
        const records = await registry.getService('last');
        return records
          .flatMap(({ nodes }) => nodes.map((one) => `${one.id} ${one.metadata[stateKey] ?? 'serving'}`))
          .sort();
      };
      expect(await states()).toEqual(['10.3.0.1:9000 serving', '10.3.0.2:9000 draining']);
      const seen = new WatchRecorder(await registry.watch({ service: 'last' }));
      await cluster.putSlice('last-a', 'last', endpoints(ip('10.3.0.2', terminating)));
      await eventually('both are told', () => seen.texts.length === 2, patientMs);
      expect([...seen.texts].sort()).toEqual(['delete 10.3.0.1:9000', 'update 10.3.0.2:9000']);
      expect(await states()).toEqual(['10.3.0.2:9000 serving']);
    });
  });

  it('lists a node once that has a slice of its own and an endpoint of a controller', async () => {
    await cluster.putSlice('both-a', 'both', endpoints(ip('10.4.0.1'), ip('10.4.0.2')));
    await usingRegistry(cluster, {}, async (registry) => {
      await registry.register(serviceOf('both', [nodeOf('own', { address: '10.4.0.1:9000' })]));
      expect(await idsOf(registry, 'both')).toEqual(['10.4.0.2:9000', 'own']);
    });
  });

  it('skips slices that cannot be read, and logs each once', async () => {
    const logger = new RecordingLogger();
    const slice = async (name: string, annotations: object): Promise<void> => {
      await cluster.done('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        addressType: 'IPv4',
        endpoints: [],
        ports: [],
        metadata: {
          name,
          annotations,
          labels: {
            'kubernetes.io/service-name': 'broken',
            'endpointslice.kubernetes.io/managed-by': 'tenon',
          },
        },
      });
    };
    const lease = JSON.stringify({ renewTime: new Date().toISOString(), leaseDurationSeconds: 600 });
    const record = (name: string): string => JSON.stringify(serviceOf(name, ['n']));
    await slice('broken-a', {});
    await slice('broken-b', { 'tenon/lease': lease, 'tenon/record': '{' });
    await slice('broken-c', { 'tenon/lease': '{"renewTime":"never"}', 'tenon/record': record('broken') });
    await slice('broken-d', { 'tenon/lease': lease, 'tenon/record': record('another') });
    await slice('broken-e', { 'tenon/lease': lease, 'tenon/record': record('broken') });
    const ports = [
      { name: 'a', port: 1 },
      { name: 'b', port: 2 },
    ];
    await cluster.putSlice('broken-f', 'broken', { ...endpoints(ip('10.5.0.1')), ports });
    await usingRegistry(cluster, { logger }, async (registry) => {
      for (let times = 0; times < 2; times += 1) expect(await idsOf(registry, 'broken')).toEqual(['n']);
      expect(logger.lines.map(({ message }) => message).sort()).toEqual([
        expect.stringMatching(/broken-a is skipped: it has no lease/),
        expect.stringMatching(/broken-b is skipped: it is not JSON/),
        expect.stringMatching(/broken-c is skipped: it has no lease/),
        expect.stringMatching(/broken-d is skipped: it is the record of another service/),
        expect.stringMatching(/broken-f is skipped: it has several ports.*TENON_KUBERNETES_PORT_NAME/),
      ]);
    });
    await usingRegistry(cluster, { portName: 'b' }, async (registry) => {
      expect(await idsOf(registry, 'broken')).toEqual(['10.5.0.1:2', 'n']);
    });
  });

  it('keeps namespaces and labels apart', async () => {
    await cluster.done('POST', '/api/v1/namespaces', { metadata: { name: 'apart' } });
    const labelled = { labelSelector: 'team=shop, tier in (a,b),tier=a' };
    await usingRegistry(cluster, { namespace: 'apart', ...labelled }, async (registry) => {
      await registry.register(serviceOf('apart', ['n1']));
      expect(await idsOf(registry, 'apart')).toEqual(['n1']);
      expect((await cluster.slices('apart', 'apart'))[0]?.metadata?.labels).toMatchObject({ team: 'shop', tier: 'a' });
    });
    await usingRegistry(cluster, {}, async (registry) => expect(await idsOf(registry, 'apart')).toEqual([]));
    const other = { namespace: 'apart', labelSelector: 'team=other' };
    await usingRegistry(cluster, other, async (registry) => expect(await idsOf(registry, 'apart')).toEqual([]));
    await usingRegistry(cluster, { namespace: 'absent' }, async (registry) => {
      await expect(registry.register(serviceOf('apart', ['n1']))).rejects.toMatchObject({
        code: Code.Internal,
        reason: 'registry.refused',
        message: expect.stringMatching(/namespaces "absent" not found/),
      });
    });
  });

  it('lets the last process that registers a node have it, and never removes what another has', async () => {
    const logger = new RecordingLogger();
    await usingRegistry(cluster, { logger }, async (first) => {
      await usingRegistry(cluster, {}, async (second) => {
        const at = (port: number): ReturnType<typeof serviceOf> =>
          serviceOf('twins', [nodeOf('n1', { address: `127.0.0.1:${port}` })]);
        const found = async (): Promise<string | undefined> => (await first.getService('twins'))[0]?.nodes[0]?.address;
        await first.register(at(7001));
        await second.register(at(7002));
        expect(await found()).toBe('127.0.0.1:7002');
        for (let times = 0; times < 3; times += 1) await first.register(at(7001));
        expect(await found()).toBe('127.0.0.1:7002');
        expect(logger.lines.map(({ message }) => message)).toEqual([
          expect.stringMatching(/node "n1" of service "twins" is registered by another process too/),
        ]);
        const seen = new WatchRecorder(await second.watch({ service: 'twins' }));
        const drained = nodeOf('n1', { address: '127.0.0.1:7001', metadata: { [stateKey]: 'draining' } });
        await first.register(serviceOf('twins', [drained]));
        await first.register(serviceOf('twins', [drained]), { ttlMs: 20_000 });
        expect(await found()).toBe('127.0.0.1:7002');
        await first.deregister(at(7001));
        expect(await found()).toBe('127.0.0.1:7002');
        expect(logger.lines).toHaveLength(1);
        // The watch reports in order: what came before this would be seen.
        await second.register(serviceOf('twins', ['n2']));
        await eventually('the other node comes', () => seen.texts.includes('create n2'), patientMs);
        expect(seen.texts).toEqual(['create n2']);
        await second.deregister(serviceOf('twins', ['n2']));
        await second.deregister(at(7002));
        await first.register(at(7001));
        expect(await found()).toBe('127.0.0.1:7001');
      });
    });
  });

  it('takes no slice that somebody else made', async () => {
    await usingRegistry(cluster, {}, async (registry) => {
      await registry.register(serviceOf('squat', ['n1']));
      const [slice] = await cluster.slices('squat');
      await registry.deregister(serviceOf('squat', ['n1']));
      await cluster.putSlice(slice?.metadata?.name ?? '', 'squat', endpoints(ip('10.6.0.1')));
      await expect(registry.register(serviceOf('squat', ['n1']))).rejects.toMatchObject({
        reason: 'registry.refused',
        message: expect.stringMatching(/exists, and is not tenon's/),
      });
      expect(await idsOf(registry, 'squat')).toEqual(['10.6.0.1:9000']);
    });
  });

  it('announces a node again whose slice was deleted by hand', async () => {
    const logger = new RecordingLogger();
    await usingRegistry(cluster, { logger }, async (registry) => {
      await registry.register(serviceOf('deleted', ['n1']));
      const [slice] = await cluster.slices('deleted');
      await cluster.deleteSlice(slice?.metadata?.name ?? '');
      await registry.register(serviceOf('deleted', ['n1']));
      expect(await idsOf(registry, 'deleted')).toEqual(['n1']);
      expect(logger.lines.map(({ message }) => message)).toEqual([expect.stringMatching(/lost node "n1"/)]);
    });
  });

  it('reports no renewals, and forgets a process that was killed when its lease is over', async () => {
    const options = { kubeconfig: cluster.detail('kubeconfig') };
    await usingRegistry(cluster, {}, async (registry) => {
      const [one, all] = [
        new WatchRecorder(await registry.watch({ service: 'killed' })),
        new WatchRecorder(await registry.watch()),
      ];
      const child = await announcing('kubernetes', options, 'killed', 'n1', 5_000);
      await registry.register(serviceOf('killed', ['n2']), { ttlMs: 60_000 });
      await registry.register(serviceOf('killed', ['n2']), { ttlMs: 60_000 });
      expect(await idsOf(registry, 'killed')).toEqual(['n1', 'n2']);
      await child.kill('SIGKILL');
      await eventually('it is gone', async () => (await idsOf(registry, 'killed')).join() === 'n2', patientMs);
      await eventually('watchers know', () => [one, all].every(({ texts }) => texts.includes('delete n1')), patientMs);
      expect(one.texts).toEqual(['create n1', 'create n2', 'delete n1']);
      // A process that has just started knows the time of the server to a second, and is rather late than early.
      await eventually(
        'a process that starts does not find it',
        async () => {
          const found = await foundElsewhere('kubernetes', options, 'killed');
          return found.flatMap(({ nodes }) => nodes.map(({ id }) => id)).join() === 'n2';
        },
        patientMs,
      );
    });
  });

  it('deletes slices of processes that died, and no others', async () => {
    const proxy = await new ApiProxy(cluster).start();
    const path = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
    const put = async (name: string, manager: string, lease: object): Promise<void> => {
      const labels = {
        'kubernetes.io/service-name': 'swept',
        'endpointslice.kubernetes.io/managed-by': manager,
        'tenon/owner': 'somebody',
      };
      const annotations = { 'tenon/record': JSON.stringify(serviceOf('swept', [name])), ...lease };
      const metadata = { name, labels, annotations };
      const rest = { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4' };
      await cluster.done('POST', path, { ...rest, endpoints: [], ports: [], metadata });
    };
    const leaseOf = (agoMs: number, leaseDurationSeconds = 5): object => {
      const renewTime = new Date(Date.now() - agoMs).toISOString();
      return { 'tenon/lease': JSON.stringify({ renewTime, leaseDurationSeconds }) };
    };
    await put('swept-dead', 'tenon', leaseOf(3_600_000));
    await put('swept-changed', 'tenon', leaseOf(3_600_000));
    await put('swept-alive', 'tenon', leaseOf(0, 3_600));
    await put('swept-unreadable', 'tenon', {});
    await put('swept-foreign', 'somebody-else', leaseOf(3_600_000));
    const child = await announcing('kubernetes', { kubeconfig: cluster.detail('kubeconfig') }, 'swept', 'n1', 1_000);
    await child.kill('SIGKILL');
    const names = async (): Promise<string[]> =>
      (await cluster.slices('swept')).map(({ metadata }) => metadata?.name ?? '').sort();
    expect(await names()).toHaveLength(6);
    const kept = ['swept-alive', 'swept-changed', 'swept-foreign', 'swept-unreadable'];
    let changes = 0;
    const change = async (): Promise<void> => {
      const metadata = { annotations: { changes: String((changes += 1)) } };
      await cluster.done('PATCH', `${path}/swept-changed`, { metadata }, 'application/merge-patch+json');
    };
    await usingRegistry(cluster, { address: proxy.address, sweepMs: 1 }, async (registry) => {
      const looks = (): number => proxy.requests.filter((one) => one.includes('managed-by%3Dtenon')).length;
      const look = async (): Promise<void> => {
        const before = looks();
        await change();
        await registry.register(serviceOf('sweeps', ['n1']));
        // Two looks without a change in between would delete that slice too.
        await eventually('it has looked', () => looks() > before, patientMs);
      };
      await look();
      await eventually('it has looked', () => looks() === 1, patientMs);
      // What is over is deleted at the second look, not at the first.
      expect(await names()).toContain('swept-dead');
      const isClean = async (): Promise<boolean> => {
        await look();
        return (await names()).join() === kept.join();
      };
      await eventually('dead slices are gone', isClean, patientMs);
      await registry.deregister(serviceOf('sweeps', ['n1']));
    });
    proxy.requests.length = 0;
    await usingRegistry(cluster, { address: proxy.address, sweepMs: 0 }, async (registry) => {
      for (let times = 0; times < 3; times += 1) await registry.register(serviceOf('sweeps', ['n1']));
      await registry.deregister(serviceOf('sweeps', ['n1']));
    });
    expect(proxy.requests.filter((one) => one.includes('managed-by'))).toEqual([]);
    await proxy.stop();
  });

  it('goes by the time of the API server, whatever the clocks of machines say', async () => {
    const { clock } = systemRuntime;
    const shifted = (byMs: number) => ({ now: () => clock.now() + byMs, monotonicMs: () => clock.monotonicMs() });
    await usingRegistry(cluster, { clock: shifted(3_600_000) }, async (ahead) => {
      await usingRegistry(cluster, { clock: shifted(-3_600_000) }, async (behind) => {
        await ahead.register(serviceOf('clocks', ['n1']), { ttlMs: 20_000 });
        await behind.register(serviceOf('clocks', ['n2']), { ttlMs: 20_000 });
        for (const reader of [ahead, behind]) expect(await idsOf(reader, 'clocks')).toEqual(['n1', 'n2']);
        const times = (await cluster.slices('clocks')).map(({ metadata }) => {
          const { renewTime } = JSON.parse(metadata?.annotations?.['tenon/lease'] ?? '') as { renewTime: string };
          return Math.abs(Date.parse(renewTime) - Date.now());
        });
        expect(Math.max(...times)).toBeLessThan(60_000);
      });
    });
  });

  it('leaves no watch behind that was given up while it began', async () => {
    const proxy = await new ApiProxy(cluster).start();
    await usingRegistry(cluster, { address: proxy.address }, async (registry) => {
      const ended = new AbortController();
      const watching = registry.watch({ service: 'given-up', signal: ended.signal });
      ended.abort();
      await expect(watching).rejects.toMatchObject({ reason: 'call.cancelled' });
      await idsOf(registry, 'given-up');
      await idsOf(registry, 'given-up');
      expect(proxy.requests.filter((one) => one.includes('watch=true'))).toEqual([]);
    });
    await proxy.stop();
  });

  it('says which right is missing, and who is not known', async () => {
    await cluster.done('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'nobody' } });
    const asked = await cluster.done('POST', '/api/v1/namespaces/default/serviceaccounts/nobody/token', {
      spec: { expirationSeconds: 600 },
    });
    const { token } = asked['status'] as { token: string };
    const connection = { address: cluster.address, tls: { caFile: cluster.detail('caFile') } };
    await usingRegistry(cluster, { ...connection, credentials: { token } }, async (registry) => {
      const denied = { code: Code.PermissionDenied, reason: 'registry.refused' };
      const right = (verb: string): object => ({
        ...denied,
        message: expect.stringMatching(
          new RegExp(
            `serviceaccount:default:nobody.* Role in namespace "default" with the verb "${verb}" for endpointslices`,
          ),
        ),
      });
      await expect(registry.getService('greeter')).rejects.toMatchObject(right('list'));
      await expect(registry.watch({ service: 'greeter' })).rejects.toMatchObject(right('list'));
      await expect(registry.register(serviceOf('greeter', ['n1']))).rejects.toMatchObject(right('get'));
    });
    await usingRegistry(cluster, { ...connection, credentials: { token: 'wrong' } }, async (registry) => {
      await expect(registry.getService('greeter')).rejects.toMatchObject({
        code: Code.PermissionDenied,
        reason: 'registry.refused',
        message: expect.stringMatching(/status 401: Unauthorized.*TENON_REGISTRY_TOKEN_FILE, or the kubeconfig/),
      });
    });
  });

  it('says when the certificate is of an authority that is not trusted, or of another host', async () => {
    const unreachable = { code: Code.Unavailable, reason: 'registry.unreachable' };
    await usingRegistry(cluster, { address: cluster.address }, async (registry) => {
      await expect(registry.listServices()).rejects.toMatchObject({
        ...unreachable,
        message: expect.stringMatching(/not trusted.*TENON_REGISTRY_TLS_CA_FILE/),
      });
    });
    const tls = { caFile: cluster.detail('caFile'), serverName: 'elsewhere' };
    await usingRegistry(cluster, { address: cluster.address, tls }, async (registry) => {
      await expect(registry.listServices()).rejects.toMatchObject({
        ...unreachable,
        message: expect.stringMatching(/elsewhere.*TENON_REGISTRY_TLS_SERVER_NAME/),
      });
    });
  });
});
