import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';
import type { ClientTlsOptions, ServerTlsOptions } from '../tls/tls.ts';

/**
 * TLS of the transport that is bound, whichever it is. A transport's own `tls` and `serverTls` take precedence.
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
  /** TLS of clients. @default none: calls are sent in the clear */
  readonly client?: ClientTlsOptions | undefined;
  /**
   * TLS of servers; `false` for servers that speak in the clear beside clients with TLS.
   * @default none: with a `client`, an application that serves does not start
   */
  readonly server?: ServerTlsOptions | false | undefined;
}
/** Container key of the {@link TransportTlsOptions}. */
export const TransportTlsOptions: ServiceIdentifier<TransportTlsOptions> = token('transport', 'TransportTlsOptions');
