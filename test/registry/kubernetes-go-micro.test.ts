import { expect, it } from '@jest/globals';

import { podKeysOf } from '../../src/go-micro/kubernetes.ts';
import type { Pod } from '../../src/kubernetes/pod-records.ts';
import type { KubernetesRegistry, KubernetesRegistryOptions } from '../../src/registry/kubernetes.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { KubernetesServer, usingRegistry } from './kubernetes-support.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 30_000;
const podsPath = '/api/v1/namespaces/default/pods';
const merge = 'application/merge-patch+json';

/** A record as Go writes it: null for what is empty, and `<` escaped. */
function goRecord(name: string, ids: readonly string[], version = '1.0.0', port = 9_001): string {
  const request =
    '{"name":"HelloRequest","type":"HelloRequest","values":[{"name":"name","type":"string","values":null}]}';
  const endpoint = `{"request":${request},"response":null,"metadata":{},"name":"Greeter.Hello"}`;
  const nodes = ids.map(
    (id, index) =>
      `{"metadata":{"protocol":"grpc","note":"a\\u003cb"},"id":"${id}","address":"10.7.0.${index + 1}:${port}"}`,
  );
  return `{"name":"${name}","version":"${version}","metadata":null,"endpoints":[${endpoint}],"nodes":[${nodes.join()}]}`;
}

