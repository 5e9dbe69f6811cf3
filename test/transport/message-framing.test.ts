import { describe, expect, it } from '@jest/globals';

import { MessageDeframer } from '../../src/transport/grpc/message-framing.ts';
import { frame } from './support.ts';

function messagesIn(frames: MessageDeframer): string[] {
  const messages: string[] = [];
  for (let found = frames.take(); found; found = frames.take()) messages.push(String(found.body));
  return messages;
}

describe('the frames of gRPC', () => {
  it.each([1, 2, 3, 7, 64, 1_000])('takes messages apart that come in pieces of %i bytes', (size) => {
    const texts = Array.from({ length: 200 }, (_, index) => 'x'.repeat(index) + String(index));
    const bytes = Buffer.concat(texts.map((text) => frame(Buffer.from(text))));
    const frames = new MessageDeframer(1_000);
    const seen: string[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      frames.push(bytes.subarray(at, at + size));
      // Now and then nobody reads for a while.
      if (at % 5 !== 0) seen.push(...messagesIn(frames));
    }
    seen.push(...messagesIn(frames));
    expect(seen).toEqual(texts);
    expect(frames.hasPartialMessage).toBe(false);
  });

  it('does not touch a message again that it has handed over', () => {
    const frames = new MessageDeframer(1_000);
    const bytes = Buffer.concat([frame(Buffer.from('first')), frame(Buffer.from('second'))]);
    for (const byte of bytes.subarray(0, 12)) frames.push(Buffer.of(byte));
    const first = frames.take()?.body;
    for (const byte of bytes.subarray(12)) frames.push(Buffer.of(byte));
    expect(String(frames.take()?.body)).toBe('second');
    expect(String(first)).toBe('first');
  });
});
