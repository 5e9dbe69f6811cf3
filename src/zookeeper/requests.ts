import { JuteReader, JuteWriter, MalformedPacket } from './jute.ts';
import { type Acl, type CreateMode, type Operation, type Stat, type WatchEvent, ZooKeeperError } from './zookeeper.ts';

/** The place of the number in a packet. */
export const xidOffset = 4;

/** The numbers of packets that answer no request, in the place of a request's own. */
export const xids = { event: -1, ping: -2, auth: -4, setWatches: -8 } as const;

const opcodes = {
  create: 1,
  delete: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  ping: 11,
  getChildren2: 12,
  multi: 14,
  create2: 15,
  removeWatches: 18,
  createContainer: 19,
  auth: 100,
  setWatches: 101,
  setWatches2: 105,
  addWatch: 106,
  closeSession: -11,
} as const;
type Opcode = keyof typeof opcodes;

/** A watch of a client: of data, of what is not there, of children, or of all below a path until it is removed. */
export type WatchKind = 'data' | 'absence' | 'children' | 'recursive';

/** A request, and how its answer is read. */
export interface ZooKeeperRequest<T> {
  /** For messages: `getData /a`. */
  readonly name: string;
  readonly opcode: Opcode;
  /** True if it changes nothing: it may be sent again. */
  readonly isRead: boolean;
  /** The watch that it arms. One that reads data arms one of absence where there is no node, if `kind` says so. */
  readonly watch?: { readonly kind: WatchKind; readonly path: string } | undefined;
  write(writer: JuteWriter): void;
  read(reader: JuteReader): T;
}

/** The packet of a request. Its number is set when it is sent. */
export function packetOf({ opcode, write }: Pick<ZooKeeperRequest<unknown>, 'opcode' | 'write'>, xid = 0): Buffer {
  const writer = new JuteWriter().int(xid).int(opcodes[opcode]);
  write(writer);
  return writer.packet();
}

/** Creates a node. */
export function createRequest(path: string, data: Uint8Array, mode: CreateMode, acl: Acl): ZooKeeperRequest<void> {
  return {
    name: `create ${path}`,
    opcode: mode === 'container' ? 'createContainer' : 'create',
    isRead: false,
    write: (writer) => writeCreate(writer, path, data, mode, acl),
    read: () => {},
  };
}

/** Deletes a node without children. */
export function deleteRequest(path: string, version: number): ZooKeeperRequest<void> {
  return {
    name: `delete ${path}`,
    opcode: 'delete',
    isRead: false,
    write: (writer) => writer.text(path).int(version),
    read: () => {},
  };
}

/** Replaces the data of a node. */
export function setDataRequest(path: string, data: Uint8Array, version: number): ZooKeeperRequest<Stat> {
  return {
    name: `setData ${path}`,
    opcode: 'setData',
    isRead: false,
    write: (writer) => writer.text(path).bytes(data).int(version),
    read: readStat,
  };
}

/** Reads a node. */
export function getDataRequest(path: string, watch: boolean): ZooKeeperRequest<{ data: Buffer; stat: Stat }> {
  return {
    ...readOf('getData', path, watch, 'data'),
    read: (reader) => ({ data: reader.bytes(), stat: readStat(reader) }),
  };
}

/** Reads the names of a node's children. */
export function getChildrenRequest(path: string, watch: boolean): ZooKeeperRequest<{ children: string[]; stat: Stat }> {
  return {
    ...readOf('getChildren2', path, watch, 'children'),
    read: (reader) => ({ children: reader.list((one) => one.text()), stat: readStat(reader) }),
  };
}

/** Reads the facts about a node; fails with `NoNode`, and arms a watch of its creation then. */
export function existsRequest(path: string, watch: boolean): ZooKeeperRequest<Stat> {
  return { ...readOf('exists', path, watch, 'absence'), read: readStat };
}

