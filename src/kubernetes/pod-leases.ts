import type { PodRecords } from './pod-records.ts';
import type { SliceGrant, SliceLeases } from './slice-leases.ts';

/** Leases as {@link SliceLeases}, whose nodes are in the pod of this process as well, for Go Micro's services. */
export class PodLeases<T> {
  readonly #slices: SliceLeases<T>;
  readonly #records: PodRecords<T>;

  constructor(slices: SliceLeases<T>, records: PodRecords<T>) {
    this.#slices = slices;
    this.#records = records;
  }

  async grant(registration: T, signal: AbortSignal): Promise<SliceGrant> {
    const grant = await this.#slices.grant(registration, signal);
    await this.#records.publish(registration, signal);
    return grant;
  }

  async replace(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<SliceGrant> {
    const replaced = await this.#slices.replace(grant, registration, signal);
    if (!replaced.isTaken) await this.#records.publish(registration, signal);
    return replaced;
  }

  async renew(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<SliceGrant | undefined> {
    const renewed = await this.#slices.renew(grant, registration, signal);
    if (renewed && !renewed.isTaken) await this.#records.publish(registration, signal);
    return renewed;
  }

  async revoke(grant: SliceGrant, registration: T, signal: AbortSignal): Promise<void> {
    try {
      await this.#records.withdraw(registration, signal);
    } finally {
      await this.#slices.revoke(grant, registration, signal);
    }
  }
}
