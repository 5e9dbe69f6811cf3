import type { EtcdCallBounds, EtcdClient, KeyCondition, KeyValue } from '../../etcd/etcd.ts';
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

// A key that others change each time between its reading and its writing is given up.
const maxRounds = 16;
const isAbsent: KeyCondition = { target: 'CREATE', createRevision: 0n };

/** Puts each node under a lease of its own. What another node has put is never replaced. */
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
    for (const key of this.#keys.ofNode(service.name, node.id)) {
      const grant = { id, key, ttlMs };
      if (await this.#put(grant, registration, signal)) return grant;
    }
    throw invalidService(service.name, `the keys of its node "${node.id}" in etcd are taken by other nodes`);
  }

  /** Extends the lease, and sees whether the node is still under it. */
  async renew(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>> {
    const bounds = boundsOf(grant.ttlMs, signal);
    const [isAlive, found] = await Promise.all([
      this.#client.keepAlive(grant.id, bounds),
      this.#client.get(grant.key, bounds),
    ]);
    return isAlive ? this.#held(grant, found, registration) : undefined;
  }

  async replace(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>> {
    // The TTL of a lease cannot change. The old one ends by itself.
    if (registration.ttlMs !== grant.ttlMs) {
      const found = await this.#client.get(grant.key, boundsOf(registration.ttlMs, signal));
      const held = this.#held(grant, found, registration);
      return held === takenElsewhere ? held : this.grant(registration, signal);
    }
    const { succeeded, found } = await this.#write({ target: 'LEASE', lease: grant.id }, grant, registration, signal);
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

  /** Puts a record where there is none, or a broken one, or one of the same node. False for one of another node. */
  async #put(grant: Grant, registration: Registration, signal: AbortSignal): Promise<boolean> {
    const { service, node } = registration;
    let condition = isAbsent;
    for (let round = 0; round < maxRounds; round += 1) {
      const { succeeded, found } = await this.#write(condition, grant, registration, signal);
      // An attempt whose answer did not come may have written it.
      if (succeeded || found?.lease === grant.id) return true;
      if (found && this.#keys.decode(found) && !this.#keys.isOf(found, service.name, node.id)) return false;
      condition = found ? { target: 'MOD', modRevision: found.modRevision } : isAbsent;
    }
    throw new Error(`others write ${grant.key} all the time`);
  }

  #write(
    condition: KeyCondition,
    { id, key, ttlMs }: Grant,
    { service, node }: Registration,
    signal: AbortSignal,
  ): ReturnType<EtcdClient['writeIf']> {
    const put = { value: encodeNode(service, node), lease: id };
    return this.#client.writeIf(condition, key, put, boundsOf(ttlMs, signal));
  }
}

/** An attempt that is not answered within two thirds of the interval of renewals is made again. */
function boundsOf(ttlMs: number, signal: AbortSignal): EtcdCallBounds {
  return { signal, attemptMs: Math.min(2_000, (ttlMs * 2) / 9) };
}