/** Does several things, or none of them. */
export function multiRequest(operations: readonly Operation[]): ZooKeeperRequest<void> {
  const name = `multi ${operations.map(({ kind, path }) => `${kind} ${path}`).join(', ')}`;
  return {
    name,
    opcode: 'multi',
    isRead: false,
    write: (writer) => {
      for (const one of operations) {
        const isContainer = one.kind === 'create' && one.mode === 'container';
        writeStep(writer, opcodes[isContainer ? 'createContainer' : one.kind], false);
        if (one.kind === 'create') writeCreate(writer, one.path, one.data, one.mode, one.acl);
        else writer.text(one.path).int(one.version);
      }
      writeStep(writer, -1, true);
    },
    read: (reader) => readMulti(reader, operations, name),
  };
}

/** With the modes of ZooKeeper 3.6: persistent, and recursive. */
export function addWatchRequest(path: string): ZooKeeperRequest<void> {
  const recursive = 1;
  return {
    name: `addWatch ${path}`,
    opcode: 'addWatch',
    isRead: true,
    watch: { kind: 'recursive', path },
    write: (writer) => writer.text(path).int(recursive),
    read: () => {},
  };
}

/** Removes the watches of one path, of whichever kind. */
export function removeWatchesRequest(path: string): ZooKeeperRequest<void> {
  const anyKind = 3;
  return {
    name: `removeWatches ${path}`,
    opcode: 'removeWatches',
    isRead: false,
    write: (writer) => writer.text(path).int(anyKind),
    read: () => {},
  };
}

/** Ends the session. */
export const closeSessionRequest: ZooKeeperRequest<void> = {
  name: 'closeSession',
  opcode: 'closeSession',
  isRead: false,
  write: () => {},
  read: () => {},
};

/** Asks the server for a sign of life, and is one. */
export const pingPacket: Buffer = packetOf({ opcode: 'ping', write: () => {} }, xids.ping);

/** Proves who the client is, by user and password. Every answer is "yes": what counts are the rights to the nodes. */
export function digestPacket(username: string, password: string): Buffer {
  const write = (writer: JuteWriter): unknown => writer.int(0).text('digest').text(`${username}:${password}`);
  return packetOf({ opcode: 'auth', write }, xids.auth);
}

/**
 * Arms watches again on another connection of the session. What changed since `lastZxid` is reported at once; not so
 * below recursive watches.
 */
export function setWatchesPacket(lastZxid: bigint, paths: Readonly<Record<WatchKind, readonly string[]>>): Buffer {
  const writeText = (writer: JuteWriter, path: string): unknown => writer.text(path);
  const isOfServer36 = paths.recursive.length > 0;
  const write = (writer: JuteWriter): void => {
    writer.long(lastZxid).list(paths.data, writeText).list(paths.absence, writeText).list(paths.children, writeText);
    if (isOfServer36) writer.list([], writeText).list(paths.recursive, writeText);
  };
  return packetOf({ opcode: isOfServer36 ? 'setWatches2' : 'setWatches', write }, xids.setWatches);
}

/** The first request of a client on a connection. */
export interface Handshake {
  /** 0 asks for a new session. */
  readonly sessionId: bigint;
  readonly password: Uint8Array;
  readonly timeoutMs: number;
  /** The last transaction that the client has heard of: a server that lags behind it refuses the connection. */
  readonly lastZxid: bigint;
}

/** The session that a server grants. A time-out of 0 says that the session has expired. */
export interface Grant {
  readonly sessionId: bigint;
  readonly password: Buffer;
  readonly timeoutMs: number;
}

const passwordBytes = 16;
// More than 24 days; no ensemble allows as much.
const longestSessionMs = 2 ** 31 - 1;

/** The first packet of a client. */
export function handshakePacket({ sessionId, password, timeoutMs, lastZxid }: Handshake): Buffer {
  const wantedMs = Math.min(longestSessionMs, Math.ceil(timeoutMs));
  const secret = password.length === 0 ? new Uint8Array(passwordBytes) : password;
  return new JuteWriter().int(0).long(lastZxid).int(wantedMs).long(sessionId).bytes(secret).bool(false).packet();
}

