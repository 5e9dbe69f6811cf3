import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';

import type { Answer, Packet } from 'dns-packet';

import { enumerationName, mdnsTtlS } from '../go-micro/mdns.ts';
import type { Clock, Random, Timer, Timers } from '../runtime/runtime.ts';
import { pause } from '../runtime/bounded.ts';
import { isLoopback, type LinkAddress } from './links.ts';
import { NameClaims, type NamedNode } from './name-claims.ts';
import {
  dataOf,
  enumerationRecords,
  goodbyeOf,
  goodbyesIn,
  instanceName,
  type MdnsAddress,
  type MdnsContext,
  type MdnsNode,
  metaQueryName,
  nodeRecords,
  unique,
  withAddress,
  withPointer,
} from './records.ts';
import type { MdnsAnswer } from './responder.ts';
import type { MdnsSockets } from './sockets.ts';

/** The parts of a {@link MdnsAnnouncer}. */
export interface MdnsAnnouncerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly sockets: MdnsSockets;
  readonly context: MdnsContext;
  readonly probeMs: number;
  /** Called when records were announced, under a new name or with new data, and `undefined` when they are gone. */
  onChange(instance: string, records: readonly Answer[] | undefined): void;
  /** Called when another host has the name of a node, which is announced under another one. */
  onRename(node: MdnsNode, instance: string): void;
  /** Called for a node that somebody else on this machine announces from now on. */
  onRelease(instance: string): void;
}

/** A node that this process announces. */
export interface AnnouncedNode extends NamedNode {
  node: MdnsNode;
  address: MdnsAddress;
  leaseMs: number;
  /** The number in its name, if other hosts have the name without one. */
  number: number;
  repeats: readonly Timer[];
  announcedAtMs: number;
  /** When it was let go of. It is answered for until the other one does. */
  releasedAtMs?: number;
}

// Like Go Micro, a new record is announced three times, as datagrams get lost (RFC 6762 section 8.3).
const repeatMs = [1_000, 3_000] as const;
// RFC 6762 section 6: a record is multicast at most once a second.
const announceIntervalMs = 1_000;
// For so long a node that was released is answered for, unless the other one is heard to announce it.
const releasedMs = 10_000;
// What was announced before the release may come back for this long after it.
const echoMs = 200;
// Ids are made anew for each process, so that it releases few.
const maxFormer = 1_024;
// The longest wait for a goodbye of this process to come back to it.
const hearGoodbyeMs = 100;

/** Announces nodes under names that nobody else has, and says goodbye for them. */
export class MdnsAnnouncer {
  readonly #options: MdnsAnnouncerOptions;
  readonly #nodes = new Set<AnnouncedNode>();
  readonly #claims: NameClaims<AnnouncedNode>;
  /** Released nodes by their names, while nobody was heard to say goodbye for them, or to have the name himself. */
  readonly #former = new Map<string, AnnouncedNode>();
  /** Aborted when the goodbye of the node has come back to this process. */
  readonly #leaving = new Map<string, AbortController>();

