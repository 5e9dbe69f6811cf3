import { expect, test } from '@jest/globals';
import pg from 'pg';

import { MemoryBroker } from '../../src/broker/memory.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { OutboxDispatcher } from '../../src/outbox/dispatcher.ts';
import { PostgresOutbox, type PostgresQueryable } from '../../src/outbox/postgres.ts';
import { collector, RecordingLogger } from '../broker/support.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';

describeWithServer('the outbox in PostgreSQL', new BackendServer('postgresql', { persistent: true }), (server) => {
  let tables = 0;

  async function stage() {
    const pool = new pg.Pool({ connectionString: String(server.details['url']), max: 10 });
    // Connections that the server ends; the next statement says so.
    pool.on('error', () => undefined);
    tables += 1;
    const prefix = `t${tables}`;
    const outbox = new PostgresOutbox(pool, { prefix, leadEveryMs: 50 });
    await outbox.install();
    await outbox.install();
    await pool.query(`CREATE TABLE t${tables}_orders (id int PRIMARY KEY)`);
    const broker = new MemoryBroker({ logger: silentLogger });
    await broker.connect();
    const seen = collector();
    await broker.subscribe('orders', seen.receive);
    const dispatcher = new OutboxDispatcher(outbox, broker, { logger: silentLogger, pollMs: 60_000 });
    const table = `t${tables}_orders`;
    const transaction = async (work: (tx: PostgresQueryable) => Promise<void>): Promise<void> => {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await work(client);
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK').catch(() => undefined);
        throw error;
      } finally {
        client.release();
      }
    };
    const order = (id: number, orderKey?: string): Promise<void> =>
      transaction(async (tx) => {
        await tx.query(`INSERT INTO ${table} VALUES ($1)`, [id]);
        await outbox.add(tx, [
          { topic: 'orders', headers: { id: String(id) }, body: Buffer.from(String(id)), orderKey },
        ]);
      });
    const end = async (): Promise<void> => {
      await dispatcher.stop();
      await broker.disconnect();
      await pool.end();
    };
    return { pool, prefix, outbox, broker, seen, dispatcher, table, transaction, order, end };
  }

  test('has events exactly of committed transactions, and tells of them at once', async () => {
    const { pool, seen, dispatcher, table, order, end } = await stage();
    dispatcher.start();
    await order(1);
    await expect(order(1)).rejects.toThrow(/duplicate key/);
    await order(2);
    // It polls once a minute only.
    await eventually('both events', () => seen.texts.length === 2);
    expect(seen.texts).toEqual(['1', '2']);
    expect(seen.events[0]?.headers).toMatchObject({
      id: '1',
      'tenon-dedupe-key': expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    await eventually('an empty outbox', async () => {
      const { rows } = await pool.query(`SELECT count(*)::int AS n FROM ${table.replace('orders', 'outbox')}`);
      return (rows[0] as { n: number }).n === 0;
    });
    await end();
  });

  test('keeps the order of the commits for each key, under concurrent transactions', async () => {
    const { pool, seen, dispatcher, transaction, outbox, table, end } = await stage();
    await pool.query(`ALTER TABLE ${table} ADD COLUMN key text, ADD COLUMN position int`);
    dispatcher.start();
    const body = Buffer.from('');
    const add = (key: string): Promise<void> =>
      transaction(async (tx) => {
        const position = `(SELECT count(*) FROM ${table} WHERE key = $1)`;
        await tx.query('SELECT pg_sleep(random() / 200)');
        await outbox.add(tx, [{ topic: 'orders', headers: { key }, body, orderKey: key }]);
        // What is committed when this has its turn.
        const { rows } = await tx.query(
          `INSERT INTO ${table} (id, key, position) VALUES ((random() * 2000000000)::int, $1, ${position}) RETURNING position`,
          [key],
        );
        await tx.query(
          `UPDATE ${table.replace('orders', 'outbox')} SET body = $1 WHERE id = currval(pg_get_serial_sequence($2, 'id'))`,
          [Buffer.from(String((rows[0] as { position: number }).position)), table.replace('orders', 'outbox')],
        );
      });
    await Promise.all(Array.from({ length: 200 }, (_, index) => add(`key ${index % 4}`)));
    await eventually('all events', () => seen.texts.length === 200);
    for (const key of [0, 1, 2, 3]) {
      const positions = seen.events
        .filter(({ headers }) => headers['key'] === `key ${key}`)
        .map((one) => String(Buffer.from(one.body)));
      expect(positions).toEqual(Array.from({ length: 50 }, (_, index) => String(index)));
    }
    await end();
  });

  test('is led by one process, and by another when that has died', async () => {
    const { pool, outbox, broker, seen, dispatcher, order, end } = await stage();
    dispatcher.start();
    await order(1);
    await eventually('the first event', () => seen.texts.length === 1);
    const other = new OutboxDispatcher(outbox, broker, { logger: silentLogger, pollMs: 60_000 });
    other.start();
    // The connection of the leader ends, as when its process is killed.
    await pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()`,
    );
    for (const id of [2, 3]) await order(id);
    await eventually('all events', () => new Set(seen.texts).size === 3);
    await other.stop();
    await end();
  });

  test('outlives a restart of the server', async () => {
    const { seen, dispatcher, order, end } = await stage();
    dispatcher.start();
    await order(1);
    await eventually('the first event', () => seen.texts.length === 1);
    await server.kill();
    await server.start();
    await eventually('a connection', () =>
      order(2).then(
        () => true,
        () => false,
      ),
    );
    await eventually('the second event', () => seen.texts.includes('2'));
    await end();
  });

  test('is led for each schema, though the tables have one name', async () => {
    const { broker, seen, end } = await stage();
    const all = await Promise.all(
      ['first', 'second'].map(async (schema) => {
        const pool = new pg.Pool({
          connectionString: String(server.details['url']),
          options: `-c search_path=${schema}`,
        });
        pool.on('error', () => undefined);
        await pool.query(`CREATE SCHEMA ${schema}`);
        const outbox = new PostgresOutbox(pool, { leadEveryMs: 50 });
        await outbox.install();
        const dispatcher = new OutboxDispatcher(outbox, broker, { logger: silentLogger });
        dispatcher.start();
        await outbox.add(pool, [{ topic: 'orders', headers: {}, body: Buffer.from(schema) }]);
        return { pool, dispatcher };
      }),
    );
    await eventually('the events of both', () => seen.texts.length === 2, 30_000);
    expect(seen.texts.toSorted()).toEqual(['first', 'second']);
    for (const { pool, dispatcher } of all) {
      await dispatcher.stop();
      await pool.end();
    }
    await end();
  });

  test('takes a server that is silent for gone, ends meanwhile if told to, and goes on when it answers', async () => {
    const { pool, prefix, broker, seen, order, end } = await stage();
    const quick = new PostgresOutbox(pool, { prefix, leadEveryMs: 50, timeoutMs: 500 });
    const log = new RecordingLogger();
    const patient = new OutboxDispatcher(quick, broker, { logger: log, pollMs: 50 });
    const stopped = new OutboxDispatcher(quick, broker, { logger: silentLogger, pollMs: 50 });
    patient.start();
    await order(1);
    await eventually('the first event', () => seen.texts.length === 1);
    stopped.start();
    server.pause();
    try {
      await eventually('the silence was noticed', () => log.lines.some(({ level }) => level === 'warn'), 30_000);
      expect(log.lines.find(({ level }) => level === 'warn')).toMatchObject({
        message: 'the outbox cannot be read; it is tried again',
        fields: { error: { reason: 'outbox.timeout' } },
      });
      await stopped.stop();
    } finally {
      server.resume();
    }
    await order(2);
    await eventually('the second event', () => seen.texts.includes('2'), 30_000);
    await patient.stop();
    await end();
  });

  test('lets one of two concurrent transactions handle an event, and the other when that fails', async () => {
    const { outbox, transaction, end } = await stage();
    const outcomes: [string, boolean][] = [];
    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const first = transaction(async (tx) => {
      outcomes.push(['first', await outbox.record(tx, 'event')]);
      await released;
      throw new Error('rolled back');
    });
    await eventually('the first', () => outcomes.length === 1);
    const second = transaction(async (tx) => void outcomes.push(['second', await outbox.record(tx, 'event')]));
    release();
    await expect(first).rejects.toThrow('rolled back');
    await second;
    await transaction(async (tx) => void outcomes.push(['third', await outbox.record(tx, 'event')]));
    expect(outcomes).toEqual([
      ['first', true],
      ['second', true],
      ['third', false],
    ]);
    await outbox.forget(0);
    await transaction(async (tx) => void outcomes.push(['fourth', await outbox.record(tx, 'event')]));
    expect(outcomes.at(-1)).toEqual(['fourth', true]);
    await end();
  });

  test('refuses names of tables that are none', async () => {
    const { pool, end } = await stage();
    for (const prefix of ['a; DROP TABLE b', 'A', '', 'a.b.c', 'a"'])
      expect(() => new PostgresOutbox(pool, { prefix })).toThrow(/cannot begin the names of tables/);
    new PostgresOutbox(pool, { prefix: 'shop.orders' });
    await end();
  });
});
