import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { groups } from './cases/all.ts';
import { engines, type HostileCase, run } from './support/cases.ts';
import { HostileService, type Report } from './support/service.ts';

/**
 * How often each exchange is repeated for each measurement. `TENON_HOSTILE_ROUNDS=200` looks for what is lost drop by
 * drop.
 */
const rounds = Number(process.env['TENON_HOSTILE_ROUNDS'] ?? 5);
const atOnce = 16;
/** How often the growth is measured: what is kept is kept each time, what a collection has missed once is not. */
const measurements = 3;
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
    expect(await service.idle(1)).toMatchObject({ inFlight: 0, running: 0, sockets: 1, warnings: 0 });
    return service.report(true);
  }

  /**
   * What `once` adds to the heap and to what the heap refers to outside of itself, after collections: the median of
   * several.
   */
  async function growth(once: () => Promise<Report>): Promise<{ heapUsed: number; external: number }> {
    let before = await once();
    const heapUsed: number[] = [];
    const external: number[] = [];
    for (let times = 0; times < measurements; times += 1) {
      const after = await once();
      heapUsed.push(after.heapUsed - before.heapUsed);
      external.push(after.external - before.external);
      before = after;
    }
    return { heapUsed: median(heapUsed), external: median(external) };
  }

  it.each(Object.keys(groups))(
    'is where it was after bad peers: %s',
    async (group) => {
      const cases = (groups[group] as HostileCase[]).filter(({ isHeavy }) => !isHeavy);
      await repeat(cases, Math.ceil(rounds / 2));
      const grown = await growth(() => repeat(cases, rounds));
      const allowed = noiseBytes + bytesPerExchange * rounds * cases.length;
      expect(grown.heapUsed).toBeLessThan(allowed);
      expect(grown.external).toBeLessThan(allowed + 1024 * 1024);
    },
    300_000,
  );

  it('is what it was before thousands of bad peers of each kind', async () => {
    const heavy = Object.values(groups).flatMap((cases) => cases.filter(({ isHeavy }) => isHeavy));
    const once = async (): Promise<Report> => {
      for (const hostile of heavy) await run(hostile, service.address);
      expect(await service.idle(1)).toMatchObject({ inFlight: 0, running: 0, sockets: 1, warnings: 0 });
      return service.report(true);
    };
    const grown = await growth(once);
    expect(grown.heapUsed).toBeLessThan(1024 * 1024);
    // The state of HTTP/2 sessions and the bytes of buffers are counted there.
    expect(grown.external).toBeLessThan(1024 * 1024);
  }, 300_000);
});

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
