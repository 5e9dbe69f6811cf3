import { createRequire } from 'node:module';
import type { Socket } from 'node:net';

import {
  assertKafkaAnswers,
  assertTakesRequests,
  committedRecords,
  type FetchedPartition,
  faults,
  KafkaFault,
  type KafkaConnection,
  type KafkaLibrary,
  type KafkaTarget,
} from './kafka.ts';

// What is used of kafkajs 2.2.4, whose last release is of 2023: the requests of its protocol, below its consumer.
interface Broker {
  readonly versions: Readonly<Record<string, { readonly minVersion: number; readonly maxVersion: number }>>;
  readonly lookupRequest: (
    key: number,
    definitions: unknown,
  ) => (request: object) => { readonly request: object; readonly response: object };
  readonly connectionPool: { send(request: object): Promise<unknown> };
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  createTopics(request: object): Promise<unknown>;
  describeConfigs(request: object): Promise<{
    readonly resources: readonly {
      readonly configEntries: readonly { readonly configName: string; readonly configValue: string }[];
    }[];
  }>;
  initProducerId(request: object): Promise<{ readonly producerId: string; readonly producerEpoch: number }>;
  produce(request: object): Promise<unknown>;
  fetch(request: object): Promise<{
    readonly responses: readonly { readonly partitions: readonly Fetched[] }[];
  }>;
  listOffsets(request: object): Promise<PerPartition<{ readonly offset: string }>>;
  findGroupCoordinator(
    request: object,
  ): Promise<{ readonly coordinator: { readonly host: string; readonly port: number } }>;
  joinGroup(request: object): Promise<{
    readonly memberId: string;
    readonly generationId: number;
    readonly members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[];
  }>;
  syncGroup(request: object): Promise<{ readonly memberAssignment: Buffer }>;
  heartbeat(request: object): Promise<unknown>;
  leaveGroup(request: object): Promise<unknown>;
  offsetCommit(request: object): Promise<unknown>;
  offsetFetch(request: object): Promise<PerPartition<{ readonly offset: string; readonly metadata: string | null }>>;
}

interface Metadata {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly controllerId: number;
  readonly topicMetadata: readonly {
    readonly topicErrorCode: number;
    readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[];
  }[];
}

interface PerPartition<T> {
  readonly responses: readonly { readonly partitions: readonly (T & { readonly partition: number })[] }[];
}

interface Fetched {
  readonly partition: number;
  readonly abortedTransactions: readonly { readonly producerId: string; readonly firstOffset: string }[];
  readonly messages: readonly {
    readonly offset: string;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: Readonly<Record<string, Buffer | null | readonly (Buffer | null)[]>>;
    readonly isControlRecord?: boolean;
    readonly batchContext?: {
      readonly producerId: string;
      readonly inTransaction: boolean;
      readonly firstOffset: string;
      readonly lastOffsetDelta: number;
    };
  }[];
}

const metadataKey = 3;
// There may be none of that name: without one the server would tell of all.
const someTopic = '__consumer_offsets';

type Constructor<T> = new (options: object) => T;

interface Parts {
  readonly Broker: Constructor<Broker>;
  readonly ConnectionPool: Constructor<object>;
  readonly makeSocket: (options: object) => Socket;
  /** Asks for what is known of a topic. kafkajs itself fails if one of its partitions has no leader. */
  readonly metadata: (broker: Broker, topic: string) => Promise<Metadata>;
  readonly errorOf: (code: number) => Error;
  readonly logger: unknown;
}

/** Loads kafkajs. Throws the error of `require` if it is not installed. */
export function kafkajs(): KafkaLibrary {
  const require = createRequire(import.meta.url);
  const { createLogger } = require('kafkajs/src/loggers') as { readonly createLogger: (options: object) => unknown };
  const { createErrorFromCode } = require('kafkajs/src/protocol/error') as {
    readonly createErrorFromCode: (code: number) => Error;
  };
  const definitions: unknown = require('kafkajs/src/protocol/requests/metadata');
  const parts: Parts = {
    errorOf: createErrorFromCode,
    metadata: async (broker, topic) => {
      const question = { topics: [topic], allowAutoTopicCreation: false };
      const { request, response } = broker.lookupRequest(metadataKey, definitions)(question);
      const answer = { ...response, parse: (all: unknown) => all };
      return (await broker.connectionPool.send({ request, response: answer })) as Metadata;
    },
    Broker: require('kafkajs/src/broker') as Constructor<Broker>,
    ConnectionPool: require('kafkajs/src/network/connectionPool') as Constructor<object>,
    makeSocket: (require('kafkajs/src/network/socketFactory') as () => Parts['makeSocket'])(),
    // All that it would write is among its errors.
    logger: createLogger({ logCreator: () => () => undefined }),
  };
  return { name: 'kafkajs', connect: (target, signal) => connect(parts, target, signal) };
}

