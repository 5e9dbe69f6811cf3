import type { Logger } from '../logger/logger.ts';
import type { ApiClient } from './api-client.ts';
import { type EndpointSlice, managedByLabel } from './endpoint-slice.ts';
import { ApiError, type ApiResource } from './kubernetes.ts';
import {
  type FormerNode,
  leaseAnnotation,
  leasedSlice,
  leaseOf,
  leaseText,
  leftOf,
  manager,
  ownerLabel,
  type PublishedNode,
  recordAnnotation,
  serviceJson,
  sliceNameOf,
} from './leased-slice.ts';
import type { ServerClock } from './server-clock.ts';

/** The version of a slice that was written last. */
export interface SliceGrant {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** True while another registry, which lives, has the node's slice. */
  readonly isTaken: boolean;
  /** True if there was no slice before. */
  readonly isNew?: boolean | undefined;
}

/** Tools of {@link SliceLeases}. */
export interface SliceLeasesTools<T> {
  readonly logger: Logger;
  readonly client: ApiClient;
  readonly clock: ServerClock;
  readonly slices: ApiResource;
  /** Says what the slice of a registration holds. */
  readonly nodeOf: (registration: T) => PublishedNode;
  /** Id of this registry. */
  readonly owner: string;
  /** Labels of every slice. */
  readonly labels: Readonly<Record<string, string>>;
}

// Others may write between a read and a write.
const maxAttempts = 5;

/**
 * Leases as EndpointSlices, one for each node. Whoever registers a node takes its slice over, as a process that was
 * restarted under its id does; whoever renews does not take it back. Nothing is written or deleted that another
 * registry has written since.
 */
export class SliceLeases<T> {
  readonly #tools: SliceLeasesTools<T>;
  /** Slices whose lease was over at the last look, by uid, with the version that they had. */
  #over = new Map<string, string>();
  #sweepAtMs = 0;

  constructor(tools: SliceLeasesTools<T>) {
    this.#tools = tools;
  }

  grant(registration: T, signal: AbortSignal): Promise<SliceGrant> {
    return this.#write(undefined, registration, signal);
  }

