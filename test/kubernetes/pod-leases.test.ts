import { describe, expect, it } from '@jest/globals';

import { ApiError, type ApiObject } from '../../src/kubernetes/kubernetes.ts';
import type { FormerNode, PublishedNode } from '../../src/kubernetes/leased-slice.ts';
import { PodLeases } from '../../src/kubernetes/pod-leases.ts';
import { podsOf } from '../../src/kubernetes/pod-records.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const { signal } = new AbortController();
const ttlMs = 10_000;
const annotation = 'micro.mu/service-greeter';
const pods = podsOf('default');
const grant = { name: 'slice', uid: 'u', resourceVersion: '1', isTaken: false };

function nodeOf(id: string, address = '10.0.0.1:1'): PublishedNode {
  const conditions = { ready: true, serving: true, terminating: false };
  return { service: 'greeter', version: '1', id, address, conditions, record: '', ttlMs };
}

/** A pod at an API server, and the leases of a process in it. */
function scene() {
  const runtime = virtualRuntime();
  const closing = new AbortController();
  const log: string[] = [];
  const pod = { annotations: {} as Record<string, string>, labels: {} as Record<string, string>, version: 1 };
  const server = { failures: 0, conflicts: 0 };
  const fail = (status: number): never => {
    throw new ApiError('patch', pods, { status, said: 'no' });
  };
  const client = {
    get: async <T extends ApiObject>(): Promise<T> => {
      const { annotations, labels, version } = pod;
      const metadata = { annotations: { ...annotations }, labels: { ...labels }, resourceVersion: String(version) };
      return { metadata } as unknown as T;
    },
    patch: async <T extends ApiObject>(_resource: unknown, _name: string, fields: object): Promise<T> => {
      const { metadata } = fields as { metadata: Record<'labels' | 'annotations', Record<string, string | null>> };
      const wanted = (metadata as { resourceVersion?: string }).resourceVersion;
      if (server.failures > 0) {
        server.failures -= 1;
        fail(503);
      }
      if (wanted !== undefined && server.conflicts > 0) {
        server.conflicts -= 1;
        pod.version += 1;
      }
      if (wanted !== undefined && wanted !== String(pod.version)) fail(409);
      for (const part of ['labels', 'annotations'] as const)
        for (const [key, value] of Object.entries(metadata[part])) {
          if (value === null) delete pod[part][key];
          else pod[part][key] = value;
        }
      pod.version += 1;
      return {} as T;
    },
  };
  const noted = (what: string) => async () => {
    log.push(what);
    return grant;
  };
  const known = new Set<string>();
  const slices = {
    grant: async ({ id }: PublishedNode) => {
      log.push('grant');
      const isNew = !known.has(id);
      known.add(id);
      return { ...grant, isNew };
    },
    renew: noted('renew'),
    replace: noted('replace'),
    revoke: async () => void log.push('revoke'),
    revokeFormer: async ({ id }: FormerNode) => void log.push(`revoke former ${id}`),
  };
  const leasesOf = (owner: string): PodLeases<PublishedNode> =>
    new PodLeases<PublishedNode>({
      client,
      pods,
      pod: 'pod',
      owner,
      nodeOf: (node) => node,
      encode: (nodes) => JSON.stringify({ name: 'greeter', nodes: nodes.map(({ id, address }) => ({ id, address })) }),
      runtime,
      slices,
      closing: closing.signal,
    });
  const ids = (): string[] => {
    const { nodes } = JSON.parse(pod.annotations[annotation] ?? '{"nodes":[]}') as { nodes: { id: string }[] };
    return nodes.map(({ id }) => id);
  };
  return { leasesOf, log, pod, server, ids, timers: runtime.timers, closing };
}

