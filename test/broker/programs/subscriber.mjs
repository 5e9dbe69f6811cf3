// A member of the queue that takes an event, says so, and never settles it: it waits to be killed.
import { RedisStreamsBroker } from '../../../dist/broker/redis-streams.js';

const [address, topic, claimIdleMs] = process.argv.slice(2);
const broker = new RedisStreamsBroker({ address, claimIdleMs: Number(claimIdleMs) });
await broker.connect();
await broker.subscribe(
  topic,
  (event) => console.log(`took ${Buffer.from(event.body).toString()} at attempt ${event.attempt}`),
  {
    queue: 'q',
  },
);
console.log('ready');
