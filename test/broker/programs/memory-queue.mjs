// Publishes events to itself until it is killed, and says which were confirmed and handled. One that "leaves" has had a
// member of the queue "away", which is gone when it publishes.
import { setTimeout as sleep } from 'node:timers/promises';

import { MemoryBroker } from '../../../dist/broker/memory.js';
import { silentLogger as logger } from '../../../dist/logger/logger.js';

const broker = new MemoryBroker({ logger });
const say = (line) => process.stdout.write(`${line}\n`);
const join = (queue) =>
  broker.subscribe(
    'kept',
    (event) => {
      say(`${queue} ${Buffer.from(event.body).toString()}`);
      return event.ack();
    },
    { queue },
  );

await broker.connect();
const away = await join('away');
if (process.argv[2] === 'leaves') await away.unsubscribe();
await join('here');
for (let number = 1; ; number += 1) {
  const text = `${process.pid} ${number}`;
  await broker.publish('kept', { headers: {}, body: Buffer.from(text) });
  say(`confirmed ${text}`);
  await sleep(5);
}
