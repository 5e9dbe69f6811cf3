import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

/** An address of this machine with its network mask. */
export interface LinkAddress {
  /** IPv4 or IPv6; an IPv6 address of the link alone has the zone: `fe80::1%eth0`. */
  readonly address: string;
  readonly netmask: string;
  /** Name of the network interface. Packets are sent from one of its addresses of each IP. @default the address */
  readonly name?: string | undefined;
}

/** The address that stands for "every address" of the same IP. */
export function wildcardOf(address: string): string {
  return isIPv6(address) ? '::' : '0.0.0.0';
}

/** The group of multicast DNS for the IP of an address. */
export function groupOf(address: string): string {
  return isIPv6(address) ? 'ff02::fb' : '224.0.0.251';
}

/** The interface of an address, as sockets name it when they join or send to a group. */
export function interfaceOf({ address, name }: LinkAddress): string {
  return isIPv6(address) ? `::%${zoneOf(address) ?? name}` : address;
}

/** The zone of an address: `eth0` of `fe80::1%eth0`. */
export function zoneOf(address: string): string | undefined {
  return address.split('%')[1];
}

/** True for an IPv6 address that means something only with a zone. */
export function isLinkLocalV6(address: string): boolean {
  return /^fe[89ab]/i.test(address) && isIPv6(address);
}

/** True for an address of the loopback interface. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address.split('%')[0] === '::1';
}

/**
 * The addresses to send from: the one that is named, or the first of each interface and IP. Of IPv6 those of the link
 * alone are first, as RFC 6762 section 14 has it. The loopback interface needs one IP only, IPv4 if it has that.
 */
export function linksToUse(addresses: readonly LinkAddress[], named?: string): LinkAddress[] {
  if (named !== undefined) {
    const found = addresses.find(({ address }) => address === named || address.split('%')[0] === named);
    return found ? [found] : [];
  }
  const chosen = new Map<string, LinkAddress>();
  for (const link of addresses) {
    const key = `${isIPv6(link.address)} ${link.name ?? link.address}`;
    const before = chosen.get(key);
    if (!before || (!isLinkLocalV6(before.address) && isLinkLocalV6(link.address))) chosen.set(key, link);
  }
  const hasV4 = (link: LinkAddress): boolean => chosen.has(`false ${link.name ?? link.address}`);
  return [...chosen.values()].filter((link) => !(isIPv6(link.address) && isLoopback(link.address) && hasV4(link)));
}

/** True if an address belongs to one of the local links (RFC 6762 section 11). */
export function isOnLink(from: string, links: readonly LinkAddress[]): boolean {
  const isV4 = isIPv4(from);
  if (!isV4 && !isIPv6(from)) return false;
  const [source = '', zone] = from.split('%');
  return links.some((link) => {
    if (isIPv4(link.address) !== isV4) return false;
    const own = zoneOf(link.address) ?? link.name;
    if (zone !== undefined && own !== undefined && zone !== own) return false;
    return subnetOf(link).check(source, isV4 ? 'ipv4' : 'ipv6');
  });
}

const subnets = new WeakMap<LinkAddress, BlockList>();

function subnetOf(link: LinkAddress): BlockList {
  let subnet = subnets.get(link);
  if (!subnet) {
    subnets.set(link, (subnet = new BlockList()));
    const [address = ''] = link.address.split('%');
    subnet.addSubnet(address, prefixLength(link.netmask), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return subnet;
}

/** The number of bits of a network mask. */
function prefixLength(netmask: string): number {
  const isV6 = netmask.includes(':');
  const parts = netmask.split(isV6 ? ':' : '.').filter(Boolean);
  const bits = parts.map((part) => Number.parseInt(part, isV6 ? 16 : 10).toString(2));
  // Without a mask the address is alone.
  return bits.join('').replace(/0/g, '').length || (isV6 ? 128 : 32);
}

/** The addresses of the network interfaces of this machine. */
export function systemLinks(): LinkAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address, netmask, ...more }) => {
      const scope = 'scopeid' in more ? more.scopeid : 0;
      // Windows names zones by their number.
      const zone = process.platform === 'win32' ? String(scope) : name;
      return { name, address: isLinkLocalV6(address) ? `${address}%${zone}` : address, netmask };
    }),
  );
}
