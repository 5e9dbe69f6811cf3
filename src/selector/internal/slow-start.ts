/** The options of a slow start; `SelectorOptions` describes them. */
export interface SlowStartOptions {
  readonly slowStartMs: number;
  readonly slowStartAggression: number;
}

// Envoy's min_weight_percent.
const least = 0.1;

/** Returns the factor of the weight of a node that has been there for `ageMs`: Envoy's formula, from 0.1 to 1. */
export function slowStartFactor(ageMs: number, { slowStartMs, slowStartAggression }: SlowStartOptions): number {
  if (ageMs >= slowStartMs) return 1;
  // Envoy counts in seconds, of which the first counts as a whole one.
  const age = Math.max(ageMs, Math.min(1_000, slowStartMs));
  return Math.max(least, (age / slowStartMs) ** (1 / slowStartAggression));
}
