import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';

import { type Answer, AUTHORITATIVE_ANSWER, encode, type Packet, type Question } from 'dns-packet';

import type { Clock, Timer, Timers } from '../runtime/runtime.ts';
import { decodePacket } from './packet.ts';

const group = '224.0.0.251';
// RFC 6762 section 11: strict peers drop packets with another TTL, unicast answers included.
const packetTtl = 255;
// The addresses of the machine are read again after this time.
const updateMs = 5_000;

/** An IPv4 address of this machine with its network mask. */
export interface LinkAddress {
  readonly address: string;
  readonly netmask: string;
  /** Name of the network interface. Packets are sent from one address of each. @default the address */
  readonly name?: string | undefined;
}

/** Options of {@link MdnsSockets}. */
export interface MdnsSocketsOptions {
  /** Address of the one interface to use. @default all interfaces */
  readonly interface?: string | undefined;
  readonly port: number;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Returns the addresses of this machine. @default those of its network interfaces */
  readonly links?: (() => readonly LinkAddress[]) | undefined;
}

/** Receives the packets of {@link MdnsSockets}. */
export interface MdnsListener {
  query(packet: Packet, from: RemoteInfo): void;
  /** Receives an answer, or an announcement, which has no question. */
  response(packet: Packet, from: RemoteInfo): void;
  /** Called when an interface came that was not there before. */
  linkAdded?(): void;
}

/** The sockets of one interface. */
interface Link extends LinkAddress {
  /** Bound to the multicast port: answers and announcements come from it. */
  readonly sender: Socket;
  /** Bound to a port of its own: the multicast port is shared, and a unicast answer to it reaches one process only. */
  readonly asker: Socket;
}

/**
 * Sends and receives packets of multicast DNS over IPv4, at one interface or at all of them, which may come and go. One
 * socket receives what is sent to the group. Each interface has one that sends answers and announcements from the
 * multicast port, and one that asks.
 */
export class MdnsSockets {
  readonly #options: MdnsSocketsOptions;
  readonly #listener: MdnsListener;
  readonly #links = new Map<string, Link>();
  #addresses: readonly LinkAddress[] = [];
  #addressesReadAtMs = Number.NEGATIVE_INFINITY;
  #opening: Promise<void> | undefined;
  #group: Socket | undefined;
  #updating: Timer | undefined;
  #isUpdating = false;
  #isClosed = false;

  constructor(options: MdnsSocketsOptions, listener: MdnsListener) {
    this.#options = options;
    this.#listener = listener;
  }

