import type { Case, TestApi } from './api.ts';
import { endingCases } from './internal/transport-ending-cases.ts';
import { listeningCases } from './internal/transport-listening-cases.ts';
import type { TransportHarness } from './internal/transport-fixture.ts';
import { streamCases } from './internal/transport-stream-cases.ts';
import { unaryCases } from './internal/transport-unary-cases.ts';

/** The promises of `Transport`. */
export const transportCases: readonly Case<TransportHarness>[] = [
  ...unaryCases,
  ...streamCases,
  ...endingCases,
  ...listeningCases,
];

/** The cases that apply to a transport with these features, with and without `unary`. */
export function transportCasesFor(options: TransportHarness, hasUnary: boolean): readonly Case<TransportHarness>[] {
  const { suggest = false, resets = true } = options.supports ?? {};
  const supported = new Set([
    ...(hasUnary ? ['unary'] : []),
    ...(suggest ? ['suggest'] : []),
    ...(resets ? ['resets'] : []),
  ]);
  return transportCases.filter(({ requires }) => requires === undefined || supported.has(requires));
}

/**
 * Registers the cases of a transport with a test runner. The transport calls itself over its own listener.
 *
 * @param options the harness of the transport; `unary` is false if the transport has no method `unary`
 */
export function transportConformance(
  api: TestApi,
  name: string,
  options: TransportHarness & { readonly unary?: boolean },
): void {
  api.describe(`Transport: ${name}`, () => {
    for (const one of transportCasesFor(options, options.unary ?? true)) {
      api.it(one.name, () => one.run(options), 90_000);
    }
  });
}
