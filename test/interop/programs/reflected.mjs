// The sample `places`, and a handler that fails with details. WITHOUT names a handler that is not served: reflection of
// one version, for instance.
import { badRequest, Code, Handler, Rpc, run, Server, Service, TenonError } from '../../../dist/index.js';
import { options } from '../../../samples/places/dist/app.js';
import { PlacesHandler } from '../../../samples/places/dist/places.js';

class FailingHandler {
  async fail() {
    const fieldViolations = [{ field: 'parts_by_name', description: 'must have a part' }];
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'failing.no_part',
      message: 'no part was given',
      details: [badRequest({ fieldViolations })],
    });
  }
}
Rpc()(FailingHandler.prototype, 'fail', Object.getOwnPropertyDescriptor(FailingHandler.prototype, 'fail'));
Handler('failing.Failing', { proto: new URL('failing.proto', import.meta.url) })(FailingHandler);

class JsonHandler {
  async hello() {
    return {};
  }
}
Rpc()(JsonHandler.prototype, 'hello', Object.getOwnPropertyDescriptor(JsonHandler.prototype, 'hello'));
Handler('json.Json')(JsonHandler);

class Reflected {}
Service({ name: 'places', handlers: [PlacesHandler, FailingHandler, JsonHandler] })(Reflected);

await run(Reflected, {
  bind: (container) => {
    options.bind(container);
    container.onActivation(Server, (_context, server) => {
      const handle = server.handle.bind(server);
      server.handle = (handler) => handler.name === process.env.WITHOUT || handle(handler);
      return server;
    });
  },
  onStarted: (system) => console.log(`address ${system.services[0].server().address}`),
});
