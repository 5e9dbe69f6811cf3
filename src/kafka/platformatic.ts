import { isIP } from 'node:net';
import type { Socket } from 'node:net';

import { textOf } from '../errors/errors.ts';
import {
  assertKafkaAnswers,
  assertTakesRequests,
  committedRecords,
  type FetchedPartition,
  faults,
  isFault,
  type JoinRequest,
  type KafkaAddress,
  type KafkaConnection,
  KafkaFault,
  type KafkaLibrary,
  type KafkaTarget,
  type RawRecord,
  type RequestVersions,
} from './kafka.ts';

/** One request of the protocol, in one version of it. */
interface Api<Reply> {
  readonly api: { async(connection: Connection, ...args: readonly unknown[]): Promise<Reply> };
}

interface Connection {
  readonly socket: Socket | undefined;
  connect(host: string, port: number): Promise<void>;
  close(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): void;
}

// What is used of @platformatic/kafka: its connection, and its requests in versions that Kafka has since 2.4.
interface Library {
  readonly Connection: new (clientId: string, options: object) => Connection;
  readonly apiVersionsV1: Api<{ readonly apiKeys: readonly RequestVersions[] }>;
  readonly metadataV8: Api<Metadata>;
  readonly createTopicsV4: Api<unknown>;
  readonly describeConfigsV2: Api<{
    readonly results: readonly {
      readonly configs: readonly { readonly name: string; readonly value: string | null }[];
    }[];
  }>;
  readonly initProducerIdV1: Api<{ readonly producerId: bigint; readonly producerEpoch: number }>;
  readonly produceV8: Api<unknown>;
  readonly fetchV11: Api<{ readonly responses: readonly { readonly partitions: readonly Fetched[] }[] }>;
  readonly listOffsetsV5: Api<PerPartition<{ readonly offset: bigint }>>;
  readonly findCoordinatorV2: Api<{ readonly coordinators: readonly KafkaAddress[] }>;
  readonly joinGroupV5: Api<{
    readonly memberId: string;
    readonly generationId: number;
    readonly members: readonly { readonly memberId: string; readonly metadata: Buffer }[];
  }>;
  readonly syncGroupV3: Api<{ readonly assignment: Buffer }>;
  readonly heartbeatV3: Api<unknown>;
  readonly leaveGroupV3: Api<unknown>;
  readonly offsetCommitV7: Api<unknown>;
  readonly offsetFetchV5: Api<PerPartition<{ readonly committedOffset: bigint; readonly metadata: string | null }>>;
}

interface Metadata {
  readonly brokers: readonly (KafkaAddress & { readonly nodeId: number })[];
  readonly controllerId: number;
  readonly topics: readonly {
    readonly errorCode: number;
    readonly partitions: readonly { readonly partitionIndex: number; readonly leaderId: number }[];
  }[];
}

interface PerPartition<T> {
  readonly topics: readonly { readonly partitions: readonly (T & { readonly partitionIndex: number })[] }[];
}

interface Fetched {
  readonly partitionIndex: number;
  readonly errorCode: number;
  readonly abortedTransactions: readonly { readonly producerId: bigint; readonly firstOffset: bigint }[] | null;
  readonly records:
    | readonly {
        readonly firstOffset: bigint;
        readonly lastOffsetDelta: number;
        readonly attributes: number;
        readonly producerId: bigint;
        readonly records: readonly {
          readonly offsetDelta: number;
          readonly key: Buffer | null;
          readonly value: Buffer | null;
          readonly headers: readonly (readonly [Buffer, Buffer | null])[];
        }[];
      }[]
    | null;
}

const transactional = 1 << 4;
const control = 1 << 5;
// The caller bounds all calls itself.
const neverMs = 0x7fff_ffff;

/** Loads @platformatic/kafka. Rejects with the error of the import if it is not installed. */
export async function platformatic(): Promise<KafkaLibrary> {
  // Where Node cannot run it, it is not installed, and the compiler would not find it.
  const name: string = '@platformatic/kafka';
  let library: Library;
  try {
    library = (await import(name)) as Library;
  } catch (error) {
    // Outside a `try`, a bundler takes a package that is not installed for a fault of the program.
    throw new Error(textOf(error), { cause: error });
  }
  return { name: '@platformatic/kafka', connect: (target, signal) => connect(library, target, signal) };
}

