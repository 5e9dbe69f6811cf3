import type { Logger } from '../../logger/logger.ts';
import type { Clock, Random, Timers } from '../../runtime/runtime.ts';
import type { NodeRecord, RegistryAction, ServiceRecord } from '../registry.ts';
import type { DriverFailure } from './errors.ts';

/** Tools of a driver: the seams of the framework, and where to log. */
export interface DriverTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** One call of the registry, as its driver sees it. */
export interface DriverCall {
  /** The method that was called: `register`, `deregister`, `getService`, `listServices` or `watch`. */
  readonly what: string;
  /** Aborts when nobody waits for the call any more: its time is up, or its caller gave up. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** True for the reads that a watch begins with: it stands when they have ended. */
  readonly isFirstLook: boolean;
}

/** A node to announce. */
export interface Registration {
  /** With just the one node. It belongs to the caller: a driver that keeps it keeps a copy. */
  readonly service: ServiceRecord;
  readonly node: NodeRecord;
  /** The lease, rounded up to what the registry can keep. */
  readonly ttlMs: number;
}

/** A node that is known to the server. */
export interface HeldNode {
  /** With just the one node. */
  readonly service: ServiceRecord;
  /** The rest of its lease. Below 0, or without one, it stays until something says that it went. */
  readonly leaseMs?: number | undefined;
}

/** The nodes that a read found. */
export interface Snapshot {
  readonly nodes: readonly HeldNode[];
  /** The number of the last change that it takes into account, if the server counts them. */
  readonly revision?: number | undefined;
  /** False if nodes may be missing in it that are there: they are believed until their lease ends. @default true */
  readonly isComplete?: boolean | undefined;
  /** When to look again at the latest, in milliseconds. @default the `maxReadMs` of the driver */
  readonly readAgainMs?: number | undefined;
}

/** One change that the server told of. */
export interface Change extends HeldNode {
  readonly action: RegistryAction;
  /** Its number, if the server counts changes: those that a snapshot knows of are not told again. */
  readonly revision?: number | undefined;
}

/** Where a driver says what it hears while somebody watches. Nothing is heard any more once `signal` aborts. */
export interface WatchFeed {
  /** The service that is watched, or every one. */
  readonly service: string | undefined;
  /** A node came, changed or went. */
  change(change: Change): void;
  /** Something may have changed, of one service or of any: it is read again, at the pace of the driver. */
  refresh(service?: string): void;
  /** Changes may have been missed, and reading again is of no help: the watch ends with `registry.watch_lost`. */
  lose(why: string, cause?: unknown): void;
}

/** Limits of a driver: how much and how often it is asked. */
export interface DriverBounds {
  /** The largest record of a node that the server takes, in bytes. @default no bound */
  readonly maxRecordBytes?: number | undefined;
  /** A watch reads no more often than this, in milliseconds. @default 100 */
  readonly minReadMs?: number | undefined;
  /**
   * A watch reads what it watches at least this often, in milliseconds: a driver without `watch` is polled.
   * @default 30_000, and 1_000 without `watch`
   */
  readonly maxReadMs?: number | undefined;
}

/**
 * A backend of the registry: what is different from one server to the next. Everything else stands once, in
 * {@link DrivenRegistry}: states, bounds of calls, validation, watches with their pace, events, errors.
 *
 * Each method may be called concurrently, and ends when the signal of its call aborts, if it can. What it throws is
 * translated by `failure`, unless it is a `TenonError`.
 */
export interface RegistryDriver {
  /** The server and its address, without secrets: `Redis at 127.0.0.1:6379`. */
  readonly where: string;
  readonly bounds?: DriverBounds | undefined;
  /** True if `listServices` gives names alone, since reading all services would cost too much. @default false */
  readonly listsNames?: boolean | undefined;
  /** Announces a node, or renews its lease and replaces its record. Absent if the registry only finds. */
  announce?(registration: Registration, call: DriverCall): Promise<void> | void;
  /** Takes a node back. Not an error if it is not there. Absent if the registry only finds. */
  withdraw?(service: string, id: string, call: DriverCall): Promise<void> | void;
  /**
   * The nodes of a service; of every service if `service` is undefined, which is asked only of a driver without
   * `names`.
   */
  read(service: string | undefined, call: DriverCall): Promise<Snapshot> | Snapshot;
  /** The services that have nodes: for a server that cannot give everything in one answer. */
  names?(call: DriverCall): Promise<readonly string[]>;
  /** True if one more node is believed beside so many of one watch. @default yes */
  hasRoom?(count: number): boolean;
  /**
   * Begins to tell `feed` of changes; resolves when none is missed any more. `signal` aborts when the watch ends.
   * Absent: the driver is polled.
   */
  watch?(feed: WatchFeed, signal: AbortSignal, call: DriverCall): Promise<void> | void;
  /** Gives the meaning of an error of the server or of its library. */
  failure(error: unknown): DriverFailure;
  /** Lets go of connections and timers. Registrations are left to their lease. Called once. */
  close?(): Promise<void> | void;
}