  /** Resolves when packets are received at every interface. Rejects if there is none, or the port is taken. */
  listen(): Promise<void> {
    this.#opening ??= this.#open().catch(async (error: unknown) => {
      await Promise.all(this.#closeAll());
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  /** The interfaces in use. */
  links(): readonly LinkAddress[] {
    return [...this.#links.values()];
  }

  /** The interface on whose link an address is. */
  linkOf(address: string): LinkAddress | undefined {
    return this.links().find((link) => isOnLink(address, [link]));
  }

  /** True if an address is one of this machine. */
  isOwn(address: string): boolean {
    return this.#allAddresses().some((own) => own.address === address) || address.startsWith('127.');
  }

  /** Multicasts an unsolicited announcement (RFC 6762 section 8.3) at each interface for which there are records. */
  announce(recordsAt: (link: LinkAddress) => readonly Answer[]): Promise<void> {
    return this.#toAll(({ sender, ...link }) => {
      const answers = recordsAt(link);
      return answers.length > 0 && this.#send(sender, responseOf({ answers: [...answers] }));
    });
  }

  /**
   * Answers a question to one address, or to all on its link. The answer repeats the question: Go Micro ignores it
   * otherwise.
   */
  async answer(question: Question, answers: readonly Answer[], to: RemoteInfo, isMulticast: boolean): Promise<void> {
    await this.listen();
    const link = this.#links.get(this.linkOf(to.address)?.address ?? '') ?? [...this.#links.values()][0];
    const packet = responseOf({ id: 0, questions: [question], answers: [...answers] });
    if (link) await this.#send(link.sender, packet, isMulticast ? undefined : to);
  }

  /** Multicasts a query at each interface. Answers go to the listener. */
  query(packet: Omit<Packet, 'type'>): Promise<void> {
    const bytes = encode({ ...packet, type: 'query' });
    return this.#toAll(({ asker }) => this.#send(asker, bytes));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#updating?.cancel();
    await this.#opening?.catch(() => {});
    await Promise.all(this.#closeAll());
  }

  async #open(): Promise<void> {
    const { interface: at, port, timers } = this.#options;
    if (at !== undefined && this.#wanted().length === 0) {
      throw new Error(`no network interface of this machine has the address ${at}`);
    }
    // A socket bound to the address of an interface would receive no multicast packets.
    this.#group = await this.#bound({ port, address: '0.0.0.0' }, (packet, from) => this.#onPacket(packet, from));
    const failures = await this.#update();
    if (this.#isClosed) throw new Error('closed');
    if (this.#links.size === 0) throw failures[0] ?? new Error('no network interface of this machine is up');
    this.#updating = timers.every(updateMs, () => void this.#update());
  }

  /** Opens interfaces that came, and closes those that went. Returns why interfaces cannot be used. */
  async #update(): Promise<readonly Error[]> {
    if (this.#isUpdating || this.#isClosed) return [];
    this.#isUpdating = true;
    const before = this.#links.size;
    const wanted = this.#wanted();
    for (const [address, link] of this.#links) {
      if (wanted.some((one) => one.address === address)) continue;
      this.#links.delete(address);
      for (const socket of [link.sender, link.asker]) void closed(socket);
    }
    const kept = this.#links.size;
    const results = await Promise.allSettled(wanted.map((link) => this.#join(link)));
    this.#isUpdating = false;
    if (before > 0 && this.#links.size > kept) this.#listener.linkAdded?.();
    return results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
  }

  async #join(address: LinkAddress): Promise<void> {
    let link = this.#links.get(address.address);
    if (!link) {
      link = await this.#openLink(address);
      this.#links.set(address.address, link);
      if (this.#isClosed) await Promise.all(this.#closeAll());
    }
    // Each time: an interface that went away and came back under the same address has lost its membership.
    if (this.#isClosed) return;
    for (const socket of [link.sender, link.asker]) socket.setMulticastInterface(address.address);
    try {
      this.#group?.addMembership(group, address.address);
    } catch {
      // It is a member already. An interface without multicast is found out by the self-test.
    }
  }

  async #openLink({ address, ...link }: LinkAddress): Promise<Link> {
    const { port } = this.#options;
    const sender = await this.#bound({ port, address }, (packet, from) => this.#onPacket(packet, from));
    try {
      const asker = await this.#bound({ port: 0, address }, (packet, from) => this.#onAnswer(packet, from));
      return { ...link, address, sender, asker };
    } catch (error) {
      void closed(sender);
      throw error;
    }
  }

  /** The addresses to send from: the one that is named, or the first of each interface. */
  #wanted(): LinkAddress[] {
    const { interface: at } = this.#options;
    this.#addressesReadAtMs = Number.NEGATIVE_INFINITY;
    const addresses = this.#allAddresses().filter(({ address }) => at === undefined || address === at);
    const first = new Map<string, LinkAddress>();
    for (const link of addresses) if (!first.has(link.name ?? link.address)) first.set(link.name ?? link.address, link);
    return [...first.values()];
  }

  #allAddresses(): readonly LinkAddress[] {
    const { clock, links = systemLinks } = this.#options;
    const now = clock.monotonicMs();
    if (now - this.#addressesReadAtMs > updateMs) {
      this.#addressesReadAtMs = now;
      this.#addresses = links().filter(({ address }) => isIPv4(address));
    }
    return this.#addresses;
  }

  #onPacket(packet: Packet, from: RemoteInfo): void {
    if (packet.type === 'response') return this.#onAnswer(packet, from);
    this.#listener.query(packet, from);
    // Go Micro does not mark its announcements as responses.
    if ((packet.answers ?? []).length > 0 && (packet.questions ?? []).length === 0) this.#onAnswer(packet, from);
  }

  /** Accepts only responses from the multicast port (RFC 6762 section 6). */
  #onAnswer(packet: Packet, from: RemoteInfo): void {
    if (from.port === this.#options.port) this.#listener.response(packet, from);
  }

  #isOnLink({ address }: RemoteInfo): boolean {
    const { interface: at } = this.#options;
    const links = this.#allAddresses();
    return isOnLink(address, at === undefined ? links : links.filter((link) => link.address === at));
  }

  #bound(
    to: { readonly port: number; readonly address: string },
    onPacket: (packet: Packet, from: RemoteInfo) => void,
  ): Promise<Socket> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    socket.on('message', (bytes, from) => {
      // Packets from off the link are not even read (RFC 6762 section 11).
      if (this.#isClosed || !this.#isOnLink(from)) return;
      const packet = decodePacket(bytes);
      if (packet) onPacket(packet, from);
    });
    return new Promise((resolve, reject) => {
      socket.on('error', (error) => {
        // Once it is bound, errors are those of single packets, and of interfaces that went away.
        void closed(socket);
        reject(error);
      });
      socket.bind(to, () => {
        socket.removeAllListeners('error').on('error', () => {});
        socket.setMulticastTTL(packetTtl);
        socket.setTTL(packetTtl);
        socket.setMulticastLoopback(true);
        resolve(socket);
      });
    });
  }

  /** Sends at each interface. Rejects if it succeeds at none. */
  async #toAll(send: (link: Link) => Promise<void> | false): Promise<void> {
    await this.listen();
    const results = await Promise.allSettled([...this.#links.values()].map(async (link) => send(link)));
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
    if (failures.length < results.length) return;
    throw failures[0] ?? new Error('no network interface of this machine is up');
  }

  #send(socket: Socket, bytes: Buffer, to?: RemoteInfo): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (error: Error | null): void => (error ? reject(error) : resolve());
      try {
        socket.send(bytes, to?.port ?? this.#options.port, to?.address ?? group, done);
      } catch (error) {
        // The socket was closed meanwhile.
        reject(error);
      }
    });
  }

