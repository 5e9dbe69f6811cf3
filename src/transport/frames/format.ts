/**
 * The first bytes of a connection, each way: `tenon`, a line end that mangled text would not survive, and the version.
 */
export const preamble: readonly number[] = [0x74, 0x65, 0x6e, 0x6f, 0x6e, 0x0d, 0x0a, 0x01];

/** Length of the payload (3 bytes), type, flags, number of the call (4 bytes). */
export const headerBytes = 9;
/** Limit for the sections of a frame beside its part of a body: path, metadata, status. */
export const maxSectionBytes = 48 * 1024;
/** Bodies travel in parts of just this size, and a last one, so that a large one does not hold up the other calls. */
export const partBytes = 16 * 1024;
/** No payload is longer. */
export const maxPayloadBytes = maxSectionBytes + partBytes;
/** Credit that a frame with a body costs beside its bytes: empty messages are not free either. */
export const frameCost = 64;
/** Smallest window that a side may announce, so that two parts always fit. */
export const minWindowBytes = 64 * 1024;
/** Calls are numbered up to here, then the client takes another connection. */
export const lastCallId = 2 ** 31 - 1;

/** The second half of the format: what a frame is. */
export const FrameType = {
  Settings: 0,
  Call: 1,
  Message: 2,
  Reset: 3,
  Credit: 4,
  Ping: 5,
  Pong: 6,
  GoAway: 7,
} as const;

/** Of CALL and MESSAGE: which sections there are. They come in the order of their bits from `Timeout` on. */
export const Flag = {
  /** The client sends no more. */
  End: 0x01,
  /** More parts of this body follow. */
  More: 0x02,
  /** The time that the client waits, in milliseconds. */
  Timeout: 0x04,
  Headers: 0x08,
  /** The status of the call; nothing comes after it. */
  Status: 0x10,
  Trailers: 0x20,
  /** Size of the whole body, of which this is the first part. */
  Size: 0x40,
  /** The rest of the frame is a body, or a part of one. */
  Body: 0x80,
} as const;

/** Beyond the flags of the wire: the frame is the first of its call. */
export const firstFrame = 0x100;

/** Of RESET: the call was not looked at, and may be made elsewhere. */
export const refusedFlag = 0x01;

/** The reasons of a GOAWAY. */
export const Leave = { Draining: 0, ProtocolError: 1 } as const;

/** The settings that each side sends first. */
export interface Settings {
  /** Bytes that may be on their way to it in each call, unread. */
  readonly windowBytes: number;
  /** Calls that it takes at a time. */
  readonly maxCalls: number;
  /** Fields of metadata that it remembers. */
  readonly fields: number;
}

/** Bytes of {@link Settings} on the wire. Later versions may say more. */
export const settingsBytes = 10;
/** More than this in a table is of no use, and costs both sides memory for every connection. */
export const maxFields = 128;
/** A field longer than this, key and value, is not remembered. */
export const maxFieldBytes = 1024;

/** The peer sent something that is not of this protocol. The connection ends, and nothing else. */
export class FrameError extends Error {}
