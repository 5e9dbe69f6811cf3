import type { BrokerMessage } from '../broker/broker.ts';

/** An event that is published once its transaction is committed. */
export interface OutboxEvent extends BrokerMessage {
  readonly topic: string;
  /** Events of one key are published in the order in which their transactions were committed. */
  readonly orderKey?: string | undefined;
}

/** An event of a committed transaction, that waits to be published. */
export interface StoredOutboxEvent extends OutboxEvent {
  /** Its position. */
  readonly id: string;
  /** Identifies the event: the same each time that it is published. */
  readonly eventId: string;
}

/** The right of one process to publish the events of an outbox. */
export interface OutboxLease {
  /** Returns the oldest events, in the order of their commits; with `after` those behind the event of that position. */
  read(count: number, after?: string): Promise<readonly StoredOutboxEvent[]>;
  /** Removes events that were published. */
  remove(ids: readonly string[]): Promise<void>;
  /** Sets an event aside that the broker will never take. It is not read again. */
  setAside(id: string, reason: string): Promise<void>;
  /** Resolves when events may have been added, when `timeoutMs` have passed, and when `signal` aborts. */
  changed(timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Gives the right to another process. Never rejects. */
  release(): Promise<void>;
}

/**
 * Stores events in the transactions of a database. `Tx` is what the database calls a transaction.
 *
 * An event is stored exactly if its transaction is committed. Errors are those of the database's library.
 */
export interface OutboxStore<Tx> {
  /** Stores events as a part of a transaction. */
  add(tx: Tx, events: readonly OutboxEvent[]): Promise<void>;
  /** Waits until no other process has the lease. Rejects when `signal` aborts. */
  lead(signal: AbortSignal): Promise<OutboxLease>;
}

/** Remembers in the transactions of a database which events were handled. */
export interface InboxStore<Tx> {
  /**
   * Notes a key as a part of a transaction. Resolves with false if a committed transaction has noted it before: its
   * event was handled. While another transaction that has noted it is not over, this waits for its end.
   */
  record(tx: Tx, key: string): Promise<boolean>;
}
