import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';

/** The host and port of a server of the cluster. */
export interface KafkaAddress {
  readonly host: string;
  readonly port: number;
}

/** The mechanisms by which a user name and a password are proved. */
export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';

/** A server to connect to, and how. */
export interface KafkaTarget extends KafkaAddress {
  readonly clientId: string;
  readonly timeoutMs: number;
  readonly tls: ConnectionOptions | undefined;
  readonly sasl:
    { readonly mechanism: SaslMechanism; readonly username: string; readonly password: string } | undefined;
}

/** The leader of each partition of a topic; `undefined` for one that has none at the moment. */
export type PartitionLeaders = ReadonlyMap<number, KafkaAddress | undefined>;

/** Numbers of a producer, by which a server knows records that it has already. */
export interface ProducerId {
  readonly id: bigint;
  readonly epoch: number;
}

/** A record to be written. */
export interface NewRecord {
  readonly key: Buffer | undefined;
  readonly value: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** Records for one partition, written together or not at all. */
export interface ProduceRequest {
  readonly topic: string;
  readonly partition: number;
  readonly producer: ProducerId;
  /** The number of the first record among all of this producer for the partition. */
  readonly sequence: number;
  readonly records: readonly NewRecord[];
  readonly timeoutMs: number;
}

/** A record as it is read. */
export interface ReadRecord {
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
}

/** A record as a client library reads it, which may be of a transaction that was aborted. */
export interface RawRecord extends ReadRecord {
  readonly producerId: string;
  readonly isControl: boolean;
  readonly isTransactional: boolean;
}

/** The records of one partition. */
export interface FetchedPartition {
  readonly partition: number;
  readonly records: readonly ReadRecord[];
  /** The offset from which to read next; `undefined` if there was nothing. */
  readonly next: number | undefined;
}

/** The partitions of one leader that are read together. */
export interface FetchRequest {
  readonly topic: string;
  readonly positions: ReadonlyMap<number, number>;
  /** Longest wait for the first record. */
  readonly maxWaitMs: number;
  readonly maxBytes: number;
}

/** A member of a group, in one generation of it. */
export interface GroupMember {
  readonly group: string;
  readonly memberId: string;
  readonly generation: number;
}

/** Parameters of joining a group. */
export interface JoinRequest {
  readonly group: string;
  /** Empty for one that was no member before. */
  readonly memberId: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  /** The name of the way in which partitions are assigned. */
  readonly protocol: string;
  readonly metadata: Buffer;
}

/** The answer to a member that has joined. */
export interface Joined {
  readonly memberId: string;
  readonly generation: number;
  /** All members, for the one that assigns the partitions; empty for the others. */
  readonly members: readonly { readonly memberId: string; readonly metadata: Buffer }[];
}

/** A position of a group in a partition, with a text that is kept beside it. */
export interface CommittedOffset {
  /** -1 if there is none. */
  readonly offset: number;
  readonly metadata: string;
}

/**
 * One connection to one server, by a client library. Its calls reject with a {@link KafkaFault} if the server refuses,
 * and with an error of the connection otherwise. No call ends by itself: a time-out is up to the caller.
 */
export interface KafkaConnection {
  /** The object of the client library. */
  readonly client: unknown;
  /** False if the server has closed it, as it does when nothing was said for long. */
  readonly isOpen: boolean;
  close(): void;
  /** Resolves when the server has answered, to one that may speak to it. */
  ping(): Promise<void>;
  leaders(topic: string): Promise<PartitionLeaders>;
  /** The server that creates topics: any, of those that have no ZooKeeper. */
  controller(): Promise<KafkaAddress | undefined>;
  /** Creates a topic; `partitions` -1 leaves their number to the server. */
  createTopic(topic: string, partitions: number, timeoutMs: number): Promise<void>;
  /** A setting of a topic. */
  topicConfig(topic: string, name: string): Promise<string | undefined>;
  producerId(): Promise<ProducerId>;
  produce(request: ProduceRequest): Promise<void>;
  fetch(request: FetchRequest): Promise<readonly FetchedPartition[]>;
  offsets(topic: string, partitions: readonly number[], at: 'start' | 'end'): Promise<ReadonlyMap<number, number>>;
  coordinator(group: string): Promise<KafkaAddress>;
  join(request: JoinRequest): Promise<Joined>;
  /** Gives the partitions of each member, if it assigns them, and resolves with its own. */
  sync(member: GroupMember, assignments: ReadonlyMap<string, Buffer>): Promise<Buffer>;
  heartbeat(member: GroupMember): Promise<void>;
  leave(member: GroupMember): Promise<void>;
  commit(member: GroupMember, topic: string, offsets: ReadonlyMap<number, CommittedOffset>): Promise<void>;
  committed(group: string, topic: string, partitions: readonly number[]): Promise<ReadonlyMap<number, CommittedOffset>>;
}

/** A client library behind the calls that tenon needs of it. */
export interface KafkaLibrary {
  /** The name of its npm package. */
  readonly name: string;
  /** Connects, and proves who connects. It may take for ever if the server does not answer, until it is aborted. */
  connect(target: KafkaTarget, signal: AbortSignal): Promise<KafkaConnection>;
}

/** Numbers of the errors of Kafka's protocol that mean something to tenon. */
export const faults = {
  offsetOutOfRange: 1,
  unknownTopic: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  messageTooLarge: 10,
  offsetMetadataTooLarge: 12,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  invalidTopic: 17,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  notEnoughReplicasAfterAppend: 20,
  illegalGeneration: 22,
  inconsistentProtocol: 23,
  unknownMember: 25,
  invalidSessionTimeout: 26,
  rebalanceInProgress: 27,
  topicDenied: 29,
  groupDenied: 30,
  clusterDenied: 31,
  unsupportedMechanism: 33,
  unsupportedVersion: 35,
  topicExists: 36,
  notController: 41,
  policyViolation: 44,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidProducerMapping: 49,
  storageError: 56,
  authenticationFailed: 58,
  unknownProducer: 59,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 75,
  unsupportedCompression: 76,
  offsetNotAvailable: 78,
  memberIdRequired: 79,
} as const;

const passing: ReadonlySet<number> = new Set([
  faults.leaderNotAvailable,
  faults.notLeader,
  faults.requestTimedOut,
  faults.coordinatorLoading,
  faults.coordinatorNotAvailable,
  faults.notCoordinator,
  faults.notEnoughReplicas,
  faults.notEnoughReplicasAfterAppend,
  faults.notController,
  faults.storageError,
  faults.offsetNotAvailable,
  faults.fencedLeaderEpoch,
  faults.unknownLeaderEpoch,
]);

/** The answer of a server that refuses a call. */
export class KafkaFault extends Error {
  override readonly name = 'KafkaFault';
  /** One of {@link faults}, or another number of the protocol. */
  readonly code: number;
  /** The partition that it is about, where the answer says one. */
  readonly partition: number | undefined;

