// A shop: it places orders in transactions, some of which it rolls back, and publishes their events. It waits to be
// killed.
import pg from 'pg';

import { RedisStreamsBroker } from '../../../dist/broker/redis-streams.js';
import { OutboxDispatcher } from '../../../dist/outbox/dispatcher.js';
import { PostgresOutbox } from '../../../dist/outbox/postgres.js';

const [url, address, keys] = process.argv.slice(2);
const logger = { debug() {}, info() {}, warn() {}, error: console.error, child: () => logger };
const pool = new pg.Pool({ connectionString: url, max: 8 });
// The next statement says so.
pool.on('error', () => undefined);
const outbox = new PostgresOutbox(pool, { prefix: 'shop', leadEveryMs: 200 });
const broker = new RedisStreamsBroker({ address, timeoutMs: 1_000, logger });
const dispatcher = new OutboxDispatcher(outbox, broker, { logger });

async function connect() {
  for (;;) {
    try {
      return await broker.connect();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function order(key, rollsBack) {
  const client = await pool.connect();
  // A connection that the server ends; the statement that runs rejects.
  client.on('error', () => undefined);
  let isBroken = true;
  try {
    await client.query('BEGIN');
    const { rows } = await client.query('UPDATE counters SET n = n + 1 WHERE key = $1 RETURNING n', [key]);
    const { n } = rows[0];
    await client.query('INSERT INTO orders (key, n) VALUES ($1, $2)', [key, n]);
    const body = Buffer.from(`${key} ${n}${rollsBack ? ' rolled back' : ''}`);
    await outbox.add(client, [{ topic: 'orders', headers: {}, body, orderKey: key }]);
    await client.query(rollsBack ? 'ROLLBACK' : 'COMMIT');
    isBroken = false;
  } finally {
    client.release(isBroken);
  }
}

async function work(worker) {
  for (let number = 0; ; number += 1) {
    try {
      await order(`key ${(worker + number) % Number(keys)}`, number % 10 === 3);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

await connect();
dispatcher.start();
console.log('ready');
if (process.argv[5] !== 'publish') for (let worker = 0; worker < 4; worker += 1) void work(worker);
