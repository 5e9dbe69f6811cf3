// A service whose handler takes as long as it is told, as a process of its own. Its log says when it serves.
import { Handler, Rpc, run, Service } from '../../../dist/index.js';

class SlowHandler {
  async wait(request) {
    await new Promise((resolve) => setTimeout(resolve, request.ms));
    return { pid: process.pid };
  }
}
Rpc()(SlowHandler.prototype, 'wait', Object.getOwnPropertyDescriptor(SlowHandler.prototype, 'wait'));
Handler('slow.Slow')(SlowHandler);

class Slow {}
Service({ name: 'slow', handlers: [SlowHandler] })(Slow);

await run(Slow);
