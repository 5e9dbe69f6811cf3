import { describe, expect, it } from '@jest/globals';

import type { SrvTarget } from '../../../src/dns/dns.ts';
import { nodesOfTargets } from '../../../src/registry/dns/nodes.ts';
import { BrokenRecords } from '../../../src/registry/kit/broken-records.ts';
import type { NodeRecord } from '../../../src/registry/registry.ts';
import { RecordingLogger } from '../../../src/testing/recorders.ts';

const nodesOf = (targets: readonly SrvTarget[], maxNodes: number, lastKnown: readonly NodeRecord[] = []): string[] =>
  nodesOfTargets(targets, lastKnown, new BrokenRecords(new RecordingLogger()), maxNodes).map(({ id }) => id);
const addressesOf = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => `10.0.${at >> 8}.${at & 255}`);
const targetsOf = (count: number, addresses: readonly string[] | undefined): SrvTarget[] =>
  Array.from({ length: count }, (_, at) => ({
    target: 'pod.test',
    port: 1_000 + at,
    priority: 0,
    weight: 0,
    addresses,
  }));

describe('the nodes of SRV records', () => {
  it('are at most one more than the limit, which tells that there are more', () => {
    const addresses = addressesOf(1_024);
    expect(nodesOf(targetsOf(1_024, addresses), 1_000)).toHaveLength(1_001);
    expect(nodesOf(targetsOf(1_024, addresses), 2_000)).toHaveLength(2_001);
    expect(nodesOf(targetsOf(2, addressesOf(3)), 6)).toHaveLength(6);
    expect(nodesOf(targetsOf(3, addressesOf(3)), 6)).toHaveLength(7);
  });

  it('have ids with the address where a target has several, however many are made', () => {
    expect(nodesOf(targetsOf(1, addressesOf(3)), 1)).toEqual(['pod.test:1000/10.0.0.0', 'pod.test:1000/10.0.0.1']);
    expect(nodesOf(targetsOf(3, addressesOf(1)), 1)).toEqual(['pod.test:1000', 'pod.test:1001']);
  });

  it('are the same, whatever the order of the answer', () => {
    const [targets, addresses] = [targetsOf(4, undefined), addressesOf(4)];
    const answer = targets.map((target) => ({ ...target, addresses }));
    const turned = targets.map((target) => ({ ...target, addresses: addresses.toReversed() })).toReversed();
    for (let maxNodes = 1; maxNodes < 20; maxNodes += 1)
      expect(nodesOf(turned, maxNodes)).toEqual(nodesOf(answer, maxNodes));
  });

  it('are one for records with the same target and port, so that they take no room of others', () => {
    const [one, other] = targetsOf(2, addressesOf(1)) as [SrvTarget, SrvTarget];
    expect(nodesOf([one, one, one, one, other], 2)).toEqual(['pod.test:1000', 'pod.test:1001']);
  });

  it('are the last known of targets that could not be looked up, within the limit', () => {
    const lastKnown = nodesOfTargets(targetsOf(1, addressesOf(9)), [], new BrokenRecords(new RecordingLogger()), 9);
    expect(nodesOf(targetsOf(1, undefined), 9, lastKnown)).toEqual(lastKnown.map(({ id }) => id));
    expect(nodesOf(targetsOf(1, undefined), 4, lastKnown)).toHaveLength(5);
  });
});
