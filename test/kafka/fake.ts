import { KafkaCluster } from '../../src/kafka/cluster.ts';
import type { KafkaAddress, KafkaConnection, KafkaLibrary } from '../../src/kafka/kafka.ts';
import { systemTimers } from '../../src/runtime/system.ts';

/** Calls of a server that a test answers itself. */
export type FakeCalls = Partial<KafkaConnection>;

/** A cluster whose servers a test plays: `connect` gives the calls of a connection, or throws. */
export function fakeCluster(
  connect: (address: KafkaAddress) => FakeCalls | Promise<FakeCalls>,
  {
    addresses = [{ host: 'one', port: 1 }],
    timeoutMs = 1_000,
  }: { addresses?: KafkaAddress[]; timeoutMs?: number } = {},
): KafkaCluster {
  const library: KafkaLibrary = {
    name: 'fake',
    connect: async (target) => {
      const calls = await connect(target);
      return { client: calls, isOpen: true, close: () => undefined, ...calls } as KafkaConnection;
    },
  };
  const more = { clientId: 'test', timeoutMs, tls: undefined, sasl: undefined };
  return new KafkaCluster({
    library,
    addresses,
    timers: systemTimers,
    timeoutMs,
    target: (one) => ({ ...one, ...more }),
  });
}
