import kafkajs, { type Admin } from 'kafkajs';

import { deliver, type DeliveryHandler, type DeliveryOptions } from '../../src/broker/delivery.ts';
import { KafkaBroker, type KafkaBrokerOptions } from '../../src/broker/kafka.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { closing } from '../support/closing.ts';
import type { BackendServer } from '../support/servers.ts';
import { eventually, RecordingLogger } from './support.ts';

/** The longest that a test waits for what it wants to see. */
export const patienceMs = 60_000;

/** A client of the test's own. */
export function clientOf(server: BackendServer): InstanceType<typeof kafkajs.Kafka> {
  const logCreator = () => () => undefined;
  return new kafkajs.Kafka({ brokers: [server.address], logCreator, retry: { retries: 10 } });
}

/** A broker that is connected, and what it logs. Both end with the test. */
export async function connected(server: BackendServer, options: KafkaBrokerOptions = {}) {
  const logger = new RecordingLogger();
  const broker = new KafkaBroker({ address: server.address, logger, sessionTimeoutMs: 6_000, ...options });
  await broker.connect();
  closing.push(() => broker.disconnect());
  const said = (level: string): string[] => logger.lines.filter((one) => one.level === level).map((one) => one.message);
  const member = (topic: string, handle: DeliveryHandler, more: DeliveryOptions = {}) =>
    deliver(broker, topic, { queue: 'q', retryDelayMs: 50, ...more }, handle, { runtime: systemRuntime, logger });
  return { broker, logger, said, member };
}

/** Does something as an administrator of the server. */
export async function withAdmin<T>(server: BackendServer, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = clientOf(server).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** The offsets that a group has committed, by partition; -1 where it has none. */
export function committed(server: BackendServer, topic: string, groupId = 'q'): Promise<Map<number, number>> {
  return withAdmin(server, async (admin) => {
    const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
    return inOrder(found?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
  });
}

/** The offset that the group `q` has committed in the first partition of a topic. */
export async function partitionZero(server: BackendServer, topic: string): Promise<number | undefined> {
  return (await committed(server, topic)).get(0);
}

/** The ends of a topic's partitions. */
export function ends(server: BackendServer, topic: string): Promise<Map<number, number>> {
  return withAdmin(server, async (admin) => {
    const all = await admin.fetchTopicOffsets(topic);
    return inOrder(all.map(({ partition, high }) => [partition, Number(high)]));
  });
}

function inOrder(offsets: [partition: number, offset: number][] = []): Map<number, number> {
  return new Map(offsets.toSorted(([one], [other]) => one - other));
}

/** Creates a topic. */
export function createTopic(server: BackendServer, topic: string, numPartitions = 1, settings = {}): Promise<unknown> {
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value: String(value) }));
  return withAdmin(server, (admin) => admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] }));
}

/** Resolves when `look` gives what is expected. */
export function becomes<T>(what: string, look: () => Promise<T>, expected: T): Promise<void> {
  const wanted = JSON.stringify(expected);
  return eventually(`${what} ${wanted}`, async () => JSON.stringify(await look()) === wanted, patienceMs);
}
