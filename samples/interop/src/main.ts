import { System } from 'tenon';

import { cases } from './cases.ts';
import { connect } from './peer.ts';
import { ServerId, TestService } from './test-service.ts';

/** Serves the test service and runs every case against it, in this one process, over real gRPC on loopback. */
const env = { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn', ...process.env };
const system = await System.start([TestService], {
  env,
  bind: (container) => container.bind(ServerId).toConstantValue('one'),
});
const peer = await connect(system.services[0]?.server().address ?? '', 10, { env });
try {
  for (const [name, run] of Object.entries(cases)) {
    await run(peer);
    console.log(`${name.padEnd(32)}passed`);
  }
} finally {
  await peer.close();
  await system.stop();
}
