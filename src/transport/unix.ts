import { tmpdir } from 'node:os';

import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { socketRules } from './sockets/socket-defaults.ts';
import { aCount, checkedOptions } from '../errors/checked-options.ts';
import { withDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { silentLogger } from '../logger/logger.ts';
import { systemRuntime } from '../runtime/system.ts';
import { frameDefaults, FrameTransport } from './frames/frame-transport.ts';
import { unixAddresses } from './sockets/unix-addresses.ts';
import type { TcpTransportOptions } from './tcp.ts';
import type { Transport, TransportCapabilities } from './transport.ts';

/**
 * Options of a {@link UnixTransport}: those of TCP without TLS, since the permissions of the file decide who may
 * connect.
 */
export interface UnixTransportOptions extends Omit<TcpTransportOptions, 'tls' | 'serverTls'> {
  /**
   * Folder of the socket files for addresses with port 0. It is made if it does not exist.
   * @default the system's folder for temporary files
   */
  readonly folder?: string | undefined;
}
/** Container key of the {@link UnixTransportOptions}. */
export const UnixTransportOptions: ServiceIdentifier<UnixTransportOptions> = token('transport', 'UnixTransportOptions');

const defaults = { ...frameDefaults, runtime: systemRuntime, logger: silentLogger } satisfies UnixTransportOptions;

/**
 * Carries calls in the frames of `tcp` over Unix sockets, between processes of one machine. An address is the path of a
 * socket file, `unix:/run/greeter.sock` or `/run/greeter.sock`; one with port 0, such as the default of servers, gives
 * a new file in a temporary folder.
 */
@injectable()
export class UnixTransport extends FrameTransport implements Transport {
  static readonly capabilities: TransportCapabilities = { network: true, grpc: false, security: 'local' };

  constructor(@inject(UnixTransportOptions) @optional() options: UnixTransportOptions = {}) {
    const whole = withDefaults(
      defaults,
      checkedOptions('UnixTransportOptions', options, { ...socketRules, windowBytes: aCount }),
    );
    super(whole, unixAddresses(whole.folder ?? tmpdir(), whole.runtime));
  }

  override isSecure(): boolean {
    return true;
  }

  override toString(): string {
    return 'unix';
  }
}
