import { fileURLToPath } from 'node:url';

import { describe, expect, test } from '@jest/globals';

import { systemClock } from '../../../src/runtime/system.ts';
import { startNode, type TestProcess } from '../../support/process.ts';
import { eventually } from '../../support/waiting.ts';
import { type Cell, expectDeclared, type Outcome, rowOf } from './guarantees.ts';
import { comparePage, page } from './page.ts';

const program = fileURLToPath(new URL('../programs/memory-queue.mjs', import.meta.url));
const patienceMs = 60_000;
const fault = 'the process is killed (SIGKILL), and comes back';
const cell: Cell = { here: ['may', 'what was not handled yet'], away: ['some', 'what had waited'] };

/** The events that processes say they have confirmed, or handled. */
function said(what: 'confirmed' | 'here' | 'away', processes: readonly TestProcess[]): string[] {
  const lines = processes.flatMap((process) => process.lines).filter((line) => line.startsWith(`${what} `));
  return lines.map((line) => line.slice(what.length + 1));
}

/** Kills a process whose events live in it, and counts what the next one has of them. */
async function run(): Promise<Outcome> {
  const first = startNode(program, { args: ['leaves'] });
  await eventually('events are handled', () => said('here', [first]).length >= 100, patienceMs);
  const killedMs = systemClock.monotonicMs();
  await first.kill('SIGKILL');
  const second = startNode(program, { args: ['stays'] });
  await second.waitForLine(/^here /, patienceMs);
  const gapMs = systemClock.monotonicMs() - killedMs;
  await second.waitForLine(/^away /, patienceMs);
  await second.kill('SIGKILL');
  const processes = [first, second];
  const confirmed = said('confirmed', [first]);
  const [here, away] = [said('here', processes), said('away', processes)];
  const [hereOnce, awayOnce] = [new Set(here), new Set(away)];
  return {
    confirmed: confirmed.length,
    lostHere: confirmed.filter((text) => !hereOnce.has(text)),
    lostAway: confirmed.filter((text) => !awayOnce.has(text)),
    again: here.length - hereOnce.size + away.length - awayOnce.size,
    failed: 0,
    deliveredOfFailed: 0,
    gapMs,
  };
}

describe('guarantees of memory, whose events live in its process', () => {
  const rows: string[] = [];

  test(`${fault}: what had waited is lost`, async () => {
    const outcome = await run();
    expectDeclared(cell, outcome);
    expect(outcome.lostAway).toHaveLength(outcome.confirmed);
    rows.push(rowOf(fault, cell, outcome));
  }, 120_000);

  test(`${page} says what was found`, () => {
    comparePage('memory, whose events live in its process', rows);
  });
});
