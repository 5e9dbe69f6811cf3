import { connect } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { Registry, Service, System } from '../../src/index.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import { advertisedAddress, type NetworkInterfaces } from '../../src/server/internal/advertise.ts';
import { memoryParts } from '../../src/testing/internal/parts.ts';

/** Interfaces from their addresses, in the order of the system. */
function machine(interfaces: Readonly<Record<string, readonly string[]>>): () => NetworkInterfaces {
  const info = (address: string): NetworkInterfaceInfo => ({
    ...(address.includes(':') ? { family: 'IPv6' as const, scopeid: 0 } : { family: 'IPv4' as const }),
    address,
    netmask: '',
    mac: '',
    internal: address === '127.0.0.1' || address === '::1',
    cidr: null,
  });
  return () => Object.fromEntries(Object.entries(interfaces).map(([name, all]) => [name, all.map(info)]));
}

const loopback = { lo: ['127.0.0.1', '::1'] };
const server = machine({ ...loopback, eth0: ['203.0.113.9'], eth1: ['10.0.0.7', 'fe80::7'], eth2: ['192.168.4.4'] });

describe('the address that callers are told', () => {
  it('is the one that is listened at, wherever that can be called', () => {
    const addresses = ['127.0.0.1:7000', '10.0.0.7:1', 'greeter.local:7000', '[fd00::1]:7000', '[::1]:7000'];
    // A server at the address of a link alone is for callers of its own machine.
    for (const address of [...addresses, '[fe80::1%eth0]:7000'])
      expect(advertisedAddress(address, undefined, server)).toBe(address);
  });

  it('has, for a wildcard, the first private address, else the first public one, else loopback', () => {
    expect(advertisedAddress('0.0.0.0:7000', undefined, server)).toBe('10.0.0.7:7000');
    expect(advertisedAddress('[::]:7000', undefined, server)).toBe('10.0.0.7:7000');
    expect(advertisedAddress(':7000', undefined, server)).toBe('10.0.0.7:7000');
    const rented = machine({ ...loopback, eth0: ['203.0.113.9', '203.0.113.10'] });
    expect(advertisedAddress('0.0.0.0:7000', undefined, rented)).toBe('203.0.113.9:7000');
    expect(advertisedAddress('0.0.0.0:7000', undefined, machine(loopback))).toBe('127.0.0.1:7000');
    expect(advertisedAddress('0.0.0.0:7000', undefined, machine({}))).toBe('127.0.0.1:7000');
  });

  it('is IPv6, in brackets, only where callers may use IPv6 and this machine has no IPv4 of that kind', () => {
    const cluster = machine({ ...loopback, eth0: ['fe80::1', '2001:db8::9', 'fd00::9'] });
    expect(advertisedAddress('[::]:7000', undefined, cluster)).toBe('[fd00::9]:7000');
    // A listener at 0.0.0.0 does not hear IPv6.
    expect(advertisedAddress('0.0.0.0:7000', undefined, cluster)).toBe('127.0.0.1:7000');
    const dual = machine({ ...loopback, eth0: ['fd00::9', '10.0.0.7'] });
    expect(advertisedAddress('[::]:7000', undefined, dual)).toBe('10.0.0.7:7000');
  });

  it('is no address of a bridge to containers, and none of the link alone, while there is another', () => {
    const host = machine({ docker0: ['172.17.0.1'], 'br-1a2b': ['172.18.0.1'], eth0: ['169.254.3.3', '203.0.113.9'] });
    expect(advertisedAddress('0.0.0.0:7000', undefined, host)).toBe('203.0.113.9:7000');
    expect(advertisedAddress('0.0.0.0:7000', undefined, machine({ en0: ['169.254.3.3'] }))).toBe('169.254.3.3:7000');
    expect(advertisedAddress('0.0.0.0:7000', undefined, machine({ docker0: ['172.17.0.1'] }))).toBe('172.17.0.1:7000');
  });

  it('follows the interfaces, which may change while the server runs', () => {
    const addresses = ['10.0.0.7'];
    const moving = (): NetworkInterfaces => machine({ eth0: addresses })();
    expect(advertisedAddress('0.0.0.0:7000', undefined, moving)).toBe('10.0.0.7:7000');
    addresses[0] = '10.0.0.8';
    expect(advertisedAddress('0.0.0.0:7000', undefined, moving)).toBe('10.0.0.8:7000');
  });
});