/** Reads the first packet of a server. */
export function readGrant(bytes: Buffer): Grant {
  const reader = new JuteReader(bytes);
  const version = reader.int();
  const [timeoutMs, sessionId, password] = [reader.int(), reader.long(), Buffer.from(reader.bytes())];
  // Servers before 3.4 do not say whether they only read.
  if (version !== 0 || reader.left > 1) throw new MalformedPacket('it answers the handshake as no ZooKeeper does');
  if (timeoutMs <= 0) return { sessionId: 0n, password, timeoutMs: 0 };
  if (sessionId === 0n || password.length !== passwordBytes)
    throw new MalformedPacket('it grants a session without an id or a password');
  return { sessionId, password, timeoutMs };
}

/** The beginning of every packet of a server but the first. */
export interface ReplyHeader {
  readonly xid: number;
  readonly zxid: bigint;
  /** 0, or the number of an error. */
  readonly error: number;
}

/** Reads the beginning of a packet. */
export function readHeader(reader: JuteReader): ReplyHeader {
  return { xid: reader.int(), zxid: reader.long(), error: reader.int() };
}

const eventKinds: Readonly<Record<number, WatchEvent['kind']>> = {
  1: 'created',
  2: 'deleted',
  3: 'changed',
  4: 'children',
};

/** Reads an event. `undefined` for an event of no node: that a watch was removed, or the state of the connection. */
export function readEvent(reader: JuteReader): WatchEvent | undefined {
  const [type, , path] = [reader.int(), reader.int(), reader.text()];
  const kind = eventKinds[type];
  return kind && { kind, path };
}

function readOf(
  opcode: 'getData' | 'getChildren2' | 'exists',
  path: string,
  watch: boolean,
  kind: WatchKind,
): Omit<ZooKeeperRequest<never>, 'read'> {
  return {
    name: `${opcode === 'getChildren2' ? 'getChildren' : opcode} ${path}`,
    opcode,
    isRead: true,
    watch: watch ? { kind, path } : undefined,
    write: (writer) => writer.text(path).bool(watch),
  };
}

const createFlags: Readonly<Record<CreateMode, number>> = { persistent: 0, ephemeral: 1, container: 4 };
const allRights = 31;
const aclEntries: Readonly<Record<Acl, readonly [scheme: string, id: string]>> = {
  world: ['world', 'anyone'],
  // Stands for whoever the connection has proved to be.
  creator: ['auth', ''],
};

function writeCreate(writer: JuteWriter, path: string, data: Uint8Array, mode: CreateMode, acl: Acl): void {
  const [scheme, id] = aclEntries[acl];
  writer.text(path).bytes(data).int(1).int(allRights).text(scheme).text(id).int(createFlags[mode]);
}

function writeStep(writer: JuteWriter, type: number, isLast: boolean): void {
  writer.int(type).bool(isLast).int(-1);
}

/** The steps of one that failed: those before it have no error, those after it `RuntimeInconsistency`. */
function readMulti(reader: JuteReader, operations: readonly Operation[], name: string): void {
  const notDone = -2;
  let failure = 0;
  for (let index = 0; index <= operations.length; index += 1) {
    const [type, isLast] = [reader.int(), reader.bool()];
    reader.int();
    if (isLast) {
      if (failure !== 0) throw ZooKeeperError.ofNumber(failure, name);
      if (index === operations.length) return;
      break;
    }
    if (type === -1) {
      const error = reader.int();
      if (failure === 0 || failure === notDone) failure = error;
    } else if (type === opcodes.create) reader.text();
    else if (type === opcodes.create2) {
      reader.text();
      readStat(reader);
    }
  }
  throw new MalformedPacket('it answers a multi with another number of steps');
}

function readStat(reader: JuteReader): Stat {
  const [createdZxid, modifiedZxid] = [reader.long(), reader.long()];
  reader.long();
  reader.long();
  const version = reader.int();
  reader.int();
  reader.int();
  const ephemeralOwner = reader.long();
  reader.int();
  const childCount = reader.int();
  reader.long();
  if (childCount < 0) throw new MalformedPacket(`it says ${childCount} children`);
  return { createdZxid, modifiedZxid, version, ephemeralOwner, childCount };
}
