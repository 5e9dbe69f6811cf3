import { describe, expect, it } from '@jest/globals';

import { Metadata } from '../../src/context/metadata.ts';
import { EdfScheduler } from '../../src/selector/internal/edf-scheduler.ts';
import { loadReportOf, loadWeight } from '../../src/selector/internal/load-report.ts';
import { filterLabel } from '../../src/selector/selector.ts';
import { WeightedSelector, type WeightedSelectorOptions } from '../../src/selector/weighted.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { ids, lost, type Rig, rigOf, seededRandom } from './support.ts';

const weighted = (nodes: Parameters<typeof rigOf>[0], options: WeightedSelectorOptions = {}): Rig<WeightedSelector> =>
  rigOf(nodes, (registry, { clock }, random) => new WeightedSelector(registry, options, clock, random));

const withWeight = (id: string, weight: string): ReturnType<typeof nodeOf> => nodeOf(id, { metadata: { weight } });

/** A call of a node that reports its load. */
function report(rig: Rig<WeightedSelector>, id: string, utilization: number, qps = 100): void {
  const trailers = new Metadata({
    'endpoint-load-metrics': `TEXT application_utilization=${utilization}, rps_fractional=${qps}`,
  });
  rig.selector.mark('greeter', nodeOf(id), undefined, 1, { trailers });
}

describe('loadWeight', () => {
  it('is that of gRFC A58: 100 calls a second at half load, 10 of them failed, are 166.7', () => {
    expect(loadWeight({ qps: 100, eps: 10, utilization: 0.5 }, 1)).toBeCloseTo(166.7, 1);
    expect(loadWeight({ qps: 100, eps: 10, utilization: 0.5 }, 0)).toBe(200);
    expect(loadWeight({ qps: 100, eps: 0, utilization: 0.5 }, 1)).toBe(200);
  });
});

describe('loadReportOf', () => {
  const double = (field: number, value: number): number[] => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, true);
    return [field * 8 + 1, ...bytes];
  };

  it('reads ORCA as protobuf, as text and as JSON, and takes the application before the processor', () => {
    const binary = Uint8Array.from([
      ...double(1, 0.25),
      // Two fields that are none of these: an integer, and a map.
      3 * 8,
      7,
      4 * 8 + 2,
      2,
      1,
      2,
      ...double(6, 100),
      ...double(7, 10),
      ...double(9, 0.5),
    ]);
    const expected = { qps: 100, eps: 10, utilization: 0.5 };
    expect(loadReportOf(new Metadata({ 'endpoint-load-metrics-bin': binary }))).toEqual(expected);
    const text = 'TEXT cpu_utilization=0.25, application_utilization=0.5,rps_fractional=100, eps=10';
    expect(loadReportOf(new Metadata({ 'endpoint-load-metrics': text }))).toEqual(expected);
    const json = `JSON ${JSON.stringify({ cpu_utilization: 0.5, rps_fractional: 100, eps: 10 })}`;
    expect(loadReportOf(new Metadata({ 'endpoint-load-metrics': json }))).toEqual(expected);
  });

  it.each([
    ['', undefined],
    ['TEXT', undefined],
    ['TEXT cpu_utilization', undefined],
    ['TEXT cpu_utilization=NaN,rps_fractional=1', undefined],
    ['TEXT cpu_utilization=-1,rps_fractional=1', undefined],
    ['TEXT cpu_utilization=Infinity,rps_fractional=1', undefined],
    ['TEXT cpu_utilization=0.5', undefined],
    ['JSON {', undefined],
    ['JSON null', undefined],
    ['JSON 7', undefined],
    ['JSON {"rps_fractional":{"valueOf":1,"toString":1},"cpu_utilization":1}', undefined],
    ['0.5', undefined],
  ])('takes no report from "%s"', (text, expected) => {
    expect(loadReportOf(new Metadata({ 'endpoint-load-metrics': text }))).toBe(expected);
  });

  it.each([[[]], [[0xff]], [[9, 1, 2]], [[0x0d, 0, 0, 0, 0]], [[0x31, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]]])(
    'takes none from bytes %j',
    (bytes) => {
      expect(loadReportOf(new Metadata({ 'endpoint-load-metrics-bin': Uint8Array.from(bytes) }))).toBeUndefined();
    },
  );
});

describe('EdfScheduler', () => {
  it('gives each its part exactly, evenly spread', () => {
    const scheduler = new EdfScheduler([1, 2, 5], seededRandom().next);
    const order = Array.from({ length: 8_000 }, () => scheduler.next());
    for (const [index, part] of [1_000, 2_000, 5_000].entries())
      expect(Math.abs(order.filter((one) => one === index).length - part)).toBeLessThanOrEqual(1);
    // Of 8 in a row one has 5, give or take one.
    for (let from = 0; from < 7_990; from += 1) {
      const five = order.slice(from, from + 8).filter((one) => one === 2).length;
      expect(five >= 4 && five <= 6).toBe(true);
    }
  });
});

