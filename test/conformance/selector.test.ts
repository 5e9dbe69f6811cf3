import { describe, it } from '@jest/globals';

import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import { selectorConformance } from '../../src/testing/selector.ts';

const api = { describe, it };

for (const Implementation of [RandomSelector, RoundRobinSelector]) {
  selectorConformance(api, Implementation.name, {
    make: (registry, options, clock) => new Implementation(registry, options, clock),
    capabilities: Implementation.capabilities,
  });
}
