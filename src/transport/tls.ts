import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';

/**
 * TLS of whatever transport is bound, said once. A transport's own `tls` and `serverTls` are stronger.
 *
 * @example
 * ```ts
 * const tls: TransportTlsOptions = {
 *   server: { certFile: '/etc/tls/tls.crt', keyFile: '/etc/tls/tls.key' },
 *   client: { caFile: '/etc/tls/ca.crt' },
 * };
 * await run([], { bind: (container) => container.bind(TransportTlsOptions).toConstantValue(tls) });
 * ```
 */
export interface TransportTlsOptions {
  /** Of clients. @default none: calls are sent in the clear */
  readonly client?: ClientTlsOptions | undefined;
  /**
   * Of servers; `false` for servers that speak in the clear beside clients that do not.
   * @default none: with a `client`, an application that serves does not start
   */
  readonly server?: ServerTlsOptions | false | undefined;
}
/** Container key of the {@link TransportTlsOptions}. */
export const TransportTlsOptions: ServiceIdentifier<TransportTlsOptions> = token('transport', 'TransportTlsOptions');
