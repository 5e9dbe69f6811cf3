import { fileURLToPath } from 'node:url';

import { expect, it } from '@jest/globals';

import { run } from '../support/process.ts';

const program = fileURLToPath(new URL('./programs/chaos.mjs', import.meta.url));

/**
 * How a call may end that is cut off, or whose connection is: never as if the other side did not know gRPC, and never
 * not at all.
 */
const endings = [
  /^status \d+$/,
  /^call\.(?:cancelled|deadline_exceeded)$/,
  // A client that resets more than Node lets it.
  /^transport\.enhance_your_calm$/,
  /^transport\.(?:unreachable|connection_lost|closed)$/,
];

it.each(['some', 'no'])(
  'calls that are cut off at any moment, while servers come and go, each have an end that is true: %s of them have deadlines',
  async (which) => {
    const { stdout } = await run(process.execPath, [program, '200', which === 'no' ? 'none' : which]);
    const outcomes = JSON.parse(stdout) as Readonly<Record<string, number>>;
    const others = Object.entries(outcomes).filter(([outcome]) => !endings.some((one) => one.test(outcome)));
    // Once in some fifty runs Node resets all calls of a connection with INTERNAL_ERROR.
    expect(others.filter(([outcome]) => !outcome.endsWith('it was reset with INTERNAL_ERROR'))).toEqual([]);
    expect(outcomes['status 0']).toBeGreaterThanOrEqual(200);
  },
  300_000,
);
