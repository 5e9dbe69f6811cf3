import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { canonicalName, candidates } from '../../src/dns/names.ts';
import { parseResolvConf, SystemDnsConfig } from '../../src/dns/system-config.ts';

describe('canonicalName', () => {
  it.each([
    ['Greeter.Test.', 'greeter.test'],
    ['_grpc._tcp.greeter', '_grpc._tcp.greeter'],
    ['go.micro.srv.greeter', 'go.micro.srv.greeter'],
    [`${'a'.repeat(63)}.b`, `${'a'.repeat(63)}.b`],
    [`${`${'a'.repeat(62)}.`.repeat(4)}b`, `${`${'a'.repeat(62)}.`.repeat(4)}b`],
  ])('of %s is %s', (name, canonical) => {
    expect(canonicalName(name)).toBe(canonical);
  });

  it.each([
    '',
    '.',
    'a..b',
    '.a',
    'a b',
    'a/b',
    'a:1',
    'grüße',
    'a\u0000',
    '*',
    `${'a'.repeat(64)}.b`,
    `${`${'a'.repeat(62)}.`.repeat(4)}bc`,
  ])('of "%s" is undefined', (name) => {
    expect(canonicalName(name)).toBeUndefined();
  });

  it('leaves a name out of the search that occurs twice', () => {
    expect(candidates('a', { search: ['x', 'X', 'y'], ndots: 1 })).toEqual(['a.x', 'a.y', 'a']);
  });
});

describe('resolv.conf', () => {
  it('is read as glibc reads it', () => {
    const text = [
      '# a comment',
      'nameserver 10.0.0.1 # the first',
      'nameserver fe80::1',
      'nameserver nonsense',
      'domain example.test',
      'search default.svc.cluster.local. svc.cluster.local\tcluster.local ;more',
      'options timeout:1 ndots:5 rotate',
      'options ndots:x',
      'sortlist 1.2.3.4',
    ].join('\n');
    expect(parseResolvConf(text)).toEqual({
      servers: [
        { host: '10.0.0.1', port: 53 },
        { host: 'fe80::1', port: 53 },
      ],
      search: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
      ndots: 5,
    });
  });

  it('means the server of this machine without a nameserver, and bounds what it says', () => {
    expect(parseResolvConf('')).toEqual({ servers: [{ host: '127.0.0.1', port: 53 }], search: [], ndots: 1 });
    expect(parseResolvConf('search a b\ndomain c\noptions ndots:99')).toMatchObject({ search: ['c'], ndots: 15 });
    const long = parseResolvConf(`${'nameserver 1.1.1.1\n'.repeat(100)}search ${'a '.repeat(100)}`);
    expect(long.servers).toHaveLength(8);
    expect(long.search).toHaveLength(32);
  });

  it('is read again when it changed, and the servers of Node are taken where it is missing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-dns-'));
    try {
      const path = join(folder, 'resolv.conf');
      let nowMs = 0;
      const config = new SystemDnsConfig(path, { monotonicMs: () => nowMs });
      expect(config.current).toMatchObject({ search: [], ndots: 1 });
      writeFileSync(path, 'nameserver 10.0.0.1\nsearch a.test');
      expect(config.current.search).toEqual([]);
      nowMs = 5_000;
      expect(config.current).toEqual({ servers: [{ host: '10.0.0.1', port: 53 }], search: ['a.test'], ndots: 1 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
