import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import {
  ejectionDefaults,
  type EjectionOptions,
  NodeHealth,
  OutlierDetection,
} from '../../src/selector/internal/outlier-detection.ts';
import { errorOf, lost, unreachable } from './support.ts';

interface Node {
  readonly id: string;
  readonly health: NodeHealth;
  readonly isBusy: boolean;
}

/** An outlier detection over nodes that are given calls. */
class Detection {
  readonly nodes: readonly Node[];
  nowMs = 0;
  readonly #detection: OutlierDetection<Node>;

  constructor(count: number, options: Partial<EjectionOptions> = {}) {
    this.nodes = Array.from({ length: count }, (_, index) => ({
      id: `n${index + 1}`,
      health: new NodeHealth(),
      isBusy: false,
    }));
    this.#detection = new OutlierDetection(() => ({ ...ejectionDefaults, ...options }));
  }

  call(index: number, good: number, bad = 0, latencyMs?: number): void {
    const node = this.nodes[index]!;
    for (let n = 0; n < good; n += 1)
      this.#detection.record(node, this.nodes, this.nowMs, undefined, latencyMs, Code.Ok);
    for (let n = 0; n < bad; n += 1)
      this.#detection.record(node, this.nodes, this.nowMs, undefined, latencyMs, Code.Internal);
  }

  fail(index: number, error = lost): void {
    this.#detection.record(this.nodes[index]!, this.nodes, this.nowMs, error, 1, undefined);
  }

  /** Ends the interval, by a call to a node that is left out of the counts. */
  sweep(atMs: number): void {
    this.nowMs = atMs;
    this.call(0, 1);
  }

  get available(): string[] {
    return this.#detection.partition(this.nodes, this.nowMs).available.map(({ id }) => id);
  }

  get probeMs(): number {
    return this.#detection.partition(this.nodes, this.nowMs).probeMs;
  }

  probe(index: number): void {
    this.#detection.probe(this.nodes[index]!, this.nowMs);
  }
}

