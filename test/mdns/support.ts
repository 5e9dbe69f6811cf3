import { createSocket, type Socket } from 'node:dgram';
import { deflateSync } from 'node:zlib';

import { type Answer, decode, type Packet, type Question } from 'dns-packet';

/** The group of multicast DNS. */
export const group = '224.0.0.251';

/** A question for the nodes of a service. */
export function question(name: string): Question {
  return { type: 'PTR', name, class: 'IN' };
}

/** The answer that names an instance. */
export function pointer(service: string, id: string, ttl = 120): Answer {
  return { type: 'PTR', name: `${service}.micro`, ttl, data: `${id}.${service}.micro` };
}

/** The records of a node as anyone may send them. */
export function recordsOf(service: string, id: string, said: unknown = { Service: service }, port = 7_000): Answer[] {
  const name = `${id}.${service}.micro`;
  const text = typeof said === 'string' ? said : deflateSync(JSON.stringify(said)).toString('hex');
  return [
    { type: 'SRV', name, ttl: 120, data: { port, target: 'host' } },
    { type: 'TXT', name, ttl: 120, data: text.match(/.{1,255}/g) ?? [] },
  ];
}

/** The address of the host that {@link recordsOf} names. */
export const host: Answer = { type: 'A', name: 'host', ttl: 120, data: '127.0.0.1' };

/** A socket on loopback that may send to the group. Closed by whoever opens it. */
export async function socketOn(port: number, address = '0.0.0.0'): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  await new Promise<void>((resolve) => socket.bind(port, address, resolve));
  socket.setMulticastInterface('127.0.0.1');
  return socket;
}

/** A socket of the group that is no registry's: it sends what it is told, and keeps what it hears. */
export class Stranger {
  readonly heard: { readonly packet: Packet; readonly bytes: Buffer; readonly from: string }[] = [];
  readonly #socket: Socket;
  readonly #port: number;

  private constructor(socket: Socket, port: number) {
    this.#socket = socket;
    this.#port = port;
    socket.on('message', (bytes, { address: from }) => this.heard.push({ packet: decode(bytes), bytes, from }));
  }

  /** On the port of the group, or on one of its own. */
  static async on(port: number, bindTo: number): Promise<Stranger> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise<void>((resolve) => socket.bind(bindTo, '0.0.0.0', resolve));
    socket.addMembership(group, '127.0.0.1');
    socket.setMulticastInterface('127.0.0.1');
    return new Stranger(socket, port);
  }

  /** What was announced: answers to nobody's question. */
  get announcements(): Packet[] {
    const packets = this.heard.map(({ packet }) => packet);
    return packets.filter(({ questions = [], answers = [] }) => questions.length === 0 && answers.length > 0);
  }

  /** What was asked for a name. */
  questions(name: string): Packet[] {
    return this.heard
      .map(({ packet }) => packet)
      .filter(({ type, questions = [] }) => type === 'query' && questions.some((one) => one.name === name));
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }

  send(hex: string, port = this.#port, address = group): void {
    this.#socket.send(Buffer.from(hex, 'hex'), port, address);
  }

  /** Answers every question with these packets, straight to the one who asked, as Go Micro does. */
  answerWith(...hex: string[]): void {
    this.#socket.on('message', (bytes, from) => {
      const { questions = [], answers = [] } = decode(bytes);
      if (questions.length > 0 && answers.length === 0) for (const one of hex) this.send(one, from.port, from.address);
    });
  }
}
