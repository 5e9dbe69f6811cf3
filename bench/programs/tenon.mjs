// The service on tenon: decorated class, real gRPC, by its .proto. `static` swaps the marshaler for the one that the
// bare program has.
import { DefaultMarshaler, Handler, Marshaler, Rpc, Service } from '../../dist/index.js';
import { byName } from './messages.mjs';

const proto = new URL('./echo.proto', import.meta.url);

class EchoHandler {
  async unary(request) {
    return request;
  }

  async *stream(request) {
    const body = new Uint8Array(request.size);
    for (let n = 0; n < request.count; n += 1) yield { body };
  }
}
for (const name of ['unary', 'stream'])
  Rpc()(EchoHandler.prototype, name, Object.getOwnPropertyDescriptor(EchoHandler.prototype, name));
Handler('bench.Echo', { proto })(EchoHandler);

/** The same without a `.proto`: JSON. */
class JsonEchoHandler {
  async unary(request) {
    return request;
  }
}
Rpc()(JsonEchoHandler.prototype, 'unary', Object.getOwnPropertyDescriptor(JsonEchoHandler.prototype, 'unary'));
Handler('bench.JsonEcho')(JsonEchoHandler);

class Echo {}
Service({ name: 'bench', handlers: [EchoHandler] })(Echo);

class JsonEcho {}
Service({ name: 'bench', handlers: [JsonEchoHandler] })(JsonEcho);

const staticMarshaler = {
  contentType: 'application/grpc+proto',
  marshal: (schema, value) => byName[schema.name].encode(value),
  unmarshal: (schema, bytes) => byName[schema.name].decode(bytes),
};

export { Echo, EchoHandler, JsonEcho, JsonEchoHandler };

export function options(kind, profile = 'local') {
  const [name] = kind.split(' ');
  const transport = ['tcp', 'unix', 'grpc-js'].includes(name) ? { TENON_TRANSPORT: name } : {};
  return {
    profile,
    env: { TENON_LOG_LEVEL: 'silent', TENON_LAME_DUCK_MS: '0', ...transport },
    bind: (container) => {
      if (kind.endsWith('mapped')) return;
      container.rebind(DefaultMarshaler).toConstantValue(staticMarshaler);
      container.rebind(Marshaler).toConstantValue(staticMarshaler);
    },
  };
}
