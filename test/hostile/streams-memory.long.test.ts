import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { run } from '../support/process.ts';

const program = fileURLToPath(new URL('../../bench/programs/streams.mjs', import.meta.url));

interface Measured {
  readonly messages: number;
  /** What collections left of the heap at the end, less what they left after the first tenth. */
  readonly keptBytes: number;
  /** How many messages the writer was ahead of the reader at most. */
  readonly ahead: number;
}

async function stream(...args: readonly (string | number)[]): Promise<Measured> {
  const { stdout } = await run(process.execPath, ['--expose-gc', program, ...args.map(String)]);
  return JSON.parse(stdout) as Measured;
}

const million = 1_000_000;

describe('a long stream leaves memory where it was', () => {
  it.each([
    ['memory', 'server', million],
    ['memory', 'client', million],
    ['memory', 'bidi', million],
    ['grpc', 'server', million],
    ['grpc', 'client', million],
    ['grpc', 'bidi', million],
    ['tcp', 'server', million],
    ['tcp', 'client', million],
    ['tcp', 'bidi', million],
    ['unix', 'bidi', million],
  ])(
    '%s, %s, %i messages',
    async (transport, kind, messages) => {
      const measured = await stream(transport, kind, messages, 32);
      expect(measured).toMatchObject({ messages });
      // Some thousand messages are on their way whenever the heap is looked at; an object kept for each that came would
      // be more.
      expect(measured.keptBytes).toBeLessThan(8 * 1024 * 1024);
    },
    300_000,
  );
});

describe('a slow reader holds the writer', () => {
  const kinds = ['server', 'client', 'bidi'];
  const cases = ['memory', 'grpc', 'tcp', 'unix'].flatMap((transport) =>
    kinds.map((kind) => [transport, kind] as const),
  );

  it.each(cases)(
    '%s, %s',
    async (transport, kind) => {
      // A megabyte of small messages could be on its way by any measure of windows and buffers; three were sent.
      const { ahead } = await stream(transport, kind, 3_000, 1_000, 'slow');
      expect(ahead).toBeLessThan(1_000);
    },
    60_000,
  );
});