describe('WeightedSelector', () => {
  it('selects in proportion to the weights of the metadata, 1 where there is none that is a number above 0', () => {
    const rig = weighted([
      withWeight('n1', '3'),
      'n2',
      withWeight('n3', 'much'),
      withWeight('n4', '0'),
      withWeight('n5', '4'),
    ]);
    const shares = rig.shares(1_000);
    for (const [id, part] of Object.entries({ n1: 300, n2: 100, n3: 100, n4: 100, n5: 400 }))
      expect(Math.abs((shares.get(id) ?? 0) - part)).toBeLessThanOrEqual(1);
  });

  it('takes a new weight when the registry has it', () => {
    const rig = weighted([withWeight('n1', '3'), 'n2']);
    rig.pick();
    rig.records.current = [serviceOf('greeter', [withWeight('n1', '1'), withWeight('n2', '9')])];
    expect(Math.abs((rig.shares(100).get('n2') ?? 0) - 90)).toBeLessThanOrEqual(1);
  });

  it('keeps proportions among the nodes that pass a filter, and after a failed attempt', () => {
    const zone = { zone: 'a' };
    const rig = weighted([
      nodeOf('n1', { metadata: { weight: '9', ...zone } }),
      nodeOf('n2', { metadata: zone }),
      withWeight('n3', '50'),
    ]);
    const share = rig.shares(10_000, { filters: [filterLabel('zone', 'a')] });
    expect(share.get('n3')).toBeUndefined();
    expect(Math.abs((share.get('n1') ?? 0) - 9_000)).toBeLessThan(5 * Math.sqrt(10_000 * 0.9 * 0.1));
  });

  it('takes load reports after their blackout, the mean for nodes without, and the metadata again when they expire', () => {
    const rig = weighted([withWeight('n1', '8'), 'n2', 'n3', 'n4']);
    rig.pick();
    report(rig, 'n1', 0.9);
    report(rig, 'n2', 0.3);
    expect(rig.shares(110).get('n1')).toBe(80);
    rig.timers.nowMs += 9_999;
    report(rig, 'n1', 0.9);
    report(rig, 'n2', 0.3);
    expect(Math.abs((rig.shares(110).get('n1') ?? 0) - 80)).toBeLessThanOrEqual(1);
    rig.timers.nowMs += 1;
    rig.pick();
    rig.timers.nowMs += 1_000;
    // 100 / 0.9 and 100 / 0.3 are as 1 to 3; n3 and n4 have the mean of both.
    const shares = rig.shares(800);
    for (const [id, part] of Object.entries({ n1: 100, n2: 300, n3: 200, n4: 200 }))
      expect(Math.abs((shares.get(id) ?? 0) - part)).toBeLessThanOrEqual(1);
    rig.timers.nowMs += 180_000;
    expect(Math.abs((rig.shares(110).get('n1') ?? 0) - 80)).toBeLessThanOrEqual(1);
  });

  it('gives a node that reports next to no load ten times the median, and drops reports without a finite weight', () => {
    const rig = weighted(ids(4));
    rig.pick();
    for (let time = 0; time < 2; time += 1) {
      for (const id of ['n1', 'n2']) report(rig, id, 0.5);
      report(rig, 'n3', 1e-12);
      report(rig, 'n4', 1e-300, 1e300);
      rig.timers.nowMs += 10_000;
    }
    rig.pick();
    rig.timers.nowMs += 1_000;
    // As 1 to 1 to 10, and the mean of these is 4.
    const shares = rig.shares(1_600);
    for (const [id, part] of Object.entries({ n1: 100, n2: 100, n3: 1_000, n4: 400 }))
      expect(Math.abs((shares.get(id) ?? 0) - part)).toBeLessThanOrEqual(1);
  });

  it('does not ask for the trailers of a call that has none', () => {
    const rig = weighted(ids(2));
    rig.pick();
    let asked = 0;
    const call = {
      hasTrailers: false,
      get trailers(): Metadata {
        asked += 1;
        return new Metadata();
      },
    };
    rig.selector.mark('greeter', nodeOf('n1'), undefined, 1, call);
    expect(asked).toBe(0);
  });

  it('selects in turn while a single node reports', () => {
    const rig = weighted(ids(4));
    rig.pick();
    report(rig, 'n1', 0.9);
    rig.timers.nowMs += 20_000;
    for (const share of rig.shares(400).values()) expect(share).toBe(100);
  });

  it('leaves out a node that fails, and goes on in proportion', () => {
    const rig = weighted([withWeight('n1', '2'), 'n2', 'n3']);
    rig.pick();
    rig.call('n2', 3, lost);
    const shares = rig.shares(300);
    expect(shares.get('n2')).toBeUndefined();
    expect(Math.abs((shares.get('n1') ?? 0) - 200)).toBeLessThanOrEqual(1);
  });

  it('gives a new node a growing part', () => {
    const rig = weighted(['n1'], { slowStartMs: 60_000 });
    rig.pick();
    rig.records.current = [serviceOf('greeter', ['n1', 'n2'])];
    expect(Math.abs((rig.shares(110).get('n2') ?? 0) - 10)).toBeLessThanOrEqual(1);
    rig.timers.nowMs += 15_000;
    expect(Math.abs((rig.shares(100).get('n2') ?? 0) - 20)).toBeLessThanOrEqual(1);
    rig.timers.nowMs += 45_000;
    expect(Math.abs((rig.shares(100).get('n2') ?? 0) - 50)).toBeLessThanOrEqual(1);
  });

  it('checks its options, and raises a period below 100 ms', () => {
    expect(weighted(['n1'], { weightUpdateMs: 1 }).selector.options.weightUpdateMs).toBe(100);
    expect(() => weighted(['n1'], { errorUtilizationPenalty: -1 })).toThrow('errorUtilizationPenalty');
    const { selector } = weighted(['n1']);
    selector.init({ blackoutMs: 5, ejectAfter: 9 });
    expect([selector.options.blackoutMs, selector.options.ejectAfter, selector.options.weightUpdateMs]).toEqual([
      5, 9, 1_000,
    ]);
  });
});
