// A service whose handlers do what handlers must not do, as a process of its own.
import { preDestroy } from 'inversify';

import { Broker, Handler, Rpc, run, Server, Service, ServiceRuntime, Subscribe } from '../../../dist/index.js';

class CarelessHandler {
  async throwsText() {
    throw 'just a text';
  }

  async throwsLater() {
    setTimeout(() => {
      throw new Error('after the reply');
    }, 1);
    return { ok: true };
  }

  async rejectsLater() {
    setTimeout(() => void Promise.reject(new Error('nobody waits for this')), 1);
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
for (const name of ['throwsText', 'throwsLater', 'rejectsLater', 'neverEnds', 'fine']) Rpc()(...method(name));
Rpc({ stream: 'server' })(...method('throwsAfterMessages'));
Subscribe('things')(...method('onEvent'));
Handler('careless.Careless')(CarelessHandler);

CarelessHandler.prototype.bye = () => hang();
if (process.env.HANGING_DISPOSAL) preDestroy()(...method('bye'));

class Careless {}
Service({ name: 'careless', handlers: [CarelessHandler] })(Careless);

const hang = () => {
  console.log('hangs');
  return new Promise(() => {});
};

await run(Careless, {
  exitOnUncaught: process.env.LIVES_ON ? false : undefined,
  bind: (container) => {
    if (process.env.HANGING_HOOK) {
      container.onActivation(ServiceRuntime, (_context, service) => {
        const init = service.init.bind(service);
        service.init = (options) => init({ ...options, [process.env.HANGING_HOOK]: [hang] });
        return service;
      });
    }
    if (process.env.HANGING_CLOSE) {
      container.onActivation(Broker, (_context, broker) => {
        broker.disconnect = hang;
        return broker;
      });
    }
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