  constructor(code: number, message: string, options: { readonly partition?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.partition = options.partition;
  }

  /** True if the same call may succeed a little later, perhaps at another server. */
  get isPassing(): boolean {
    return passing.has(this.code);
  }
}

/** A topic that is not there, and may not be created. */
export class MissingTopicFault extends KafkaFault {
  constructor(topic: string, cause: unknown) {
    super(faults.unknownTopic, `there is no topic ${topic}`, { cause });
  }
}

/** True for the refusal with that number. */
export function isFault(error: unknown, ...codes: readonly number[]): error is KafkaFault {
  return error instanceof KafkaFault && codes.includes(error.code);
}

/** A request that a server takes, with the range of its versions. */
export interface RequestVersions {
  readonly apiKey: number;
  readonly minVersion: number;
  readonly maxVersion: number;
}

/** Requests that tenon makes: name, number, and a version that Kafka has had since 2.4. */
const neededRequests = [
  ['Produce', 0, 8],
  ['Fetch', 1, 11],
  ['ListOffsets', 2, 5],
  ['Metadata', 3, 8],
  ['OffsetCommit', 8, 7],
  ['OffsetFetch', 9, 5],
  ['FindCoordinator', 10, 2],
  ['JoinGroup', 11, 5],
  ['Heartbeat', 12, 3],
  ['LeaveGroup', 13, 3],
  ['SyncGroup', 14, 3],
  ['CreateTopics', 19, 4],
  ['InitProducerId', 22, 1],
] as const;

/** Throws `unsupportedVersion` for a server that is too old, or no longer takes a request in that version. */
export function assertTakesRequests(versions: readonly RequestVersions[]): void {
  const taken = new Map(versions.map((one) => [one.apiKey, one]));
  for (const [name, key, version] of neededRequests) {
    const { minVersion, maxVersion } = taken.get(key) ?? { minVersion: 0, maxVersion: -1 };
    if (version >= minVersion && version <= maxVersion) continue;
    const range = maxVersion < 0 ? 'no such request' : `versions ${minVersion} to ${maxVersion}`;
    throw new KafkaFault(faults.unsupportedVersion, `does not take ${name} in version ${version} (it has ${range})`);
  }
}

/** A server that answers, and not as Kafka does. */
export class NotKafkaError extends Error {
  override readonly name = 'NotKafkaError';
}

// The first bytes of other protocols say more, taken for a length: those of TLS 352 MB, of HTTP 1.2 GB.
const maxFirstAnswerBytes = 1 << 28;

/**
 * Ends the connection if its first bytes are none of Kafka's protocol, which would be taken for the length of an answer
 * that never comes.
 */
export function assertKafkaAnswers(socket: Socket, onStranger: (error: NotKafkaError) => void): void {
  socket.once('data', (chunk: Buffer) => {
    const length = chunk.length < 4 ? 0 : chunk.readInt32BE(0);
    if (length >= 0 && length <= maxFirstAnswerBytes) return;
    const isTls = chunk[0] === 0x15 && chunk[1] === 3;
    const line = chunk
      .toString('latin1')
      .split(/[^\x20-\x7e]/, 1)[0]
      ?.slice(0, 40);
    const what = isTls ? 'TLS, which TENON_BROKER_TLS=true would speak' : `"${line}"`;
    const error = new NotKafkaError(`answers, and is no Kafka: it says ${what}`);
    onStranger(error);
    socket.destroy(error);
  });
}

/** Leaves out what transactions that were aborted had written, and the marks of their ends. */
export function committedRecords(
  records: readonly RawRecord[],
  aborted: readonly { readonly producerId: string; readonly firstOffset: number }[],
): readonly ReadRecord[] {
  const starts = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const inAborted = new Set<string>();
  return records.filter(({ offset, producerId, isControl, isTransactional, key }) => {
    while (starts[0] && starts[0].firstOffset <= offset)
      inAborted.add((starts.shift() as (typeof starts)[0]).producerId);
    // The key of a mark has its version and its type: 0 ends a transaction that was aborted.
    if (isControl && key && key.length >= 4 && key.readInt16BE(2) === 0) inAborted.delete(producerId);
    return !isControl && !(isTransactional && inAborted.has(producerId));
  });
}
