// A unary call through the whole path, client to handler and back, in one process over the memory transport.
import { System } from '../dist/index.js';
import { payload } from './programs/messages.mjs';
import { Echo, EchoHandler, JsonEcho, JsonEchoHandler, options } from './programs/tenon.mjs';
import { median } from './statistics.mjs';

const calls = 50_000;
const slices = 11;
const body = new Uint8Array(32).fill(7);
const text = { text: 'x'.repeat(21) };
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const overProtobufjs = () => payload.decode(payload.encode(payload.decode(payload.encode({ body }))));
const overJson = () => {
  const there = JSON.parse(decoder.decode(encoder.encode(JSON.stringify(text))));
  return JSON.parse(decoder.decode(encoder.encode(JSON.stringify(there))));
};

const echo = { service: Echo, handler: EchoHandler, request: { body }, marshal: overProtobufjs };
const rows = [
  { what: "protobufjs's codec", kind: 'static', ...echo },
  { what: "tenon's whole mapping", kind: 'mapped', ...echo },
  {
    what: 'JSON',
    kind: 'mapped',
    service: JsonEcho,
    handler: JsonEchoHandler,
    request: text,
    marshal: overJson,
  },
];

export async function memoryBench() {
  const results = [];
  for (const { what, kind, service, handler, request, marshal } of rows) {
    const system = await System.start([service], options(kind, 'test'));
    const caller = system.client(handler);
    const marshalling = () => {
      for (let n = 0; n < calls; n += 1) marshal();
    };
    const whole = async () => {
      for (let n = 0; n < calls; n += 1) await caller.unary(request);
    };
    await whole();
    marshalling();
    const cost = { whole: [], marshalling: [] };
    for (let slice = 0; slice < slices; slice += 1) {
      cost.whole.push(await microseconds(whole));
      cost.marshalling.push(await microseconds(marshalling));
    }
    results.push({
      what: `unary 32 B, 1 in flight, ${what}`,
      'µs a call': median(cost.whole).toFixed(2),
      'µs marshalling alone': median(cost.marshalling).toFixed(2),
    });
    await system.stop();
  }
  return results;
}

async function microseconds(work) {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}
