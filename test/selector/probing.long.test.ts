import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { RpcClient } from '../../src/client/rpc-client.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { LeastRequestSelector } from '../../src/selector/least-request.ts';
import { PeakEwmaSelector } from '../../src/selector/peak-ewma.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import { TenonError } from '../../src/errors/errors.ts';
import { memoryParts, method } from '../../src/testing/internal/parts.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import { freePort, startNode, type TestProcess } from '../support/process.ts';
import { eventually } from '../support/waiting.ts';
import { serviceOf, nodeOf } from '../registry/support.ts';

const program = fileURLToPath(new URL('../service/programs/slow.mjs', import.meta.url));
const wait = method('Wait', 'unary', { service: 'slow.Slow', path: '/slow.Slow/Wait' });
// Long enough for the waits between attempts to connect to have grown as far as they do.
const downMs = 7_000;

const transports = { grpc: GrpcTransport, tcp: TcpTransport };
const selectors = {
  random: RandomSelector,
  'round-robin': RoundRobinSelector,
  'least-request': LeastRequestSelector,
  'peak-ewma': PeakEwmaSelector,
};

async function start(transport: string, port: number): Promise<TestProcess> {
  const env = { TENON_PROFILE: 'local', TENON_TRANSPORT: transport, TENON_SERVER_ADDRESS: `127.0.0.1:${port}` };
  const child = startNode(program, { env });
  await eventually('it serves', () => child.stderr.includes('slow serves'), 60_000);
  return child;
}

describe('a node that was killed', () => {
  it.each<[keyof typeof transports, keyof typeof selectors]>([
    ['grpc', 'random'],
    ['grpc', 'peak-ewma'],
    ['tcp', 'round-robin'],
    ['tcp', 'least-request'],
  ])(
    'gets calls again soon after it listens at the same address, and costs no call meanwhile: %s, %s',
    async (name, selector) => {
      const ports = [await freePort(), await freePort(), await freePort()];
      const children = await Promise.all(ports.map((port) => start(name, port)));
      const registry = new CachedRegistry(memoryParts().registry);
      const nodes = ports.map((port, index) => nodeOf(`slow-${index}`, { address: `127.0.0.1:${port}` }));
      await registry.register(serviceOf('slow', nodes), { ttlMs: 600_000 });
      const transport = new transports[name]();
      const parts = memoryParts({ transport, registry, selector: new selectors[selector](registry) });
      const { broker, marshaler, marshalers, runtime, logger } = parts;
      const { clock, random, timers } = runtime;
      const client = new RpcClient(
        transport,
        parts.selector,
        broker,
        marshaler,
        marshalers,
        clock,
        random,
        timers,
        logger,
        { timeoutMs: 10_000 },
      );
      const call = client.method(wait, 'slow');
      const failures: string[] = [];
      const pids: number[] = [];
      let isOver = false;
      const caller = async (): Promise<void> => {
        while (!isOver) {
          try {
            pids.push(((await call({ ms: 1 })) as { pid: number }).pid);
          } catch (error) {
            failures.push(TenonError.from(error).reason ?? 'none');
          }
          await timers.sleep(5);
        }
      };
      const callers = Promise.all(Array.from({ length: 4 }, caller));
      const victim = children[1]!;
      await eventually('all are called', () => new Set(pids).size === 3, 60_000);
      await victim.kill();
      await timers.sleep(500);
      // What was in flight when it died.
      expect(failures.every((reason) => reason === 'transport.connection_lost')).toBe(true);
      expect(failures.length).toBeLessThanOrEqual(4);
      failures.length = 0;
      await timers.sleep(downMs);
      const again = await start(name, ports[1]!);
      await eventually('the new process is called', () => pids.includes(again.pid));
      isOver = true;
      await callers;
      expect(failures).toEqual([]);
      await Promise.all([...children, again].map((child) => child.kill()));
      await client.close();
      await transport.close();
      await registry.close();
    },
    240_000,
  );
});
