import { pause } from '../runtime/bounded.ts';
import { retrying } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { FormerNode, PublishedNode } from './leased-slice.ts';
import { PodRecords, type PodRecordsTools } from './pod-records.ts';
import type { SliceGrant, SliceLeases } from './slice-leases.ts';

/** Tools of {@link PodLeases}. */
export interface PodLeasesTools<T> extends PodRecordsTools<T> {
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  readonly slices: Pick<SliceLeases<T>, 'grant' | 'renew' | 'replace' | 'revoke' | 'revokeFormer'>;
  /** Says what the slice of a registration holds. */
  readonly nodeOf: (registration: T) => PublishedNode;
  /** Aborts when nothing is to be written any more. */
  readonly closing: AbortSignal;
}

const maxBackoffMs = 10_000;

/** Leases as {@link SliceLeases}, whose nodes are in the pod of this process as well, for Go Micro's services. */
export class PodLeases<T> {
  readonly #tools: PodLeasesTools<T>;
  readonly #records: PodRecords<T>;
  /** Nodes that were not renewed in time, and whose slices are not over yet. */
  readonly #lapsing = new Map<string, AbortController>();

  constructor(tools: PodLeasesTools<T>) {
    this.#tools = tools;
    this.#records = new PodRecords(tools);
  }

  async grant(registration: T, signal: AbortSignal): Promise<SliceGrant> {
    const { slices, nodeOf } = this.#tools;
    const { service, id } = nodeOf(registration);
    this.#endLapse(service, id);
    const grant = await slices.grant(registration, signal);
    try {
      await this.#records.publish(registration, signal);
    } catch (error) {
      // Half of it would be found by some, and be renewed by nobody. A slice that was there before is that of a node
      // which lives: of this process, whose lease goes on, or of the one that handed it over.
      if (grant.isNew === true) {
        this.#records.forget(service, id);
        await slices.revoke(grant, registration, signal).catch(() => {});
      }
      throw error;
    }
    return grant;
  }

  async replace(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<SliceGrant> {
    const { slices } = this.#tools;
    const replaced = await slices.replace(grant, registration, signal);
    if (!replaced.isTaken) await this.#records.publish(registration, signal);
    return replaced;
  }

  async renew(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<SliceGrant | undefined> {
    const { slices } = this.#tools;
    const renewed = await slices.renew(grant, registration, signal);
    if (renewed && !renewed.isTaken) await this.#records.publish(registration, signal);
    return renewed;
  }

  release(_grant: SliceGrant, registration: T): void {
    const { service, id } = this.#tools.nodeOf(registration);
    this.#records.forget(service, id);
  }

  /**
   * Takes the record of a node out of the pod when its slice is over, after twice the time of the lease, unless the
   * node is announced again before: nobody but this process does it.
   */
  lapse(_grant: SliceGrant, registration: T): void {
    const { runtime, nodeOf, closing } = this.#tools;
    const { service, id, ttlMs } = nodeOf(registration);
    this.#endLapse(service, id);
    const ended = new AbortController();
    this.#lapsing.set(keyOf(service, id), ended);
    const signal = AbortSignal.any([ended.signal, closing]);
    const withdraw = async (): Promise<void> => {
      await pause(runtime.timers, ttlMs, signal);
      const backoff = { maxMs: maxBackoffMs };
      const write = (): Promise<void> => this.#records.withdraw(registration, signal);
      await retrying(write, { runtime, backoff, signal, keepAlive: false });
      if (this.#lapsing.get(keyOf(service, id)) === ended) this.#endLapse(service, id);
    };
    withdraw().catch(() => {});
  }

  async revoke(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<void> {
    const { slices } = this.#tools;
    try {
      await this.#records.withdraw(registration, signal);
    } finally {
      await slices.revoke(grant, registration, signal);
    }
  }

  async revokeFormer(former: FormerNode, signal: AbortSignal): Promise<void> {
    const { slices } = this.#tools;
    this.#endLapse(former.service, former.id);
    this.#records.forget(former.service, former.id);
    try {
      await this.#records.withdrawFormer(former, signal);
    } finally {
      await slices.revokeFormer(former, signal);
    }
  }

  #endLapse(service: string, id: string): void {
    this.#lapsing.get(keyOf(service, id))?.abort();
    this.#lapsing.delete(keyOf(service, id));
  }
}

function keyOf(service: string, id: string): string {
  return `${service}\n${id}`;
}
