import { Code, TenonError, textOf } from '../errors/errors.ts';

/** The head of each reply: the state of the member that answered. */
export interface ResponseHeader {
  readonly clusterId: bigint;
  readonly revision: bigint;
  readonly raftTerm: bigint;
}

/** A key with its value. */
export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly modRevision: bigint;
  /** 0 without a lease. */
  readonly lease: bigint;
}

/** The keys of a range, or the first of them. */
export interface RangeResponse {
  readonly header: ResponseHeader;
  readonly kvs: readonly KeyValue[];
  /** True if there are more keys than the limit of the request allows. */
  readonly more: boolean;
}

/** The outcome of a transaction. */
export interface TxnResponse {
  readonly succeeded: boolean;
  /** The replies of the branch that was taken. */
  readonly responses: readonly { readonly responseRange?: RangeResponse | undefined }[];
}

/** The condition of a write: the revision at which a key was made (0: there is none) or changed, or its lease. */
export type KeyCondition =
  | { readonly target: 'CREATE'; readonly createRevision: bigint }
  | { readonly target: 'MOD'; readonly modRevision: bigint }
  | { readonly target: 'LEASE'; readonly lease: bigint };

/** The keys from `key` up to `rangeEnd`, which is not one of them. */
export interface KeyRange {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

/** One change of a key. */
export interface KeyEvent {
  readonly type: 'PUT' | 'DELETE';
  readonly kv: KeyValue;
  readonly prevKv?: KeyValue | undefined;
}

/** A message of a stream of watches: of one of them, or of all. */
export interface WatchResponse {
  readonly header: ResponseHeader;
  /** The number of the watch on its stream; -1 for all of them, or for one that was not made. */
  readonly watchId: bigint;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly cancelReason: string;
  readonly compactRevision: bigint;
  /** True if more events of the same revision follow. */
  readonly fragment: boolean;
  readonly events: readonly KeyEvent[];
}

/** The answer to the renewal of a lease. */
export interface LeaseKeepAliveResponse {
  readonly ID: bigint;
  /** 0 if there is no such lease. */
  readonly TTL: bigint;
}

/** Bounds of one call. */
export interface EtcdCallBounds {
  readonly signal: AbortSignal;
  /** @default the client's time-out */
  readonly timeoutMs?: number | undefined;
  /** Longest time for one attempt, in milliseconds; then the call is made again. @default a share of the time-out */
  readonly attemptMs?: number | undefined;
}

/** Bounds and metadata of a call, for an {@link EtcdChannel}. */
export interface EtcdChannelCall extends EtcdCallBounds {
  readonly metadata: () => Promise<Record<string, string>>;
  readonly isRepeatable?: boolean | undefined;
}

/** A stream of replies, and its sending side. */
export interface ReplyStream {
  next(): Promise<IteratorResult<unknown, undefined>>;
  send(request: unknown): void | Promise<void>;
  /** Ends a stream whose server does not answer, or cannot serve it: others are tried before its address. */
  giveUp(): void;
  /** Ends the stream. */
  return(): Promise<unknown>;
}

/** Carries calls to the members of a cluster by gRPC: the kit of registries has one. */
export interface EtcdChannel {
  unary(method: string, request: unknown, call: EtcdChannelCall): Promise<unknown>;
  /** Opens a stream. Nothing is sent if the request is undefined. */
  stream(method: string, request: unknown, call: EtcdChannelCall): Promise<ReplyStream>;
}

const ofCredentials = /user name is empty|invalid user ID or password|auth token|auth store|permission/;

/** The range of the keys with a prefix, which is a text that is not empty. */
export function prefixed(prefix: string): KeyRange {
  const [key, rangeEnd] = [Buffer.from(prefix), Buffer.from(prefix)];
  // The last byte of a text is below 0xff.
  rangeEnd.writeUInt8((rangeEnd.at(-1) ?? 0) + 1, rangeEnd.length - 1);
  return { key, rangeEnd };
}

/** True for the refusal of a call by its user: who it is, or what it may do. */
export function isDenied(error: unknown): boolean {
  const { code } = TenonError.from(error);
  return code === Code.Unauthenticated || code === Code.PermissionDenied || ofCredentials.test(textOf(error));
}

/** True for the refusal of a member that has no leader to ask, or was too busy to be sure of it. */
export function isTransient(error: unknown): boolean {
  return /not a primary lessor/.test(textOf(error));
}

/** True for an error that says nothing of the request: etcd did not answer, or could not for the moment. */
export function isAway(error: unknown): boolean {
  const { code } = TenonError.from(error);
  const isUnanswered = code === Code.Unavailable || code === Code.DeadlineExceeded || !TenonError.is(error);
  return isUnanswered || isTransient(error);
}