const all = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index + 1}`);
const without = (count: number, ...out: number[]): string[] =>
  all(count).filter((id) => !out.includes(Number(id.slice(1))));

describe('ejection by success rate (gRFC A50)', () => {
  const a50 = { successRateStdev: 1_900, failurePercent: 100 };

  it('ejects the one of five that always fails, by the standard deviation of a population', () => {
    const five = new Detection(5, a50);
    for (let index = 0; index < 4; index += 1) five.call(index, 100);
    five.call(4, 0, 100);
    // The mean is 0.8 and the deviation 0.4: the threshold is 0.04. That of a sample, 0.447, would give −0.05.
    five.sweep(10_000);
    expect(five.available).toEqual(without(5, 5));
  });

  it('ejects nobody by rates while two of five fail: the threshold is −0.33, and the share of failures is for that', () => {
    const rates = new Detection(5, a50);
    const shares = new Detection(5, { ...a50, failurePercent: 85 });
    for (const detection of [rates, shares]) {
      for (let index = 0; index < 3; index += 1) detection.call(index, 100);
      for (let index = 3; index < 5; index += 1) detection.call(index, 0, 100);
      detection.sweep(10_000);
    }
    expect(rates.available).toEqual(all(5));
    expect(shares.available).toEqual(without(5, 4, 5));
  });

  it.each([
    ['four nodes with enough calls', 100, 4],
    ['99 calls a node', 99, 5],
  ])('judges nobody with %s', (_what, calls, nodes) => {
    const few = new Detection(5, a50);
    for (let index = 0; index < nodes - 1; index += 1) few.call(index, calls);
    few.call(4, 0, calls);
    few.nowMs = 10_000;
    few.call(4, 1);
    expect(few.available).toEqual(all(5));
  });
});

describe('ejection by the share of failures', () => {
  it.each([
    [17, 3, 'is 85 percent', true],
    [18, 2, 'is 90 percent', false],
    [17, 2, 'of 19 calls', true],
  ])('with %d failures and %d answers, which %s', (bad, good, _what, stays) => {
    const three = new Detection(3);
    three.call(2, good, bad);
    expect(three.available).toEqual(all(3));
    three.nowMs = 9_999;
    three.call(0, 1);
    expect(three.available).toEqual(all(3));
    three.sweep(10_001);
    expect(three.available).toEqual(stays ? all(3) : without(3, 3));
  });

  it('counts calls that missed their deadline, and no failures of an interval before', () => {
    const late = new Detection(3);
    for (let call = 0; call < 20; call += 1) late.fail(2, errorOf('call.deadline_exceeded', Code.DeadlineExceeded));
    late.sweep(10_001);
    expect(late.available).toEqual(without(3, 3));
    const split = new Detection(3);
    split.call(2, 0, 19);
    split.sweep(10_001);
    split.call(2, 0, 19);
    split.sweep(20_002);
    expect(split.available).toEqual(all(3));
  });

  it('gives 30, 60, 90 … 300, 300 seconds in a row with the settings of gRFC A50, and less after good intervals', () => {
    const linear = new Detection(3, { ejectMs: 30_000, maxEjectMs: 300_000, ejectGrowth: 'linear' });
    const times: number[] = [];
    linear.call(0, 1);
    for (let round = 0; round < 12; round += 1) {
      linear.call(2, 0, 100);
      const dueMs = Math.floor(linear.nowMs / 10_000 + 1) * 10_000;
      linear.sweep(dueMs);
      times.push((linear.nodes[2]!.health.ejectedUntilMs - dueMs) / 1_000);
      linear.sweep(linear.nodes[2]!.health.ejectedUntilMs);
      expect(linear.available).toEqual(all(3));
    }
    expect(times).toEqual([30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    expect(linear.nodes[2]!.health.ejections).toBe(12);
    linear.sweep(linear.nowMs + 10_000);
    expect(linear.nodes[2]!.health.ejections).toBe(11);
    linear.sweep(linear.nowMs + 35_000);
    expect(linear.nodes[2]!.health.ejections).toBe(8);
  });

  it('doubles by default: 5, 10, 20 … 300, 300 seconds', () => {
    const doubling = new Detection(3);
    const times: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      for (let call = 0; call < 3; call += 1) doubling.fail(2);
      times.push((doubling.nodes[2]!.health.ejectedUntilMs - doubling.nowMs) / 1_000);
      doubling.nowMs = doubling.nodes[2]!.health.ejectedUntilMs;
    }
    expect(times).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300]);
  });
});

describe('ejection by latency', () => {
  it('ejects a node whose mean is more than the factor above the median, if it is asked for', () => {
    for (const latencyFactor of [undefined, 5, 20]) {
      const nodes = new Detection(6, { latencyFactor });
      for (let index = 0; index < 5; index += 1) nodes.call(index, 20, 0, 10 + index);
      nodes.call(5, 20, 0, 100);
      nodes.sweep(10_001);
      expect(nodes.available).toEqual(latencyFactor === 5 ? without(6, 6) : all(6));
    }
  });
});

describe('a bound of ejections', () => {
  it.each([
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 2],
    [9, 4],
    [10, 5],
  ])('of %d nodes is %d', (count, most) => {
    const nodes = new Detection(count);
    for (let index = 0; index < count; index += 1) for (let call = 0; call < 9; call += 1) nodes.fail(index);
    expect(nodes.available).toHaveLength(count - most);
  });

  it('counts nodes that cannot be reached as gone: the last that is left is not ejected', () => {
    const nodes = new Detection(3);
    nodes.fail(0, unreachable);
    nodes.fail(1, unreachable);
    for (let call = 0; call < 9; call += 1) nodes.fail(2);
    expect(nodes.available).toEqual(['n3']);
  });
});

describe('a node that cannot be reached', () => {
  it('is tried after 100, 200, 400, 800 ms and every second, while its address refuses', () => {
    const nodes = new Detection(2);
    nodes.fail(1, unreachable);
    // Calls that were on their way.
    nodes.fail(1, unreachable);
    nodes.fail(1, lost);
    const waits: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      waits.push(nodes.probeMs - nodes.nowMs);
      nodes.nowMs = nodes.probeMs;
      nodes.probe(1);
      nodes.nowMs += 1;
      nodes.fail(1, unreachable);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    nodes.call(1, 1);
    expect(nodes.available).toEqual(['n1', 'n2']);
  });

  it('is tried after 1, 2, 4 … 300 seconds while nothing answers', () => {
    const nodes = new Detection(2);
    nodes.fail(1, unreachable);
    nodes.nowMs = nodes.probeMs;
    const waits: number[] = [];
    for (let round = 0; round < 12; round += 1) {
      nodes.probe(1);
      waits.push((nodes.probeMs - nodes.nowMs) / 1_000);
      nodes.fail(1, errorOf('call.deadline_exceeded', Code.DeadlineExceeded));
      nodes.nowMs = nodes.probeMs;
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
  });
});
