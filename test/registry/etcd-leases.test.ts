import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import type { EtcdClient } from '../../src/etcd/etcd.ts';
import type { KeyValue } from '../../src/etcd/messages.ts';
import { KeyLayout } from '../../src/registry/etcd/keys.ts';
import { EtcdLeases } from '../../src/registry/etcd/leases.ts';
import { BrokenRecords } from '../../src/registry/kit/broken-records.ts';
import { takenElsewhere } from '../../src/registry/kit/lease-manager.ts';
import { encodeNode } from '../../src/registry/kit/records.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { nodeOf, serviceOf } from './support.ts';

const ttlMs = 30_000;
const node = nodeOf('n1');
const registration = { service: serviceOf('greeter', [node]), node, ttlMs };
const grant = { id: 7n, key: '/p/greeter/n1', ttlMs };
const { signal } = new AbortController();

function refusal(code: Code, message: string): TenonError {
  return new TenonError({ code, reason: 'suite.refused', message });
}

function keyUnder(lease: bigint): KeyValue {
  const value = Buffer.from(encodeNode(registration.service, node));
  return { key: Buffer.from(grant.key), value, modRevision: 3n, lease };
}

/** Renews with a client that answers so. */
function renewing(keepAlive: () => Promise<boolean>, get: () => Promise<KeyValue | undefined>) {
  const client = { keepAlive, get } as unknown as EtcdClient;
  const keys = new KeyLayout('/p/', new BrokenRecords(new RecordingLogger()), 1_000_000);
  return new EtcdLeases(client, keys).renew(grant, registration, signal);
}

describe('a renewal in etcd', () => {
  const isExtended = async (): Promise<boolean> => true;

  it.each([
    ['its own lease', 7n, grant],
    ['no lease', 0n, undefined],
    ['the lease of another process', 8n, takenElsewhere],
  ])('finds the node under %s', async (_what, lease, renewed) => {
    expect(await renewing(isExtended, async () => keyUnder(lease))).toBe(renewed);
  });

  it.each([
    refusal(Code.InvalidArgument, 'etcdserver: authentication failed, invalid user ID or password'),
    refusal(Code.InvalidArgument, 'etcdserver: user name is empty'),
    refusal(Code.Unauthenticated, 'etcdserver: invalid auth token'),
    refusal(Code.PermissionDenied, 'etcdserver: permission denied'),
  ])('succeeds where the lease was extended, and the key may not be read: $message', async (denied) => {
    const get = () => Promise.reject(denied);
    expect(await renewing(isExtended, get)).toBe(grant);
    expect(await renewing(async () => false, get)).toBeUndefined();
    const refused = renewing(() => Promise.reject(denied), get);
    await expect(refused).rejects.toBe(denied);
  });

  it('fails where the key cannot be read for another reason', async () => {
    const away = refusal(Code.Unavailable, 'etcdserver: no leader');
    await expect(renewing(isExtended, () => Promise.reject(away))).rejects.toBe(away);
  });
});
