import { createSocket, type RemoteInfo } from 'node:dgram';
import { networkInterfaces } from 'node:os';

import type { Answer, Packet, Question } from 'dns-packet';
import multicastDns, { type MulticastDNS } from 'multicast-dns';

import type { Clock } from '../runtime/runtime.ts';
import { isOnLink, type LinkAddress } from './responder.ts';

// The addresses of the machine are read again after this time.
const linksHoldMs = 5_000;

/** Options of {@link MdnsSockets}. */
export interface MdnsSocketsOptions {
  readonly interface?: string | undefined;
  readonly port: number;
  readonly clock: Clock;
  /** Returns the addresses of this machine. @default those of its network interfaces */
  readonly links?: (() => readonly LinkAddress[]) | undefined;
}

/** Receives the packets of {@link MdnsSockets}. */
export interface MdnsListener {
  query(packet: Packet, from: RemoteInfo): void;
  response(packet: Packet, from: RemoteInfo): void;
}

/**
 * Sends and receives multicast DNS packets on two sockets. One is bound to the multicast port: it receives queries and
 * announcements, and sends answers. Queries are sent from a port of their own: the multicast port may be bound by
 * several processes of a machine, and a unicast answer to it would reach only one of them.
 */
export class MdnsSockets {
  readonly #options: MdnsSocketsOptions;
  readonly #listener: MdnsListener;
  #group: Promise<MulticastDNS> | undefined;
  #asking: Promise<MulticastDNS> | undefined;
  #isClosed = false;
  #links: readonly LinkAddress[] = [];
  #linksReadAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: MdnsSocketsOptions, listener: MdnsListener) {
    this.#options = options;
    this.#listener = listener;
  }

  /** Resolves when queries and announcements are received. */
  async listen(): Promise<void> {
    await this.#joined();
  }

  /** Multicasts an unsolicited announcement of records (RFC 6762 section 8.3). */
  async announce(answers: readonly Answer[]): Promise<void> {
    const socket = await this.#joined();
    await sent((done) => socket.respond({ answers: [...answers] }, done));
  }

  /**
   * Answers a question, to one address or by multicast. The answer repeats the question: Go Micro ignores it otherwise.
   */
  async answer(question: Question, answers: readonly Answer[], to: RemoteInfo | undefined): Promise<void> {
    const socket = await this.#joined();
    const packet = { id: 0, questions: [question], answers: [...answers] };
    await sent((done) =>
      to ? respondTo(socket, packet, { address: to.address, port: to.port }, done) : socket.respond(packet, done),
    );
  }

  /** Multicasts a query. Answers go to the listener. */
  async query(name: string): Promise<void> {
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
    // A socket bound to the address of an interface would receive no multicast packets.
    const socket = multicastDns({ port, bind: '0.0.0.0', ...(at === undefined ? {} : { interface: at }) });
    socket.on('query', (packet, from) => {
      if (!this.#isOnLink(from)) return;
      this.#listener.query(packet, from);
      // Go Micro does not mark its announcements as responses.
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

  /** Accepts only responses from the multicast port and from the local link (RFC 6762 sections 6 and 11). */
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

  /** Throws if the interface does not exist: the system would use another one. */
  async #checkInterface(): Promise<void> {
    const { interface: at } = this.#options;
    if (at === undefined || systemLinks().some(({ address }) => address === at)) return;
    throw new Error(`no network interface of this machine has the address ${at}`);
  }

  #opened(socket: MulticastDNS, onReady: (ready: () => void) => void, forget: () => void): Promise<MulticastDNS> {
    socket.on('response', (packet, from) => this.#respond(packet, from));
    // Malformed packets and interfaces that come and go are no errors of the registry.
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

/** Calls `forget` if opening fails, so that the next call opens again. */
function retriable<T>(opening: Promise<T>, forget: () => void): Promise<T> {
  opening.catch(forget);
  return opening;
}

function sent(send: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    send((error) => (error ? reject(error) : resolve()));
  });
}

/** Responds to one address. The library has this parameter, but its types lack it. */
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
