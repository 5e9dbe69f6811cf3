// A process of its own that announces a node and renews nothing, or that looks for a service. It waits to be killed.
const [backend, options, action, name, id, ttlMs] = process.argv.slice(2);
const module = await import(`../../../dist/registry/${backend}.js`);
const Registry = Object.values(module).find(({ capabilities }) => capabilities !== undefined);
const registry = new Registry(JSON.parse(options));
if (action === 'announce') {
  const node = { id, address: '127.0.0.1:7001', metadata: { zone: 'b' } };
  const endpoints = [{ name: 'Greeter.Hello', metadata: {} }];
  await registry.register({ name, version: '1.2.0', metadata: {}, endpoints, nodes: [node] }, { ttlMs: Number(ttlMs) });
  console.log('announced');
  setInterval(() => {}, 1_000);
} else {
  console.log(`found ${JSON.stringify(await registry.getService(name))}`);
  await registry.close();
}
