import { fileURLToPath } from 'node:url';

import { expect, test } from '@jest/globals';
import pg from 'pg';

import { PostgresOutbox } from '../../src/outbox/postgres.ts';
import { startNode, type TestProcess } from '../support/process.ts';
import { BackendServer, describeWithServer, RedisServer } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';

const program = fileURLToPath(new URL('programs/shop.mjs', import.meta.url));
const keys = 5;
/** Committed transactions. The large run has ten thousand: `TENON_TEST_OUTBOX_ORDERS=10000`. */
const wanted = Number(process.env['TENON_TEST_OUTBOX_ORDERS'] ?? 600);

describeWithServer(
  'an outbox whose processes die',
  new BackendServer('postgresql', { persistent: true }),
  (database) => {
    test(
      'publishes the events of the committed transactions and no others, in order, whoever is killed',
      async () => {
        const redis = new RedisServer({ persistent: true });
        await redis.start();
        const url = String(database.details['url']);
        const query = async (text: string): Promise<Record<string, unknown>[]> => {
          const client = new pg.Client({ connectionString: url });
          client.on('error', () => undefined);
          await client.connect();
          try {
            return (await client.query(text)).rows as Record<string, unknown>[];
          } finally {
            await client.end().catch(() => undefined);
          }
        };
        await query(new PostgresOutbox(new pg.Pool(), { prefix: 'shop' }).schema);
        await query('CREATE TABLE orders (key text, n int); CREATE TABLE counters (key text PRIMARY KEY, n int)');
        await query(`INSERT INTO counters SELECT 'key ' || g, 0 FROM generate_series(0, ${keys - 1}) g`);

        const start = (only = ''): TestProcess =>
          startNode(program, { args: [url, redis.address, String(keys), only] });
        const shops = [start(), start()];
        const committed = async (): Promise<number> =>
          Number((await query('SELECT count(*)::int AS n FROM orders').catch(() => [{ n: 0 }]))[0]?.['n']);
        let kills = 0;
        for (let round = 1; (await committed()) < wanted; round += 1) {
          kills += round % 2 === 0 ? 2 : 1;
          const index = round % 2;
          const victim = shops[index] as TestProcess;
          // One that is killed before it has begun proves nothing, and a busy machine starts it slowly.
          await victim.waitForLine(/^ready/, 60_000);
          await new Promise((resolve) => setTimeout(resolve, 500));
          await victim.kill();
          shops[index] = start();
          if (round % 4 === 2) await redis.kill().then(() => redis.start());
          if (round % 4 === 0) await database.kill().then(() => database.start());
        }
        await Promise.all(shops.map((shop) => shop.kill()));
        // What is left is published by one that places no orders.
        const last = start('publish');
        await eventually(
          'an empty outbox',
          async () => (await query('SELECT count(*)::int AS n FROM shop_outbox'))[0]?.['n'] === 0,
          60_000,
        );
        await last.kill();

        const rows = await query('SELECT key, n FROM orders ORDER BY key, n');
        const entries = await redis.client().xrange('tenon:events:orders', '-', '+');
        const events = entries.map(([, fields]) => fields[fields.indexOf('b') + 1] as string);
        expect(events.filter((body) => body.includes('rolled back'))).toEqual([]);
        const first = [...new Set(events)];
        for (let key = 0; key < keys; key += 1) {
          const name = `key ${key}`;
          const ofKey = first.filter((body) => body.startsWith(`${name} `));
          expect(ofKey).toEqual(rows.filter((row) => row['key'] === name).map(({ n }) => `${name} ${Number(n)}`));
        }
        const duplicates = events.length - first.length;
        // Each kill leaves at most one batch of a hundred that was confirmed and not removed.
        expect(duplicates).toBeLessThanOrEqual(kills * 100);
        process.stderr.write(`${rows.length} transactions, ${kills} kills, ${duplicates} events published again\n`);
        await redis.dispose();
      },
      Math.max(600_000, wanted * 200),
    );
  },
);
