/** The middle value. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The 90 % interval of the median, by bootstrap with a fixed seed: the same slices give the same interval. */
export function interval90(values) {
  let state = 42;
  const random = () => (state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32) / 2 ** 32;
  const medians = Array.from({ length: 2_000 }, () =>
    median(values.map(() => values[Math.floor(random() * values.length)])),
  ).sort((a, b) => a - b);
  return [medians[100], medians[1_899]];
}

/** `1.23 [1.20, 1.27]` */
export function ratioText(values) {
  const [low, high] = interval90(values);
  return `${median(values).toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

/** A bar holds unless the interval lies wholly below it. */
export function holds(values, bar) {
  return interval90(values)[1] >= bar;
}
