// One fleet of tenon and of Go Micro over multicast DNS, in this network. Prints what each sees of the other, one JSON
// object on a line.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { Handler, Registry, Rpc, Service, System } from '../../../dist/index.js';

const [program] = process.argv.slice(2);
const ofGo = 'go.micro.srv.greeter';
const ofTenon = 'tenon.srv.greeter';
const proto = fileURLToPath(new URL('../go-micro/greeter.proto', import.meta.url));

class GreeterHandler {
  async hello({ name }) {
    return { msg: `Hello ${name} of tenon` };
  }
}
Rpc()(GreeterHandler.prototype, 'hello', Object.getOwnPropertyDescriptor(GreeterHandler.prototype, 'hello'));
const unimplemented = ['Echo', 'Meta', 'Fail', 'Slow', 'Count', 'Chat'];
Handler('tenon.gomicro.Greeter', { proto, service: ofGo, unimplemented })(GreeterHandler);
class Greeter {}
Service({ name: ofTenon, version: '1.2.0', handlers: [GreeterHandler], dialect: 'go-micro' })(Greeter);

function print(what) {
  console.log(JSON.stringify(what));
}

/** A program of Go Micro, and its lines. */
function startGo(...args) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines, find: (pattern) => until(() => lines.find((line) => pattern.test(line))) };
}

async function until(find) {
  for (;;) {
    const found = await find();
    if (found) return found;
    await sleep(50);
  }
}

const looking = startGo('look-in', 'mdns', '-', ofTenon);
await looking.find(/^ready$/);
const system = await System.start([Greeter], {
  profile: 'dev',
  env: { TENON_REGISTRY: 'mdns', TENON_CLIENT_DIALECT: 'go-micro', TENON_LOG_LEVEL: 'silent', TENON_LAME_DUCK_MS: '0' },
});
const registry = system.get(Registry);
const nodes = (name) =>
  registry.getService(name).then(
    ([record]) => record,
    () => undefined,
  );
const own = await until(() => nodes(ofTenon));
const serving = startGo('serve-in', 'mdns', '-');
const [, address] = /^listening (\S+)$/.exec(await serving.find(/^listening /));
print({ own: own.nodes[0], goAddress: address, found: await until(() => nodes(ofGo)) });

const saw = (action) => new RegExp(`"event":"${action}","node":"${own.nodes[0].id}"`);
await looking.find(saw('create'));
for (const command of ['list', `get ${ofTenon}`, `call ${ofTenon}`]) {
  looking.child.stdin.write(`${command}\n`);
  print(JSON.parse(await looking.find(new RegExp(`"command":"${command}"`))));
}
print(await system.client(GreeterHandler).hello({ name: 'John' }));

serving.child.kill('SIGTERM');
await until(async () => (await nodes(ofGo)) === undefined);
print({ gone: ofGo });
await system.stop();
await looking.find(saw('delete'));
print({ gone: ofTenon });
looking.child.kill();
