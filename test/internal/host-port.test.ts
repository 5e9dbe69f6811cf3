import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from '@jest/globals';

import { hostPort } from '../../src/internal/host-port.ts';

describe('hostPort', () => {
  it.each([
    ['127.0.0.1', 7000, '127.0.0.1:7000'],
    ['greeter.example.org', 0, 'greeter.example.org:0'],
    ['::', 7000, '[::]:7000'],
    ['::1', '443', '[::1]:443'],
    ['fe80::1%eth0', 7000, '[fe80::1%eth0]:7000'],
    ['', 7000, ':7000'],
  ])('formats %j and %j as %j', (host, port, address) => {
    expect(hostPort(host, port)).toBe(address);
  });

  it('is the one place that puts a host in brackets', () => {
    const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
    const own = (path: string): boolean => /`\[\$\{\w*(?:host|ip|address)\w*\}\]`/i.test(readFileSync(path, 'utf8'));
    const places = files.map((name) => join('src', name)).filter(own);
    expect(places).toEqual([join('src', 'internal', 'host-port.ts')]);
  });
});
