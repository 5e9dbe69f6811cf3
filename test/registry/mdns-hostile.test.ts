import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { deflateSync } from 'node:zlib';

import { afterEach, describe, expect, it } from '@jest/globals';
import { type Answer, decode, encode, type Packet, type Question } from 'dns-packet';

import { nodesIn, servicesIn } from '../../src/registry/mdns/records.ts';
import { MdnsSockets } from '../../src/registry/mdns/sockets.ts';
import { isOnLink, type LinkAddress, MdnsResponder } from '../../src/registry/mdns/responder.ts';
import { MdnsRegistry, type MdnsRegistryOptions } from '../../src/registry/mdns.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { eventually } from '../support/waiting.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { freePort } from '../support/process.ts';
import { idsOf, serviceOf } from './support.ts';

const group = '224.0.0.251';
const patientMs = 20_000;
const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0)) await close();
});

const everything = (): boolean => true;

function question(name: string): Question {
  return { type: 'PTR', name, class: 'IN' };
}

function pointer(service: string, id: string, ttl = 120): Answer {
  return { type: 'PTR', name: `${service}.micro`, ttl, data: `${id}.${service}.micro` };
}

/** The records of a node as anyone may send them. */
function recordsOf(service: string, id: string, said: unknown = { Service: service }, port = 7_000): Answer[] {
  const name = `${id}.${service}.micro`;
  const text = typeof said === 'string' ? said : deflateSync(JSON.stringify(said)).toString('hex');
  return [
    { type: 'SRV', name, ttl: 120, data: { port, target: 'host' } },
    { type: 'TXT', name, ttl: 120, data: text.match(/.{1,255}/g) ?? [] },
  ];
}

const host: Answer = { type: 'A', name: 'host', ttl: 120, data: '127.0.0.1' };

describe('isOnLink', () => {
  const links = [
    { address: '127.0.0.1', netmask: '255.0.0.0' },
    { address: '192.168.7.20', netmask: '255.255.255.0' },
    { address: 'fe80::1', netmask: 'ffff:ffff:ffff:ffff::' },
  ];

  it.each(['127.0.0.1', '127.255.0.9', '192.168.7.1', '192.168.7.255'])('is true for %s', (address) => {
    expect(isOnLink(address, links)).toBe(true);
  });

  it.each(['192.168.8.20', '10.0.0.1', '8.8.8.8', '128.0.0.1', 'fe80::2', '', 'host'])('is false for %s', (address) => {
    expect(isOnLink(address, links)).toBe(false);
  });
});

describe('MdnsResponder', () => {
  const port = 5353;
  const asker: RemoteInfo = { address: '127.0.0.1', port: 40_000, family: 'IPv4', size: 0 };

  function scene(nodes = 1, maxAnswerBytesPerSecond = 100_000) {
    const timers = new VirtualTimers();
    const sent: { readonly name: string; readonly to: string; readonly bytes: number }[] = [];
    const replies = Array.from({ length: nodes }, (_, index) => {
      const records = [pointer('greeter', `n${index}`), ...recordsOf('greeter', `n${index}`), host];
      return { name: 'greeter.micro', records };
    });
    const responder = new MdnsResponder({
      clock: { now: () => timers.nowMs, monotonicMs: () => timers.nowMs },
      port,
      maxAnswerBytesPerSecond,
      answers: () => replies,
      send: ({ name }, records, to) => {
        const packet: Packet = { type: 'response', questions: [question(name)], answers: [...records] };
        sent.push({ name, to: to?.address ?? 'all', bytes: encode(packet).length });
      },
    });
    return { timers, sent, responder };
  }

  it('answers a question once, even if a packet repeats it', () => {
    const { sent, responder } = scene();
    const names = ['greeter.micro', 'GREETER.micro', 'Greeter.Micro', 'other.micro'];
    responder.answer({ questions: Array.from({ length: 2_000 }, (_, at) => question(names[at % 4] ?? '')) }, asker);
    expect(sent).toHaveLength(1);
  });

  it('leaves out known answers with at least half of their time to live', () => {
    const { sent, responder } = scene(3);
    const known = [pointer('greeter', 'n0'), pointer('greeter', 'n1', 59), pointer('greeter', 'n2', 60)];
    responder.answer({ questions: [question('greeter.micro')], answers: known }, asker);
    expect(sent).toHaveLength(1);
    responder.answer({ questions: [question('greeter.micro')], answers: [] }, asker);
    expect(sent).toHaveLength(4);
  });

  it('multicasts an answer at most once a second', async () => {
    const { sent, responder, timers } = scene(2);
    const ask = (): void => responder.answer({ questions: [question('greeter.micro')] }, { ...asker, port });
    for (let time = 0; time < 100; time += 1) {
      ask();
      await timers.advance(10);
    }
    expect(sent.map(({ to }) => to)).toEqual(['all', 'all']);
    ask();
    expect(sent).toHaveLength(4);
  });

  it('limits the bytes per second that it sends to one address', async () => {
    const { sent, responder, timers } = scene(50, 10_000);
    const bytes = (): number => sent.reduce((sum, one) => sum + one.bytes, 0);
    const ask = (address: string): void =>
      responder.answer({ questions: [question('greeter.micro')] }, { ...asker, address });
    for (let time = 0; time < 100; time += 1) ask('127.0.0.1');
    expect(bytes()).toBeGreaterThan(8_000);
    expect(bytes()).toBeLessThanOrEqual(10_000);
    ask('127.0.0.2');
    expect(sent.at(-1)?.to).toBe('127.0.0.2');
    const before = bytes();
    for (let second = 0; second < 5; second += 1) {
      await timers.advance(1_000);
      for (let time = 0; time < 100; time += 1) ask('127.0.0.1');
    }
    expect(bytes() - before).toBeLessThanOrEqual(50_000);
  });

  it('limits the answers per second to all addresses together', async () => {
    const { sent, responder, timers } = scene();
    const askAll = (): void => {
      for (let at = 0; at < 5_000; at += 1) {
        const address = `127.1.${at >> 8}.${at & 255}`;
        responder.answer({ questions: [question('greeter.micro')] }, { ...asker, address });
      }
    };
    askAll();
    expect(sent).toHaveLength(256);
    await timers.advance(1_000);
    askAll();
    expect(sent).toHaveLength(512);
  });
});

