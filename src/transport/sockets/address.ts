import { isIPv6 } from 'node:net';

import { hostPort } from '../../internal/host-port.ts';
import { notAnAddress } from '../call/failures.ts';

/** `host:port` in its parts; IPv6 without its brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const pattern = /^(?:\[([^\]]*)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/;

/** Parses an address. Throws INVALID_ARGUMENT (`transport.invalid_address`) with what is wrong. */
export function parseAddress(address: string): HostPort {
  const match = pattern.exec(address);
  if (!match) throw notAnAddress(address, whatIsWrong(address));
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65_535) throw notAnAddress(address, `${port} is more than 65535, the highest port`);
  if (bracketed !== undefined && !isIPv6(bracketed))
    throw notAnAddress(address, `"${bracketed}" is not an IPv6 address`);
  return { host: bracketed ?? plain ?? '', port };
}

/** Throws as `parseAddress` does, and also for an address that can be listened at but not called. */
export function assertCallable(address: string): void {
  const { host, port } = parseAddress(address);
  if (host === '') throw notAnAddress(address, 'the host is missing');
  if (port === 0) throw notAnAddress(address, 'port 0 is only for listening');
}

/** Formats an end of a socket as an address; empty where that is not known. */
export function formatPeer(host: string | undefined, port: number | undefined): string {
  if (host === undefined || port === undefined) return '';
  // The form in which a dual-stack socket shows IPv4 addresses.
  return hostPort(host.replace(/^::ffff:/, ''), port);
}

function whatIsWrong(address: string): string {
  if (address.includes('://')) return 'it is a URL';
  if (isIPv6(address)) return 'an IPv6 address needs brackets and a port';
  if (!address.includes(':')) return 'the port is missing';
  return 'it is not of the form host:port';
}
