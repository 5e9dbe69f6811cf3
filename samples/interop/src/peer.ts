import { type AppOptions, ClientOptions, type Context, type Interceptor, System } from 'tenon';

import type { Peer } from './cases.ts';
import { type TestApi, testSource, type UnimplementedApi, unimplementedSource } from './testing-api.ts';

/** A peer over a connection of its own; `close` ends it. */
export async function connect(
  address: string,
  soakIterations: number,
  options: AppOptions,
): Promise<Peer & { readonly close: () => Promise<void> }> {
  let last: Context | undefined;
  const noting: Interceptor = (next) => (input, ctx) => {
    last = ctx;
    return next(input, ctx);
  };
  const system = await System.start([], {
    ...options,
    bind: (container) => {
      container.rebind(ClientOptions).toConstantValue({ interceptors: [noting] });
      options.bind?.(container);
    },
  });
  return {
    test: system.client<TestApi>(testSource),
    unimplemented: system.client<UnimplementedApi>(unimplementedSource),
    to: { address },
    anew: () => connect(address, soakIterations, options),
    soakIterations,
    wasCompressed: () => last?.wasCompressed,
    close: () => system.stop(),
  };
}
