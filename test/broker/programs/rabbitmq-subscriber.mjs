// A member of the queue "q" that takes events, says so, and ends as it is told: "holds" never settles an event, "dies"
// kills its process by the event "poison", four times, and handles the others.
import { deliver } from '../../../dist/broker/delivery.js';
import { RabbitMqBroker } from '../../../dist/broker/rabbitmq.js';
import { silentLogger } from '../../../dist/logger/logger.js';
import { systemRuntime } from '../../../dist/runtime/system.js';

const [address, topic, manner, maxInFlight = '64'] = process.argv.slice(2);
const broker = new RabbitMqBroker({ address });
const text = ({ body }) => Buffer.from(body).toString();
const options = { queue: 'q', maxInFlight: Number(maxInFlight) };

await broker.connect();
if (manner === 'holds')
  await broker.subscribe(topic, (event) => console.log(`took ${text(event)} at attempt ${event.attempt}`), options);
else {
  const handle = async (event) => {
    console.log(`handles ${text(event)} at attempt ${event.attempt}`);
    if (text(event) === 'poison' && event.attempt > 4) return event.reject(new Error('it ends processes'));
    if (text(event) === 'poison') process.kill(process.pid, 'SIGKILL');
    console.log(`handled ${text(event)}`);
  };
  await deliver(broker, topic, { ...options, retry: 3 }, handle, { runtime: systemRuntime, logger: silentLogger });
}
console.log('ready');