async function connect(
  parts: Parts,
  { host, port, tls: ssl, sasl, clientId, timeoutMs }: KafkaTarget,
  signal: AbortSignal,
): Promise<KafkaConnection> {
  const { Broker, ConnectionPool, makeSocket, logger } = parts;
  const sockets = new Set<Socket>();
  let why: unknown;
  const socketFactory = (options: object): Socket => {
    const socket = makeSocket(options);
    sockets.add(socket);
    assertKafkaAnswers(socket, (error) => (why = error));
    // kafkajs keeps the text alone.
    socket.once('error', (error) => (why ??= error));
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const connection = { host, port, ssl, sasl, clientId, socketFactory, logger };
  // The caller bounds all calls itself. One that is late must not be given up and its connection be used on.
  const times = { connectionTimeout: 2 * timeoutMs, requestTimeout: 2 * timeoutMs, enforceRequestTimeout: false };
  const connectionPool = new ConnectionPool({ ...connection, ...times });
  const broker = new Broker({ connectionPool, logger, allowAutoTopicCreation: false });
  const close = (): void => {
    for (const socket of sockets) socket.destroy(new Error('closed'));
    broker.disconnect().catch(() => undefined);
  };
  signal.addEventListener('abort', close, { once: true });
  const call = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw faultOf(error) ?? why ?? error;
    }
  };
  try {
    await call(broker.connect());
    assertTakesRequests(Object.entries(broker.versions).map(([key, range]) => ({ apiKey: Number(key), ...range })));
  } catch (error) {
    close();
    throw error;
  } finally {
    signal.removeEventListener('abort', close);
  }
  return calls(parts, broker, call, close);
}

