// A unary call through the whole path, client to handler and back, in one process over the memory transport.
import { System } from '../dist/index.js';
import { payload } from './programs/messages.mjs';
import { Echo, EchoHandler, options } from './programs/tenon.mjs';
import { median } from './statistics.mjs';

const calls = 50_000;
const slices = 11;

export async function memoryBench() {
  const rows = [];
  const body = new Uint8Array(32).fill(7);
  for (const kind of ['static', 'mapped']) {
    const system = await System.start([Echo], options(kind, 'test'));
    const echo = system.client(EchoHandler);
    const marshalling = () => {
      for (let n = 0; n < calls; n += 1) payload.decode(payload.encode(payload.decode(payload.encode({ body }))));
    };
    const whole = async () => {
      for (let n = 0; n < calls; n += 1) await echo.unary({ body });
    };
    await whole();
    marshalling();
    const cost = { whole: [], marshalling: [] };
    for (let slice = 0; slice < slices; slice += 1) {
      cost.whole.push(await microseconds(whole));
      cost.marshalling.push(await microseconds(marshalling));
    }
    rows.push({
      what: `unary 32 B, 1 in flight, ${kind === 'static' ? "protobufjs's codec" : "tenon's whole mapping"}`,
      'µs a call': median(cost.whole).toFixed(2),
      'µs marshalling alone': median(cost.marshalling).toFixed(2),
    });
    await system.stop();
  }
  return rows;
}

async function microseconds(work) {
  const start = performance.now();
  await work();
  return ((performance.now() - start) * 1_000) / calls;
}
