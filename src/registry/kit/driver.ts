import type { Logger } from '../../logger/logger.ts';
import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import type { ConnectionSecurity } from '../../tls/connection.ts';
import type { NodeRecord, RegistryAction, ServiceRecord } from '../registry.ts';
import type { DriverFailure } from './errors.ts';
import type { RegistryObservers } from './observers.ts';

/** The clock, randomness, timers and logger for a driver. */
export interface DriverTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly logger: Logger;
  /** TLS and credentials from the options that the capabilities allow. Closed after the driver. */
  readonly security: ConnectionSecurity;
  /** Tells the observers of the registry. */
  readonly observers?: RegistryObservers | undefined;
}

/** One call of the registry, for its driver. */
export interface DriverCall {
  /** The method that was called: `register`, `deregister`, `getService`, `listServices` or `watch`. */
  readonly method: string;
  /** Aborts when the call has ended for its caller: by time-out, or because the caller aborted it. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** True for the reads at the start of a watch, which is established when they have ended. */
  readonly isInitialRead: boolean;
}

/** A node to announce. */
export interface Registration {
  /** The record with just the one node. It belongs to the caller: a driver that stores it makes a copy. */
  readonly service: ServiceRecord;
  readonly node: NodeRecord;
  /** The lease, rounded up to what the registry can keep. */
  readonly ttlMs: number;
}

/** A node that the server has, with its lease. */
export interface LeasedNode {
  /** The record with just the one node. */
  readonly service: ServiceRecord;
  /** Remaining time of the lease. Without one, or below 0, the node stays until a change or a read removes it. */
  readonly leaseMs?: number | undefined;
  /**
   * True if the server says that the lease has ended, which it may say wrongly after it was busy: it is not found, and
   * a watch that knows it keeps it for a second more.
   * @default false
   */
  readonly hasLapsed?: boolean | undefined;
}

/** The result of a read. */
export interface Snapshot {
  readonly nodes: readonly LeasedNode[];
  /** Revision of the last change in this snapshot, if the server counts changes. */
  readonly revision?: number | undefined;
  /** False if the snapshot may lack nodes that exist: known ones are kept until their lease ends. @default true */
  readonly isComplete?: boolean | undefined;
  /** Longest time until the next read, in milliseconds. @default the `maxReadMs` of the driver */
  readonly readAgainMs?: number | undefined;
}

/** One change that the server reported. */
export interface Change extends LeasedNode {
  readonly action: RegistryAction;
  /** Its revision, if the server counts changes: one that is in a snapshot already is ignored. */
  readonly revision?: number | undefined;
}

/** Receives the changes that a driver reports for one watch, until the signal of the watch aborts. */
export interface WatchFeed {
  /** The service that is watched; undefined for all services. */
  readonly service: string | undefined;
  /** Reports that a node was added, changed or removed. */
  change(change: Change): void;
  /**
   * Reports that something may have changed, in one service or in any: it is read again, within the driver's bounds.
   */
  refresh(service?: string): void;
  /**
   * Reports that the watch goes on after the server was away: leases may have ended that could not be renewed. Called
   * before the changes of that time.
   */
  resumed(): void;
  /** Reports that changes may have been missed for good: the watch ends with `registry.watch_lost`. */
  fail(why: string, cause?: unknown): void;
}

/** Limits of a driver's records and reads. */
export interface DriverBounds {
  /** The largest record of a node that the server stores, in bytes. @default no limit */
  readonly maxRecordBytes?: number | undefined;
  /** Shortest time between two reads of a watch, in milliseconds. @default 100 */
  readonly minReadMs?: number | undefined;
  /**
   * Longest time between two reads of a watch, in milliseconds: the polling interval of a driver without `watch`.
   * @default 30_000, and 1_000 without `watch`
   */
  readonly maxReadMs?: number | undefined;
}

/**
 * Speaks to one kind of server. {@link DrivenRegistry} does everything that is the same for all of them: states,
 * time-outs, validation, the pace of watches, events, errors.
 *
 * Methods may be called concurrently, and should end when the signal of their call aborts. Errors that they throw are
 * translated by `failure`, unless they are `TenonError`s other than `ChannelCallError`.
 */
export interface RegistryDriver {
  /** The server and its address, without secrets: `Redis at 127.0.0.1:6379`. */
  readonly server: string;
  readonly bounds?: DriverBounds | undefined;
  /** True if `listServices` returns names alone, since reading all services would cost too much. @default false */
  readonly listsNames?: boolean | undefined;
  /**
   * Announces a node, or renews its lease and replaces its record. Absent in a registry that cannot register. `created`
   * says that the server did not have the node: if it was announced before, the server had lost it.
   */
  announce?(registration: Registration, call: DriverCall): Promise<'created' | void> | 'created' | void;
  /** Removes a node, and does nothing if there is none. Absent in a registry that cannot register. */
  withdraw?(service: string, id: string, call: DriverCall): Promise<void> | void;
  /**
   * Lets go of a node that another instance announces from now on, without asking the server. For a driver that keeps
   * leases; see the capability `transferable`.
   */
  release?(service: string, id: string): Promise<void> | void;
  /** Reads the nodes of a service, or of all services: `service` is undefined only for a driver without `names`. */
  read(service: string | undefined, call: DriverCall): Promise<Snapshot> | Snapshot;
  /** Reads the names of services that have nodes. For a server that cannot return all services in one answer. */
  names?(call: DriverCall): Promise<readonly string[]>;
  /** True if a watch that knows `count` nodes accepts one more. @default true */
  hasRoom?(count: number): boolean;
  /**
   * Starts to report changes to `feed`. Resolves when every later change is reported. `signal` aborts when the watch
   * ends. A driver without this method is polled.
   */
  watch?(feed: WatchFeed, signal: AbortSignal, call: DriverCall): Promise<void> | void;
  /** Translates an error of the server or of its client library. */
  failure(error: unknown): DriverFailure;
  /** Closes connections and cancels timers. Registrations stay until their lease ends. Called once. */
  close?(): Promise<void> | void;
}