function calls(
  { metadata, errorOf }: Parts,
  broker: Broker,
  call: <T>(work: Promise<T>) => Promise<T>,
  close: () => void,
): KafkaConnection {
  return {
    client: broker,
    close,
    // It connects again by itself.
    isOpen: true,
    async ping() {
      await call(metadata(broker, someTopic));
    },
    async leaders(topic) {
      const { brokers, topicMetadata } = await call(metadata(broker, topic));
      const [{ topicErrorCode: code, partitionMetadata } = { topicErrorCode: 0, partitionMetadata: [] }] =
        topicMetadata;
      if (code !== 0) await call(Promise.reject(errorOf(code)));
      const nodes = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
      return new Map(partitionMetadata.map(({ partitionId, leader }) => [partitionId, nodes.get(leader)]));
    },
    async controller() {
      const { brokers, controllerId } = await call(metadata(broker, someTopic));
      return brokers.find(({ nodeId }) => nodeId === controllerId);
    },
    async createTopic(topic, numPartitions, timeout) {
      await call(broker.createTopics({ topics: [{ topic, numPartitions, replicationFactor: -1 }], timeout }));
    },
    async topicConfig(topic, name) {
      const resources = [{ type: 2, name: topic, configNames: [name] }];
      const described = await call(broker.describeConfigs({ resources }));
      return described.resources[0]?.configEntries.find(({ configName }) => configName === name)?.configValue;
    },
    async producerId() {
      const made = await call(broker.initProducerId({ transactionalId: null, transactionTimeout: 60_000 }));
      return { id: BigInt(made.producerId), epoch: made.producerEpoch };
    },
    async produce({ topic, partition, records: messages, producer, sequence: firstSequence, timeoutMs: timeout }) {
      const topicData = [{ topic, partitions: [{ partition, firstSequence, messages }] }];
      const { id, epoch: producerEpoch } = producer;
      await call(broker.produce({ topicData, acks: -1, timeout, producerId: String(id), producerEpoch }));
    },
    async fetch({ topic, positions, maxWaitMs: maxWaitTime, maxBytes }) {
      const partitions = Array.from(positions, ([partition, fetchOffset]) => ({ partition, fetchOffset, maxBytes }));
      const request = { topics: [{ topic, partitions }], maxWaitTime, maxBytes: 4 * maxBytes, isolationLevel: 1 };
      const { responses } = await call(broker.fetch(request));
      return (responses[0]?.partitions ?? []).map((one) => fetched(one, positions));
    },
    async offsets(topic, partitions, at) {
      const timestamp = at === 'start' ? -2 : -1;
      const topics = [{ topic, partitions: partitions.map((partition) => ({ partition, timestamp })) }];
      const { responses } = await call(broker.listOffsets({ topics, isolationLevel: 0 }));
      return new Map(responses[0]?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
    },
    async coordinator(group) {
      return (await call(broker.findGroupCoordinator({ groupId: group, coordinatorType: 0 }))).coordinator;
    },
    async join({ group, memberId, sessionTimeoutMs, rebalanceTimeoutMs, protocol, metadata }) {
      const times = { sessionTimeout: sessionTimeoutMs, rebalanceTimeout: rebalanceTimeoutMs };
      const groupProtocols = [{ name: protocol, metadata }];
      const joined = await call(broker.joinGroup({ groupId: group, memberId, ...times, groupProtocols }));
      const members = joined.members.map((one) => ({ memberId: one.memberId, metadata: one.memberMetadata }));
      return { memberId: joined.memberId, generation: joined.generationId, members };
    },
    async sync({ group, memberId, generation }, assignments) {
      const groupAssignment = Array.from(assignments, ([id, memberAssignment]) => ({ memberId: id, memberAssignment }));
      const request = { groupId: group, memberId, generationId: generation, groupAssignment };
      return (await call(broker.syncGroup(request))).memberAssignment;
    },
    async heartbeat({ group, memberId, generation }) {
      await call(broker.heartbeat({ groupId: group, memberId, groupGenerationId: generation }));
    },
    async leave({ group, memberId }) {
      await call(broker.leaveGroup({ groupId: group, memberId }));
    },
    async commit({ group, memberId, generation }, topic, offsets) {
      const partitions = Array.from(offsets, ([partition, { offset, metadata }]) => ({ partition, offset, metadata }));
      const member = { groupId: group, memberId, groupGenerationId: generation };
      await call(broker.offsetCommit({ ...member, topics: [{ topic, partitions }] }));
    },
    async committed(group, topic, partitions) {
      const topics = [{ topic, partitions: partitions.map((partition) => ({ partition })) }];
      const { responses } = await call(broker.offsetFetch({ groupId: group, topics }));
      return new Map(
        responses[0]?.partitions.map(({ partition, offset, metadata }) => [
          partition,
          { offset: Number(offset), metadata: metadata ?? '' },
        ]),
      );
    },
  };
}

function fetched(
  { partition, messages, abortedTransactions }: Fetched,
  positions: ReadonlyMap<number, number>,
): FetchedPartition {
  const from = positions.get(partition) ?? 0;
  const raw = messages.map(({ offset, key, value, headers, isControlRecord = false, batchContext }) => ({
    offset: Number(offset),
    key,
    value,
    // Of several headers of one name the last counts.
    headers: Object.entries(headers).map(([name, all]) => [name, lastOf(all)] as const),
    producerId: batchContext?.producerId ?? '-1',
    isControl: isControlRecord,
    isTransactional: batchContext?.inTransaction ?? false,
  }));
  const aborted = abortedTransactions.map((one) => ({ ...one, firstOffset: Number(one.firstOffset) }));
  const last = messages.at(-1);
  const end = last?.batchContext;
  const next = end ? Number(end.firstOffset) + end.lastOffsetDelta + 1 : last && Number(last.offset) + 1;
  // A batch is read from its beginning, wherever the position is in it.
  return { partition, records: committedRecords(raw, aborted).filter(({ offset }) => offset >= from), next };
}

interface LibraryError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly partition?: number;
  readonly errors?: readonly LibraryError[];
}

/** Numbers of errors that kafkajs has found by itself. */
const codeOf: Readonly<Record<string, number>> = {
  KafkaJSSASLAuthenticationError: faults.authenticationFailed,
  KafkaJSServerDoesNotSupportApiKey: faults.unsupportedVersion,
  KafkaJSNotImplemented: faults.unsupportedCompression,
};

function faultOf(error: unknown): KafkaFault | undefined {
  const { name, code, message, partition, errors } = error as LibraryError;
  if (errors?.[0]) return faultOf(errors[0]);
  const number = typeof code === 'number' ? code : codeOf[String(name)];
  if (number === undefined) return undefined;
  return new KafkaFault(number, String(message), { ...(partition !== undefined && { partition }), cause: error });
}

function lastOf(all: Buffer | null | readonly (Buffer | null)[]): Buffer | null {
  return Array.isArray(all) ? ((all as readonly (Buffer | null)[]).at(-1) ?? null) : (all as Buffer | null);
}
