import type { Case, TestApi } from './api.ts';
import { endingCases } from './internal/transport-endings.ts';
import { listeningCases } from './internal/transport-listening.ts';
import type { TransportOptions } from './internal/transport-rig.ts';
import { streamCases } from './internal/transport-streams.ts';
import { unaryCases } from './internal/transport-unary.ts';

/** The promises of `Transport`. */
export const transportCases: readonly Case<TransportOptions>[] = [
  ...unaryCases,
  ...streamCases,
  ...endingCases,
  ...listeningCases,
];

/** The cases that concern a transport: one without `unary` is not asked about it. */
export function transportCasesFor(options: TransportOptions, hasUnary: boolean): readonly Case<TransportOptions>[] {
  const { suggest = false, resets = true } = options.supports ?? {};
  const supported = new Set([
    ...(hasUnary ? ['unary'] : []),
    ...(suggest ? ['suggest'] : []),
    ...(resets ? ['resets'] : []),
  ]);
  return transportCases.filter(({ requires }) => requires === undefined || supported.has(requires));
}

/**
 * Tries every promise of `Transport` on what `options.make` makes. The transport calls itself over its own listener.
 *
 * @param hasUnary whether it offers `unary`
 */
export function transportConformance(
  api: TestApi,
  name: string,
  options: TransportOptions & { readonly unary?: boolean },
): void {
  api.describe(`Transport: ${name}`, () => {
    for (const one of transportCasesFor(options, options.unary ?? true)) {
      api.it(one.name, () => one.run(options), 90_000);
    }
  });
}