describeWithServer("Go Micro's records in pods", new KubernetesServer(), (cluster) => {
  const patch = (path: string, body: object): Promise<unknown> =>
    cluster.done('PATCH', `${podsPath}/${path}`, body, merge);
  /** A pod as the kubelet has it, which no kubelet has. */
  const pod = async (name: string, phase = 'Running'): Promise<void> => {
    const spec = { containers: [{ name: 'main', image: 'none' }] };
    await cluster.done('POST', podsPath, { metadata: { name }, spec });
    await patch(`${name}/status`, { status: { phase } });
  };
  /** What Go Micro's registry writes when a service registers. */
  const goRegisters = async (name: string, service: string, record: string): Promise<void> => {
    const metadata = {
      labels: { 'micro.mu/type': 'service', [`micro.mu/selector-${service}`]: 'service' },
      annotations: { [`micro.mu/service-${service}`]: record },
    };
    await cluster.done(
      'PATCH',
      `${podsPath}/${name}`,
      { metadata, status: null },
      'application/strategic-merge-patch+json',
    );
  };
  const goDeregisters = async (name: string, service: string): Promise<void> => {
    const metadata = {
      labels: { [`micro.mu/selector-${service}`]: null },
      annotations: { [`micro.mu/service-${service}`]: null },
    };
    await cluster.done('PATCH', `${podsPath}/${name}`, { metadata }, 'application/strategic-merge-patch+json');
  };
  const podOf = async (name: string): Promise<Pod> => cluster.done('GET', `${podsPath}/${name}`);
  const using = (
    podName: string | undefined,
    body: (registry: KubernetesRegistry) => Promise<void>,
    more: KubernetesRegistryOptions & { logger?: RecordingLogger } = {},
  ): Promise<void> => usingRegistry(cluster, { dialect: 'go-micro', podName, ...more }, body);

  it('are found, with version, metadata and endpoints, and in this dialect only', async () => {
    await pod('go-1');
    await goRegisters('go-1', 'go.micro.srv.greeter', goRecord('go.micro.srv.greeter', ['g-1', 'g-2']));
    await using(undefined, async (registry) => {
      const found = await registry.getService('go.micro.srv.greeter');
      expect(found).toEqual([
        {
          name: 'go.micro.srv.greeter',
          version: '1.0.0',
          metadata: {},
          endpoints: [expect.objectContaining({ name: 'Greeter.Hello', response: undefined })],
          nodes: [
            { id: 'g-1', address: '10.7.0.1:9001', metadata: { protocol: 'grpc', note: 'a<b' } },
            { id: 'g-2', address: '10.7.0.2:9001', metadata: { protocol: 'grpc', note: 'a<b' } },
          ],
        },
      ]);
      expect((await registry.listServices()).map(({ name }) => name)).toContain('go.micro.srv.greeter');
    });
    await usingRegistry(cluster, {}, async (registry) => {
      expect(await idsOf(registry, 'go.micro.srv.greeter')).toEqual([]);
      expect((await registry.listServices()).map(({ name }) => name)).not.toContain('go.micro.srv.greeter');
    });
  });

  it('are followed, as pods come, change, end and go', async () => {
    for (const name of ['follow-1', 'follow-2']) await pod(name);
    await goRegisters('follow-1', 'follow', goRecord('follow', ['f-1'], '1', 1));
    await using(undefined, async (registry) => {
      const [one, all] = [
        new WatchRecorder(await registry.watch({ service: 'follow' })),
        new WatchRecorder(await registry.watch()),
      ];
      const seen = (count: number): Promise<void> =>
        eventually(`${count} changes`, () => one.texts.length >= count && all.texts.length >= count, patientMs);
      await goRegisters('follow-2', 'follow', goRecord('follow', ['f-2'], '1', 2));
      await seen(1);
      // What the kubelet writes, and a registration that says the same, are no changes.
      await patch('follow-1/status', { status: { message: 'well' } });
      await goRegisters('follow-2', 'follow', goRecord('follow', ['f-2'], '1', 2));
      await goRegisters('follow-2', 'follow', goRecord('follow', ['f-2'], '2', 2));
      await seen(2);
      await goDeregisters('follow-2', 'follow');
      await seen(3);
      await patch('follow-1/status', { status: { phase: 'Succeeded' } });
      await seen(4);
      await patch('follow-1/status', { status: { phase: 'Running' } });
      await seen(5);
      await cluster.done('DELETE', `${podsPath}/follow-1?gracePeriodSeconds=0`);
      await seen(6);
      const expected = ['create f-2', 'update f-2', 'delete f-2', 'delete f-1', 'create f-1', 'delete f-1'];
      for (const { texts } of [one, all]) expect(texts).toEqual(expected);
      expect(await idsOf(registry, 'follow')).toEqual([]);
    });
  });

  it('are passed over where they cannot be read, which is logged once', async () => {
    await pod('broken-pod');
    await goRegisters('broken-pod', 'broken.pod', '{');
    await goRegisters('broken-pod', 'broken.node', '{"name":"broken.pod","nodes":[{"id":"n","address":"h:99999"}]}');
    await goRegisters('broken-pod', 'broken.huge', `{"name":"broken.pod","version":"${'x'.repeat(100)}","nodes":[]}`);
    const logger = new RecordingLogger();
    const bounds = { logger, maxRecordBytes: 80 };
    await using(
      undefined,
      async (registry) => {
        for (let times = 0; times < 2; times += 1) expect(await idsOf(registry, 'broken.pod')).toEqual([]);
        await registry.listServices();
        const ours = logger.lines.map(({ message }) => message).filter((text) => text.includes('broken-pod'));
        expect(ours.sort()).toEqual([
          expect.stringMatching(/annotation micro\.mu\/service-broken\.huge of pod broken-pod .*larger than 80 bytes/),
          expect.stringMatching(/annotation micro\.mu\/service-broken\.node of pod broken-pod .*no address/),
          expect.stringMatching(/annotation micro\.mu\/service-broken\.pod of pod broken-pod .*is not JSON/),
        ]);
      },
      bounds,
    );
  });

  it('are written for a service that registers, and taken back', async () => {
    await pod('own-pod');
    await goRegisters('own-pod', 'neighbour', goRecord('neighbour', ['n-1']));
    await using('own-pod', async (registry) => {
      const node = nodeOf('own-1', { address: '10.8.0.1:1', metadata: { protocol: 'grpc' } });
      const service = serviceOf('own.srv', [node], { endpoints: [{ name: 'Greeter.Hello', metadata: {} }] });
      await registry.register(service, { ttlMs: 20_000 });
      const { metadata } = await podOf('own-pod');
      expect(metadata?.labels).toMatchObject({ 'micro.mu/type': 'service', 'micro.mu/selector-own.srv': 'service' });
      expect(JSON.parse(metadata?.annotations?.['micro.mu/service-own.srv'] ?? '')).toEqual(service);
      expect(await registry.getService('own.srv')).toEqual([service]);
      const { resourceVersion } = (await podOf('own-pod')).metadata ?? {};
      // A renewal writes nothing new, and restores what was lost.
      await registry.register(service, { ttlMs: 20_000 });
      expect((await podOf('own-pod')).metadata?.resourceVersion).toBe(resourceVersion);
      await goDeregisters('own-pod', 'own.srv');
      await registry.register(service, { ttlMs: 20_000 });
      expect((await podOf('own-pod')).metadata?.annotations).toHaveProperty(['micro.mu/service-own.srv']);
      // Two nodes of one service are one record.
      const second = serviceOf('own.srv', [nodeOf('own-2', { address: '10.8.0.1:2' })], {
        endpoints: service.endpoints,
      });
      await Promise.all([registry.register(second), registry.register(service)]);
      const idsInPod = async (): Promise<string[]> => {
        const text = (await podOf('own-pod')).metadata?.annotations?.['micro.mu/service-own.srv'] ?? '{"nodes":[]}';
        return (JSON.parse(text) as { nodes: { id: string }[] }).nodes.map(({ id }) => id).sort();
      };
      expect(await idsInPod()).toEqual(['own-1', 'own-2']);
      await registry.deregister(service);
      expect(await idsInPod()).toEqual(['own-2']);
      await registry.deregister(second);
      const left = (await podOf('own-pod')).metadata;
      expect(Object.keys(left?.annotations ?? {})).toEqual(['micro.mu/service-neighbour']);
      expect(left?.labels).toEqual({ 'micro.mu/type': 'service', 'micro.mu/selector-neighbour': 'service' });
      expect(await cluster.slices('own.srv')).toEqual([]);
    });
  });

  it('go when a node is no longer renewed, as its lease ends', async () => {
    await pod('lapsing');
    await using('lapsing', async (registry) => {
      await registry.register(serviceOf('lapsing.srv', ['l-1']), { ttlMs: 3_000 });
      const isGone = async (): Promise<boolean> =>
        (await podOf('lapsing')).metadata?.annotations?.['micro.mu/service-lapsing.srv'] === undefined;
      expect(await isGone()).toBe(false);
      await eventually('it is taken back', isGone, patientMs);
    });
  });

  it('are taken back by the registry that released them, if the one that went on with them is gone', async () => {
    await pod('handed-pod');
    const [ours, other] = [serviceOf('handed.srv', ['h-1']), serviceOf('handed.srv', ['h-2'])];
    const inPod = async (): Promise<string> =>
      (await podOf('handed-pod')).metadata?.annotations?.['micro.mu/service-handed.srv'] ?? '';
    await using('handed-pod', async (first) => {
      await first.register(ours, { ttlMs: 60_000 });
      await first.release(ours);
      await using('handed-pod', async (second) => {
        await second.register(other, { ttlMs: 60_000 });
        await second.register(ours, { ttlMs: 60_000 });
      });
      expect(JSON.parse(await inPod())).toMatchObject({ nodes: [{ id: 'h-2' }, { id: 'h-1' }] });
      // At another address it is another process.
      const moved = serviceOf('handed.srv', [nodeOf('h-1', { address: '10.9.9.9:9' })]);
      await using('handed-pod', async (third) => {
        await third.register(moved, { ttlMs: 60_000 });
        await first.deregister(ours);
        expect(await idsOf(third, 'handed.srv')).toEqual(['h-1', 'h-2']);
        expect(await inPod()).toContain('10.9.9.9:9');
        await third.register(ours, { ttlMs: 60_000 });
      });
      await first.deregister(ours);
      expect(await inPod()).toBe('');
      expect(await idsOf(first, 'handed.srv')).toEqual(['h-2']);
    });
  });

  it('that another registry has written since stay where they are', async () => {
    await pod('shared-pod');
    await using('shared-pod', async (first) => {
      await using('shared-pod', async (second) => {
        await first.register(serviceOf('shared.srv', ['s-1']));
        await second.register(serviceOf('shared.srv', ['s-2']));
        await first.deregister(serviceOf('shared.srv', ['s-1']));
        const text = (await podOf('shared-pod')).metadata?.annotations?.['micro.mu/service-shared.srv'];
        expect(JSON.parse(text ?? '')).toMatchObject({ nodes: [{ id: 's-2' }] });
        // By slices both were there all the time.
        expect(await idsOf(first, 'shared.srv')).toEqual(['s-2']);
      });
    });
  });

  it('are of a process that was killed where there is no slice: those of tenon count by their slice alone', async () => {
    await pod('killed-pod');
    const record = goRecord('killed.srv', ['k-1']);
    await goRegisters('killed-pod', 'killed.srv', record);
    await patch('killed-pod', { metadata: { annotations: { 'tenon/owner-killed.srv': 'somebody' } } });
    await using(undefined, async (registry) => expect(await idsOf(registry, 'killed.srv')).toEqual([]));
    await patch('killed-pod', { metadata: { annotations: { 'tenon/owner-killed.srv': null } } });
    await using(undefined, async (registry) => expect(await idsOf(registry, 'killed.srv')).toEqual(['k-1']));
  });

  it('cannot be written without a pod, or for a name that no label can have, and the error says so', async () => {
    await using('no-such-pod', async (registry) => {
      await expect(registry.register(serviceOf('homeless', ['n']))).rejects.toMatchObject({
        reason: 'registry.refused',
        message: expect.stringMatching(/there is no pod "no-such-pod".*TENON_KUBERNETES_POD_NAME/),
      });
      expect(await cluster.slices('homeless')).toEqual([]);
    });
    const name = 'x'.repeat(55);
    await using('own-pod', async (registry) => {
      await expect(registry.register(serviceOf(name, ['n']))).rejects.toMatchObject({
        reason: 'registry.refused',
        message: expect.stringMatching(/Go Micro finds no service with the name "x{55}"/),
      });
      // It can be looked for all the same.
      expect(await idsOf(registry, `${name}y`)).toEqual([]);
    });
  });

  it.each([
    ['go.micro.srv.greeter', 'go.micro.srv.greeter'],
    ['a/b c', 'a_b_c'],
    ['Größe', 'Gr____e'],
    ['x'.repeat(54), 'x'.repeat(54)],
    ['x'.repeat(55), undefined],
    ['ends-', undefined],
    ['', undefined],
  ])('of the service "%s" have keys that end with %s', (service, suffix) => {
    const label = suffix === undefined ? undefined : `micro.mu/selector-${suffix}`;
    expect(podKeysOf(service)?.label).toBe(label);
  });
});
