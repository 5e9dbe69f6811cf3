// The service that bad peers call: every kind of method, by a .proto and in JSON, and one method that tells how the
// process is. Arguments: the name of its transport, and after how many milliseconds of silence it asks. Prints its
// address.
import { Handler, Rpc, Service, System } from '../../../dist/index.js';
import { GrpcTransportOptions } from '../../../dist/transport/grpc.js';
import { GrpcJsTransportOptions } from '../../../dist/transport/grpc-js.js';

const [engine = 'grpc', keepaliveMs = '1000'] = process.argv.slice(2);
const proto = new URL('./echo.proto', import.meta.url);
const large = new Uint8Array(16 * 1024).fill(7);
let running = 0;
let warnings = 0;
process.on('warning', () => (warnings += 1));

function untilAborted(ctx) {
  return new Promise((_, reject) => ctx.onAbort(reject));
}

async function* counted(source) {
  running += 1;
  try {
    yield* source;
  } finally {
    running -= 1;
  }
}

class EchoHandler {
  async unary(request) {
    return request;
  }
  server(request) {
    return counted(repeat(request));
  }
  async client(requests) {
    running += 1;
    try {
      let number = 0;
      for await (const request of requests) if (request) number += 1;
      return { number };
    } finally {
      running -= 1;
    }
  }
  bidi(requests) {
    return counted(requests);
  }
  async hold(_, ctx) {
    running += 1;
    try {
      await untilAborted(ctx);
    } finally {
      running -= 1;
    }
  }
  flood() {
    return counted(repeat({ number: Number.POSITIVE_INFINITY, body: large }));
  }
  deaf(_, ctx) {
    return counted(waiting(ctx));
  }
}

async function* repeat({ number, body }) {
  for (let n = 0; n < number; n += 1) yield { number: n, body };
}

// oxlint-disable-next-line require-yield
async function* waiting(ctx) {
  await untilAborted(ctx);
}

class JsonHandler {
  async unary(request) {
    return request;
  }
}

class ProbeHandler {
  async report({ collect }) {
    if (collect) {
      for (let n = 0; n < 3; n += 1) {
        globalThis.gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    const { heapUsed, external } = process.memoryUsage();
    const handles = process.getActiveResourcesInfo();
    const sockets = handles.filter((name) => name === 'TCPSocketWrap').length;
    // This call is one of them.
    const inFlight = system.services[0].server().inFlight - 1;
    return { heapUsed, external, sockets, handles: handles.length, inFlight, running, warnings };
  }
}

function rpcs(type, kinds) {
  for (const [name, stream] of Object.entries(kinds)) {
    Rpc({ stream })(type.prototype, name, Object.getOwnPropertyDescriptor(type.prototype, name));
  }
}
rpcs(EchoHandler, {
  unary: undefined,
  server: 'server',
  client: 'client',
  bidi: 'bidi',
  hold: undefined,
  flood: 'server',
  deaf: 'bidi',
});
rpcs(JsonHandler, { unary: undefined });
rpcs(ProbeHandler, { report: undefined });
Handler('hostile.Echo', { proto })(EchoHandler);
Handler('hostile.Json')(JsonHandler);
Handler('hostile.Probe')(ProbeHandler);

class Hostile {}
Service({ name: 'hostile', handlers: [EchoHandler, JsonHandler, ProbeHandler] })(Hostile);

const system = await System.start([Hostile], {
  profile: 'local',
  env: { TENON_TRANSPORT: engine, TENON_LOG_LEVEL: 'silent', TENON_LAME_DUCK_MS: '0', TENON_DRAIN_TIMEOUT_MS: '5000' },
  bind: (container) => {
    for (const key of [GrpcTransportOptions, GrpcJsTransportOptions])
      container.bind(key).toConstantValue({ serverKeepaliveMs: +keepaliveMs, keepaliveTimeoutMs: +keepaliveMs });
  },
});
console.log(`address ${system.services[0].server().address}`);
process.once('SIGTERM', () => {
  void system.stop().then(() => console.log('stopped'));
});