describe('leases of nodes in a pod', () => {
  it('leave slice and record where a lease was not renewed in time, and take the record when the slice is over', async () => {
    const { leasesOf, log, ids, timers, pod } = scene();
    const leases = leasesOf('us');
    await leases.grant(nodeOf('n1'), signal);
    leases.lapse(grant, nodeOf('n1'));
    await timers.advance(ttlMs - 1);
    expect(ids()).toEqual(['n1']);
    await timers.advance(1);
    expect([ids(), log]).toEqual([[], ['grant']]);
    expect(pod).toMatchObject({ annotations: {}, labels: { 'micro.mu/type': 'service' } });
    expect(Object.keys(pod.annotations)).toEqual([]);
  });

  it('keep the record of a node that is announced again before its slice is over', async () => {
    const { leasesOf, ids, timers } = scene();
    const leases = leasesOf('us');
    await leases.grant(nodeOf('n1'), signal);
    leases.lapse(grant, nodeOf('n1'));
    await timers.advance(ttlMs / 2);
    await leases.grant(nodeOf('n1'), signal);
    await timers.advance(10 * ttlMs);
    expect(ids()).toEqual(['n1']);
  });

  it('try until the record is taken, unless nothing is to be written any more', async () => {
    const { leasesOf, ids, timers, server, closing } = scene();
    const leases = leasesOf('us');
    await leases.grant(nodeOf('n1'), signal);
    leases.lapse(grant, nodeOf('n1'));
    server.failures = 3;
    await timers.advance(ttlMs + 60_000);
    expect([ids(), server.failures]).toEqual([[], 0]);
    await leases.grant(nodeOf('n1'), signal);
    leases.lapse(grant, nodeOf('n1'));
    closing.abort();
    await timers.advance(ttlMs + 60_000);
    expect(ids()).toEqual(['n1']);
  });

  it('leave no slice where the record could not be written', async () => {
    const { leasesOf, log, ids, server } = scene();
    const leases = leasesOf('us');
    server.failures = 1;
    await expect(leases.grant(nodeOf('n1'), signal)).rejects.toMatchObject({ status: 503 });
    expect([ids(), log]).toEqual([[], ['grant', 'revoke']]);
    // It is not among the nodes that are written with the next.
    await leases.grant(nodeOf('n2'), signal);
    expect(ids()).toEqual(['n2']);
  });

  it('leave the slice of a node that lives where its record cannot be written any more', async () => {
    const { leasesOf, log, server } = scene();
    const [us, worker] = [leasesOf('us'), leasesOf('worker')];
    await us.grant(nodeOf('n1'), signal);
    server.failures = 2;
    await expect(us.grant(nodeOf('n1'), signal)).rejects.toMatchObject({ status: 503 });
    us.release(grant, nodeOf('n1'));
    await expect(worker.grant(nodeOf('n1'), signal)).rejects.toMatchObject({ status: 503 });
    expect(log).toEqual(['grant', 'grant', 'grant']);
  });

  it('leave out of the record a node that was late, and is withdrawn before its slice is over', async () => {
    const { leasesOf, ids } = scene();
    const leases = leasesOf('us');
    for (const id of ['n1', 'n2']) await leases.grant(nodeOf(id), signal);
    leases.lapse(grant, nodeOf('n1'));
    await leases.revokeFormer({ service: 'greeter', id: 'n1' }, signal);
    await leases.renew(grant, nodeOf('n2'), signal);
    expect(ids()).toEqual(['n2']);
  });

  it('take back a node that another registry of this process has at the same address, and no other', async () => {
    const { leasesOf, log, ids, pod, server } = scene();
    const [us, worker] = [leasesOf('us'), leasesOf('worker')];
    await us.grant(nodeOf('n1'), signal);
    us.release(grant, nodeOf('n1'));
    for (const id of ['n1', 'n2']) await worker.grant(nodeOf(id), signal);
    log.length = 0;
    server.conflicts = 2;
    await us.revokeFormer({ service: 'greeter', id: 'n1', address: '10.0.0.1:1' }, signal);
    expect([ids(), log]).toEqual([['n2'], ['revoke former n1']]);
    await us.revokeFormer({ service: 'greeter', id: 'n2', address: '10.0.0.2:1' }, signal);
    await us.revokeFormer({ service: 'greeter', id: 'n2' }, signal);
    expect(ids()).toEqual(['n2']);
    await us.revokeFormer({ service: 'greeter', id: 'n2', address: '10.0.0.1:1' }, signal);
    expect([pod.annotations, pod.labels]).toEqual([{}, { 'micro.mu/type': 'service' }]);
  });

  it('take back nothing of Go Micro itself, and nothing that cannot be read', async () => {
    const { leasesOf, ids, pod } = scene();
    const us = leasesOf('us');
    pod.annotations[annotation] = JSON.stringify({ nodes: [{ id: 'n1', address: '10.0.0.1:1' }] });
    await us.revokeFormer({ service: 'greeter', id: 'n1', address: '10.0.0.1:1' }, signal);
    expect(ids()).toEqual(['n1']);
    for (const text of ['{', 'null', '[]', '{"nodes":7}', '{"nodes":[null,7]}']) {
      Object.assign(pod.annotations, { [annotation]: text, 'tenon/owner-greeter': 'worker' });
      await us.revokeFormer({ service: 'greeter', id: 'n1', address: '10.0.0.1:1' }, signal);
      expect(pod.annotations[annotation]).toBe(text);
    }
  });
});
