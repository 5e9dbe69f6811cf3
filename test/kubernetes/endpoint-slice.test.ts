import { describe, expect, it } from '@jest/globals';

import {
  type EndpointConditions,
  endpointUse,
  endpointUses,
  joinedEndpoints,
  listedEndpoints,
} from '../../src/kubernetes/endpoint-slice.ts';

describe('the use of an endpoint', () => {
  it.each<[EndpointConditions | null | undefined, string]>([
    [undefined, 'serving'],
    [null, 'serving'],
    [{}, 'serving'],
    [{ ready: null }, 'serving'],
    [{ ready: true }, 'serving'],
    [{ ready: true, serving: true, terminating: true }, 'serving'],
    [{ ready: null, serving: null, terminating: null }, 'serving'],
    [{ ready: false }, 'unused'],
    [{ ready: false, serving: null, terminating: true }, 'unused'],
    [{ ready: false, serving: true, terminating: true }, 'draining'],
    [{ ready: false, serving: true, terminating: false }, 'unused'],
    [{ ready: false, serving: true, terminating: null }, 'unused'],
    [{ ready: false, serving: false, terminating: true }, 'unused'],
  ])('with the conditions %j is %s', (conditions, use) => {
    expect(endpointUse(conditions)).toBe(use);
  });

  it('is said for every combination once', () => {
    const combinations = new Set(endpointUses.map((row) => row.slice(0, 3).join()));
    expect([combinations.size, endpointUses.length]).toEqual([8, 8]);
  });
});

describe('the port of endpoints', () => {
  const addressesBy = (ports: object[], portName?: string): string[] | undefined =>
    listedEndpoints({ addressType: 'IPv4', endpoints: [{ addresses: ['10.0.0.1'] }], ports }, portName)?.map(
      ({ address }) => address,
    );

  it.each<[string, object[], string | undefined, string | undefined]>([
    ['is the only one', [{ name: 'http', port: 1 }], undefined, '10.0.0.1:1'],
    [
      'is the one named grpc',
      [
        { name: 'http', port: 1 },
        { name: 'grpc', port: 2 },
      ],
      undefined,
      '10.0.0.1:2',
    ],
    [
      'is the one named grpc-web',
      [
        { name: 'http', port: 1 },
        { name: 'grpc-a', port: 2 },
      ],
      undefined,
      '10.0.0.1:2',
    ],
    [
      'is the one whose appProtocol is gRPC',
      [
        { name: 'grpc', port: 1 },
        { name: 'b', port: 2, appProtocol: 'grpc' },
      ],
      undefined,
      '10.0.0.1:2',
    ],
    [
      'is the one with cleartext HTTP/2',
      [{ port: 1 }, { port: 2, appProtocol: 'kubernetes.io/h2c' }],
      undefined,
      '10.0.0.1:2',
    ],
    [
      'is the one that was chosen',
      [
        { name: 'grpc', port: 1 },
        { name: 'b', port: 2 },
      ],
      'b',
      '10.0.0.1:2',
    ],
    [
      'is not one of UDP',
      [
        { name: 'grpc', port: 1, protocol: 'UDP' },
        { name: 'b', port: 2 },
      ],
      undefined,
      '10.0.0.1:2',
    ],
    [
      'is missing among several',
      [
        { name: 'a', port: 1 },
        { name: 'b', port: 2 },
      ],
      undefined,
      undefined,
    ],
    ['is missing without a number', [{ name: 'grpc', port: null }], undefined, undefined],
    ['is missing if the chosen one is', [{ name: 'grpc', port: 1 }], 'b', undefined],
  ])('%s', (_title, ports, portName, expected) => {
    expect(addressesBy(ports, portName)?.[0]).toBe(expected);
  });
});

describe('endpoints', () => {
  it('have an id that stays, their zone, node and version, and an address that can be dialled', () => {
    const slice = {
      metadata: { labels: { 'app.kubernetes.io/version': '2.1' } },
      addressType: 'IPv6',
      endpoints: [
        {
          addresses: ['fd00::1', 'fd00::2'],
          targetRef: { kind: 'Pod', name: 'a-0' },
          hostname: 'a',
          zone: 'z',
          nodeName: 'n',
        },
        { addresses: ['fd00::3'], hostname: 'b', zone: null },
        { addresses: ['fd00::4'] },
        { addresses: [] },
        {},
      ],
      ports: [{ port: 9000 }],
    };
    const common = { use: 'serving', isIPv4: false, version: '2.1' };
    expect(listedEndpoints(slice)).toEqual([
      { ...common, id: 'a-0', address: '[fd00::1]:9000', zone: 'z', nodeName: 'n' },
      { ...common, id: 'b', address: '[fd00::3]:9000' },
      { ...common, id: '[fd00::4]:9000', address: '[fd00::4]:9000' },
    ]);
  });

  it('of two slices are joined by address and by pod, the best of each', () => {
    const one = (id: string, address: string, use: 'serving' | 'draining' = 'serving', isIPv4 = true) => ({
      id,
      address,
      use,
      isIPv4,
      version: '',
    });
    const joined = joinedEndpoints([
      [one('a', '[fd00::1]:1', 'serving', false), one('b', '10.0.0.2:1', 'draining')],
      [one('a', '10.0.0.1:1'), one('x', '10.0.0.2:1'), one('c', '10.0.0.3:1', 'draining')],
    ]);
    expect(joined.map(({ id, address, use }) => `${id} ${address} ${use}`)).toEqual([
      'a 10.0.0.1:1 serving',
      'x 10.0.0.2:1 serving',
      'c 10.0.0.3:1 draining',
    ]);
  });
});