describe('a malicious packet of multicast DNS', () => {
  it('is decompressed up to a limit, however many bombs it holds', () => {
    // Each unpacks to 10 MB; a text that is right comes after all of them.
    const bomb = deflateSync(Buffer.alloc(10_000_000, 'a')).toString('hex');
    const bombs = Array.from({ length: 20 }, (_, at) => recordsOf('greeter', `bomb${at}`, bomb)).flat();
    const answers = [host, ...bombs, ...recordsOf('greeter', 'n1')];
    expect(nodesIn({ answers }, 'micro', everything)).toEqual([]);
    const small = [host, ...recordsOf('greeter', 'bomb', bomb), ...recordsOf('greeter', 'n1')];
    expect(nodesIn({ answers: small }, 'micro', everything).map(({ service }) => service.nodes[0]?.id)).toEqual(['n1']);
  });

  it('has each text read once, however many records point to it', () => {
    const [srv, txt] = recordsOf('greeter', 'n1') as [Answer, Answer];
    expect(nodesIn({ answers: [host, txt, ...Array<Answer>(3_000).fill(srv)] }, 'micro', everything)).toHaveLength(1);
  });

  it.each<[string, unknown, number]>([
    ['nested 8,000 deep', `${'{"values":['.repeat(8_000)}${']}'.repeat(8_000)}`, 7_000],
    ['no object', [], 7_000],
    ['without a name', { Service: 7 }, 7_000],
    ['of another service', { Service: 'other' }, 7_000],
    ['with an id that is no text', { Service: 'greeter', Id: 7 }, 7_000],
    ['with an empty id', { Service: 'greeter', Id: '' }, 7_000],
    ['with an address that is no text', { Service: 'greeter', Address: {} }, 7_000],
    ['with a port above 65,535', { Service: 'greeter', Address: '127.0.0.1:70000' }, 7_000],
    ['with the port 0', { Service: 'greeter' }, 0],
  ])('announces no node with a text %s', (_what, said, port) => {
    const text = typeof said === 'string' ? deflateSync(said).toString('hex') : said;
    expect(nodesIn({ answers: [host, ...recordsOf('greeter', 'n1', text, port)] }, 'micro', everything)).toEqual([]);
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

describe('MdnsRegistry with a malicious peer', () => {
  async function network(): Promise<{ readonly interface: string; readonly port: number }> {
    return { interface: '127.0.0.1', port: await freePort() };
  }

  function registryOn(options: MdnsRegistryOptions, logger = new RecordingLogger()): MdnsRegistry {
    const registry = new MdnsRegistry(options, systemRuntime.clock, systemRuntime.timers, logger);
    toClose.push(() => registry.close());
    return registry;
  }

  async function socketOn(port: number, address = '0.0.0.0'): Promise<Socket> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise<void>((resolve) => socket.bind(port, address, resolve));
    socket.setMulticastInterface('127.0.0.1');
    toClose.push(() => new Promise((resolve) => socket.close(() => resolve())));
    return socket;
  }

  it('answers a packet that asks one question 300 times once', async () => {
    const where = await network();
    const registry = registryOn(where);
    await registry.register(serviceOf('greeter', ['n1']));
    await registry.register(serviceOf('last', ['n2']));
    const socket = await socketOn(0);
    const heard: Packet[] = [];
    socket.on('message', (bytes) => heard.push(decode(bytes)));
    const ask = (names: readonly string[]): void =>
      socket.send(encode({ type: 'query', questions: names.map(question) }), where.port, group);
    ask(Array<string>(300).fill('greeter.micro'));
    ask(['last.micro']);
    const named = (name: string): number => heard.filter(({ questions }) => questions?.[0]?.name === name).length;
    await eventually('the last is answered', () => named('last.micro') > 0, patientMs);
    expect(named('greeter.micro')).toBe(1);
  });

  it("ignores questions and answers from other links than its interface's", async () => {
    const heard: string[] = [];
    const linkOn = async (name: string, links: readonly LinkAddress[]): Promise<Socket> => {
      const where = await network();
      const listener = {
        query: () => void heard.push(`${name} query`),
        response: () => void heard.push(`${name} response`),
      };
      const link = new MdnsSockets({ ...where, clock: systemRuntime.clock, links: () => links }, listener);
      toClose.push(() => link.close());
      await link.listen();
      const peer = await socketOn(where.port);
      const query = encode({ type: 'query', questions: [question('greeter.micro')] });
      const response = encode({ type: 'response', answers: recordsOf('greeter', 'n1') });
      for (const packet of [query, response]) peer.send(packet, where.port, group);
      return peer;
    };
    await linkOn('far', []);
    await linkOn('near', [{ address: '127.0.0.1', netmask: '255.0.0.0' }]);
    await eventually('the near are heard', () => heard.length >= 2, patientMs);
    expect(heard).toEqual(['near query', 'near response']);
  });

  it('ignores answers from another port than that of the group', async () => {
    const where = await network();
    const registry = registryOn(where);
    const seen = new WatchRecorder(await registry.watch());
    const [forger, peer] = [await socketOn(0), await socketOn(where.port)];
    const response = (id: string): Buffer => encode({ type: 'response', answers: [host, ...recordsOf('greeter', id)] });
    forger.send(response('forged'), where.port, group);
    peer.send(response('real'), where.port, group);
    await eventually('the other is heard', () => seen.texts.includes('create real'), patientMs);
    expect(seen.texts).toEqual(['create real']);
  });

  it('keeps at most maxNodes nodes and names of a flood, and warns once', async () => {
    const where = await network();
    const logger = new RecordingLogger();
    const registry = registryOn({ ...where, maxNodes: 50 }, logger);
    const seen = new WatchRecorder(await registry.watch());
    const peer = await socketOn(where.port);
    peer.on('message', (bytes, from) => {
      if ((decode(bytes).questions ?? []).length === 0) return;
      for (let at = 0; at < 200; at += 1) {
        const answers: Answer[] = [
          host,
          ...recordsOf('greeter', `n${at}`),
          { type: 'PTR', name: '_services.micro', ttl: 120, data: `s${at}._services.micro` },
        ];
        peer.send(encode({ type: 'response', answers }), from.port, from.address);
      }
    });
    peer.addMembership(group, '127.0.0.1');
    expect((await idsOf(registry, 'greeter')).length).toBeLessThanOrEqual(50);
    expect((await registry.listServices()).length).toBeLessThanOrEqual(50);
    await eventually('it is told', () => logger.texts.length > 0, patientMs);
    expect(logger.texts).toEqual([expect.stringMatching(/^warn more than 50 nodes/)]);
    expect(seen.texts.length).toBeLessThanOrEqual(50);
  });

  it('announces a renewal without changes at most once a second', async () => {
    const where = await network();
    const registry = registryOn(where);
    const peer = await socketOn(where.port);
    peer.addMembership(group, '127.0.0.1');
    const heard: Packet[] = [];
    peer.on('message', (bytes) => heard.push(decode(bytes)));
    for (let time = 0; time < 100; time += 1) await registry.register(serviceOf('greeter', ['n1']));
    await registry.register(serviceOf('last', ['n2']));
    const named = (name: string): number => heard.filter(({ answers }) => answers?.[0]?.name === name).length;
    await eventually('the last is heard', () => named('n2.last.micro') > 0, patientMs);
    // With one more for each second that a busy machine takes, and the two repetitions.
    expect(named('n1.greeter.micro')).toBeLessThan(20);
  });
});
