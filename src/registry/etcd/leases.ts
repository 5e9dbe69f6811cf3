import type { EtcdClient } from '../../etcd/etcd.ts';
import { type EtcdCallBounds, isDenied, type KeyValue } from '../../etcd/messages.ts';
import type { Registration } from '../kit/driver.ts';
import { invalidService } from '../kit/errors.ts';
import { type LeaseBackend, type Renewed, takenElsewhere } from '../kit/lease-manager.ts';
import { encodeNode } from '../kit/records.ts';
import type { KeyLayout } from './keys.ts';

/** A lease with the key of the one node under it. */
export interface Grant {
  readonly id: bigint;
  readonly key: string;
  readonly ttlMs: number;
}

const unread: unique symbol = Symbol('unread');

/** Puts each node under a lease of its own. Replaces broken records, and never what another node has put. */
export class EtcdLeases implements LeaseBackend<Grant> {
  readonly #client: EtcdClient;
  readonly #keys: KeyLayout;

  constructor(client: EtcdClient, keys: KeyLayout) {
    this.#client = client;
    this.#keys = keys;
  }

  async grant(registration: Registration, signal: AbortSignal): Promise<Grant> {
    const { service, node, ttlMs } = registration;
    const id = await this.#client.grant(ttlMs, boundsOf(ttlMs, signal));
    const put = { value: encodeNode(service, node), lease: id };
    const mayReplace = (found: KeyValue): boolean =>
      !this.#keys.decode(found) || this.#keys.isOf(found, service.name, node.id);
    for (const key of this.#keys.ofNode(service.name, node.id)) {
      if (await this.#client.replace(key, put, mayReplace, boundsOf(ttlMs, signal))) return { id, key, ttlMs };
    }
    throw invalidService(service.name, `the keys of its node "${node.id}" in etcd are taken by other nodes`);
  }

  /**
   * Extends the lease, and sees whether the node is still under it. Until etcd 3.6 anybody may extend a lease: one that
   * was extended is alive, though the node may not be read for the moment.
   */
  async renew(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>> {
    const bounds = boundsOf(grant.ttlMs, signal);
    const reading = this.#client.get(grant.key, bounds).catch((error: unknown): typeof unread => {
      if (isDenied(error)) return unread;
      throw error;
    });
    const [isAlive, found] = await Promise.all([this.#client.keepAlive(grant.id, bounds), reading]);
    if (!isAlive) return undefined;
    return found === unread ? grant : this.#held(grant, found, registration);
  }

  async replace(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>> {
    // The TTL of a lease cannot change. The old one ends by itself.
    if (registration.ttlMs !== grant.ttlMs) {
      const found = await this.#client.get(grant.key, boundsOf(registration.ttlMs, signal));
      const held = this.#held(grant, found, registration);
      return held === takenElsewhere ? held : this.grant(registration, signal);
    }
    const { id: lease, key } = grant;
    const put = { value: encodeNode(registration.service, registration.node), lease };
    const bounds = boundsOf(grant.ttlMs, signal);
    const { succeeded, found } = await this.#client.writeIf({ target: 'LEASE', lease }, key, put, bounds);
    return succeeded ? grant : this.#held(grant, found, registration);
  }

  revoke({ id, ttlMs }: Grant, _: Registration, signal: AbortSignal): Promise<void> {
    return this.#client.revoke(id, boundsOf(ttlMs, signal));
  }

  #held(grant: Grant, found: KeyValue | undefined, { service, node }: Registration): Renewed<Grant> {
    if (found?.lease === grant.id) return grant;
    // One without a lease would stay for ever, so it is replaced.
    return found && found.lease > 0n && this.#keys.isOf(found, service.name, node.id) ? takenElsewhere : undefined;
  }
}

/** An attempt that is not answered within two thirds of the interval of renewals is made again. */
function boundsOf(ttlMs: number, signal: AbortSignal): EtcdCallBounds {
  return { signal, attemptMs: Math.min(2_000, (ttlMs * 2) / 9) };
}