describe('the option advertise', () => {
  it.each([
    ['10.0.0.9:443', '10.0.0.9:443'],
    ['greeter.example.org:443', 'greeter.example.org:443'],
    ['[fd00::7]:443', '[fd00::7]:443'],
    // As a container is told its address by a variable: the port is the one that is listened at.
    ['10.0.0.9', '10.0.0.9:7000'],
    ['10.0.0.9:0', '10.0.0.9:7000'],
    ['fd00::7', '[fd00::7]:7000'],
    ['[fd00::7]', '[fd00::7]:7000'],
    ['greeter-0', 'greeter-0:7000'],
    // The port that a proxy or a container's host passes on.
    [':30080', '10.0.0.7:30080'],
    ['0.0.0.0', '10.0.0.7:7000'],
    ['[::]:443', '10.0.0.7:443'],
    ['[::]:0', '10.0.0.7:7000'],
    ['*', '10.0.0.7:7000'],
    ['192.168.0.0/16', '192.168.4.4:7000'],
    ['203.0.113.0/24', '203.0.113.9:7000'],
  ])('%j says %j', (advertise, told) => {
    expect(advertisedAddress('0.0.0.0:7000', advertise, server)).toBe(told);
  });

  it('chooses among IPv6 addresses by their network', () => {
    const cluster = machine({ eth0: ['fd00:1::9'], eth1: ['fd00:2::9'] });
    expect(advertisedAddress('[::]:7000', 'fd00:2::/32', cluster)).toBe('[fd00:2::9]:7000');
    expect(() => advertisedAddress('0.0.0.0:7000', 'fd00:2::/32', cluster)).toThrow('no address in it');
  });

  it.each([
    ['', 'it is empty'],
    ['http://10.0.0.7:80', 'it is a URL'],
    ['10.0.0.7:70000', '70000 is more than 65535'],
    ['fd00::7:500511', 'needs brackets'],
    ['[10.0.0.7]:80', '"10.0.0.7" is not an IPv6 address'],
    ['fe80::1%eth0', 'a zone'],
    ['[fe80::1%eth0]:443', 'a zone'],
    ['[fe80::1%eth0]', 'a zone'],
    ['10.0.0.7:80,10.0.0.8:80', 'it is not an address'],
    ['10.0.0.7 :80', 'it is not an address'],
    ['/run/greeter.sock', 'it is not an address'],
    ['10.0.0.0/33', 'it is not a network'],
    ['10.9.0.0/16', 'no address in it, only 10.0.0.7, 192.168.4.4, 203.0.113.9'],
  ])('refuses %j: %s', (advertise, why) => {
    const telling = (): string => advertisedAddress('0.0.0.0:7000', advertise, server);
    let refusal: unknown;
    try {
      telling();
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ code: Code.InvalidArgument, reason: 'server.invalid_advertise' });
    expect(String(refusal)).toContain(why);
    expect(String(refusal)).toContain('TENON_SERVER_ADVERTISE');
  });

  it('is taken as it is where addresses are no host and port', () => {
    expect(advertisedAddress('/run/a.sock', '/shared/a.sock', server)).toBe('/shared/a.sock');
    expect(advertisedAddress('unix:/run/a.sock', undefined, server)).toBe('unix:/run/a.sock');
  });

  it('shows no secret that somebody put into it', () => {
    expect(() => advertisedAddress('0.0.0.0:1', 'http://user:secret@host', server)).toThrow(/^(?!.*secret)/);
  });

  it('fails the start of a server that callers could not call, and nothing stays open', async () => {
    const { transport, registry, broker, marshalers, runtime, logger } = memoryParts();
    const { clock, random, timers } = runtime;
    const options = { name: 'suite', address: '127.0.0.1:7001', advertise: 'http://10.0.0.7' };
    const made = new RpcServer(transport, registry, broker, marshalers, clock, random, timers, logger, options);
    await expect(made.start()).rejects.toMatchObject({ reason: 'server.invalid_advertise' });
    expect(made.address).toBeUndefined();
    made.init({ advertise: '10.0.0.7' });
    await made.start();
    expect(made.advertisedAddress).toBe('10.0.0.7:7001');
    await made.stop();
  });
});

class Suite {}
Service({ name: 'suite', handlers: [] })(Suite);

/** True if something listens at a port of that address of this machine. */
function listensAt(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => {
      socket.destroy();
      resolve(true);
    }).once('error', () => resolve(false));
  });
}

describe('the address that a service registers', () => {
  const hasV6 = Object.values(networkInterfaces()).some((all = []) => all.some(({ address }) => address === '::1'));
  const started = async (address: string, advertise?: string) => {
    const env = {
      TENON_PROFILE: 'test',
      TENON_TRANSPORT: 'tcp',
      TENON_SERVER_ADDRESS: address,
      ...(advertise !== undefined && { TENON_SERVER_ADVERTISE: advertise }),
    };
    const system = await System.start([Suite], { env });
    const port = Number(/:(\d+)$/.exec(String(system.services[0]?.server().address))?.[1]);
    const records = await system.get(Registry).getService('suite');
    return { system, port, told: records.flatMap(({ nodes }) => nodes.map((node) => node.address)) };
  };

  it.each([
    ['127.0.0.1:0', undefined, '127.0.0.1:PORT'],
    ['127.0.0.1:0', '10.0.0.9', '10.0.0.9:PORT'],
    ['0.0.0.0:0', 'fd00::9', '[fd00::9]:PORT'],
    ['127.0.0.1:0', 'greeter-0.greeter', 'greeter-0.greeter:PORT'],
    ['127.0.0.1:0', ':30080', '127.0.0.1:30080'],
    ['localhost:0', undefined, 'localhost:PORT'],
    ...(hasV6 ? [['[::1]:0', undefined, '[::1]:PORT'] as const] : []),
  ] as const)('listening at %j, told by TENON_SERVER_ADVERTISE %j, is %j', async (address, advertise, said) => {
    const { system, port, told } = await started(address, advertise);
    await system.stop();
    expect(port).toBeGreaterThan(0);
    expect(told).toEqual([said.replace('PORT', String(port))]);
  });

  it.each(['0.0.0.0:0', ':0', ...(hasV6 ? ['[::]:0'] : [])])(
    'is, for the wildcard %j, one of this machine at which the server listens',
    async (address) => {
      const { system, port, told } = await started(address);
      const families = address === '0.0.0.0:0' || !hasV6 ? ['127.0.0.1'] : ['127.0.0.1', '::1'];
      const listening = await Promise.all(families.map(async (host) => listensAt(host, port)));
      const [, host = ''] = /^\[?(.+?)\]?:\d+$/.exec(told[0] ?? '') ?? [];
      const isThere = await listensAt(host, port);
      await system.stop();
      expect(listening).toEqual(families.map(() => true));
      expect([told.length, isThere]).toEqual([1, true]);
      expect(told[0]).toBe(advertisedAddress(address.replace(/0$/, String(port))));
    },
  );
});
