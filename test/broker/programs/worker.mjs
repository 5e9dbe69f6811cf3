// A member of the queue "workers", by deliver(). It says what it has handled and when, and ends when it is killed.
import { setTimeout as sleep } from 'node:timers/promises';

import { deliver } from '../../../dist/broker/delivery.js';
import { silentLogger as logger } from '../../../dist/logger/logger.js';
import { systemRuntime as runtime } from '../../../dist/runtime/system.js';

const { door, name, options, topic, settlesFirst } = JSON.parse(process.argv[2]);
const { [name]: Broker } = await import(`../../../dist/broker/${door}.js`);
const broker = new Broker({ ...options, logger });
const say = (line) => process.stdout.write(`${line}\n`);
// Where nothing that is retried may be lost, what the process was killed for must not use up an event's attempts.
const delivery = { queue: 'workers', retry: 4, retryDelayMs: 20 };

async function handle(event) {
  const text = Buffer.from(event.body).toString();
  if (settlesFirst) await event.ack();
  await sleep(Math.random() * 20);
  if (text.startsWith('poison')) throw new Error('it cannot be handled');
  say(`handled ${process.hrtime.bigint()} ${text}`);
}

for (;;) {
  try {
    await broker.connect();
    await deliver(broker, topic, delivery, handle, { runtime, logger });
    break;
  } catch {
    await sleep(100);
  }
}
say('ready');