  constructor(options: MdnsAnnouncerOptions) {
    this.#options = options;
    this.#claims = new NameClaims({
      ...options,
      rename: (own) => this.#rename(own),
      onReclaimed: (own) => void this.#announce(own).catch(() => {}),
    });
  }

  /** Claims a name for a node, and announces it three times. */
  async announce(node: MdnsNode, leaseMs: number, signal: AbortSignal): Promise<AnnouncedNode> {
    const { domain } = this.#options.context;
    const own: AnnouncedNode = {
      node,
      leaseMs,
      address: await resolved(node.address),
      instance: instanceName(node, domain),
      number: 1,
      records: [],
      repeats: [],
      announcedAtMs: Number.NEGATIVE_INFINITY,
    };
    this.#encode(own);
    await this.#claims.claim(own, signal);
    this.#nodes.add(own);
    this.#former.delete(own.instance.toLowerCase());
    await this.#announce(own);
    return own;
  }

  /** Announces changed data of a node, under the same name (RFC 6762 section 8.4). */
  async replace(own: AnnouncedNode, node: MdnsNode, leaseMs: number): Promise<AnnouncedNode> {
    const address = await resolved(node.address);
    const before = { ...own };
    Object.assign(own, { node, leaseMs, address });
    try {
      this.#encode(own);
    } catch (error) {
      Object.assign(own, before);
      throw error;
    }
    await this.#announce(own);
    return own;
  }

  /** Announces an unchanged node again, so that the records in the caches of others do not expire. */
  async repeat(own: AnnouncedNode): Promise<AnnouncedNode> {
    const now = this.#options.clock.monotonicMs();
    if (now - own.announcedAtMs < announceIntervalMs) return own;
    own.announcedAtMs = now;
    await this.#send(own, own.records);
    return own;
  }

  /**
   * Says goodbye for a node, under the name that was announced. Resolves when this process has heard that, if it hears
   * itself: what is on its way between two sockets is delivered by then, so that no reader of this machine finds the
   * node any more.
   */
  async withdraw(own: AnnouncedNode): Promise<void> {
    this.#end(own);
    this.#options.onChange(own.instance, undefined);
    const key = own.instance.toLowerCase();
    const heard = new AbortController();
    this.#leaving.set(key, heard);
    try {
      await this.#send(own, goodbyeOf(own.records));
      await pause(this.#options.timers, hearGoodbyeMs, heard.signal, { keepAlive: true });
    } finally {
      this.#leaving.delete(key);
    }
  }

  /**
   * Lets go of a node that somebody else on this machine announces from now on, with the same records. Questions for it
   * are answered until that one is heard, so that it is found meanwhile.
   */
  release(own: AnnouncedNode): void {
    if (!this.#nodes.has(own)) return;
    const { clock, timers } = this.#options;
    for (const timer of own.repeats) timer.cancel();
    this.#claims.release(own);
    own.releasedAtMs = clock.monotonicMs();
    own.repeats = [timers.after(releasedMs, () => this.#end(own))];
    this.#former.set(own.instance.toLowerCase(), own);
    const [oldest = ''] = this.#former.keys();
    if (this.#former.size > maxFormer) this.#former.delete(oldest);
    this.#options.onRelease(own.instance);
  }

  /** Says goodbye for a node that was released, unless it has left since, or somebody else has its name. */
  async withdrawFormer(service: string, id: string): Promise<void> {
    for (const [key, own] of this.#former) {
      if (own.node.service !== service || own.node.id !== id) continue;
      this.#former.delete(key);
      await this.withdraw(own);
    }
  }

  /** Announces all nodes, for an interface that came. */
  announceAll(): void {
    for (const own of this.#nodes) if (own.releasedAtMs === undefined) void this.#announce(own).catch(() => {});
  }

  /** Defends the names of nodes against a response or an announcement. */
  onResponse(packet: Packet): void {
    this.#claims.onResponse(packet);
    if ((packet.questions ?? []).length === 0) this.#endReleased(packet.answers ?? [], () => true, echoMs);
    if (this.#former.size > 0) this.#noteSuccessors(packet);
    if (this.#leaving.size === 0) return;
    for (const instance of goodbyesIn(packet)) this.#leaving.get(instance.toLowerCase())?.abort();
  }

  /** Compares the names that another host wants with those that are being claimed. */
  onQuery(packet: Packet): void {
    this.#claims.onQuery(packet);
    // Who takes over asks with the same records.
    this.#endReleased(packet.authorities ?? [], (record, own) => !own.records.some((one) => isSame(one, record)));
  }

  /** Stops announcing, without goodbyes. */
  close(): void {
    for (const own of this.#nodes) this.#end(own);
    for (const heard of this.#leaving.values()) heard.abort();
    this.#claims.close();
  }

  /** All answers that this process can give to an address. */
  answers(to: string): MdnsAnswer[] {
    const { context, sockets } = this.#options;
    const { domain } = context;
    const link = sockets.linkOf(to);
    const isOwn = sockets.isOwn(to);
    const own = [...this.#nodes].map((one) => ({
      ...one,
      records: isOwn ? this.#recordsAt(one, one.records, undefined) : this.#recordsAt(one, one.records, link),
    }));
    const reachable = own.filter(({ records }) => records.length > 0);
    const metaQuery = metaQueryName(domain);
    const lists = [...new Set(reachable.map(({ node }) => node.service))].flatMap((service): MdnsAnswer[] => [
      { name: enumerationName(domain), records: enumerationRecords(service, context) },
      { name: metaQuery, records: [{ type: 'PTR', name: metaQuery, ttl: mdnsTtlS, data: `${service}.${domain}` }] },
    ]);
    // A packet for each node: all of them may not fit into one.
    const nodes = reachable.flatMap(({ node: { service }, records, instance, isContested }): MdnsAnswer[] => [
      { name: `${service}.${domain}`, records: withPointer(records, service, context), isUnique: true },
      // This also tells those who probe that the name is taken. While it is contested the probes decide.
      ...(isContested === true ? [] : [{ name: instance, records, isUnique: true }]),
    ]);
    return [...lists, ...nodes];
  }

  /** Announces a node now, and twice more. */
  async #announce(own: AnnouncedNode): Promise<void> {
    const { clock, timers } = this.#options;
    for (const timer of own.repeats) timer.cancel();
    own.announcedAtMs = clock.monotonicMs();
    this.#claims.note(own);
    this.#options.onChange(own.instance, this.#recordsAt(own, own.records));
    const again = (): void => void this.#send(own, own.records).catch(() => {});
    own.repeats = repeatMs.map((delayMs) => timers.after(delayMs, again));
    await this.#send(own, own.records);
  }

  #send(own: AnnouncedNode, records: readonly Answer[]): Promise<void> {
    return this.#options.sockets.announce((link) => unique(this.#recordsAt(own, records, link)));
  }

  /**
   * Returns the records of a node for a link, by default for this machine. A node that listens on loopback is announced
   * at the loopback interface alone, if that is in use: to others its address would mean their own machine.
   */
  #recordsAt(own: AnnouncedNode, records: readonly Answer[], link?: LinkAddress): readonly Answer[] {
    const { ip = '', isWildcard } = own.address;
    if (isWildcard) {
      const told = link === undefined ? '127.0.0.1' : this.#toldAt(link);
      return isIPv6(told) && ip === '0.0.0.0' ? [] : withAddress(records, told);
    }
    const leadsAway = link !== undefined && !isLoopback(link.address);
    const isElsewhere = this.#options.sockets.links().some(({ address }) => isLoopback(address));
    return leadsAway && isElsewhere && isLoopback(ip) ? [] : records;
  }

  /** Answers no more for released nodes of which there is such a record: somebody else does, or wants the name. */
  #endReleased(
    records: readonly Answer[],
    isOfOther: (record: Answer, own: AnnouncedNode) => boolean,
    afterMs = 0,
  ): void {
    const now = this.#options.clock.monotonicMs();
    for (const own of this.#nodes) {
      if (own.releasedAtMs === undefined || now - own.releasedAtMs < afterMs) continue;
      const named = records.filter(({ name }) => name.toLowerCase() === own.instance.toLowerCase());
      if (named.some((record) => dataOf(record) !== undefined && isOfOther(record, own))) this.#end(own);
    }
  }

  /** Forgets released nodes that have left, and those whose name somebody else has: another host, or another port. */
  #noteSuccessors(packet: Packet): void {
    for (const instance of goodbyesIn(packet)) this.#former.delete(instance.toLowerCase());
    for (const record of packet.answers ?? []) {
      const key = record.name.toLowerCase();
      const own = record.type === 'SRV' ? this.#former.get(key) : undefined;
      if (own && !own.records.some((one) => isSame(one, record))) this.#former.delete(key);
    }
  }

  /** The address of a link that callers are told. It is the same for both IPs of one interface, if that has IPv4. */
  #toldAt({ address, name }: LinkAddress): string {
    if (!isIPv6(address) || name === undefined) return address;
    const v4 = this.#options.sockets.links().find((link) => link.name === name && !isIPv6(link.address));
    return v4?.address ?? address.split('%')[0] ?? address;
  }

  #rename(own: AnnouncedNode): void {
    const { context } = this.#options;
    if (this.#nodes.has(own)) this.#options.onChange(own.instance, undefined);
    own.number += 1;
    own.instance = instanceName(own.node, context.domain, own.number);
    this.#encode(own);
    this.#options.onRename(own.node, own.instance);
  }

  #encode(own: AnnouncedNode): void {
    own.records = nodeRecords(own, this.#options.context);
  }

  #end(own: AnnouncedNode): void {
    this.#nodes.delete(own);
    this.#claims.release(own);
    for (const timer of own.repeats) timer.cancel();
  }
}

/** True if two records have the same data. */
function isSame(one: Answer, other: Answer): boolean {
  const [data, others] = [dataOf(one), dataOf(other)];
  return one.type === other.type && data !== undefined && others !== undefined && data.equals(others);
}

/** Resolves an address: A and AAAA records hold IP addresses. `ip` is undefined if it has none. */
async function resolved(address: string): Promise<MdnsAddress> {
  const [, v6, host = '', port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined || Number(port) > 65_535) return { ip: undefined, port: 0, isWildcard: false };
  const name = v6 ?? host;
  if (name === '0.0.0.0' || name === '::') return { ip: name, port: Number(port), isWildcard: true };
  // A zone is one of this machine: others are told the address as it is.
  if (isIP(name) !== 0) return { ip: name.split('%')[0], port: Number(port), isWildcard: false };
  const found = await lookup(name, { family: 4 })
    .catch(() => lookup(name))
    .catch(() => undefined);
  return { ip: found?.address, port: Number(port), isWildcard: false };
}
