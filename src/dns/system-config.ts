import { getServers } from 'node:dns';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

import type { Clock } from '../runtime/runtime.ts';
import type { DnsConfig, DnsServer } from './dns.ts';

// The file is read again after this time: a machine may move to another network.
const holdMs = 5_000;
// Limits for a file that is none of `resolv.conf`.
const maxServers = 8;
const maxDomains = 32;
const maxNdots = 15;
const dnsPort = 53;

/** Where systems other than Windows have their DNS configuration. */
export const systemResolvConf = '/etc/resolv.conf';

/**
 * Reads `resolv.conf`, again after 5 s. Where there is none, the servers are those that Node finds, without a search
 * list.
 */
export class SystemDnsConfig {
  readonly #path: string;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #config: DnsConfig = { servers: [], search: [], ndots: 1 };

  constructor(path: string, clock: Pick<Clock, 'monotonicMs'>) {
    this.#path = path;
    this.#clock = clock;
  }

  get current(): DnsConfig {
    const now = this.#clock.monotonicMs();
    if (now - this.#readAtMs >= holdMs) {
      this.#readAtMs = now;
      this.#config = this.#read();
    }
    return this.#config;
  }

  #read(): DnsConfig {
    try {
      return parseResolvConf(readFileSync(this.#path, 'utf8'));
    } catch {
      return { servers: getServers().flatMap(serverOf), search: [], ndots: 1 };
    }
  }
}

/**
 * Parses `resolv.conf`: `nameserver`, `search`, `domain` and the option `ndots`. The last `search` or `domain` counts.
 * Without a `nameserver` the server is that of this machine. What cannot be read is skipped.
 */
export function parseResolvConf(text: string): DnsConfig {
  const servers: DnsServer[] = [];
  let search: readonly string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver') servers.push(...serverOf(values[0] ?? ''));
    if (keyword === 'domain') search = values.slice(0, 1);
    if (keyword === 'search') search = values.slice(0, maxDomains);
    if (keyword !== 'options') continue;
    for (const value of values) {
      const [, dots] = /^ndots:(\d{1,9})$/.exec(value) ?? [];
      if (dots !== undefined) ndots = Math.min(Number(dots), maxNdots);
    }
  }
  if (servers.length === 0) servers.push({ host: '127.0.0.1', port: dnsPort });
  return {
    servers: servers.slice(0, maxServers),
    search: search.map((domain) => domain.replace(/\.$/, '')).filter((domain) => domain !== ''),
    ndots,
  };
}

/** Reads `address`, `address:port` or `[address]:port`. Returns nothing for what is no IP address. */
function serverOf(text: string): readonly DnsServer[] {
  const [, bracketed, v4 = text, port = String(dnsPort)] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? v4;
  return isIP(host) === 0 ? [] : [{ host, port: Number(port) }];
}
