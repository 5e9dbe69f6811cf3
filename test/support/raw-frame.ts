/**
 * A frame as HTTP/2 has it, and the frames of our own as `docs/wire.md` has them: length, type, flags, number. Any
 * frame, also one that must not be; `length` is what the head says, where that should be a lie.
 */
export function rawFrame(
  type: number,
  flags: number,
  id: number,
  payload: Uint8Array = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}