  #closeAll(): Promise<void>[] {
    const sockets = [...this.#links.values()].flatMap(({ sender, asker }) => [sender, asker]);
    this.#links.clear();
    if (this.#group) sockets.push(this.#group);
    this.#group = undefined;
    return sockets.map(closed);
  }
}

/** True if an address belongs to one of the local links (RFC 6762 section 11). */
export function isOnLink(from: string, links: readonly LinkAddress[]): boolean {
  const source = bitsOf(from);
  if (source === undefined) return false;
  return links.some(({ address, netmask }) => {
    const [own, mask] = [bitsOf(address), bitsOf(netmask)];
    return own !== undefined && mask !== undefined && ((source ^ own) & mask) === 0;
  });
}

function bitsOf(address: string): number | undefined {
  if (!isIPv4(address)) return undefined;
  return address.split('.').reduce((bits, part) => (bits << 8) | Number(part), 0);
}

function systemLinks(): LinkAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address, netmask }) => ({ name, address, netmask })),
  );
}

function responseOf(packet: Omit<Packet, 'type'>): Buffer {
  return encode({ ...packet, type: 'response', flags: AUTHORITATIVE_ANSWER });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    try {
      socket.close(() => resolve());
    } catch {
      // It is closed.
      resolve();
    }
  });
}
