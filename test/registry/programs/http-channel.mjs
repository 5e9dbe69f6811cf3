// A process that has a stream and a kept connection open at its end, and does not close them.
import { AddressList, parseAddresses } from '../../../dist/registry/kit/kit.js';
import { HttpChannel } from '../../../dist/registry/kit/http-channel.js';
import { systemRuntime } from '../../../dist/runtime/system.js';

const names = { registry: 'store', serverName: 'the store' };
const addresses = new AddressList(parseAddresses(process.argv[2], 1), { ...systemRuntime, ...names });
const tools = { ...systemRuntime, security: { tls: undefined, explain: () => undefined } };
const channel = new HttpChannel({ registry: 'store', addresses, tools });
const { signal } = new AbortController();
const alive = setTimeout(() => {}, 30_000);
const { body } = await channel.request({ path: '/x' }, { signal, timeoutMs: 30_000 });
const stream = await channel.stream({ path: '/stream' }, { signal, idleMs: 60_000 });
const { value } = await stream.next();
void stream.next();
console.log(`${value} and ${body}`);
clearTimeout(alive);
