/** Options of which those with a default always have a value. */
export type WithDefaults<Options, Defaults> = Options & {
  readonly [K in keyof Defaults & keyof Options]: NonNullable<Options[K]>;
};

/** Merges `options` over `base`. An option that is undefined counts as absent. */
export function withDefaults<Options extends object, Base extends object>(
  base: Base,
  options: Options,
): WithDefaults<Options, Base> {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...base, ...given } as object as WithDefaults<Options, Base>;
}
