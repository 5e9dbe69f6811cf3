// The same on tenon, with its container, configuration and verification.
import { Handler, Rpc, Service, System } from '../../dist/index.js';

class EchoHandler {
  async unary(request) {
    return request;
  }
  async *stream() {}
}
for (const name of ['unary', 'stream'])
  Rpc()(EchoHandler.prototype, name, Object.getOwnPropertyDescriptor(EchoHandler.prototype, name));
Handler('bench.Echo', { proto: new URL('./echo.proto', import.meta.url) })(EchoHandler);

class Echo {}
Service({ name: 'bench', handlers: [EchoHandler] })(Echo);

const system = await System.start([Echo], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
const reply = await system.client(EchoHandler).unary({ body: new Uint8Array(32) });
if (reply.body.length !== 32) throw new Error('no reply');
console.log(JSON.stringify({ ms: performance.now(), cpu: process.cpuUsage() }));
process.exit(0);
