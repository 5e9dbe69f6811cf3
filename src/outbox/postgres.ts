import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Timers } from '../runtime/runtime.ts';
import { systemTimers } from '../runtime/system.ts';
import type { InboxStore, OutboxEvent, OutboxLease, OutboxStore, StoredOutboxEvent } from './outbox.ts';

/** Runs statements: a client of `pg` within a transaction. */
export interface PostgresQueryable {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: unknown[] }>;
}

/** A client of a {@link PostgresPool}. */
export interface PostgresClient extends PostgresQueryable {
  on(event: 'notification', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  /** Gives the client back; with `true` its connection is closed. */
  release(isBroken?: boolean): void;
}

/** A pool of connections: that of `pg`. */
export interface PostgresPool extends PostgresQueryable {
  connect(): Promise<PostgresClient>;
}

/** Options of a {@link PostgresOutbox}. */
export interface PostgresOutboxOptions {
  /** Begins the names of the tables, after the schema if there is one: `shop.orders`. @default 'tenon' */
  readonly prefix?: string | undefined;
  /** Time in milliseconds after which a process that waits for the lease tries again. @default 1_000 */
  readonly leadEveryMs?: number | undefined;
  /**
   * Longest time of a statement of the lease in milliseconds. A server that is silent for longer is taken for gone, and
   * one whose client is silent for about as long gives the lease to another process.
   * @default 10_000
   */
  readonly timeoutMs?: number | undefined;
  readonly timers?: Timers | undefined;
}

interface Row {
  readonly id: string;
  readonly event_id: string;
  readonly topic: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly order_key: string | null;
}

/**
 * An outbox and an inbox in tables of PostgreSQL (13 or newer), over clients of `pg`. Transactions of one order key
 * follow one another from `add` to their end, so that its events have the order of the commits. One that adds events of
 * several keys in several calls may be ended by PostgreSQL, as two of them can wait for each other.
 */
export class PostgresOutbox implements OutboxStore<PostgresQueryable>, InboxStore<PostgresQueryable> {
  readonly #pool: PostgresPool;
  readonly #outbox: string;
  readonly #inbox: string;
  readonly #leadEveryMs: number;
  readonly #timeoutMs: number;
  readonly #timers: Timers;

  /** Throws INVALID_ARGUMENT (`outbox.invalid_prefix`) for a prefix that is no name. */
  constructor(pool: PostgresPool, options: PostgresOutboxOptions = {}) {
    checkedOptions('PostgresOutboxOptions', options);
    const { prefix = 'tenon', leadEveryMs = 1_000, timeoutMs = 10_000, timers = systemTimers } = options;
    if (!/^(?:[a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]{0,40}$/.test(prefix)) {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'outbox.invalid_prefix',
        message: `${JSON.stringify(prefix)} cannot begin the names of tables: write lower-case letters, digits and _, after a schema and a dot if there is one`,
      });
    }
    this.#pool = pool;
    this.#outbox = `${prefix}_outbox`;
    this.#inbox = `${prefix}_inbox`;
    this.#leadEveryMs = leadEveryMs;
    this.#timeoutMs = timeoutMs;
    this.#timers = timers;
  }

  /** The statements that create the tables, for a migration. */
  get schema(): string {
    return `CREATE TABLE IF NOT EXISTS ${this.#outbox} (
  id bigserial PRIMARY KEY,
  event_id uuid NOT NULL DEFAULT gen_random_uuid(),
  topic text NOT NULL,
  headers json NOT NULL,
  body bytea NOT NULL,
  order_key text,
  added_at timestamptz NOT NULL DEFAULT now(),
  set_aside text
);
CREATE TABLE IF NOT EXISTS ${this.#inbox} (
  key text PRIMARY KEY,
  handled_at timestamptz NOT NULL DEFAULT now()
);`;
  }

  /** Creates the tables, if they are not there. */
  async install(): Promise<void> {
    await this.#pool.query(this.schema);
  }

