import { describe, it } from '@jest/globals';

import { RpcClient } from '../../src/client/rpc-client.ts';
import { clientConformance } from '../../src/testing/client.ts';

clientConformance({ describe, it }, 'rpc', {
  make: ({ transport, selector, broker, marshaler, marshalers, runtime, logger }, options) =>
    new RpcClient(
      transport,
      selector,
      broker,
      marshaler,
      marshalers,
      runtime.clock,
      runtime.random,
      runtime.timers,
      logger,
      options,
    ),
});
