import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

import { type Answer, AUTHORITATIVE_ANSWER, encode, type Packet, type Question } from 'dns-packet';

import type { Clock, Timer, Timers } from '../runtime/runtime.ts';
import {
  groupOf,
  interfaceOf,
  isLoopback,
  isOnLink,
  type LinkAddress,
  linksToUse,
  systemLinks,
  wildcardOf,
} from './links.ts';
import { decodePacket } from './packet.ts';

// RFC 6762 section 11: strict peers drop packets with another TTL, unicast answers included.
const packetTtl = 255;
// The addresses of the machine are read again after this time.
const updateMs = 5_000;

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
 * Sends and receives packets of multicast DNS over IPv4 and IPv6, at one interface or at all of them, which may come
 * and go. One socket for each IP receives what is sent to its group. Each interface has, for each IP, one that sends
 * answers and announcements from the multicast port, and one that asks.
 */
export class MdnsSockets {
  readonly #options: MdnsSocketsOptions;
  readonly #listener: MdnsListener;
  readonly #links = new Map<string, Link>();
  #addresses: readonly LinkAddress[] = [];
  #addressesReadAtMs = Number.NEGATIVE_INFINITY;
  #opening: Promise<void> | undefined;
  /** By the wildcard address that they are bound to. */
  readonly #groups = new Map<string, Promise<Socket>>();
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
    const links = this.links();
    const found = links.find((link) => isOnLink(address, [link]));
    if (found) return found;
    // Packets may come from an address that is not of the network of the one that this interface sends from.
    const other = this.#allAddresses().find((link) => isOnLink(address, [link]));
    return other && links.find((link) => link.name === other.name && isIPv6(link.address) === isIPv6(address));
  }

  /** True if an address is one of this machine. */
  isOwn(address: string): boolean {
    return isLoopback(address) || this.#allAddresses().some((own) => own.address === address);
  }

  /** Multicasts an unsolicited announcement (RFC 6762 section 8.3) at each interface for which there are records. */
  announce(recordsAt: (link: LinkAddress) => readonly Answer[]): Promise<void> {
    return this.#toAll((link) => {
      const answers = recordsAt(link);
      return answers.length > 0 && this.#send(link, link.sender, responseOf({ answers: [...answers] }));
    });
  }

  /**
   * Answers a question to one address, or to all on its link. The answer repeats the question: Go Micro ignores it
   * otherwise.
   */
  async answer(question: Question, answers: readonly Answer[], to: RemoteInfo, isMulticast: boolean): Promise<void> {
    await this.listen();
    const links = [...this.#links.values()];
    const isOfSameIp = ({ address }: LinkAddress): boolean => isIPv6(address) === isIPv6(to.address);
    const link = this.#links.get(this.linkOf(to.address)?.address ?? '') ?? links.find(isOfSameIp);
    const packet = responseOf({ id: 0, questions: [question], answers: [...answers] });
    if (link) await this.#send(link, link.sender, packet, isMulticast ? undefined : to);
  }

  /** Multicasts a query at each interface. Answers go to the listener. */
  query(packet: Omit<Packet, 'type'>): Promise<void> {
    const bytes = encode({ ...packet, type: 'query' });
    return this.#toAll((link) => this.#send(link, link.asker, bytes));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#updating?.cancel();
    await this.#opening?.catch(() => {});
    await Promise.all(this.#closeAll());
  }

  async #open(): Promise<void> {
    const { interface: at, timers } = this.#options;
    if (at !== undefined && this.#wanted().length === 0) {
      throw new Error(`no network interface of this machine has the address ${at}`);
    }
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
    const group = await this.#groupFor(address.address);
    let link = this.#links.get(address.address);
    if (!link) {
      link = await this.#openLink(address);
      this.#links.set(address.address, link);
      if (this.#isClosed) await Promise.all(this.#closeAll());
    }
    // Each time: an interface that went away and came back under the same address has lost its membership.
    if (this.#isClosed) return;
    const at = interfaceOf(address);
    for (const socket of [link.sender, link.asker]) socket.setMulticastInterface(at);
    try {
      group.addMembership(groupOf(address.address), at);
    } catch {
      // It is a member already. An interface without multicast is found out by the self-test.
    }
  }

  /** The socket that receives what is sent to the group. Bound to an interface it would receive no such packets. */
  #groupFor(address: string): Promise<Socket> {
    const { port } = this.#options;
    const wildcard = wildcardOf(address);
    let group = this.#groups.get(wildcard);
    if (!group) {
      group = this.#bound({ port, address: wildcard }, (packet, from) => this.#onPacket(packet, from));
      this.#groups.set(wildcard, group);
      // The next attempt tries again.
      group.catch(() => this.#groups.delete(wildcard));
    }
    return group;
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

  #wanted(): LinkAddress[] {
    this.#addressesReadAtMs = Number.NEGATIVE_INFINITY;
    return linksToUse(this.#allAddresses(), this.#options.interface);
  }

  #allAddresses(): readonly LinkAddress[] {
    const { clock, links = systemLinks } = this.#options;
    const now = clock.monotonicMs();
    if (now - this.#addressesReadAtMs > updateMs) {
      this.#addressesReadAtMs = now;
      this.#addresses = links();
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
    return isOnLink(address, at === undefined ? links : linksToUse(links, at));
  }

  #bound(
    to: { readonly port: number; readonly address: string },
    onPacket: (packet: Packet, from: RemoteInfo) => void,
  ): Promise<Socket> {
    const type = isIPv6(to.address) ? 'udp6' : 'udp4';
    const socket = createSocket({ type, reuseAddr: true, ipv6Only: type === 'udp6' });
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

  #send({ address }: LinkAddress, socket: Socket, bytes: Buffer, to?: RemoteInfo): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (error: Error | null): void => (error ? reject(error) : resolve());
      try {
        socket.send(bytes, to?.port ?? this.#options.port, to?.address ?? groupOf(address), done);
      } catch (error) {
        // The socket was closed meanwhile.
        reject(error);
      }
    });
  }

  #closeAll(): Promise<void>[] {
    const sockets = [...this.#links.values()].flatMap(({ sender, asker }) => [sender, asker]);
    const groups = [...this.#groups.values()].map((group) => group.then(closed, () => {}));
    this.#links.clear();
    this.#groups.clear();
    return [...sockets.map(closed), ...groups];
  }
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
