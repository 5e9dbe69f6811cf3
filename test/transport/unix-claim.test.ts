import { linkSync, lstatSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { claimPath, type ClaimSteps, fileSteps } from '../../src/transport/sockets/unix-claim.ts';
import { startNode, TestProcess } from '../support/process.ts';

let folder: string;
let path: string;
/** A socket file whose process is dead. */
let dead: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-claim-'));
  path = join(folder, 'a.sock');
  dead = join(folder, 'dead.sock');
  const listens = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await new TestProcess(process.execPath, ['-e', listens]).exited;
  renameSync(path, dead);
});

afterEach(() => rmSync(folder, { recursive: true }));

/** Numbers that are the same for the same seed. */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % limit;
  };
}

interface Claimant {
  readonly own: string;
  readonly server: Server;
  outcome: boolean | 'dead' | undefined;
  /** Lets it take the step that it waits with. */
  step: (() => void) | undefined;
}

/**
 * Claimants of one path that take their steps one at a time, in an order that the seed says; some of them die amid it.
 */
async function claims(seed: number, count: number): Promise<Claimant[]> {
  const below = numbers(seed);
  const claimants: Claimant[] = [];
  for (let index = 0; index < count; index += 1) {
    const own = join(folder, `.own-${index}`);
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(own, resolve));
    const claimant: Claimant = { own, server, outcome: undefined, step: undefined };
    const turn = (): Promise<void> => new Promise((resolve) => (claimant.step = resolve));
    const inTurn =
      <Args extends unknown[], Result>(step: (...args: Args) => Promise<Result>) =>
      async (...args: Args): Promise<Result> => {
        await turn();
        return step(...args);
      };
    const steps: ClaimSteps = {
      link: inTurn(fileSteps.link),
      stat: inTurn(fileSteps.stat),
      unlink: inTurn(fileSteps.unlink),
      probe: inTurn(fileSteps.probe),
    };
    void claimPath(own, path, { sleep: turn }, steps).then(
      (outcome) => (claimant.outcome = outcome),
      () => (claimant.outcome = false),
    );
    claimants.push(claimant);
  }
  for (;;) {
    const running = claimants.filter(({ outcome }) => outcome === undefined);
    if (running.length === 0) return claimants;
    while (running.some(({ outcome, step }) => outcome === undefined && !step))
      await new Promise((resolve) => setImmediate(resolve));
    const ready = running.filter(({ outcome }) => outcome === undefined);
    const one = ready[below(ready.length)];
    if (!one) continue;
    if (ready.length > 1 && below(25) === 0) {
      // As a process dies: nobody listens, and the names that it has made stay.
      await new Promise((resolve) => one.server.close(resolve));
      one.outcome = 'dead';
      continue;
    }
    const { step } = one;
    one.step = undefined;
    step?.();
  }
}

describe('a Unix socket that a dead process left behind', () => {
  it('is taken over by one claimant, in whatever order they take their steps, and though some die amid it', async () => {
    let deaths = 0;
    for (let seed = 1; seed <= 150; seed += 1) {
      linkSync(dead, path);
      const claimants = await claims(seed, 2 + (seed % 3));
      const winners = claimants.filter(({ outcome }) => outcome === true);
      deaths += claimants.filter(({ outcome }) => outcome === 'dead').length;
      expect([seed, winners.length]).toEqual([seed, 1]);
      expect([seed, lstatSync(path).ino]).toEqual([seed, lstatSync(winners[0]!.own).ino]);
      for (const { server } of claimants) server.close();
      for (const name of readdirSync(folder)) if (name !== 'dead.sock') rmSync(join(folder, name));
    }
    expect(deaths).toBeGreaterThan(10);
  }, 120_000);

  it('is taken over by one of many processes that find it at once', async () => {
    const program = fileURLToPath(new URL('./programs/unix-claimant.mjs', import.meta.url));
    const start = (): TestProcess => startNode(program, { withInput: true });
    const patienceMs = 60_000;
    let processes = Array.from({ length: 5 }, start);
    for (let round = 0; round < 15; round += 1) {
      await Promise.all(processes.map((one) => one.waitForLine(/^ready$/, patienceMs)));
      // In every third round it is the last winner that died.
      if (round % 3 !== 1) linkSync(dead, path);
      const seen = processes.map(({ lines }) => lines.length);
      for (const one of processes) one.writeLine(path);
      const told = await Promise.all(processes.map((one, index) => one.waitForLine(/^.+$/, patienceMs, seen[index])));
      const outcomes = told.map(([outcome]) => outcome);
      expect(outcomes.toSorted()).toEqual(['listens', ...Array<string>(4).fill('transport.address_in_use')]);
      expect(readdirSync(folder)).toEqual(['a.sock', 'dead.sock']);
      const winner = processes[outcomes.indexOf('listens')]!;
      if (round % 3 === 0) {
        await winner.kill();
        processes = processes.map((one) => (one === winner ? start() : one));
      } else {
        winner.writeLine('');
        await winner.waitForLine(/^closed$/, patienceMs, winner.lines.length - 1);
      }
    }
    for (const one of processes) one.endInput();
    await Promise.all(processes.map((one) => one.waitForExit(patienceMs)));
  }, 300_000);
});
