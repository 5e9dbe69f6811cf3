/** The kinds of packets: the messages of NATS between the two ends of a connection. */
export const PacketKind = {
  /** Bytes of the connection. */
  Data: 0,
  /** This end sends no more bytes. */
  End: 1,
  /** The connection is over. */
  Close: 2,
  /** The receiver has read so many bytes more. */
  Credit: 3,
  /** Asks whoever listens whether it is there; answered by Close. */
  Probe: 4,
} as const;
/** One of {@link PacketKind}. */
export type PacketKind = (typeof PacketKind)[keyof typeof PacketKind];

/** A packet that was received. */
export interface Packet {
  readonly kind: PacketKind;
  /** Counts the packets of one direction, from 0: a gap means that some were lost. */
  readonly number: number;
  readonly data: Buffer;
}

/** The bytes of a packet before its data: the kind (1) and the number (4). */
export const packetHeadBytes = 5;

/** Writes a packet. The number begins anew after 2³². */
export function writePacket(kind: PacketKind, number: number, data: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(packetHeadBytes + data.length);
  packet[0] = kind;
  packet.writeUInt32BE(number >>> 0, 1);
  packet.set(data, packetHeadBytes);
  return packet;
}

/** Reads a packet; `undefined` for what is none. */
export function readPacket(payload: Buffer | undefined): Packet | undefined {
  if (payload === undefined || payload.length < packetHeadBytes) return undefined;
  const kind = payload[0] as PacketKind;
  if (kind > PacketKind.Probe || (kind === PacketKind.Credit && payload.length < packetHeadBytes + 4)) return undefined;
  return { kind, number: payload.readUInt32BE(1), data: payload.subarray(packetHeadBytes) };
}
