import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { run } from '../support/process.ts';

const program = fileURLToPath(new URL('./programs/leaks.mjs', import.meta.url));

describe('calls that are answered, fail, are cancelled, run out of time or are left', () => {
  it.each([
    ['memory', 100_000],
    ['tcp', 40_000],
    ['grpc', 10_000],
  ])(
    'leave nothing behind over %s: %i of them',
    async (transport, calls) => {
      const { stdout, stderr } = await run(process.execPath, ['--expose-gc', program, transport, String(calls)]);
      const told = JSON.parse(stdout) as { before: number; after: number; inFlight: number; listeners: number };
      expect(stderr).toBe('');
      expect(told).toMatchObject({ inFlight: 0, listeners: 0 });
      // A few bytes a call would be seen.
      expect(told.after - told.before).toBeLessThan(1024 * 1024 + (calls * 4) / 5);
    },
    120_000,
  );
});
