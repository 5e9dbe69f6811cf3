import type { Socket } from 'node:dgram';
import { deflateSync } from 'node:zlib';

import { afterEach, describe, expect, it } from '@jest/globals';
import { type Answer, decode, encode } from 'dns-packet';

import { decodePacket } from '../../src/mdns/packet.ts';
import { nodesIn } from '../../src/mdns/records.ts';
import type { LinkAddress } from '../../src/mdns/links.ts';
import { MdnsSockets } from '../../src/mdns/sockets.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { freePort } from '../support/process.ts';
import { eventually } from '../support/waiting.ts';
import { group, host, question, recordsOf, socketOn } from './support.ts';

const patientMs = 20_000;
const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0)) await close();
});

const everything = (): boolean => true;

describe('a malicious packet of multicast DNS', () => {
  it('is decompressed up to a limit, however many bombs it holds', () => {
    // Each unpacks to 10 MB; a text that is right comes after all of them.
    const bomb = deflateSync(Buffer.alloc(10_000_000, 'a')).toString('hex');
    const bombs = Array.from({ length: 20 }, (_, at) => recordsOf('greeter', `bomb${at}`, bomb)).flat();
    const answers = [host, ...bombs, ...recordsOf('greeter', 'n1')];
    expect(nodesIn({ answers }, 'micro', everything)).toEqual([]);
    const small = [host, ...recordsOf('greeter', 'bomb', bomb), ...recordsOf('greeter', 'n1')];
    expect(nodesIn({ answers: small }, 'micro', everything).map(({ id }) => id)).toEqual(['n1']);
  });

  it('has each text read once, however many records point to it', () => {
    const [srv, txt] = recordsOf('greeter', 'n1') as [Answer, Answer];
    expect(nodesIn({ answers: [host, txt, ...Array<Answer>(3_000).fill(srv)] }, 'micro', everything)).toHaveLength(1);
  });

  it.each<[string, unknown]>([
    ['no object', []],
    ['no JSON', 'Service'],
    ['without a name', { Service: 7 }],
    ['of another service', { Service: 'other' }],
  ])('announces no node with a text that is %s', (_what, said) => {
    const text = typeof said === 'string' ? deflateSync(said).toString('hex') : said;
    expect(nodesIn({ answers: [host, ...recordsOf('greeter', 'n1', text)] }, 'micro', everything)).toEqual([]);
  });

  it('is skipped if its names form a loop or a long chain, if it is cut anywhere, or if it is too large', () => {
    const loop = Buffer.from('000084000000000100000000c00cc00c000c000100000078000ac00c', 'hex');
    expect(decodePacket(loop)).toBeUndefined();
    const whole = encode({ type: 'response', answers: [host, ...recordsOf('greeter', 'n1')] });
    for (let length = 0; length < whole.length; length += 1) {
      expect(decodePacket(whole.subarray(0, length))).toBeUndefined();
    }
    expect(decodePacket(chained(127))).toBeDefined();
    // Read by pointers alone, 4,000 of them for each of hundreds of records would block the process for long.
    expect(decodePacket(chained(129))).toBeUndefined();
    expect(decodePacket(chained(4_000))).toBeUndefined();
    const large = { type: 'TXT', name: 'x', data: Buffer.alloc(200) } as const;
    expect(decodePacket(encode({ type: 'response', answers: Array<Answer>(30).fill(large) }))).toBeDefined();
    expect(decodePacket(encode({ type: 'response', answers: Array<Answer>(60).fill(large) }))).toBeUndefined();
  });

  it('is read as dns-packet reads it, if it is an honest one', () => {
    const answers = [host, { type: 'AAAA', name: 'h', data: 'fe80::1:2' } as const, ...recordsOf('greeter', 'Nö.1')];
    const questions = [{ name: 'Ünï.micro', type: 'PTR', class: 'IN' } as const];
    for (const type of ['query', 'response'] as const) {
      const bytes = encode({ type, id: 7, questions, answers, additionals: [host], authorities: [host] });
      const { id, questions: asked, answers: found, authorities, additionals } = decode(bytes);
      expect(decodePacket(bytes)).toEqual({ id, type, questions: asked, answers: found, authorities, additionals });
    }
  });

  it('loses the records and questions of other types and classes, and keeps the rest', () => {
    const others = [
      { type: 'HINFO', name: 'x', data: { cpu: 'a', os: 'b' } } as const,
      { type: 'CNAME', name: 'x', data: 'y' } as const,
    ];
    const bytes = encode({
      type: 'query',
      questions: [{ name: 'x', type: 'MX', class: 'CH' }],
      answers: [...others, host],
    });
    expect(decodePacket(bytes)).toMatchObject({ questions: [], answers: [{ type: 'A', name: host.name }] });
  });
});

/** A response with one PTR record whose name goes through so many pointers, each to the one before. */
function chained(pointers: number): Buffer {
  const header = Buffer.from('000084000000000200000000', 'hex');
  const pointerTo = (at: number): Buffer => Buffer.from([0xc0 | (at >> 8), at & 0xff]);
  const fixed = (type: number, length: number): Buffer =>
    Buffer.from([0, type, 0, 1, 0, 0, 0, 120, length >> 8, length & 0xff]);
  // The data of the first record, of a type that is left out, is a name and the chain of pointers behind it.
  const start = 12 + 1 + 10;
  const chain = Array.from({ length: pointers - 1 }, (_, at) => pointerTo(at === 0 ? start : start + 1 + 2 * (at - 1)));
  const data = Buffer.concat([Buffer.from([0]), ...chain]);
  const last = pointerTo(start + data.length - 2);
  return Buffer.concat([header, Buffer.from([0]), fixed(10, data.length), data, last, fixed(12, 2), pointerTo(start)]);
}

describe('MdnsSockets', () => {
  it("ignores questions and answers from other links than its interface's", async () => {
    const heard: string[] = [];
    const linkOn = async (name: string, links: readonly LinkAddress[]): Promise<Socket> => {
      const port = await freePort();
      const listener = {
        query: () => void heard.push(`${name} query`),
        response: () => void heard.push(`${name} response`),
      };
      const link = new MdnsSockets({ ...systemRuntime, interface: '127.0.0.1', port, links: () => links }, listener);
      toClose.push(() => link.close());
      await link.listen();
      const peer = await socketOn(port, '127.0.0.2');
      toClose.push(() => new Promise((resolve) => peer.close(() => resolve())));
      const query = encode({ type: 'query', questions: [question('greeter.micro')] });
      const response = encode({ type: 'response', answers: recordsOf('greeter', 'n1') });
      for (const packet of [query, response]) peer.send(packet, port, group);
      return peer;
    };
    await linkOn('far', [{ address: '127.0.0.1', netmask: '255.255.255.255' }]);
    await linkOn('near', [{ address: '127.0.0.1', netmask: '255.0.0.0' }]);
    await eventually('the near are heard', () => heard.length >= 2, patientMs);
    expect(heard).toEqual(['near query', 'near response']);
  });
});
