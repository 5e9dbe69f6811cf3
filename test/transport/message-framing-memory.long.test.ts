import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { describe, expect, it } from '@jest/globals';

import { MessageDeframer } from '../../src/transport/grpc/message-framing.ts';
import { ByteQueue } from '../../src/transport/call/byte-queue.ts';
import { frame } from './support.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes that are held, on the heap and beside it. */
function heldBytes(): number {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

describe('the memory of the frames of gRPC', () => {
  it('costs at most two bytes more for each byte of a message that comes byte by byte', () => {
    const bytes = 1024 * 1024;
    const frames = new MessageDeframer(4 * bytes);
    const before = heldBytes();
    frames.push(frame(Buffer.alloc(0), 0, 4 * bytes));
    for (let at = 0; at < bytes; at += 1) frames.push(Buffer.alloc(1));
    expect(frames.take()).toBeUndefined();
    expect((heldBytes() - before) / bytes).toBeLessThan(3);
  });

  it('costs no more where long and short pieces take turns', () => {
    const bytes = 2 * 1024 * 1024;
    const frames = new MessageDeframer(4 * bytes);
    const before = heldBytes();
    frames.push(frame(Buffer.alloc(0), 0, 2 * bytes));
    for (let at = 0; at < bytes; at += 4_097) {
      frames.push(Buffer.alloc(1));
      frames.push(Buffer.alloc(4_096));
    }
    expect(frames.take()).toBeUndefined();
    expect((heldBytes() - before) / bytes).toBeLessThan(3);
  });

  it('takes nothing for what is announced and does not come', () => {
    const before = heldBytes();
    const waiting = Array.from({ length: 1_000 }, () => {
      const frames = new MessageDeframer(4 * 1024 * 1024);
      frames.push(frame(Buffer.alloc(1), 0, 4 * 1024 * 1024));
      frames.push(Buffer.alloc(1));
      return frames;
    });
    expect((heldBytes() - before) / waiting.length).toBeLessThan(1_024);
  });

  it('keeps only what came for it of the packet that a piece came in', () => {
    const packets = 64;
    const frames = new MessageDeframer(4 * 1024 * 1024);
    const before = heldBytes();
    frames.push(frame(Buffer.alloc(0), 0, 1024 * 1024));
    for (let at = 0; at < packets; at += 1) frames.push(Buffer.alloc(64 * 1024).subarray(0, 1));
    expect(heldBytes() - before).toBeLessThan(packets * 8 * 1024);
  });
});

describe('the memory of bytes that come in pieces', () => {
  it('cost at most two bytes more for each, as the frames of tcp do that come byte by byte', () => {
    const bytes = 64 * 1024;
    const before = heldBytes();
    const connections = Array.from({ length: 16 }, () => {
      const queue = new ByteQueue();
      for (let at = 0; at < bytes; at += 1) queue.add(Buffer.alloc(1, at));
      return queue;
    });
    expect((heldBytes() - before) / bytes / connections.length).toBeLessThan(3);
    const joined = connections[0]?.join() as Buffer;
    expect(joined.equals(Buffer.from(Array.from({ length: bytes }, (_, at) => at % 256)))).toBe(true);
    expect(connections[0]?.size).toBe(0);
  });
});
