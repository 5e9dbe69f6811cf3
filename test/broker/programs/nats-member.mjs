// A member of the queue "q" on JetStream: it says what it takes, and settles what does not begin with "held" after a
// while.
import { NatsJetStreamBroker } from '../../../dist/broker/nats-jetstream.js';

const [address, topic, ackWaitMs, workMs] = process.argv.slice(2);
const broker = new NatsJetStreamBroker({ address, ackWaitMs: Number(ackWaitMs) });
await broker.connect();
await broker.subscribe(
  topic,
  async (event) => {
    const body = Buffer.from(event.body).toString();
    console.log(`took ${body} at attempt ${event.attempt}`);
    if (body.startsWith('held')) return;
    await new Promise((resolve) => setTimeout(resolve, Number(workMs)));
    // Said before it is acknowledged: one that dies in between has handled it, and it comes again.
    console.log(`did ${body}`);
    await event.ack();
  },
  { queue: 'q', maxInFlight: 8 },
);
console.log('ready');
