import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';

import type { Answer } from 'dns-packet';

import { enumerationName, mdnsTtlS } from '../go-micro/mdns.ts';
import type { Clock, Timer, Timers } from '../runtime/runtime.ts';
import {
  enumerationRecords,
  type MdnsContext,
  type MdnsNode,
  metaQueryName,
  nodeRecords,
  withPointer,
} from './records.ts';
import type { MdnsAnswer } from './responder.ts';
import type { MdnsSockets } from './sockets.ts';

/** The parts of a {@link MdnsAnnouncer}. */
export interface MdnsAnnouncerOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly sockets: MdnsSockets;
  readonly context: MdnsContext;
}

/** A node that this process announces. */
export interface AnnouncedNode {
  readonly service: string;
  readonly records: readonly Answer[];
  /** The records with a TTL of 0 (RFC 6762 section 10.1). */
  readonly goodbye: readonly Answer[];
  repeats: readonly Timer[];
  announcedAtMs: number;
}

// Like Go Micro, a new record is announced three times, as datagrams get lost (RFC 6762 section 8.3).
const repeatMs = [1_000, 3_000] as const;
// RFC 6762 section 6: a record is multicast at most once a second.
const announceIntervalMs = 1_000;

/** Announces nodes, and says goodbye for them. */
export class MdnsAnnouncer {
  readonly #options: MdnsAnnouncerOptions;
  readonly #nodes = new Set<AnnouncedNode>();

  constructor(options: MdnsAnnouncerOptions) {
    this.#options = options;
  }

  /** Announces a node three times. */
  async announce(node: MdnsNode, leaseMs: number): Promise<AnnouncedNode> {
    return this.#start(await this.#made(node, leaseMs));
  }

  /** Announces a changed node in place of `own`. */
  async replace(own: AnnouncedNode, node: MdnsNode, leaseMs: number): Promise<AnnouncedNode> {
    const next = await this.#made(node, leaseMs);
    this.#end(own);
    return this.#start(next);
  }

  /** Announces an unchanged node again, so that the records in the caches of others do not expire. */
  async repeat(own: AnnouncedNode): Promise<AnnouncedNode> {
    const { clock, sockets } = this.#options;
    const now = clock.monotonicMs();
    if (now - own.announcedAtMs < announceIntervalMs) return own;
    own.announcedAtMs = now;
    await sockets.announce(own.records);
    return own;
  }

  /** Says goodbye for a node. */
  async withdraw(own: AnnouncedNode): Promise<void> {
    this.#end(own);
    await this.#options.sockets.announce(own.goodbye);
  }

  /** Stops announcing, without goodbyes. */
  close(): void {
    for (const own of this.#nodes) this.#end(own);
  }

  /** All answers that this process can give. */
  answers(): MdnsAnswer[] {
    const { context } = this.#options;
    const { domain } = context;
    const own = [...this.#nodes];
    const metaQuery = metaQueryName(domain);
    const lists = [...new Set(own.map(({ service }) => service))].flatMap((service): MdnsAnswer[] => [
      { name: enumerationName(domain), records: enumerationRecords(service, context) },
      { name: metaQuery, records: [{ type: 'PTR', name: metaQuery, ttl: mdnsTtlS, data: `${service}.${domain}` }] },
    ]);
    // A packet for each node: all of them may not fit into one.
    const nodes = own.map(({ service, records }): MdnsAnswer => {
      return { name: `${service}.${domain}`, records: withPointer(records, service, context) };
    });
    return [...lists, ...nodes];
  }

  async #made(node: MdnsNode, leaseMs: number): Promise<AnnouncedNode> {
    const { clock, context } = this.#options;
    const announcement = { node, leaseMs, ...(await resolved(node.address)) };
    const records = nodeRecords(announcement, context);
    const goodbye = nodeRecords(announcement, context, true);
    return { service: node.service, records, goodbye, repeats: [], announcedAtMs: clock.monotonicMs() };
  }

  async #start(own: AnnouncedNode): Promise<AnnouncedNode> {
    const { sockets, timers } = this.#options;
    await sockets.announce(own.records);
    const again = (): void => void sockets.announce(own.records).catch(() => {});
    own.repeats = repeatMs.map((delayMs) => timers.after(delayMs, again));
    this.#nodes.add(own);
    return own;
  }

  #end(own: AnnouncedNode): void {
    this.#nodes.delete(own);
    for (const timer of own.repeats) timer.cancel();
  }
}

/** Resolves an address: A and AAAA records hold IP addresses. `ip` is undefined if it has none. */
async function resolved(address: string): Promise<{ readonly ip: string | undefined; readonly port: number }> {
  const [, v6, host = '', port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined || Number(port) > 65_535) return { ip: undefined, port: 0 };
  const name = v6 ?? host;
  if (isIP(name) !== 0) return { ip: name, port: Number(port) };
  const found = await lookup(name, { family: 4 }).catch(() => undefined);
  return { ip: found?.address, port: Number(port) };
}
