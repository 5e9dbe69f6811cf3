import type { AddressInfo, ListenOptions as NetListenOptions, NetConnectOpts, Server, Socket } from 'node:net';

import { textOf } from '../../errors/errors.ts';
import { hostPort } from '../../internal/host-port.ts';
import { assertCallable, parseAddress, formatPeer } from './address.ts';
import { addressInUse, cannotListen } from '../call/failures.ts';
import type { ConnectionServer } from './connection-server.ts';

/** An address that a listener is about to use. */
export interface ListenTarget {
  readonly options: NetListenOptions;
  /** Returns the address at which `server` really listens. */
  bound(server: ConnectionServer): string;
  /** Makes the address visible to callers, once it is listened at. Fails as listening does. */
  publish?(): Promise<void>;
  /** Releases the address. */
  release?(): void;
  /** Turns the error of a failed attempt to listen into a TenonError. */
  failure(error: unknown): unknown;
}

/** Parses the addresses of a transport over sockets, and gives them for its connections. */
export interface AddressScheme {
  /**
   * Prepares to listen at an address. Throws INVALID_ARGUMENT (`transport.invalid_address`), or as `Transport.listen`
   * does.
   */
  listening(address: string): ListenTarget | Promise<ListenTarget>;
  /** Throws INVALID_ARGUMENT (`transport.invalid_address`) for an address that cannot be called. */
  assertCallable(address: string): void;
  connecting(address: string): NetConnectOpts;
  /** Opens a connection that is none of `node:net`. @default one of `node:net`, as `connecting` says */
  connect?(address: string): Socket;
  /** Returns the host that a certificate of the other end should name. */
  hostOf(address: string): string;
  localOf(socket: Socket): string;
  remoteOf(socket: Socket): string;
}

/** The addresses of TCP, `host:port`. */
export const tcpAddresses: AddressScheme = {
  listening(address) {
    const { host, port } = parseAddress(address);
    return {
      // Without a host Node listens on every address of both families.
      options: { port, host: host === '' ? undefined : host },
      bound(server) {
        const { address: bound, port: boundPort } = (server as Server).address() as AddressInfo;
        return hostPort(host === '' ? bound : host, boundPort);
      },
      failure(error) {
        const { code } = error as { readonly code?: unknown };
        if (code === 'EADDRINUSE') return addressInUse(address, error);
        if (code === 'EADDRNOTAVAIL') return cannotListen(address, 'this machine does not have that address', error);
        if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
          return cannotListen(address, 'the name does not resolve', error);
        if (code === 'EACCES') return cannotListen(address, 'this process may not use that port', error);
        return cannotListen(address, textOf(error), error);
      },
    };
  },
  assertCallable,
  connecting: (address) => ({ ...parseAddress(address), noDelay: true }),
  hostOf: (address) => parseAddress(address).host,
  localOf: ({ localAddress, localPort }) => formatPeer(localAddress, localPort),
  remoteOf: ({ remoteAddress, remotePort }) => formatPeer(remoteAddress, remotePort),
};
