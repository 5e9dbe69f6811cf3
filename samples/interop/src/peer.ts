import { type AppOptions, System } from 'tenon';

import type { Peer } from './cases.ts';
import { type TestApi, testSource, type UnimplementedApi, unimplementedSource } from './testing-api.ts';

/** A peer over a connection of its own; `close` ends it. */
export async function connect(
  address: string,
  soakIterations: number,
  options: AppOptions,
): Promise<Peer & { readonly close: () => Promise<void> }> {
  const system = await System.start([], options);
  return {
    test: system.client<TestApi>(testSource),
    unimplemented: system.client<UnimplementedApi>(unimplementedSource),
    to: { address },
    anew: () => connect(address, soakIterations, options),
    soakIterations,
    close: () => system.stop(),
  };
}