async function connect(library: Library, target: KafkaTarget, signal: AbortSignal): Promise<KafkaConnection> {
  const { host, port, clientId, timeoutMs, tls, sasl } = target;
  const times = { connectTimeout: 2 * timeoutMs, requestTimeout: neverMs };
  // A name is not sent unless it is said.
  const tlsServerName = tls && isIP(host) === 0 && tls.servername === undefined ? host : undefined;
  const connection = new library.Connection(clientId, { ...times, maxInflights: 1_000, tls, tlsServerName, sasl });
  let why: unknown;
  const close = (): void => {
    connection.socket?.destroy();
    connection.close().catch(() => undefined);
  };
  const call = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw faultOf(error) ?? why ?? rootOf(error);
    }
  };
  connection.on('error', () => undefined);
  signal.addEventListener('abort', close, { once: true });
  try {
    const connected = connection.connect(host, port);
    const { socket } = connection;
    socket?.once('error', (error) => (why ??= error));
    if (socket) assertKafkaAnswers(socket, (error) => (why = error));
    await call(connected);
    assertTakesRequests((await call(library.apiVersionsV1.api.async(connection, clientId, ''))).apiKeys);
  } catch (error) {
    close();
    throw error;
  } finally {
    signal.removeEventListener('abort', close);
  }
  return calls(library, connection, call, close);
}

function calls(
  library: Library,
  connection: Connection,
  call: <T>(work: Promise<T>) => Promise<T>,
  close: () => void,
): KafkaConnection {
  const send = <T>({ api }: Api<T>, ...args: readonly unknown[]): Promise<T> => call(api.async(connection, ...args));
  const metadata = (topics: readonly string[]): Promise<Metadata> => {
    const asked = library.metadataV8.api.async(connection, topics, false).catch((error: unknown) => {
      const { response } = error as { readonly response?: Metadata };
      // A partition without a leader counts as an error.
      if (response?.topics.every(({ errorCode }) => errorCode === 0)) return response;
      throw error;
    });
    return call(asked);
  };
  const joined = ({ group, memberId, sessionTimeoutMs, rebalanceTimeoutMs, protocol, metadata }: JoinRequest) => {
    const protocols = [{ name: protocol, metadata }];
    const args = [group, sessionTimeoutMs, rebalanceTimeoutMs, memberId, null, 'consumer', protocols] as const;
    return library.joinGroupV5.api.async(connection, ...args);
  };
  return {
    client: connection,
    close,
    get isOpen() {
      // It counts as not connected while it proves anew who it is.
      return connection.socket?.destroyed === false;
    },
    async ping() {
      await metadata([]);
    },
    async leaders(topic) {
      const { brokers, topics } = await metadata([topic]);
      const nodes = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
      const partitions = topics[0]?.partitions ?? [];
      return new Map(partitions.map(({ partitionIndex, leaderId }) => [partitionIndex, nodes.get(leaderId)]));
    },
    async controller() {
      const { brokers, controllerId } = await metadata([]);
      return brokers.find(({ nodeId }) => nodeId === controllerId);
    },
    async createTopic(name, numPartitions, timeoutMs) {
      const topic = { name, numPartitions, replicationFactor: -1, assignments: [], configs: [] };
      await send(library.createTopicsV4, [topic], timeoutMs, false);
    },
    async topicConfig(resourceName, name) {
      const resource = { resourceType: 2, resourceName, configurationKeys: [name] };
      const { results } = await send(library.describeConfigsV2, [resource], false);
      return results[0]?.configs.find((config) => config.name === name)?.value ?? undefined;
    },
    async producerId() {
      const { producerId: id, producerEpoch: epoch } = await send(library.initProducerIdV1, null, 60_000);
      return { id, epoch };
    },
    async produce({ topic, partition, records, producer, sequence, timeoutMs }) {
      const messages = records.map(({ key, value, headers }) => ({
        topic,
        partition,
        key,
        value,
        headers: new Map(Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)])),
      }));
      const { id: producerId, epoch: producerEpoch } = producer;
      const options = { producerId, producerEpoch, sequences: { getWithDefault: () => sequence } };
      await send(library.produceV8, -1, timeoutMs, messages, options);
    },
    async fetch({ topic, positions, maxWaitMs, maxBytes: partitionMaxBytes }) {
      const partitions = Array.from(positions, ([partition, offset]) => {
        return { partition, currentLeaderEpoch: -1, fetchOffset: BigInt(offset), partitionMaxBytes };
      });
      const topics = [{ topicId: topic, partitions }];
      const bounds = [maxWaitMs, 1, 4 * partitionMaxBytes, 1] as const;
      const { responses } = await send(library.fetchV11, ...bounds, 0, -1, topics, [], '');
      return (responses[0]?.partitions ?? []).map((one) => fetched(one, positions));
    },
    async offsets(name, partitions, at) {
      const timestamp = at === 'start' ? -2n : -1n;
      const asked = partitions.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp }));
      const { topics } = await send(library.listOffsetsV5, -1, 0, [{ name, partitions: asked }]);
      return new Map(topics[0]?.partitions.map(({ partitionIndex, offset }) => [partitionIndex, Number(offset)]));
    },
    async coordinator(group) {
      const { coordinators } = await send(library.findCoordinatorV2, 0, [group]);
      const [found] = coordinators;
      if (!found) throw new KafkaFault(faults.coordinatorNotAvailable, 'there is no coordinator');
      return found;
    },
    async join(request) {
      const { memberId, generationId, members } = await call(
        joined(request).catch((error: unknown) => {
          // A new member is given its id first.
          if (!isFault(faultOf(error), faults.memberIdRequired)) throw error;
          const { response } = error as { readonly response: { readonly memberId: string } };
          return joined({ ...request, memberId: response.memberId });
        }),
      );
      return { memberId, generation: generationId, members };
    },
    async sync({ group, memberId, generation }, assignments) {
      const all = Array.from(assignments, ([id, assignment]) => ({ memberId: id, assignment }));
      return (await send(library.syncGroupV3, group, generation, memberId, null, null, null, all)).assignment;
    },
    async heartbeat({ group, memberId, generation }) {
      await send(library.heartbeatV3, group, generation, memberId, null);
    },
    async leave({ group, memberId }) {
      await send(library.leaveGroupV3, group, [{ memberId, groupInstanceId: null }]);
    },
    async commit({ group, memberId, generation }, name, offsets) {
      const partitions = Array.from(offsets, ([partitionIndex, { offset, metadata }]) => {
        const committed = { committedOffset: BigInt(offset), committedMetadata: metadata };
        return { partitionIndex, committedLeaderEpoch: -1, ...committed };
      });
      await send(library.offsetCommitV7, group, generation, memberId, null, [{ name, partitions }]);
    },
    async committed(groupId, name, partitionIndexes) {
      const { topics } = await send(library.offsetFetchV5, [{ groupId, topics: [{ name, partitionIndexes }] }], false);
      return new Map(
        topics[0]?.partitions.map(({ partitionIndex, committedOffset, metadata }) => [
          partitionIndex,
          { offset: Number(committedOffset), metadata: metadata ?? '' },
        ]),
      );
    },
  };
}

