import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { aCount, checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError, textOf } from '../errors/errors.ts';
import { withDefaults } from '../internal/defaults.ts';
import { hostPort } from '../internal/host-port.ts';
import { token } from '../internal/token.ts';
import { silentLogger } from '../logger/logger.ts';
import { NatsClient } from '../nats/client.ts';
import { isValidSubject, NatsError } from '../nats/nats.ts';
import { systemRuntime } from '../runtime/system.ts';
import { ConnectionSecurity, type ConnectionSecurityOptions, untakenSecurity } from '../tls/connection.ts';
import { frameDefaults, FrameTransport } from './frames/frame-transport.ts';
import { natsAddresses } from './nats/addresses.ts';
import { NatsExchange } from './nats/exchange.ts';
import { ServerRotation } from './nats/server-rotation.ts';
import { SubjectServer } from './nats/subject-server.ts';
import { socketRules } from './sockets/socket-defaults.ts';
import type { TcpTransportOptions } from './tcp.ts';
import type { Transport, TransportCapabilities, TransportEncryption } from './transport.ts';

/** Options of a {@link NatsTransport}: those of `tcp`, with TLS and credentials of the connection to NATS. */
export interface NatsTransportOptions
  extends Omit<TcpTransportOptions, 'tls' | 'serverTls' | 'backlog'>, ConnectionSecurityOptions {
  /**
   * Address of NATS, `host:port`; several of one cluster with commas between them.
   * @default '127.0.0.1:4222'
   */
  readonly address?: string | undefined;
  /**
   * Time for NATS to be connected to, in milliseconds. A server that is asked and says nothing for so long is left for
   * the next.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * The beginning of the subjects that servers with port 0 listen to.
   * @default 'tenon.calls'
   */
  readonly prefix?: string | undefined;
  /**
   * The beginning of the subjects of connections, to which both sides need rights.
   * @default '_INBOX'
   */
  readonly inboxPrefix?: string | undefined;
  /** @default 10 seconds: NATS does not say that a process stands still */
  readonly keepaliveMs?: number | undefined;
}
/** Container key of the {@link NatsTransportOptions}. */
export const NatsTransportOptions: ServiceIdentifier<NatsTransportOptions> = token('transport', 'NatsTransportOptions');

const defaults = {
  ...frameDefaults,
  address: '127.0.0.1:4222',
  timeoutMs: 5_000,
  prefix: 'tenon.calls',
  inboxPrefix: '_INBOX',
  keepaliveMs: 10_000,
  keepaliveTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  runtime: systemRuntime,
  logger: silentLogger,
} satisfies NatsTransportOptions;

const rules = { maxCalls: socketRules.maxCalls, windowBytes: aCount };

/**
 * Carries calls through a server of NATS, in the frames of `tcp`: processes need a way to NATS, and none to each other.
 * An address is a subject, `nats:tenon.greeter`; one with port 0 gives a new one. docs/wire.md has the messages.
 */
@injectable()
export class NatsTransport extends FrameTransport implements Transport {
  static readonly capabilities: TransportCapabilities = {
    network: true,
    grpc: false,
    tls: true,
    credentials: ['password', 'token'],
  };

  readonly #security: ConnectionSecurity;
  readonly #end: () => void;

  constructor(@inject(NatsTransportOptions) @optional() options: NatsTransportOptions = {}) {
    const { tls, credentials, ...settings } = withDefaults(
      defaults,
      checkedOptions('NatsTransportOptions', options, rules),
    );
    const { runtime, logger, timeoutMs } = settings;
    assertPrefix('prefix', settings.prefix);
    assertPrefix('inboxPrefix', settings.inboxPrefix);
    // It takes all there is: what is left to find are fields that do not exist.
    untakenSecurity({ tls, credentials }, NatsTransport.capabilities);
    const security = new ConnectionSecurity(
      { tls, credentials },
      { name: 'the transport nats', variables: 'TENON_TRANSPORT_' },
      { runtime, logger },
    );
    const addresses = new ServerRotation(settings.address, runtime.random);
    let exchange: NatsExchange | undefined;
    const exchangeOf = (): NatsExchange =>
      (exchange ??= new NatsExchange({
        runtime,
        logger,
        timeoutMs,
        inboxPrefix: settings.inboxPrefix,
        explain: (error) => explained(error, security, addresses),
        onClosed: () => security.close(),
        connect: (listener) =>
          new NatsClient({
            runtime,
            addresses,
            security,
            listener,
            name: 'tenon transport',
            connectTimeoutMs: security.handshakeTimeoutMs ?? timeoutMs / (addresses.size + 1),
            maxSilenceMs: timeoutMs,
            tellsNobodyThere: true,
          }),
      }));
    super(
      { ...settings, backlog: defaults.backlog, tls: undefined, serverTls: undefined },
      natsAddresses(exchangeOf, settings.prefix, runtime.random),
      (onConnection) => new SubjectServer(exchangeOf(), onConnection),
    );
    this.#security = security;
    this.#end = () => exchange?.leave();
  }

  override get encryption(): TransportEncryption {
    return { client: this.#security.hasTls, server: false };
  }

  /** True if the connection to NATS is encrypted. NATS itself sees what is sent. */
  override isSecure(): boolean {
    return this.#security.hasTls;
  }

  override async close(): Promise<void> {
    await super.close();
    this.#end();
  }

  override toString(): string {
    return 'nats';
  }
}

/** Throws INVALID_ARGUMENT (`transport.invalid_address`) for what is no beginning of a subject. */
function assertPrefix(option: string, prefix: string): void {
  if (isValidSubject(prefix)) return;
  const message = `NatsTransportOptions.${option} is ${JSON.stringify(prefix)}, and no beginning of a subject: write words with dots between them`;
  throw new TenonError({ code: Code.InvalidArgument, reason: 'transport.invalid_address', message });
}

/** The error of a connection to NATS. It names the variables that say what it needs. */
function explained(error: unknown, security: ConnectionSecurity, { inOrder }: ServerRotation): Error {
  const servers = inOrder.map(({ host, port }) => hostPort(host, port)).join(',');
  const why = security.explain(error, inOrder[0]?.host ?? '', false) ?? textOf(error);
  const isDenied = error instanceof NatsError && error.kind === 'denied';
  const message = isDenied
    ? `NATS at ${servers} refuses it: ${why}. Credentials with rights to the subjects are TENON_TRANSPORT_USERNAME and TENON_TRANSPORT_PASSWORD, or TENON_TRANSPORT_TOKEN`
    : `NATS at ${servers} (TENON_TRANSPORT_ADDRESS) cannot be reached: ${why}`;
  return new Error(message, { cause: error });
}
