import { endsWithin, pause } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { Timer } from '../../runtime/runtime.ts';
import type { DriverTools, Registration } from './driver.ts';
import { nodeKey } from './node-table.ts';

// Nodes that were announced and are no longer. Ids are made anew for each process.
const maxRemembered = 1_024;

/** Says that a node is registered from another place: that registration stays, and this one waits until it is gone. */
export const takenElsewhere: unique symbol = Symbol('taken elsewhere');

/** Grants and revokes leases at one kind of server. `Grant` identifies one: the id of a lease, a session or a check. */
export interface LeaseBackend<Grant> {
  /** Creates a lease and announces the node under it. */
  grant(registration: Registration, signal: AbortSignal): Promise<Grant>;
  /**
   * Extends the lease of a record that did not change. `undefined` if the server no longer has the lease or the node;
   * {@link takenElsewhere} if another process has registered the node since.
   */
  renew(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>>;
  /**
   * Announces a changed record or TTL under the same lease. Resolves as `renew` does.
   * @default `grant`
   */
  replace?(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Renewed<Grant>>;
  /** Lets go of a node that another instance keeps from now on. Asks nothing of the server. @default nothing */
  release?(grant: Grant, registration: Registration): void;
  /** Notes that a lease was not renewed in time, where `lapses` leaves the node to the server. @default nothing */
  lapse?(grant: Grant, registration: Registration): void;
  /** Removes the node and ends its lease. */
  revoke(grant: Grant, registration: Registration, signal: AbortSignal): Promise<void>;
}

/** The outcome of a renewal. */
export type Renewed<Grant> = Grant | typeof takenElsewhere | undefined;

/** Options of a {@link LeaseManager}. */
export interface LeaseManagerOptions extends Omit<DriverTools, 'security'> {
  /** The registry's name, for logs. */
  readonly registry: string;
  /**
   * Time in milliseconds over which leases that were lost together are spread when they are restored. @default 1_000
   */
  readonly restoreSpreadMs?: number | undefined;
  /** Longest back-off between attempts to restore a lease, in milliseconds. @default 5_000 */
  readonly maxBackoffMs?: number | undefined;
  /** True if the server removes a node by itself when its lease ends: it is not withdrawn then. @default false */
  readonly lapses?: boolean | undefined;
}

interface Lease<Grant> {
  readonly registration: Registration;
  readonly text: string;
  /** Absent while the lease is lost. */
  grant: Grant | undefined;
  expiry: Timer;
  /** When it ends unless it is renewed, on the monotonic clock. */
  readonly endsAtMs: number;
  /** True while the node is registered from another place. */
  readonly isElsewhere: boolean;
}

interface Announcing {
  readonly key: string;
  isReleased: boolean;
}

/**
 * Keeps the registrations of one process at a server that has leases or sessions. A node that is announced again is
 * renewed, or replaced if its record changed; a node that is not announced again within its TTL is withdrawn. A lease
 * that the server lost is restored after a random part of `restoreSpreadMs`, then with back-off, until its TTL ends.
 * Operations on one node run one after another.
 */
export class LeaseManager<Grant> {
  readonly #backend: LeaseBackend<Grant>;
  readonly #options: LeaseManagerOptions & { readonly restoreSpreadMs: number; readonly maxBackoffMs: number };
  readonly #leases = new Map<string, Lease<Grant>>();
  readonly #queues = new Map<string, Promise<void>>();
  /** The last registrations of nodes that are no longer announced here. */
  readonly #before = new Map<string, Registration>();
  /** Announcements under way. One may outlast the call that was aborted, and the release after that. */
  readonly #announcing = new Set<Announcing>();
  readonly #closing = new AbortController();
  #restored = 0;

  constructor(backend: LeaseBackend<Grant>, options: LeaseManagerOptions) {
    this.#backend = backend;
    this.#options = {
      ...options,
      restoreSpreadMs: options.restoreSpreadMs ?? 1_000,
      maxBackoffMs: options.maxBackoffMs ?? 5_000,
    };
  }

  /** The number of lost leases that were restored. */
  get restored(): number {
    return this.#restored;
  }

  /** The announced nodes with their leases; `grant` is undefined while a lease is lost. */
  *entries(): IterableIterator<{ readonly registration: Registration; readonly grant: Grant | undefined }> {
    yield* this.#leases.values();
  }

  /** Announces a node, or renews its lease, or replaces its record. */
  announce(registration: Registration, signal: AbortSignal): Promise<void> {
    const key = keyOf(registration);
    return this.#enqueue(key, signal, async () => {
      const announcing = { key, isReleased: false };
      this.#announcing.add(announcing);
      try {
        await this.#announce(announcing, registration, signal);
      } finally {
        this.#announcing.delete(announcing);
      }
    });
  }

  /**
   * Withdraws a node. One that is not announced here is left to `otherwise`, which does nothing by default, with what
   * was announced here before, until its release or withdrawal: another process may have the node since.
   */
  withdraw(
    service: string,
    id: string,
    signal: AbortSignal,
    otherwise: (before: Registration | undefined) => Promise<void> = async () => {},
  ): Promise<void> {
    const key = nodeKey(service, id);
    return this.#enqueue(key, signal, () =>
      this.#leases.has(key) ? this.#revoke(key, signal) : otherwise(this.#before.get(key)),
    );
  }

  /** Forgets a node, once earlier operations on it have ended. At the server it stays until its TTL ends. */
  release(service: string, id: string): Promise<void> {
    const key = nodeKey(service, id);
    return this.#enqueue(key, this.#closing.signal, async () => {
      const lease = this.#forget(key);
      if (lease?.grant !== undefined) this.#backend.release?.(lease.grant, lease.registration);
      for (const announcing of this.#announcing) if (announcing.key === key) announcing.isReleased = true;
    });
  }

  /** Marks leases as lost by the server, as after a session expired, and restores them. */
  markLost(isLost: (grant: Grant) => boolean = () => true): void {
    for (const [key, lease] of this.#leases) {
      if (lease.grant === undefined || !isLost(lease.grant)) continue;
      lease.grant = undefined;
      this.#warn(lease.registration);
      void this.#restore(key, lease);
    }
  }

  /** Drops all leases. At the server they stay until their TTL ends. */
  close(): void {
    this.#closing.abort();
    for (const key of this.#leases.keys()) this.#forget(key);
  }

  async #announce(announcing: Announcing, registration: Registration, signal: AbortSignal): Promise<void> {
    const { key } = announcing;
    const known = this.#leases.get(key);
    const text = JSON.stringify(registration);
    // A copy, so that the caller may change its record afterwards.
    const copy = known?.text === text ? known.registration : (JSON.parse(text) as Registration);
    const backend = this.#backend;
    let isLost = known !== undefined && known.grant === undefined;
    let renewed: Renewed<Grant>;
    if (known?.grant !== undefined && (known.text === text || backend.replace)) {
      if (known.text === text) renewed = await backend.renew(known.grant, copy, signal);
      else renewed = await backend.replace?.(known.grant, copy, signal);
      if (renewed === undefined) {
        isLost = true;
        // A lease that was not renewed in time has not been lost by the server.
        if (this.#options.clock.monotonicMs() < known.endsAtMs) this.#warn(copy);
      }
    }
    const isElsewhere = renewed === takenElsewhere;
    if (isElsewhere && known?.isElsewhere !== true) this.#warnOfTwin(copy);
    const kept = renewed === takenElsewhere ? known?.grant : renewed;
    const grant = kept ?? (await backend.grant(copy, signal));
    if (isLost && kept === undefined) this.#noteRestored(copy);
    if (announcing.isReleased) backend.release?.(grant, copy);
    if (this.#closing.signal.aborted || announcing.isReleased) return;
    known?.expiry.cancel();
    const { timers, clock } = this.#options;
    const expiry = timers.after(registration.ttlMs, () => this.#onExpiry(key, lease));
    const endsAtMs = clock.monotonicMs() + registration.ttlMs;
    const lease: Lease<Grant> = { registration: copy, text, grant, expiry, endsAtMs, isElsewhere };
    this.#leases.set(key, lease);
  }

  /** Never rejects. */
  async #restore(key: string, lease: Lease<Grant>): Promise<void> {
    const { timers, random, restoreSpreadMs, maxBackoffMs } = this.#options;
    const { signal } = this.#closing;
    const isOver = (): boolean => this.#leases.get(key) !== lease || lease.grant !== undefined;
    const work = async (): Promise<void> => {
      if (isOver()) return;
      lease.grant = await this.#backend.grant(lease.registration, signal);
      this.#noteRestored(lease.registration);
    };
    await pause(timers, random.next() * restoreSpreadMs, signal);
    await retrying(() => this.#enqueue(key, signal, work), {
      runtime: { timers, random },
      backoff: { maxMs: maxBackoffMs },
      signal,
      keepAlive: false,
      onFailure: (error) => {
        if (isOver()) throw error;
      },
    }).catch(() => {});
  }

  /** Withdraws a node whose lease was not renewed, for servers that do not remove it by themselves. */
  #onExpiry(key: string, lease: Lease<Grant>): void {
    const { signal } = this.#closing;
    const work = this.#enqueue(key, signal, async () => {
      // An operation that was queued before may have announced it again.
      if (this.#leases.get(key) !== lease) return;
      if (this.#options.lapses !== true) return this.#revoke(key, signal);
      this.#forget(key);
      if (lease.grant !== undefined) this.#backend.lapse?.(lease.grant, lease.registration);
    });
    work.catch(() => {});
  }

  async #revoke(key: string, signal: AbortSignal): Promise<void> {
    const lease = this.#forget(key);
    if (lease?.grant !== undefined) await this.#backend.revoke(lease.grant, lease.registration, signal);
  }

  #forget(key: string): Lease<Grant> | undefined {
    const lease = this.#leases.get(key);
    if (!lease) return undefined;
    lease.expiry.cancel();
    this.#leases.delete(key);
    this.#before.delete(key);
    this.#before.set(key, lease.registration);
    const [oldest = ''] = this.#before.keys();
    if (this.#before.size > maxRemembered) this.#before.delete(oldest);
    return lease;
  }

  #noteRestored({ service, node }: Registration): void {
    this.#restored += 1;
    const { registry, observers } = this.#options;
    observers?.tell('onRestored', { registry, service: service.name, node: node.id });
  }

  #warn({ service, node }: Registration): void {
    const { logger, registry } = this.#options;
    logger.warn(`the ${registry} registry lost node "${node.id}" of service "${service.name}": it is announced again`);
  }

  #warnOfTwin({ service, node }: Registration): void {
    const { logger, registry } = this.#options;
    logger.warn(
      `node "${node.id}" of service "${service.name}" was registered in the ${registry} registry from another place, which stays: give each process a node id of its own`,
    );
  }

  /** Runs `work` after earlier work for the same node has ended or was aborted. */
  async #enqueue(key: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const before = this.#queues.get(key);
    const run = (async (): Promise<void> => {
      await before;
      signal.throwIfAborted();
      await work();
    })();
    // The next one waits for those before as well, though this one was aborted while it waited.
    const ended = Promise.all([before, endsWithin(run, { timers: this.#options.timers, signal })]).then(
      nothing,
      nothing,
    );
    this.#queues.set(key, ended);
    void ended.then(() => {
      if (this.#queues.get(key) === ended) this.#queues.delete(key);
    });
    await run;
  }
}

function nothing(): void {}

function keyOf({ service, node }: Registration): string {
  return nodeKey(service.name, node.id);
}
