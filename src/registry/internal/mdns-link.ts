import type { Packet, Question } from 'dns-packet';
import multicastDns, { type MulticastDNS } from 'multicast-dns';

import type { RemoteInfo } from 'node:dgram';

/** Where multicast goes. */
export interface MdnsLinkOptions {
  readonly interface?: string | undefined;
  readonly port: number;
}

const group = '224.0.0.251';

/** The socket that hears questions and announcements of everyone, and answers. */
export class MdnsResponder {
  readonly ready: Promise<void>;
  readonly #socket: MulticastDNS;

  constructor(
    { interface: at, port }: MdnsLinkOptions,
    on: { query(packet: Packet, from: RemoteInfo): void; response(packet: Packet): void },
  ) {
    // Bound to the wildcard: a socket that is bound to an interface's own address gets no multicast.
    this.#socket = multicastDns({ port, bind: '0.0.0.0', ...(at === undefined ? {} : { interface: at }) });
    this.ready = new Promise((resolve, reject) => {
      this.#socket.once('ready', () => resolve());
      this.#socket.on('error', reject);
    });
    this.ready.catch(() => {});
    this.#socket.on('query', (packet, from) => on.query(packet, from));
    this.#socket.on('response', (packet) => on.response(packet));
    // Packets that do not parse, interfaces that come and go: none of it ends the registry.
    this.#socket.on('warning', () => {});
  }

  /** To everyone, or to the one who asked; then the question is repeated, without which Go Micro takes no answer. */
  respond(answers: Packet['answers'], to?: { readonly questions: Question[]; readonly from: RemoteInfo }): Promise<void> {
    const packet = { id: 0, answers: answers ?? [], ...(to ? { questions: to.questions } : {}) };
    return new Promise((resolve, reject) => {
      const done = (error: Error | null): void => (error ? reject(error) : resolve());
      if (to) this.#socket.respond(packet as never, { address: to.from.address, port: to.from.port } as never, done as never);
      else this.#socket.respond(packet as never, done as never);
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.destroy(() => resolve()));
  }
}

/** A socket on a port of its own that asks one question: the answers come back to that port. */
export class MdnsQuestion {
  readonly #socket: MulticastDNS;

  constructor({ interface: at, port }: MdnsLinkOptions, name: string, onResponse: (packet: Packet) => void, onError: (error: Error) => void) {
    this.#socket = multicastDns({ port: 0, ...(at === undefined ? {} : { interface: at }) });
    this.#socket.on('warning', () => {});
    this.#socket.on('error', onError);
    this.#socket.on('response', onResponse);
    const questions: Question[] = [{ name, type: 'PTR', class: 'IN' }];
    this.#socket.query({ questions }, { address: group, port } as RemoteInfo, (error) => {
      if (error) onError(error);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
