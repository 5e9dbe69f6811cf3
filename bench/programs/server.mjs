// A server process: `bare`, `static` (tenon, the bare program's marshaler) or `mapped` (tenon's whole mapping),
// `grpc-js` (static, the grpc-js transport), `tcp`, `unix` (static) or `tcp mapped`, `with metadata`, `with five`
// (interceptors; static), or a peer's name. Tells its address, then its CPU time and memory when asked.
import { peerOf } from './peer.mjs';

const kind = process.argv[2];
const peer = await peerOf(kind);

async function sendAll(call) {
  const body = new Uint8Array(call.request.size);
  for (let n = 0; n < call.request.count; n += 1) {
    if (!call.write({ body })) await new Promise((resolve) => call.once('drain', resolve));
  }
  call.end();
}

if (peer) {
  process.send({ address: await peer.serve() });
} else if (kind === 'bare') {
  const { Server, ServerCredentials } = await import('@grpc/grpc-js');
  const { payload, streamRequest } = await import('./messages.mjs');
  const server = new Server();
  const method = (path, responseStream, request) => ({
    path,
    requestStream: false,
    responseStream,
    requestSerialize: request.encode,
    requestDeserialize: request.decode,
    responseSerialize: payload.encode,
    responseDeserialize: payload.decode,
  });
  server.addService(
    { unary: method('/bench.Echo/Unary', false, payload), stream: method('/bench.Echo/Stream', true, streamRequest) },
    {
      unary: (call, reply) => reply(null, call.request),
      stream: (call) => void sendAll(call),
    },
  );
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.send({ address: `127.0.0.1:${port}` });
  });
} else {
  const { System } = await import('../../dist/index.js');
  const { Echo, options } = await import('./tenon.mjs');
  const service = kind === 'with five' ? await inFiveInterceptors() : Echo;
  const system = await System.start([service], options(kind));
  process.send({ address: system.services[0].server().address });
}

async function inFiveInterceptors() {
  const { echoWith, names } = await import('./interceptors.mjs');
  return echoWith(names).service;
}

process.on('message', (asked) => {
  if (asked === 'memory') globalThis.gc();
  process.send({ cpu: process.cpuUsage(), rss: process.memoryUsage.rss(), heapUsed: process.memoryUsage().heapUsed });
});
process.on('disconnect', () => process.exit(0));
