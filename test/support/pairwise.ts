/** The values that each factor can have, by its name. */
export type Factors = Readonly<Record<string, readonly string[]>>;

/** One value of each factor. */
export type Combination = Readonly<Record<string, string>>;

/**
 * Combinations in which every pair of values of two factors occurs at least once. Each is made of a pair that is still
 * missing, and of the values of the other factors that add the most.
 */
export function pairwise(factors: Factors): Combination[] {
  const names = Object.keys(factors);
  const missing = new Set(
    names.flatMap((one, index) =>
      names
        .slice(index + 1)
        .flatMap((other) =>
          (factors[one] ?? []).flatMap((a) => (factors[other] ?? []).map((b) => pairOf(one, a, other, b))),
        ),
    ),
  );
  const order = (a: string, b: string): number => names.indexOf(a) - names.indexOf(b);
  const between = (one: string, a: string, other: string, b: string): string =>
    order(one, other) < 0 ? pairOf(one, a, other, b) : pairOf(other, b, one, a);
  const combinations: Combination[] = [];
  for (let [pair] = missing; pair !== undefined; [pair] = missing) {
    const chosen = new Map(JSON.parse(pair) as [string, string][]);
    for (const name of names.filter((one) => !chosen.has(one))) {
      const added = (value: string): number =>
        [...chosen].filter(([other, its]) => missing.has(between(name, value, other, its))).length;
      const [best] = [...(factors[name] ?? [])].sort((a, b) => added(b) - added(a));
      if (best !== undefined) chosen.set(name, best);
    }
    for (const [one, a] of chosen)
      for (const [other, b] of chosen) if (one !== other) missing.delete(between(one, a, other, b));
    combinations.push(Object.fromEntries(names.map((name) => [name, chosen.get(name) ?? ''])));
  }
  return combinations;
}

function pairOf(one: string, a: string, other: string, b: string): string {
  return JSON.stringify([
    [one, a],
    [other, b],
  ]);
}
