// Announces a node of `greeter`, by default at every IPv4 address of the machine, looks for others for a while, and prints
// what it found and what it was warned of.
const [id, options, waitMs, address = '0.0.0.0:7000'] = process.argv.slice(2);
const { MdnsRegistry } = await import('../../../dist/registry/mdns.js');
const nothing = () => {};
const logger = { debug: nothing, info: nothing, error: nothing, warn: (text) => console.log(`warned ${text}`) };
logger.child = () => logger;
const registry = new MdnsRegistry(JSON.parse(options), undefined, undefined, logger);
const node = { id, address, metadata: {} };
await registry.register({ name: 'greeter', version: '1', metadata: {}, endpoints: [], nodes: [node] });
const deadline = performance.now() + Number(waitMs);
let found = '';
while (performance.now() < deadline) {
  const services = await registry.getService('greeter');
  const nodes = services.flatMap((service) => service.nodes.map((one) => `${one.id}@${one.address}`));
  const text = nodes.sort().join(' ');
  if (text !== found) console.log(`found ${text}`);
  found = text;
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await registry.close();
console.log('closed');
