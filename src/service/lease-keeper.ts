import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { ServiceRecord } from '../registry/registry.ts';

/** The registration of one node that a {@link LeaseKeeper} keeps. */
export interface LeaseTerms {
  /** The name of the service, for logs. */
  readonly service: string;
  /** The record of the node while it serves. */
  readonly record: ServiceRecord;
  readonly ttlMs: number;
  /** Time between renewals, in milliseconds. */
  readonly intervalMs: number;
  /** The node is announced as busy once the event loop of its process is late by this, in milliseconds. */
  readonly busyAfterMs: number;
  /** The node is removed once the event loop is late by this, in milliseconds. It comes back with the event loop. */
  readonly busyMs: number;
}

/** Receives what happens to a {@link KeptLease}, as soon as this thread is not busy. */
export interface LeaseEvents {
  /** The node was registered, or its lease renewed. */
  onRegistered(): void;
  /** Nobody renews the lease any more. Called at most once, and not after `withdraw`. */
  onLost(error: unknown): void;
}

/** A lease that is renewed elsewhere. */
export interface KeptLease {
  /** The number of renewals that succeeded. It is current even if this thread was busy. */
  readonly renewals: number;
  /** The number of them that registered the node again, after failures or a loss. */
  readonly restorations: number;
  /** Starts to renew the lease. */
  begin(): void;
  /** Announces a record that changed from now on. */
  update(record: ServiceRecord): void;
  /** Ends renewals, and announces `record` after the last of them. Rejects if that failed. */
  announce(record: ServiceRecord, signal: AbortSignal): Promise<void>;
  /** Ends renewals, and removes the node after the last of them. Rejects if that failed. */
  withdraw(signal: AbortSignal): Promise<void>;
  /**
   * Ends renewals at once, whether the other side answers or not: nothing is announced after it has resolved. Other
   * leases are not touched. Never rejects.
   */
  abandon(): Promise<void>;
}

/** Renews leases outside of the main thread, so that a busy process is told from a dead one. */
export interface LeaseKeeper {
  /**
   * Prepares to renew a lease. Resolves to undefined if the bound registry cannot be used elsewhere; rejects if the
   * attempt failed, and another may succeed.
   */
  keep(terms: LeaseTerms, events: LeaseEvents): Promise<KeptLease | undefined>;
  /** Ends everything. Leases stay until their TTL ends. */
  close(): Promise<void>;
}
/** Container key of the {@link LeaseKeeper}. */
export const LeaseKeeper: ServiceIdentifier<LeaseKeeper> = token('service', 'LeaseKeeper');
