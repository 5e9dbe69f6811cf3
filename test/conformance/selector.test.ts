import { describe, it } from '@jest/globals';

import { ConsistentHashSelector } from '../../src/selector/consistent-hash.ts';
import { LeastRequestSelector } from '../../src/selector/least-request.ts';
import { PeakEwmaSelector } from '../../src/selector/peak-ewma.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import { WeightedSelector } from '../../src/selector/weighted.ts';
import { selectorConformance } from '../../src/testing/selector.ts';

const api = { describe, it };

selectorConformance(api, 'random', {
  make: (registry, options, clock) => new RandomSelector(registry, options, clock),
  capabilities: RandomSelector.capabilities,
});
selectorConformance(api, 'round-robin', {
  make: (registry, options, clock) => new RoundRobinSelector(registry, options, clock),
  capabilities: RoundRobinSelector.capabilities,
});
selectorConformance(api, 'least-request', {
  make: (registry, options, clock) => new LeastRequestSelector(registry, options, clock),
  capabilities: LeastRequestSelector.capabilities,
});
selectorConformance(api, 'peak-ewma', {
  make: (registry, options, clock) => new PeakEwmaSelector(registry, options, clock),
  capabilities: PeakEwmaSelector.capabilities,
});
selectorConformance(api, 'weighted', {
  make: (registry, options, clock) => new WeightedSelector(registry, options, clock),
  capabilities: WeightedSelector.capabilities,
});
selectorConformance(api, 'consistent-hash', {
  make: (registry, options, clock) => new ConsistentHashSelector(registry, options, clock),
  capabilities: ConsistentHashSelector.capabilities,
});
