import { Code } from '../errors/errors.ts';
import { faults, isFault, type KafkaFault, MissingTopicFault } from './kafka.ts';

/** The code of a refusal, and what to do about it. */
export interface FaultMeaning {
  readonly code: Code;
  readonly remedy?: string | undefined;
}

const denied = 'ask who runs Kafka for the rights of this user';
const meanings: Readonly<Record<number, FaultMeaning>> = {
  [faults.unknownTopic]: {
    code: Code.NotFound,
    remedy: 'create the topic, or let TENON_KAFKA_CREATE_TOPICS be true',
  },
  [faults.invalidTopic]: { code: Code.InvalidArgument },
  [faults.messageTooLarge]: { code: Code.ResourceExhausted },
  [faults.offsetMetadataTooLarge]: {
    code: Code.FailedPrecondition,
    remedy: 'the server needs offset.metadata.max.bytes of 4096, which is its default',
  },
  [faults.inconsistentProtocol]: {
    code: Code.FailedPrecondition,
    remedy: 'the group has members of a program that assigns partitions in another way: give the queue another name',
  },
  [faults.invalidSessionTimeout]: {
    code: Code.InvalidArgument,
    remedy: 'choose a sessionTimeoutMs between group.min.session.timeout.ms and group.max.session.timeout.ms',
  },
  [faults.topicDenied]: { code: Code.PermissionDenied, remedy: `${denied} on the topic` },
  [faults.groupDenied]: { code: Code.PermissionDenied, remedy: `${denied} on the group` },
  [faults.clusterDenied]: { code: Code.PermissionDenied, remedy: `${denied} on the cluster` },
  [faults.unsupportedMechanism]: {
    code: Code.Unauthenticated,
    remedy: 'TENON_KAFKA_SASL names a mechanism that the server has',
  },
  [faults.unsupportedVersion]: { code: Code.FailedPrecondition, remedy: 'tenon needs Kafka 2.4 or newer' },
  [faults.unsupportedCompression]: {
    code: Code.FailedPrecondition,
    remedy: 'run on Node 22.22, 24.6 or newer, or give CompressionCodecs of kafkajs that codec',
  },
  [faults.policyViolation]: { code: Code.FailedPrecondition },
  [faults.authenticationFailed]: { code: Code.Unauthenticated },
};

/** The meaning of a refusal; `undefined` for one that passes by itself. */
export function meaningOf(fault: KafkaFault): FaultMeaning | undefined {
  const { unknownMember, illegalGeneration, rebalanceInProgress } = faults;
  const isOfRebalance = ([unknownMember, illegalGeneration, rebalanceInProgress] as number[]).includes(fault.code);
  if (fault.isPassing || isOfRebalance) return undefined;
  return meanings[fault.code] ?? { code: Code.Internal };
}

/**
 * True for a refusal that stays: a right that is missing, a group of other programs, records that cannot be read, a
 * topic that is not there.
 */
export function isLasting(error: unknown): boolean {
  const { topicDenied, groupDenied, clusterDenied, inconsistentProtocol, unsupportedCompression } = faults;
  if (error instanceof MissingTopicFault) return true;
  return isFault(error, topicDenied, groupDenied, clusterDenied, inconsistentProtocol, unsupportedCompression);
}
