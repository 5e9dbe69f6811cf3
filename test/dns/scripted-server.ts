import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { createServer, type Server, type Socket as TcpSocket } from 'node:net';

import { afterEach } from '@jest/globals';
import { type Answer, decode, encode, type Packet, type Question } from 'dns-packet';

import type { DnsConfig, DnsServer } from '../../src/dns/dns.ts';

/** A query that came to a {@link ScriptedDnsServer}. */
export interface ScriptedQuery {
  readonly id: number;
  readonly name: string;
  readonly type: string;
  readonly via: 'udp' | 'tcp';
  readonly port: number;
  readonly packet: Packet;
  readonly bytes: Buffer;
}

/** Parts of an answer; the rest is as a server has it. */
export interface ScriptedAnswer extends Omit<Packet, 'type' | 'flags'> {
  readonly rcode?: number;
  readonly flags?: number;
}

/** Answers a query: by a packet, by bytes as they are, by several of them, or not at all. */
export type Answering = (
  query: ScriptedQuery,
) => ScriptedAnswer | Buffer | readonly (ScriptedAnswer | Buffer)[] | undefined;

const open = new Set<ScriptedDnsServer>();

afterEach(async () => {
  await Promise.all([...open].map((server) => server.close()));
});

/** A DNS server on loopback that answers as a test says, by UDP and TCP on one port. */
export class ScriptedDnsServer {
  readonly queries: ScriptedQuery[] = [];
  readonly address: DnsServer;
  answer: Answering;
  /** Hangs up on whoever connects by TCP. */
  refusesTcp = false;
  readonly #udp: Socket;
  readonly #tcp: Server;
  readonly #connections = new Set<TcpSocket>();

  private constructor(answer: Answering, udp: Socket, tcp: Server) {
    this.answer = answer;
    this.#udp = udp;
    this.#tcp = tcp;
    this.address = { host: '127.0.0.1', port: udp.address().port };
    udp.on('message', (bytes, from) => {
      for (const reply of this.#replies(bytes, from, 'udp')) udp.send(reply, from.port, from.address);
    });
    tcp.on('connection', (socket) => {
      this.#connections.add(socket);
      socket.on('error', () => {});
      if (this.refusesTcp) socket.destroy();
      socket.on('data', (bytes) => {
        for (const reply of this.#replies(bytes.subarray(2), { port: socket.remotePort ?? 0 }, 'tcp')) {
          const length = Buffer.alloc(2);
          length.writeUInt16BE(reply.length);
          socket.write(Buffer.concat([length, reply]));
        }
      });
    });
    open.add(this);
  }

  static async start(answer: Answering): Promise<ScriptedDnsServer> {
    for (;;) {
      const udp = createSocket('udp4');
      await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
      const tcp = createServer();
      const isFree = await new Promise<boolean>((resolve) => {
        tcp.once('error', () => resolve(false));
        tcp.listen(udp.address().port, '127.0.0.1', () => resolve(true));
      });
      if (isFree) return new ScriptedDnsServer(answer, udp, tcp);
      udp.close();
    }
  }

  /** The queries as `name type`. */
  get asked(): string[] {
    return this.queries.map(({ name, type }) => `${name} ${type}`);
  }

  /** The configuration with this server and others. */
  config(more: Partial<DnsConfig> = {}): DnsConfig {
    return { servers: [this.address], search: [], ndots: 1, ...more };
  }

  async close(): Promise<void> {
    if (!open.delete(this)) return;
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => this.#udp.close(() => resolve())),
      new Promise<void>((resolve) => void this.#tcp.close(() => resolve())),
    ]);
  }

  #replies(bytes: Buffer, { port }: Pick<RemoteInfo, 'port'>, via: 'udp' | 'tcp'): readonly Buffer[] {
    const packet = decode(bytes);
    const [{ name, type }] = packet.questions as [Question];
    const query = { id: packet.id ?? 0, name, type, via, port, packet, bytes };
    this.queries.push(query);
    const answer = this.answer(query);
    const all = answer === undefined ? [] : Array.isArray(answer) ? (answer as (ScriptedAnswer | Buffer)[]) : [answer];
    return all.map((one) => (Buffer.isBuffer(one) ? one : encoded(query, one as ScriptedAnswer)));
  }
}

/** Writes an answer to a query. */
export function encoded(query: ScriptedQuery, { rcode = 0, flags = 0x0480, ...parts }: ScriptedAnswer): Buffer {
  // Authoritative, and recursion is available, unless a test says otherwise.
  return encode({
    type: 'response',
    id: query.id,
    flags: flags | rcode,
    questions: [{ name: query.name, type: query.type as Question['type'], class: 'IN' }],
    ...parts,
  });
}

/** Answers from a list of records, following no aliases: NXDOMAIN for a name that has none. */
export function zone(
  records: readonly Answer[],
  { negativeTtl = 5 }: { readonly negativeTtl?: number } = {},
): Answering {
  return ({ name, type }) => {
    const own = records.filter((record) => record.name.toLowerCase() === name.toLowerCase());
    const answers = own.filter((record) => record.type === type || record.type === 'CNAME');
    if (answers.length > 0) return { answers };
    return { rcode: own.length > 0 ? 0 : 3, authorities: [soa(negativeTtl)] };
  };
}

export function soa(minimum: number, ttl = 3_600): Answer {
  const data = { mname: 'ns.test', rname: 'admin.test', serial: 1, refresh: 1, retry: 1, expire: 1, minimum };
  return { type: 'SOA', name: 'test', ttl, data };
}

export function srv(name: string, target: string, port: number, more: object = {}, ttl = 30): Answer {
  return { type: 'SRV', name, ttl, data: { target, port, ...more } };
}

export function a(name: string, data: string, ttl = 30): Answer {
  return { type: data.includes(':') ? 'AAAA' : 'A', name, ttl, data };
}

export function cname(name: string, data: string, ttl = 30): Answer {
  return { type: 'CNAME', name, ttl, data };
}