  async add(tx: PostgresQueryable, events: readonly OutboxEvent[]): Promise<void> {
    const keys = new Set(events.map(({ orderKey }) => orderKey).filter((key) => key !== undefined));
    // In one order, so that two transactions do not wait for each other.
    for (const key of [...keys].toSorted())
      await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`${this.#outbox} ${key}`]);
    for (const { topic, headers, body, orderKey } of events)
      await tx.query(`INSERT INTO ${this.#outbox} (topic, headers, body, order_key) VALUES ($1, $2, $3, $4)`, [
        topic,
        JSON.stringify(headers),
        Buffer.from(body.buffer, body.byteOffset, body.byteLength),
        orderKey ?? null,
      ]);
    // It is sent at the commit.
    if (events.length > 0) await tx.query('SELECT pg_notify($1, $2)', [this.#outbox, '']);
  }

  async record(tx: PostgresQueryable, key: string): Promise<boolean> {
    const text = `INSERT INTO ${this.#inbox} (key) VALUES ($1) ON CONFLICT DO NOTHING RETURNING key`;
    return (await tx.query(text, [key])).rows.length > 0;
  }

  /** Removes notes of handled events that are older than `ageMs` milliseconds. */
  async forget(ageMs: number): Promise<void> {
    await this.#pool.query(`DELETE FROM ${this.#inbox} WHERE handled_at < now() - $1 * interval '1 millisecond'`, [
      ageMs,
    ]);
  }

  async lead(signal: AbortSignal): Promise<OutboxLease> {
    for (;;) {
      signal.throwIfAborted();
      const client = await this.#connect(signal);
      let isBroken = true;
      try {
        const lease = await this.#tryToLead(client);
        if (lease) return lease;
        isBroken = false;
      } finally {
        // A client with the lease is not given back.
        if (!isLeading.has(client)) client.release(isBroken);
      }
      await this.#timers.sleep(this.#leadEveryMs, signal);
    }
  }

  async #connect(signal: AbortSignal): Promise<PostgresClient> {
    const connecting = this.#pool.connect();
    try {
      const client = await this.#bounded(connecting, signal);
      // An error that nobody listens to would end the process. The next statement fails, and says so.
      if (!isWatched.has(client)) client.on('error', () => undefined);
      isWatched.add(client);
      return client;
    } catch (error) {
      connecting.then(
        (late) => late.release(),
        () => undefined,
      );
      throw error;
    }
  }

  #bounded<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
    const onTimeout = (afterMs: number): TenonError =>
      new TenonError({
        code: Code.DeadlineExceeded,
        reason: 'outbox.timeout',
        message: `PostgreSQL did not answer the outbox "${this.#outbox}" within ${afterMs} ms`,
      });
    return bounded(work, { timers: this.#timers, timeoutMs: this.#timeoutMs, signal, onTimeout });
  }

  /** Takes the lease: a lock of the connection, which PostgreSQL frees when the connection ends. */
  async #tryToLead(client: PostgresClient): Promise<OutboxLease | undefined> {
    const ask = async (text: string, values?: unknown[]): Promise<unknown[]> =>
      (await this.#bounded(client.query(text, values))).rows;
    // By the table and not by its name, which another schema may have as well.
    const lock = 'SELECT pg_try_advisory_lock(hashtextextended($1::regclass::oid::text, 1)) AS leads';
    const rows = await ask(lock, [this.#outbox]);
    if ((rows[0] as { readonly leads?: boolean } | undefined)?.leads !== true) return undefined;
    let wake = (): void => {};
    let hasNews = false;
    const onNews = (): void => {
      hasNews = true;
      wake();
    };
    client.on('notification', onNews);
    client.on('error', onNews);
    await ask(`LISTEN "${this.#outbox}"`);
    // A client whose machine or network is gone sends no end of its connection, and would lead for hours.
    const probeS = Math.max(1, Math.ceil(this.#timeoutMs / 3_000));
    await ask(
      `SET tcp_keepalives_idle = ${probeS}; SET tcp_keepalives_interval = ${probeS}; SET tcp_keepalives_count = 3`,
    );
    isLeading.add(client);
    return {
      read: async (count, after = '0') => {
        hasNews = false;
        const text = `SELECT id, event_id, topic, headers, body, order_key FROM ${this.#outbox} WHERE set_aside IS NULL AND id > $2 ORDER BY id LIMIT $1`;
        return ((await ask(text, [count, after])) as Row[]).map(eventOf);
      },
      remove: async (ids) => {
        await ask(`DELETE FROM ${this.#outbox} WHERE id = ANY($1::bigint[])`, [ids]);
      },
      setAside: async (id, reason) => {
        await ask(`UPDATE ${this.#outbox} SET set_aside = $2 WHERE id = $1`, [id, reason]);
      },
      changed: (timeoutMs, ending) => {
        if (hasNews || ending.aborted) return Promise.resolve();
        return new Promise((resolve) => {
          const end = (): void => {
            timer.cancel();
            ending.removeEventListener('abort', end);
            wake = () => {};
            resolve();
          };
          const timer = this.#timers.after(timeoutMs, end);
          wake = end;
          ending.addEventListener('abort', end, { once: true });
        });
      },
      // With its connection the lock and the channel end.
      release: async () => client.release(true),
    };
  }
}

/** The clients whose errors are listened to. */
const isWatched = new WeakSet<PostgresClient>();
/** The clients that hold a lease. */
const isLeading = new WeakSet<PostgresClient>();

function eventOf({ id, event_id: eventId, topic, headers, body, order_key: orderKey }: Row): StoredOutboxEvent {
  return { id: String(id), eventId, topic, headers, body, orderKey: orderKey ?? undefined };
}
