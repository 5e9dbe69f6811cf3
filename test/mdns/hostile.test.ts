import type { Socket } from 'node:dgram';
import { deflateSync } from 'node:zlib';

import { afterEach, describe, expect, it } from '@jest/globals';
import { type Answer, decode, encode, type Packet } from 'dns-packet';

import { nodesIn, servicesIn } from '../../src/mdns/records.ts';
import { type LinkAddress, MdnsSockets } from '../../src/mdns/sockets.ts';
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

  it('is skipped if its names form a loop, or if it is cut anywhere', () => {
    const loop = Buffer.from('000084000000000100000000c00cc00c000c000100000078000ac00c', 'hex');
    expect(() => decode(loop)).toThrow();
    const whole = encode({ type: 'response', answers: [host, ...recordsOf('greeter', 'n1')] });
    for (let length = 12; length < whole.length; length += 1) {
      let packet: Packet = {};
      try {
        packet = decode(whole.subarray(0, length));
      } catch {
        continue;
      }
      expect(nodesIn(packet, 'micro', everything).length + servicesIn(packet, 'micro').length).toBe(0);
    }
  });
});

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
