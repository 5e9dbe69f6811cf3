import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { groups } from './cases/all.ts';
import { engines, type HostileCase, run } from './support/cases.ts';
import { HostileService, type Report } from './support/service.ts';

/** How often each exchange is repeated for each measurement. `TENON_HOSTILE_ROUNDS=200` looks for what is lost drop by drop. */
const rounds = Number(process.env['TENON_HOSTILE_ROUNDS'] ?? 5);
const atOnce = 16;
/** What may be lost of each exchange before it is called a leak: a call that is kept costs ten times as much. */
const bytesPerExchange = 600;
const noiseBytes = 384 * 1024;

describe.each(engines)('the memory of a service on %s', (engine) => {
  let service: HostileService;

  beforeAll(async () => {
    service = await HostileService.start(engine, 500);
  });

  afterAll(() => service.stop());

  async function repeat(cases: readonly HostileCase[], times: number): Promise<Report> {
    const work = Array.from({ length: times }, () => cases).flat();
    const worker = async (): Promise<void> => {
      for (let next = work.pop(); next; next = work.pop()) await run(next, service.address);
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    expect(await service.idle(1, 15_000)).toMatchObject({ inFlight: 0, running: 0, sockets: 1, warnings: 0 });
    return service.report(true);
  }

  it.each(Object.keys(groups))(
    'is where it was after bad peers: %s',
    async (group) => {
      const cases = (groups[group] as HostileCase[]).filter(({ isHeavy }) => !isHeavy);
      await repeat(cases, Math.ceil(rounds / 2));
      const before = await repeat(cases, rounds);
      const after = await repeat(cases, rounds);
      const allowed = noiseBytes + bytesPerExchange * rounds * cases.length;
      expect(after.heapUsed - before.heapUsed).toBeLessThan(allowed);
      expect(after.external - before.external).toBeLessThan(allowed + 1024 * 1024);
    },
    120_000,
  );

  it('is where it was after thousands of each', async () => {
    const heavy = Object.values(groups).flatMap((cases) => cases.filter(({ isHeavy }) => isHeavy));
    const once = async (): Promise<Report> => {
      for (const hostile of heavy) await run(hostile, service.address);
      await service.idle(1, 15_000);
      return service.report(true);
    };
    const before = await once();
    const after = await once();
    expect(after.heapUsed - before.heapUsed).toBeLessThan(1024 * 1024);
    // Pages that the process keeps for the next time; a first time has made them.
    expect(after.rss - before.rss).toBeLessThan(48 * 1024 * 1024);
  }, 120_000);
});