  /** Writes a changed registration, unless another registry, which lives, has taken the slice. */
  replace(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<SliceGrant> {
    return this.#write(grant, registration, signal);
  }

  async renew(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<SliceGrant | undefined> {
    const node = this.#tools.nodeOf(registration);
    const { client, clock, slices } = this.#tools;
    const { name, uid, resourceVersion } = grant;
    if (grant.isTaken) return this.#seen(grant, node, signal);
    const lease = leaseText({ renewedAtMs: clock.timeMs() ?? 0, ttlMs: node.ttlMs });
    const metadata = { uid, resourceVersion, annotations: { [leaseAnnotation]: lease } };
    try {
      const renewed = await client.patch<EndpointSlice>(slices, name, { metadata }, signal);
      return renewed && grantOf(renewed);
    } catch (error) {
      if (!isConflict(error)) throw error;
      return this.#seen(grant, node, signal);
    }
  }

  async revoke(grant: SliceGrant, _registration: T, signal: AbortSignal): Promise<void> {
    const { client, slices, owner } = this.#tools;
    let { uid, resourceVersion } = grant;
    for (let attempt = 1; !grant.isTaken; attempt += 1) {
      try {
        return await client.delete(slices, grant.name, { uid, resourceVersion }, signal);
      } catch (error) {
        if (attempt === maxAttempts || !isConflict(error)) throw error;
      }
      const found = await client.get<EndpointSlice>(slices, grant.name, signal);
      if (found?.metadata?.labels?.[ownerLabel] !== owner) return;
      ({ uid, resourceVersion } = grantOf(found));
    }
  }

  /**
   * Removes the slice of a node that has no lease here: one whose grant was not answered, or one that another registry
   * has taken over at the same address, as a thread of this process does.
   */
  async revokeFormer({ service, id, address }: FormerNode, signal: AbortSignal): Promise<void> {
    const { client, slices, owner } = this.#tools;
    const name = sliceNameOf(service, id);
    for (let attempt = 1; ; attempt += 1) {
      const found = await client.get<EndpointSlice>(slices, name, signal);
      const { labels, annotations } = found?.metadata ?? {};
      const [node] = serviceJson(annotations?.[recordAnnotation]).nodes;
      const isOurs = labels?.[ownerLabel] === owner || (address !== undefined && node?.address === address);
      if (!found || !isOurs || labels?.[managedByLabel] !== manager) return;
      try {
        return await client.delete(slices, name, grantOf(found), signal);
      } catch (error) {
        if (attempt === maxAttempts || !isConflict(error)) throw error;
      }
    }
  }

  /**
   * Deletes slices of processes that died, unless it was done less than `everyMs` ago, or `everyMs` is 0: those whose
   * lease was over the last time, and is over still, without a change in between. What changes until then stays.
   */
  async sweepWhenDue(everyMs: number, signal: AbortSignal): Promise<void> {
    const { client, clock, slices } = this.#tools;
    const now = clock.timeMs() ?? 0;
    if (everyMs === 0 || now < this.#sweepAtMs) return;
    this.#sweepAtMs = now + everyMs;
    const by = { labelSelector: `${managedByLabel}=${manager}` };
    const { items } = await client.list<EndpointSlice>(slices, by, signal);
    const over = items.filter((slice) => !isAlive(slice, clock)).map(grantOf);
    const before = this.#over;
    this.#over = new Map(over.map(({ uid, resourceVersion }) => [uid, resourceVersion]));
    for (const slice of over) {
      if (before.get(slice.uid) !== slice.resourceVersion) continue;
      await client.delete(slices, slice.name, slice, signal).catch((error: unknown) => {
        if (!isConflict(error)) throw error;
      });
    }
  }

  /** Writes a whole slice. With `held`, what another registry has taken since stays. */
  async #write(held: SliceGrant | undefined, registration: T, signal: AbortSignal): Promise<SliceGrant> {
    const node = this.#tools.nodeOf(registration);
    const { client, clock, slices, owner, labels } = this.#tools;
    const name = sliceNameOf(node.service, node.id);
    for (let attempt = 1; ; attempt += 1) {
      // It is read first: there may be one, and no answer has told the time yet.
      const found = await client.get<EndpointSlice>(slices, name, signal);
      const taken = held && this.#taken(held, node, found);
      if (taken) return taken;
      const slice = leasedSlice(node, { owner, renewedAtMs: clock.timeMs() ?? 0, labels });
      if (found && found.metadata?.labels?.[managedByLabel] !== manager) {
        throw new ApiError('create', slices, { status: 409, said: `EndpointSlice ${name} exists, and is not tenon's` });
      }
      try {
        if (!found) return { ...grantOf(await client.create(slices, slice, signal)), isNew: true };
        const { resourceVersion } = found.metadata ?? {};
        if (found.addressType === slice.addressType) {
          const metadata = { ...slice.metadata, resourceVersion };
          return grantOf(await client.update(slices, { ...slice, metadata }, signal));
        }
        // The family of its addresses cannot be changed.
        await client.delete(slices, name, grantOf(found), signal);
      } catch (error) {
        if (attempt === maxAttempts || !isConflict(error)) throw error;
      }
    }
  }

  /** Looks at a slice that somebody has written: `undefined` if nobody who lives has it, so that it is written anew. */
  async #seen(grant: SliceGrant, node: PublishedNode, signal: AbortSignal): Promise<SliceGrant | undefined> {
    const { client, slices } = this.#tools;
    return this.#taken(grant, node, await client.get<EndpointSlice>(slices, grant.name, signal));
  }

  #taken(grant: SliceGrant, node: PublishedNode, found: EndpointSlice | undefined): SliceGrant | undefined {
    const { clock, owner, logger } = this.#tools;
    const isOurs = found?.metadata?.labels?.[ownerLabel] === owner;
    if (!found || isOurs || !isAlive(found, clock)) return undefined;
    if (!grant.isTaken) {
      logger.warn(
        `node "${node.id}" of service "${node.service}" is registered by another process too, which has it now`,
      );
    }
    return { ...grantOf(found), isTaken: true };
  }
}

/** True if the lease of a slice is not over. One that cannot be read is taken to be alive. */
function isAlive(slice: EndpointSlice, clock: ServerClock): boolean {
  const lease = leaseOf(slice, clock);
  return lease === undefined || leftOf(lease, clock) > 0;
}

function grantOf({ metadata }: EndpointSlice): SliceGrant {
  const { name = '', uid = '', resourceVersion = '' } = metadata ?? {};
  return { name, uid, resourceVersion, isTaken: false };
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.status === 409;
}
