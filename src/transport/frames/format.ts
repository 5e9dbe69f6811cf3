/**
 * The first bytes of a connection, each way: `tenon`, a line end that mangled text would not survive, and the version.
 */
export const preamble: readonly number[] = [0x74, 0x65, 0x6e, 0x6f, 0x6e, 0x0d, 0x0a, 0x01];

/** Length of the payload (3 bytes), type, flags, number of the call (4 bytes). */
export const headerBytes = 9;
/** Limit for the sections of a frame beside its part of a body: path, metadata, status. */
export const maxSectionBytes = 48 * 1024;
/** Size of the parts of a body, except the last, so that a large body does not hold up other calls. */
export const partBytes = 16 * 1024;
/** The largest payload of a frame. */
export const maxPayloadBytes = maxSectionBytes + partBytes;
/** Credit that a frame with a body costs beside its bytes: empty messages are not free either. */
export const frameCost = 64;
/** Smallest window that a side may announce, so that two parts always fit. */
export const minWindowBytes = 64 * 1024;
/** The largest number of a call. After it the client makes another connection. */
export const lastCallId = 2 ** 31 - 1;

/** The types of frames. */
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

/**
 * The flags of CALL and MESSAGE, which tell the sections of the frame. From `Timeout` on, sections come in the order of
 * their bits.
 */
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

/** Not on the wire: marks the first frame of a call. */
export const firstFrame = 0x100;

/** The flag of a RESET for a call that the server did not process, so that it may be sent to another node. */
export const refusedFlag = 0x01;

/** The reasons of a GOAWAY. */
export const Leave = { Draining: 0, ProtocolError: 1 } as const;

/** The settings that each side sends first. */
export interface Settings {
  /** Bytes of each call that may be sent to the side without having been read. */
  readonly windowBytes: number;
  /** The number of calls that the side takes at a time. */
  readonly maxCalls: number;
  /** The number of fields of metadata that the side remembers. */
  readonly fields: number;
}

/** Bytes of {@link Settings} on the wire. Later versions may append settings. */
export const settingsBytes = 10;
/** The most fields that a side may remember: each costs both sides memory for every connection. */
export const maxFields = 128;
/** A field longer than this, key and value, is not remembered. */
export const maxFieldBytes = 1024;

/** The error of bytes that are not of this protocol. It ends the connection and nothing else. */
export class FrameError extends Error {}
