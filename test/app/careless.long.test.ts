import { describe, expect, it } from '@jest/globals';

import { fileURLToPath } from 'node:url';

import { startNode } from '../support/process.ts';

const program = fileURLToPath(new URL('./programs/careless-kinds.mjs', import.meta.url));

describe.each([
  ['grpc', {}],
  ['memory', {}],
  ['tcp', { LOGGER_FAILS: '1' }],
  ['grpc', { LOGGER_FAILS: '1', CHILD_FAILS: '1' }],
])('whatever the functions of an application throw or give back, over %s (%o)', (transport, env) => {
  it('ends neither the process nor leaves a caller waiting', async () => {
    const child = startNode(program, { env: { TENON_TRANSPORT: transport, ...env } });
    expect(await child.waitForExit(150_000)).toEqual({ code: 0, signal: null });
    const lines = child.lines.map((line) => JSON.parse(line) as { what?: string; outcome?: string });
    expect(lines.filter(({ outcome }) => outcome === 'HANGS').map(({ what }) => what)).toEqual([]);
    expect(lines.at(-1)).toEqual({ uncaught: [] });
    expect(lines.length).toBeGreaterThan(1_500);
  }, 180_000);
});
