// A service whose handlers do what handlers must not do, as a process of its own.
import { Handler, Rpc, run, Server, Service, Subscribe } from '../../../dist/index.js';

class CarelessHandler {
  async throwsText() {
    throw 'just a text';
  }

  async throwsLater() {
    setTimeout(() => {
      throw new Error('after the reply');
    }, 1);
    void Promise.reject(new Error('nobody waits for this'));
    return { ok: true };
  }

  async *throwsAfterMessages() {
    yield { n: 1 };
    throw new Error('in the middle');
  }

  async neverEnds() {
    await new Promise(() => {});
  }

  async fine(request) {
    return request;
  }

  async onEvent() {
    throw new Error('no event is good enough');
  }
}

const method = (name) => [
  CarelessHandler.prototype,
  name,
  Object.getOwnPropertyDescriptor(CarelessHandler.prototype, name),
];
for (const name of ['throwsText', 'throwsLater', 'neverEnds', 'fine']) Rpc()(...method(name));
Rpc({ stream: 'server' })(...method('throwsAfterMessages'));
Subscribe('things')(...method('onEvent'));
Handler('careless.Careless')(CarelessHandler);

class Careless {}
Service({ name: 'careless', handlers: [CarelessHandler] })(Careless);

await run(Careless, {
  bind: (container) => {
    if (!process.env.NEVER_STARTED) return;
    container.onActivation(Server, (_context, server) => {
      server.start = () => {
        console.log('starting');
        // Something that keeps the process alive, and never comes.
        return new Promise((resolve) => setTimeout(resolve, 2 ** 31 - 1));
      };
      return server;
    });
  },
  onStarted: (system) => {
    if (process.env.REFUSE_TO_START) throw new Error('not today');
    console.log(`address ${system.services[0].server().address}`);
    return process.env.NEVER_DONE === undefined ? undefined : new Promise(() => {});
  },
});
