import { describe, it } from '@jest/globals';

import { RpcServer } from '../../src/server/rpc-server.ts';
import { serverConformance } from '../../src/testing/server.ts';

serverConformance({ describe, it }, 'rpc', {
  make: ({ transport, registry, broker, marshalers, runtime, logger }, options) =>
    new RpcServer(
      transport,
      registry,
      broker,
      marshalers,
      runtime.clock,
      runtime.random,
      runtime.timers,
      logger,
      options,
    ),
});
