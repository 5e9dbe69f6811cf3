import { endsWithin, pause } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { Timer } from '../../runtime/runtime.ts';
import type { DriverTools, Registration } from './driver.ts';
import { nodeKey } from './node-table.ts';

/** Keeps leases at one kind of server. `Grant` is what the server gave: the id of a lease, of a session, of a check. */
export interface LeaseKeeper<Grant> {
  /** Makes a lease and announces the node under it. */
  grant(registration: Registration, signal: AbortSignal): Promise<Grant>;
  /** Extends the lease of a record that did not change. `undefined` if the server knows no such lease any more. */
  renew(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Grant | undefined>;
  /**
   * Announces another record, or another length, under the same lease. `undefined` if the server knows no such lease
   * any more.
   * @default `grant`
   */
  replace?(grant: Grant, registration: Registration, signal: AbortSignal): Promise<Grant | undefined>;
  /** Takes the node back, and its lease. */
  revoke(grant: Grant, registration: Registration, signal: AbortSignal): Promise<void>;
}

/** Options of a {@link LeaseBook}. */
export interface LeaseBookOptions extends DriverTools {
  /** The registry's name, for what is logged. */
  readonly registry: string;
  /** Leases that were lost together are made again spread over this time, in milliseconds. @default 1_000 */
  readonly spreadMs?: number | undefined;
  /** The longest pause between attempts to make a lease again, in milliseconds. @default 5_000 */
  readonly maxPauseMs?: number | undefined;
}

interface Lease<Grant> {
  readonly registration: Registration;
  readonly text: string;
  /** Absent while the lease is lost. */
  grant: Grant | undefined;
  lapse: Timer;
}

/**
 * The registrations of one process at a server that has leases or sessions. A node that is announced again is renewed;
 * one whose record changed is replaced; one that is not announced again in time is taken back. Leases that the server
 * lost are made again, each after a random part of `spreadMs`, then with back-off, for as long as they would have held.
 * Of one node, one thing happens at a time.
 */
export class LeaseBook<Grant> {
  readonly #keeper: LeaseKeeper<Grant>;
  readonly #options: LeaseBookOptions & { readonly spreadMs: number; readonly maxPauseMs: number };
  readonly #leases = new Map<string, Lease<Grant>>();
  readonly #turns = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  #madeAgain = 0;

  constructor(keeper: LeaseKeeper<Grant>, options: LeaseBookOptions) {
    this.#keeper = keeper;
    this.#options = { ...options, spreadMs: options.spreadMs ?? 1_000, maxPauseMs: options.maxPauseMs ?? 5_000 };
  }

  /** The number of times that a lost lease was made again. */
  get madeAgain(): number {
    return this.#madeAgain;
  }

  /** The nodes that are announced now, with what the server gave for them. */
  *entries(): IterableIterator<{ readonly registration: Registration; readonly grant: Grant | undefined }> {
    yield* this.#leases.values();
  }

  /** Announces a node, or renews or replaces what was announced. */
  hold(registration: Registration, signal: AbortSignal): Promise<void> {
    const key = keyOf(registration);
    return this.#turn(key, signal, async () => {
      const known = this.#leases.get(key);
      const text = JSON.stringify(registration);
      // What becomes of the caller's record afterwards is not announced.
      const copy = known?.text === text ? known.registration : (JSON.parse(text) as Registration);
      const keeper = this.#keeper;
      let grant: Grant | undefined;
      if (known?.grant !== undefined && (known.text === text || keeper.replace)) {
        if (known.text === text) grant = await keeper.renew(known.grant, copy, signal);
        else grant = await keeper.replace?.(known.grant, copy, signal);
        if (grant === undefined) this.#warn(copy);
      }
      grant ??= await keeper.grant(copy, signal);
      if (this.#closing.signal.aborted) return;
      known?.lapse.cancel();
      const lapse = this.#options.timers.after(registration.ttlMs, () => this.#lapsed(key, lease));
      const lease: Lease<Grant> = { registration: copy, text, grant, lapse };
      this.#leases.set(key, lease);
    });
  }

  /** Takes a node back. Not an error if it is not there. */
  release(service: string, id: string, signal: AbortSignal): Promise<void> {
    const key = nodeKey(service, id);
    return this.#turn(key, signal, () => this.#revoke(key, signal));
  }

  /** The server lost leases, as those of a session that expired: they are made again. */
  lost(isLost: (grant: Grant) => boolean = () => true): void {
    for (const [key, lease] of this.#leases) {
      if (lease.grant === undefined || !isLost(lease.grant)) continue;
      lease.grant = undefined;
      this.#warn(lease.registration);
      void this.#makeAgain(key, lease);
    }
  }

  /** Forgets everything. At the server the leases run out. */
  close(): void {
    this.#closing.abort();
    for (const key of this.#leases.keys()) this.#forget(key);
  }

  /** Never rejects. */
  async #makeAgain(key: string, lease: Lease<Grant>): Promise<void> {
    const { timers, random, spreadMs, maxPauseMs } = this.#options;
    const { signal } = this.#closing;
    const isOver = (): boolean => this.#leases.get(key) !== lease || lease.grant !== undefined;
    const work = async (): Promise<void> => {
      if (isOver()) return;
      lease.grant = await this.#keeper.grant(lease.registration, signal);
      this.#madeAgain += 1;
    };
    await pause(timers, random.next() * spreadMs, signal);
    await retrying(() => this.#turn(key, signal, work), {
      runtime: { timers, random },
      backoff: { maxMs: maxPauseMs },
      signal,
      keepAlive: false,
      onFailure: (error) => {
        if (isOver()) throw error;
      },
    }).catch(() => {});
  }

  /** Nobody renewed it: the node is taken back, as far as the server does not do that itself. */
  #lapsed(key: string, lease: Lease<Grant>): void {
    const { signal } = this.#closing;
    const work = this.#turn(key, signal, async () => {
      // Announced again by what was under way.
      if (this.#leases.get(key) === lease) await this.#revoke(key, signal);
    });
    work.catch(() => {});
  }

  async #revoke(key: string, signal: AbortSignal): Promise<void> {
    const lease = this.#forget(key);
    if (lease?.grant !== undefined) await this.#keeper.revoke(lease.grant, lease.registration, signal);
  }

  #forget(key: string): Lease<Grant> | undefined {
    const lease = this.#leases.get(key);
    lease?.lapse.cancel();
    this.#leases.delete(key);
    return lease;
  }

  #warn({ service, node }: Registration): void {
    const { logger, registry } = this.#options;
    logger.warn(`the ${registry} registry lost node "${node.id}" of service "${service.name}": it is announced again`);
  }

  /** Runs `work` when what is under way for the same node has ended, or was given up. */
  async #turn(key: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(key);
    const run = (async (): Promise<void> => {
      await before;
      signal.throwIfAborted();
      await work();
    })();
    const ended = endsWithin(run, { timers: this.#options.timers, signal }).then(nothing, nothing);
    this.#turns.set(key, ended);
    void ended.then(() => {
      if (this.#turns.get(key) === ended) this.#turns.delete(key);
    });
    await run;
  }
}

function nothing(): void {}

function keyOf({ service, node }: Registration): string {
  return nodeKey(service.name, node.id);
}
