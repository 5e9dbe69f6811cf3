import { networkInterfaces } from 'node:os';

import { describe, expect, it } from '@jest/globals';

import {
  groupOf,
  interfaceOf,
  isLinkLocalV6,
  isLoopback,
  isOnLink,
  linksToUse,
  systemLinks,
  wildcardOf,
} from '../../src/mdns/links.ts';

const v4 = { name: 'eth0', address: '192.168.7.20', netmask: '255.255.255.0' };
const v6 = { name: 'eth0', address: 'fd00::20', netmask: 'ffff:ffff:ffff:ffff::' };
const linkLocal = { name: 'eth0', address: 'fe80::20%eth0', netmask: 'ffff:ffff:ffff:ffff::' };
const lo4 = { name: 'lo', address: '127.0.0.1', netmask: '255.0.0.0' };
const lo6 = { name: 'lo', address: '::1', netmask: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' };

describe('isOnLink', () => {
  const links = [lo4, lo6, v4, v6, linkLocal];

  it.each(['127.0.0.1', '127.255.0.9', '192.168.7.1', '192.168.7.255', '::1', 'fd00::1', 'fe80::2%eth0', 'fe80::2'])(
    'is true for %s',
    (address) => {
      expect(isOnLink(address, links)).toBe(true);
    },
  );

  it.each([
    '192.168.8.20',
    '10.0.0.1',
    '8.8.8.8',
    '128.0.0.1',
    '::2',
    'fd01::1',
    'fe80::2%eth1',
    '2001:db8::1',
    '::ffff:192.168.7.1',
    '',
    'host',
    '%eth0',
  ])('is false for %s', (address) => {
    expect(isOnLink(address, links)).toBe(false);
  });

  it('knows nothing of networks where there is no mask', () => {
    expect(isOnLink('10.0.0.2', [{ address: '10.0.0.1', netmask: '' }])).toBe(false);
    expect(isOnLink('10.0.0.1', [{ address: '10.0.0.1', netmask: '' }])).toBe(true);
  });
});

describe('the links to use', () => {
  it('are one of each interface and IP, of IPv6 that of the link alone, and one of loopback', () => {
    expect(linksToUse([lo4, lo6, v4, { ...v4, address: '192.168.7.21' }, v6, linkLocal])).toEqual([lo4, v4, linkLocal]);
    expect(linksToUse([lo6, v6])).toEqual([lo6, v6]);
    expect(linksToUse([])).toEqual([]);
  });

  it('are the one that is named, with its zone or without', () => {
    const all = [lo4, lo6, v4, v6, linkLocal];
    expect(linksToUse(all, '::1')).toEqual([lo6]);
    expect(linksToUse(all, '192.168.7.20')).toEqual([v4]);
    expect(linksToUse(all, 'fe80::20')).toEqual([linkLocal]);
    expect(linksToUse(all, 'fe80::20%eth0')).toEqual([linkLocal]);
    expect(linksToUse(all, '10.0.0.1')).toEqual([]);
  });

  it('are those of this machine', () => {
    const own = Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address));
    expect(systemLinks().map(({ address }) => address.split('%')[0])).toEqual(own);
    for (const link of systemLinks())
      expect([link.address, isOnLink(link.address, [link])]).toEqual([link.address, true]);
  });
});

describe('an address of a link', () => {
  it('has the group, the wildcard and the interface of its IP', () => {
    expect(
      [v4, linkLocal, lo6].map((link) => [groupOf(link.address), wildcardOf(link.address), interfaceOf(link)]),
    ).toEqual([
      ['224.0.0.251', '0.0.0.0', '192.168.7.20'],
      ['ff02::fb', '::', '::%eth0'],
      ['ff02::fb', '::', '::%lo'],
    ]);
  });

  it('is of loopback, or of the link alone', () => {
    expect(['127.0.0.9', '::1', '10.0.0.1', 'fe80::1', ''].map(isLoopback)).toEqual([true, true, false, false, false]);
    expect(['fe80::1', 'febf::1%eth0', 'fec0::1', 'fd00::1', 'fe80', '127.0.0.1'].map(isLinkLocalV6)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
