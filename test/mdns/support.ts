import { createSocket, type Socket } from 'node:dgram';
import { deflateSync } from 'node:zlib';

import type { Answer, Question } from 'dns-packet';

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