function fetched(
  { partitionIndex: partition, records: batches, abortedTransactions }: Fetched,
  positions: ReadonlyMap<number, number>,
): FetchedPartition {
  const from = positions.get(partition) ?? 0;
  const raw = (batches ?? []).flatMap(({ firstOffset, attributes, producerId, records }) =>
    records.map(({ offsetDelta, key, value, headers }): RawRecord => ({
      offset: Number(firstOffset) + offsetDelta,
      key,
      value,
      headers: headers.map(([name, text]) => [name.toString(), text]),
      producerId: String(producerId),
      isControl: (attributes & control) !== 0,
      isTransactional: (attributes & transactional) !== 0,
    })),
  );
  const aborted = (abortedTransactions ?? []).map(({ producerId, firstOffset }) => {
    return { producerId: String(producerId), firstOffset: Number(firstOffset) };
  });
  const last = batches?.at(-1);
  const next = last && Number(last.firstOffset) + last.lastOffsetDelta + 1;
  // A batch is read from its beginning, wherever the position is in it.
  return { partition, records: committedRecords(raw, aborted).filter(({ offset }) => offset >= from), next };
}

interface LibraryError {
  readonly message?: unknown;
  readonly apiId?: unknown;
  readonly apiCode?: unknown;
  readonly serverErrorMessage?: unknown;
  readonly cause?: unknown;
  readonly errors?: readonly unknown[];
  readonly response?: { readonly responses?: readonly { readonly partitions?: readonly Fetched[] }[] };
}

/** The first refusal of the server among an error and what is behind it. */
function faultOf(error: unknown): KafkaFault | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { message, apiId, apiCode, serverErrorMessage, cause, errors = [], response } = error as LibraryError;
  if (typeof apiCode === 'number') {
    const said = typeof serverErrorMessage === 'string' ? `: ${serverErrorMessage}` : '';
    return new KafkaFault(apiCode, `${String(message)} (${String(apiId)})${said}`, { cause: error });
  }
  for (const inner of [...errors, cause]) {
    const found = faultOf(inner);
    if (!found) continue;
    const failed = response?.responses?.[0]?.partitions?.find(({ errorCode }) => errorCode === found.code);
    if (!failed) return found;
    return new KafkaFault(found.code, found.message, { partition: failed.partitionIndex, cause: error });
  }
  return undefined;
}

/** The error of the connection itself, below those of the library. */
function rootOf(error: unknown): unknown {
  const { cause } = error as { readonly cause?: unknown };
  return cause === undefined ? error : rootOf(cause);
}
