// Written by `npm run api`; a test says when it is not current.

// tenon/outbox

import type { BrokerMessage } from '../broker/broker.ts';
export interface OutboxEvent extends BrokerMessage {
    readonly topic: string;
    readonly orderKey?: string | undefined;
}
export interface StoredOutboxEvent extends OutboxEvent {
    readonly id: string;
    readonly eventId: string;
}
export interface OutboxLease {
    read(count: number, after?: string): Promise<readonly StoredOutboxEvent[]>;
    remove(ids: readonly string[]): Promise<void>;
    setAside(id: string, reason: string): Promise<void>;
    changed(timeoutMs: number, signal: AbortSignal): Promise<void>;
    release(): Promise<void>;
}
export interface OutboxStore<Tx> {
    add(tx: Tx, events: readonly OutboxEvent[]): Promise<void>;
    lead(signal: AbortSignal): Promise<OutboxLease>;
}
export interface InboxStore<Tx> {
    record(tx: Tx, key: string): Promise<boolean>;
}

// tenon/outbox/dispatcher

import type { Broker } from '../broker/broker.ts';
import type { Logger } from '../logger/logger.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { OutboxStore } from './outbox.ts';
export interface OutboxDispatcherOptions {
    readonly maxBatch?: number | undefined;
    readonly pollMs?: number | undefined;
    readonly runtime?: Runtime | undefined;
    readonly logger?: Logger | undefined;
}
export declare class OutboxDispatcher {
    #private;
    constructor(store: Pick<OutboxStore<never>, 'lead'>, broker: Broker, options?: OutboxDispatcherOptions);
    start(): void;
    stop(): Promise<void>;
}

// tenon/outbox/memory

import type { Random, Timers } from '../runtime/runtime.ts';
import type { InboxStore, OutboxEvent, OutboxLease, OutboxStore, StoredOutboxEvent } from './outbox.ts';
export interface MemoryTransaction {
    readonly events: OutboxEvent[];
    readonly keys: Set<string>;
}
export declare class MemoryOutbox implements OutboxStore<MemoryTransaction>, InboxStore<MemoryTransaction> {
    #private;
    constructor(random?: Random, timers?: Timers);
    get events(): readonly StoredOutboxEvent[];
    get aside(): readonly (StoredOutboxEvent & {
        readonly reason: string;
    })[];
    transaction<T>(work: (tx: MemoryTransaction) => Promise<T>): Promise<T>;
    add(tx: MemoryTransaction, events: readonly OutboxEvent[]): Promise<void>;
    record(tx: MemoryTransaction, key: string): Promise<boolean>;
    lead(signal: AbortSignal): Promise<OutboxLease>;
}

// tenon/outbox/postgres

import type { Timers } from '../runtime/runtime.ts';
import type { InboxStore, OutboxEvent, OutboxLease, OutboxStore } from './outbox.ts';
export interface PostgresQueryable {
    query(text: string, values?: unknown[]): Promise<{
        readonly rows: unknown[];
    }>;
}
export interface PostgresClient extends PostgresQueryable {
    on(event: 'notification', listener: () => void): unknown;
    on(event: 'error', listener: (error: Error) => void): unknown;
    release(isBroken?: boolean): void;
}
export interface PostgresPool extends PostgresQueryable {
    connect(): Promise<PostgresClient>;
}
export interface PostgresOutboxOptions {
    readonly prefix?: string | undefined;
    readonly leadEveryMs?: number | undefined;
    readonly timeoutMs?: number | undefined;
    readonly timers?: Timers | undefined;
}
export declare class PostgresOutbox implements OutboxStore<PostgresQueryable>, InboxStore<PostgresQueryable> {
    #private;
    constructor(pool: PostgresPool, options?: PostgresOutboxOptions);
    get schema(): string;
    install(): Promise<void>;
    add(tx: PostgresQueryable, events: readonly OutboxEvent[]): Promise<void>;
    record(tx: PostgresQueryable, key: string): Promise<boolean>;
    forget(ageMs: number): Promise<void>;
    lead(signal: AbortSignal): Promise<OutboxLease>;
}
