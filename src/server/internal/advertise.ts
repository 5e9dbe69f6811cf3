import { BlockList, isIP, isIPv6 } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

import { Code, TenonError } from '../../errors/errors.ts';
import { hostPort } from '../../internal/host-port.ts';
import { maskAddress } from '../../internal/mask.ts';

/** The network interfaces of a machine, by name, as `os.networkInterfaces()` gives them. */
export type NetworkInterfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

interface HostPort {
  /** IPv6 without its brackets. */
  readonly host: string;
  readonly port: number;
}

const wildcards = ['', '0.0.0.0', '::', '*'];
// Bridges to the containers and virtual machines of this host: other machines have no way to their addresses.
const bridges = /^(?:docker|br-|veth|virbr|cni|flannel|cali|vmnet|vboxnet)/;

const privateAddresses = blockList(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']);
const linkLocalAddresses = blockList(['169.254.0.0/16', 'fe80::/10']);

/**
 * Returns the address that callers use, for a server that listens at `listening`. `advertise` is an address, a host or
 * a port (`:50051`), completed by what is listened at, or a network (`10.1.0.0/16`), of which this machine has an
 * address. A wildcard host cannot be called, so it is replaced by the first private address of this machine, else the
 * first public one, else loopback: Go Micro's order. Addresses that are no `host:port` stay as they are.
 *
 * Throws INVALID_ARGUMENT (`server.invalid_advertise`) for what callers could not use.
 */
export function advertisedAddress(
  listening: string,
  advertise?: string,
  interfaces: () => NetworkInterfaces = networkInterfaces,
): string {
  const [, bracketed, plain = bracketed, digits] = /^(?:\[([^\]]*)\]|([^:[\]/]*)):(\d{1,5})$/.exec(listening) ?? [];
  if (plain === undefined) return advertise ?? listening;
  const bound = { host: plain, port: Number(digits) };
  if (advertise === undefined) return hostPort(callable(bound.host, interfaces), bound.port);
  if (/^[\d.a-f:]+\/\d+$/i.test(advertise))
    return hostPort(addressWithin(advertise, bound.host, interfaces()), bound.port);
  const { host = bound.host, port = 0 } = parse(advertise);
  return hostPort(callable(host, interfaces), port === 0 ? bound.port : port);
}

function parse(advertise: string): Partial<HostPort> {
  if (isIPv6(advertise)) return { host: withoutZone(advertise, advertise) };
  const match = /^(?:\[([^\]]*)\]|([A-Za-z0-9._-]*|\*))(?::(\d{1,5}))?$/.exec(advertise);
  if (!match || advertise === '') throw invalid(advertise, whatIsWrong(advertise));
  const [, bracketed, plain = '', digits] = match;
  if (bracketed !== undefined && !isIPv6(bracketed)) throw invalid(advertise, `"${bracketed}" is not an IPv6 address`);
  const port = Number(digits ?? 0);
  if (port > 65_535) throw invalid(advertise, `${port} is more than 65535, the highest port`);
  if (bracketed !== undefined) return { host: withoutZone(bracketed, advertise), port };
  return plain === '' ? { port } : { host: plain, port };
}

function whatIsWrong(advertise: string): string {
  if (advertise === '') return 'it is empty';
  if (advertise.includes('://')) return 'it is a URL: leave out the scheme and the path';
  if (/^[\da-f]*:[\da-f:.]*:\d+$/i.test(advertise)) return 'an IPv6 address needs brackets before a port';
  return 'it is not an address';
}

/** An address with a zone (`fe80::1%eth0`) means nothing on another machine. */
function withoutZone(host: string, advertise: string): string {
  if (host.includes('%')) throw invalid(advertise, 'an address with a zone means nothing on another machine');
  return host;
}

/** Replaces a wildcard by an address of this machine. */
function callable(host: string, interfaces: () => NetworkInterfaces): string {
  return wildcards.includes(host) ? (ranked(interfaces(), host)[0] ?? '127.0.0.1') : host;
}

/** The addresses of this machine that a listener at the wildcard `host` has, the best one first. */
function ranked(interfaces: NetworkInterfaces, host: string): readonly string[] {
  const found = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    addresses
      .filter(({ internal, family, address }) => !internal && !(isV6(family) && isIn(linkLocalAddresses, address)))
      .filter(({ family }) => host !== '0.0.0.0' || !isV6(family))
      .map(({ address, family }) => ({ address, rank: rankOf(name, address, isV6(family)) })),
  );
  return found.sort((one, other) => one.rank - other.rank).map(({ address }) => address);
}

/** Orders by interface, then private before public, then IPv4 before IPv6. Equal ranks keep the order of the system. */
function rankOf(name: string, address: string, v6: boolean): number {
  const isOfBridge = bridges.test(name) ? 8 : 0;
  const isLinkLocal = isIn(linkLocalAddresses, address) ? 4 : 0;
  const isPublic = isIn(privateAddresses, address) ? 0 : 2;
  return isOfBridge + isLinkLocal + isPublic + (v6 ? 1 : 0);
}

function addressWithin(network: string, host: string, interfaces: NetworkInterfaces): string {
  let list: BlockList;
  try {
    list = blockList([network]);
  } catch {
    throw invalid(network, 'it is not a network, such as 10.1.0.0/16');
  }
  const own = ranked(interfaces, wildcards.includes(host) ? host : '');
  const found = own.find((address) => isIn(list, address));
  if (found !== undefined) return found;
  throw invalid(network, `this machine has no address in it, only ${own.join(', ') || 'loopback'}`);
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

function isIn(list: BlockList, address: string): boolean {
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

function isV6(family: string): boolean {
  return family === 'IPv6';
}

function invalid(advertise: string, what: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'server.invalid_advertise',
    message: `callers cannot be told to call "${maskAddress(advertise)}": ${what}. TENON_SERVER_ADVERTISE (advertise) is host:port, a host, or a network of this machine: 10.0.0.7:50051, 10.0.0.7, 10.0.0.0/8`,
  });
}
