/** Errors of ZooKeeper by their numbers, under the names that its own clients give them. */
const errorNames = {
  [-1]: 'SystemError',
  [-2]: 'RuntimeInconsistency',
  [-4]: 'ConnectionLoss',
  [-5]: 'MarshallingError',
  [-6]: 'Unimplemented',
  [-7]: 'OperationTimeout',
  [-8]: 'BadArguments',
  [-101]: 'NoNode',
  [-102]: 'NoAuth',
  [-103]: 'BadVersion',
  [-108]: 'NoChildrenForEphemerals',
  [-110]: 'NodeExists',
  [-111]: 'NotEmpty',
  [-112]: 'SessionExpired',
  [-114]: 'InvalidACL',
  [-115]: 'AuthFailed',
  [-118]: 'SessionMoved',
  [-119]: 'NotReadOnly',
  [-121]: 'NoWatcher',
  [-122]: 'RequestTimeout',
  [-124]: 'SessionClosedRequireAuth',
  [-125]: 'QuotaExceeded',
  [-127]: 'ThrottledOp',
} as const;

/** The name of an error. `PacketTooLarge` is this client's own. */
export type ZooKeeperErrorName = (typeof errorNames)[keyof typeof errorNames] | 'PacketTooLarge' | 'Unknown';

/** An error that ZooKeeper answered with, or `ConnectionLoss` for a connection that ended before the answer. */
export class ZooKeeperError extends Error {
  readonly errorName: ZooKeeperErrorName;

  constructor(errorName: ZooKeeperErrorName, message: string, cause?: unknown) {
    super(message, { cause });
    this.errorName = errorName;
  }

  /** The error that has this number in the answer to a request, such as `getData /a`. */
  static ofNumber(number: number, request: string): ZooKeeperError {
    const name: ZooKeeperErrorName = errorNames[number as keyof typeof errorNames] ?? 'Unknown';
    return new ZooKeeperError(name, `${request} failed with ${name} (${number})`);
  }
}

/** True for an error of ZooKeeper with one of these names. */
export function isZooKeeperError(error: unknown, ...names: readonly ZooKeeperErrorName[]): boolean {
  return error instanceof ZooKeeperError && names.includes(error.errorName);
}

/** Facts about a node. */
export interface Stat {
  /** Number of the transaction that created the node. */
  readonly createdZxid: bigint;
  /** Number of the transaction that last wrote its data. */
  readonly modifiedZxid: bigint;
  /** Number of changes of its data. */
  readonly version: number;
  /** Id of the session that the node ends with; 0 for a node that stays. */
  readonly ephemeralOwner: bigint;
  readonly childCount: number;
}

/** A session: it ends when ZooKeeper has not heard of its client for `timeoutMs`, and its ephemeral nodes with it. */
export interface Session {
  readonly id: bigint;
  /** As ZooKeeper granted it, within its own bounds. */
  readonly timeoutMs: number;
}

/** A node that ends with its session, one that stays, or one that ZooKeeper removes after its last child. */
export type CreateMode = 'persistent' | 'ephemeral' | 'container';

/** Rights to a node: `world` lets everybody do everything, `creator` only who has the credentials of its creator. */
export type Acl = 'world' | 'creator';

/** One step of a {@link ZooKeeper.multi}. */
export type Operation =
  | {
      readonly kind: 'create';
      readonly path: string;
      readonly data: Uint8Array;
      readonly mode: CreateMode;
      readonly acl: Acl;
    }
  | { readonly kind: 'delete'; readonly path: string; readonly version: number };

/** A change that a watch reports. It has no data: read the node. */
export interface WatchEvent {
  readonly kind: 'created' | 'deleted' | 'changed' | 'children';
  readonly path: string;
}

/** Options of a read. */
export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Arms a watch that reports the next change of what is read, once. @default false */
  readonly watch?: boolean | undefined;
}

/**
 * Hears of a client. Called while the socket is read: what it does with the client, such as a read, is begun there and
 * never waited for.
 */
export interface ZooKeeperListener {
  /** A watch reports a change. */
  onEvent?(event: WatchEvent): void;
  /** A connection stands. A new session has no watches yet; with an old one they are armed again. */
  onConnected?(session: Session, isNewSession: boolean): void;
  /**
   * The server is heard of again after it was silent for longer than `maxGapMs`: it may have stood still, and may end
   * sessions of clients that live. Called before the first event after it, and before `onConnected`.
   */
  onSilence?(silentMs: number): void;
  /** The session is over, by what ZooKeeper says or by the client's own clock. A new one is made by itself. */
  onExpired?(session: Session): void;
}

/**
 * A client of ZooKeeper. It connects at the first request, and again after a loss; the session goes on with the next
 * server. Requests are sent one after the other without waiting, and take effect in their order.
 *
 * While there is no connection a request waits for the attempt that is under way or comes next, and fails with it. One
 * that was sent without an answer fails with `ConnectionLoss`: it may have taken effect. Reads are sent again by
 * themselves. Every method rejects with a {@link ZooKeeperError}, with the error of the connection, or with the reason
 * of its signal.
 */
export interface ZooKeeper {
  /** The session, also while it has no connection; `undefined` before the first and after one that expired. */
  readonly session: Session | undefined;
  /** True while requests can be sent. */
  readonly isConnected: boolean;
  /** `NodeExists` if it is there, `NoNode` without a parent. A container needs ZooKeeper 3.5. */
  create(path: string, data: Uint8Array, mode: CreateMode, acl: Acl, signal?: AbortSignal): Promise<void>;
  /** `BadVersion` for another version than that of the data; -1 is any. */
  delete(path: string, version: number, signal?: AbortSignal): Promise<void>;
  /** As `delete`. */
  setData(path: string, data: Uint8Array, version: number, signal?: AbortSignal): Promise<Stat>;
  getData(path: string, options?: ReadOptions): Promise<{ readonly data: Buffer; readonly stat: Stat }>;
  getChildren(path: string, options?: ReadOptions): Promise<{ readonly children: string[]; readonly stat: Stat }>;
  /** `undefined` for a node that is not there; a watch reports its creation. */
  exists(path: string, options?: ReadOptions): Promise<Stat | undefined>;
  /** Does all of it, or nothing. Rejects with the error of the operation that failed. */
  multi(operations: readonly Operation[], signal?: AbortSignal): Promise<void>;
  /** Reports every change of a node and of all below it, until it is removed. `Unimplemented` before ZooKeeper 3.6. */
  addWatch(path: string, signal?: AbortSignal): Promise<void>;
  /** Removes the watches of a path. No error if there is none. */
  removeWatch(path: string, signal?: AbortSignal): Promise<void>;
  /**
   * Closes the connection. `endSession` ends the session as well, and the ephemeral nodes with it; otherwise they stay
   * until it times out.
   */
  close(options: { readonly endSession: boolean }): Promise<void>;
}
