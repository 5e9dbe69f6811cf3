import { createSocket, type RemoteInfo } from 'node:dgram';
import { networkInterfaces } from 'node:os';

import type { Answer, Packet, Question } from 'dns-packet';
import multicastDns, { type MulticastDNS } from 'multicast-dns';

import type { Clock } from '../../runtime/runtime.ts';
import { isOnLink, type LinkAddress } from './mdns-responder.ts';

// The interfaces of the machine are looked up anew after this time.
const linksHoldMs = 5_000;

/** Where multicast goes. */
export interface MdnsLinkOptions {
  readonly interface?: string | undefined;
  readonly port: number;
  readonly clock: Clock;
  /** The addresses of this machine. @default those that the system gives */
  readonly links?: (() => readonly LinkAddress[]) | undefined;
}

/** What a link hears. */
export interface MdnsListener {
  query(packet: Packet, from: RemoteInfo): void;
  response(packet: Packet, from: RemoteInfo): void;
}

/**
 * The two sockets of one registry. The one on the group's port hears the questions and announcements of everyone, and
 * answers. Questions of our own go out from a port that nobody shares: the port of the group may be bound by several
 * processes of a machine, and an answer that is sent to it reaches only one of them.
 */
export class MdnsLink {
  readonly #options: MdnsLinkOptions;
  readonly #listener: MdnsListener;
  #group: Promise<MulticastDNS> | undefined;
  #asking: Promise<MulticastDNS> | undefined;
  #isClosed = false;
  #links: readonly LinkAddress[] = [];
  #linksReadAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: MdnsLinkOptions, listener: MdnsListener) {
    this.#options = options;
    this.#listener = listener;
  }

  /** Resolves when questions and announcements of others are heard. */
  async listen(): Promise<void> {
    await this.#joined();
  }

  /** Tells everyone. */
  async announce(answers: readonly Answer[]): Promise<void> {
    const socket = await this.#joined();
    await sent((done) => socket.respond({ answers: [...answers] }, done));
  }

  /** Tells the one who asked, or everyone, and repeats the question, without which Go Micro takes no answer. */
  async answer(question: Question, answers: readonly Answer[], to: RemoteInfo | undefined): Promise<void> {
    const socket = await this.#joined();
    const packet = { id: 0, questions: [question], answers: [...answers] };
    await sent((done) =>
      to ? respondTo(socket, packet, { address: to.address, port: to.port }, done) : socket.respond(packet, done),
    );
  }

  /** Asks everyone; answers come to the listener. */
  async ask(name: string): Promise<void> {
    this.#asking ??= retriable(this.#openAsking(), () => (this.#asking = undefined));
    const socket = await this.#asking;
    await sent((done) => socket.query({ questions: [{ name, type: 'PTR', class: 'IN' }] }, done));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const destroy = async (opening: Promise<MulticastDNS> | undefined): Promise<void> => {
      const socket = await opening?.catch(() => undefined);
      if (socket) await new Promise<void>((resolve) => socket.destroy(() => resolve()));
    };
    await Promise.all([destroy(this.#group), destroy(this.#asking)]);
  }

  #joined(): Promise<MulticastDNS> {
    return (this.#group ??= retriable(this.#openGroup(), () => (this.#group = undefined)));
  }

  async #openGroup(): Promise<MulticastDNS> {
    const { interface: at, port } = this.#options;
    await this.#checkInterface();
    // Bound to the wildcard: a socket that is bound to an interface's own address gets no multicast.
    const socket = multicastDns({ port, bind: '0.0.0.0', ...(at === undefined ? {} : { interface: at }) });
    socket.on('query', (packet, from) => {
      if (!this.#isOnLink(from)) return;
      this.#listener.query(packet, from);
      // Go Micro forgets to mark its announcements as responses.
      if ((packet.answers ?? []).length > 0 && (packet.questions ?? []).length === 0) this.#respond(packet, from);
    });
    return this.#opened(
      socket,
      (ready) => socket.once('ready', ready),
      () => (this.#group = undefined),
    );
  }

  async #openAsking(): Promise<MulticastDNS> {
    const { interface: at, port } = this.#options;
    await this.#checkInterface();
    const bound = createSocket('udp4');
    const socket = multicastDns({ socket: bound, port, bind: false, ...(at === undefined ? {} : { interface: at }) });
    const opened = this.#opened(
      socket,
      (ready) => bound.once('listening', ready),
      () => (this.#asking = undefined),
    );
    bound.bind(0, '0.0.0.0');
    return opened;
  }

  /** RFC 6762 sections 6 and 11: answers come from the port of the group, and everything from the link itself. */
  #respond(packet: Packet, from: RemoteInfo): void {
    if (from.port === this.#options.port && this.#isOnLink(from)) this.#listener.response(packet, from);
  }

  #isOnLink({ address }: RemoteInfo): boolean {
    const { interface: at, clock, links = systemLinks } = this.#options;
    const now = clock.monotonicMs();
    if (now - this.#linksReadAtMs > linksHoldMs) {
      this.#linksReadAtMs = now;
      this.#links = links().filter((link) => at === undefined || link.address === at);
    }
    return isOnLink(address, this.#links);
  }

  /** Packets would go out by another one, which is not what was asked for. */
  async #checkInterface(): Promise<void> {
    const { interface: at } = this.#options;
    if (at === undefined || systemLinks().some(({ address }) => address === at)) return;
    throw new Error('no interface of this machine has that address');
  }

  #opened(socket: MulticastDNS, onReady: (ready: () => void) => void, forget: () => void): Promise<MulticastDNS> {
    socket.on('response', (packet, from) => this.#respond(packet, from));
    // Packets that do not parse, interfaces that come and go: none of it ends the registry.
    socket.on('warning', () => {});
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        socket.destroy();
        forget();
        reject(error);
      };
      socket.on('error', fail);
      onReady(() => (this.#isClosed ? fail(new Error('closed')) : resolve(socket)));
    });
  }
}

function systemLinks(): readonly LinkAddress[] {
  return Object.values(networkInterfaces()).flatMap((some) => some ?? []);
}

/** What failed is forgotten, so that the next call tries anew. */
function retriable<T>(opening: Promise<T>, forget: () => void): Promise<T> {
  opening.catch(forget);
  return opening;
}

function sent(send: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    send((error) => (error ? reject(error) : resolve()));
  });
}

/** The library takes an address to send to; its types leave it out. */
function respondTo(
  socket: MulticastDNS,
  packet: { readonly questions: Question[]; readonly answers: Answer[] },
  to: { readonly address: string; readonly port: number },
  done: (error: Error | null) => void,
): void {
  const respond = socket.respond.bind(socket) as (
    response: typeof packet,
    rinfo: typeof to,
    callback: typeof done,
  ) => void;
  respond(packet, to, done);
}
