// A node of a fleet, whose calls take about as many milliseconds as it is told. Tells its address.
import { Handler, Rpc, Service, System } from '../../dist/index.js';

const takesMs = Number(process.argv[2]);

class WorkHandler {
  async work() {
    await new Promise((resolve) => setTimeout(resolve, takesMs * (0.8 + 0.4 * Math.random())));
    return {};
  }
}
Rpc()(WorkHandler.prototype, 'work', Object.getOwnPropertyDescriptor(WorkHandler.prototype, 'work'));
Handler('fleet.Fleet')(WorkHandler);

class Fleet {}
Service({ name: 'fleet', handlers: [WorkHandler] })(Fleet);

const env = { TENON_REGISTRY: 'memory', TENON_REGISTER: 'false', TENON_BROKER: 'memory', TENON_LOG_LEVEL: 'silent' };
const system = await System.start([Fleet], { profile: 'local', env });
process.on('disconnect', () => process.exit());
process.send({ address: system.services[0].server().address });
