import type { Readable, Writable } from 'node:stream';

/** The messages of a stream of bytes, each behind its length: four bytes, the greatest first. */
export async function* readFrames(input: Readable): AsyncGenerator<Uint8Array, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of input as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
      const end = 4 + rest.readUInt32BE();
      yield rest.subarray(4, end);
      rest = rest.subarray(end);
    }
  }
  if (rest.length > 0) throw new Error('the input ends in the middle of a message');
  return undefined;
}

/** Writes a message behind its length, in one piece. */
export function writeFrame(output: Writable, message: Uint8Array): void {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  output.write(Buffer.concat([length, message]));
}
