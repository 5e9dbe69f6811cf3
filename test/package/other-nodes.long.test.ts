import { test } from '@jest/globals';

import { describeWithOtherNodes, nodeBinary, otherNodes } from '../support/node-versions.ts';
import { run } from '../support/process.ts';

// What stands directly on Node's network changes with it: node:http2's own drain did, with 24.
const suites = [
  'test/conformance/transport.test.ts',
  'test/hostile/chaos.long.test.ts',
  'test/hostile/servers.long.test.ts',
  'test/transport/connections.test.ts',
  'test/transport/grpc-wire.test.ts',
  'test/transport/http2-client.test.ts',
  'test/transport/http2-server.test.ts',
];

describeWithOtherNodes('the transports on other Nodes', () => {
  test.each(Object.keys(otherNodes))(
    'pass their suite on Node %s',
    async (major) => {
      const jest = ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js'];
      await run(await nodeBinary(major), [...jest, '--silent', ...suites]);
    },
    600_000,
  );
});
