// A member of the queue that takes an event, says so, and never settles it: it waits to be killed.
import { MqttBroker } from '../../../dist/broker/mqtt.js';

const [address, version, clientId, topic] = process.argv.slice(2);
const broker = new MqttBroker({ address, version, clientId });
await broker.connect();
await broker.subscribe(topic, (event) => console.log(`took ${Buffer.from(event.body).toString()}`), { queue: 'q' });
console.log('ready');
