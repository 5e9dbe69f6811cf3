// A service whose handler blocks the event loop for as long as it is told. It prints its node's id, and how its status
// changes.
import { Handler, Rpc, Service, System } from '../../../dist/index.js';

class BusyHandler {
  async pid() {
    return { pid: process.pid };
  }
  async block(request) {
    const until = performance.now() + request.ms;
    while (performance.now() < until);
    return { pid: process.pid };
  }
}
for (const name of ['pid', 'block'])
  Rpc()(BusyHandler.prototype, name, Object.getOwnPropertyDescriptor(BusyHandler.prototype, name));
Handler('busy.Busy')(BusyHandler);

class Busy {}
Service({ name: 'busy', handlers: [BusyHandler] })(Busy);

const system = await System.start([Busy]);
const [service] = system.services;
service.onChange(({ state, isRegistered }) => console.log(`status ${state} ${isRegistered}`));
process.once('SIGTERM', () => void system.stop().then(() => console.log('stopped')));
console.log(`node ${service.server().nodeId}`);
