import { describe, expect, it } from '@jest/globals';

import { Inbox } from '../../src/transport/call/inbox.ts';

describe('the messages that a side has not read', () => {
  it('give back all of the room that they took, to the byte', async () => {
    const inbox = new Inbox();
    const body = Uint8Array.of(1);
    for (let round = 0; round < 70_000; round += 1) {
      inbox.push({ body });
      await inbox.recv();
    }
    expect(inbox.isFull).toBe(false);
    inbox.push({ body: new Uint8Array(64 * 1024 - 1) });
    expect(inbox.isFull).toBe(false);
    inbox.push({ body });
    expect(inbox.isFull).toBe(true);
  });
});
