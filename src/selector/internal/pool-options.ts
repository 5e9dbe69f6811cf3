import { aCount, checkedOptions, type NumberRule } from '../../errors/checked-options.ts';
import { type WithDefaults, withDefaults } from '../../internal/defaults.ts';
import type { SelectorOptions } from '../selector.ts';
import { ejectionDefaults } from './outlier-detection.ts';

const defaults = {
  ...ejectionDefaults,
  slowStartMs: 0,
  slowStartAggression: 1,
  zoneMinNodes: 6,
};

/** The options of a node pool, with their defaults. */
export type PoolOptions = WithDefaults<SelectorOptions, typeof defaults>;

const aPercentage: NumberRule = { min: 0, max: 100 };
const aDuration: NumberRule = { min: 1, max: Number.MAX_SAFE_INTEGER };
const aFactor: NumberRule = { min: Number.MIN_VALUE, max: Number.MAX_VALUE };

const rules = {
  ejectAfter: aCount,
  maxEjectedPercent: aPercentage,
  panicPercent: aPercentage,
  sweepMs: aDuration,
  failurePercent: aPercentage,
  failureVolume: aCount,
  successRateStdev: { min: 0, max: Number.MAX_VALUE },
  successRateNodes: aCount,
  successRateVolume: aCount,
  latencyFactor: { min: 1, max: Number.MAX_VALUE },
  slowStartAggression: aFactor,
  zoneMinNodes: aCount,
  subsetSize: aCount,
  subsetIndex: { min: 0, max: Number.MAX_SAFE_INTEGER, isWhole: true },
  canaryPercent: aPercentage,
} satisfies { readonly [Name in keyof SelectorOptions]?: NumberRule };

/** Checks options, and returns them over the ones in force. */
export function checkedPoolOptions(options: SelectorOptions, base: PoolOptions = defaults): PoolOptions {
  return withDefaults(base, checkedOptions('SelectorOptions', options, rules));
}
