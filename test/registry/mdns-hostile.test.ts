import type { Socket } from 'node:dgram';
import { deflateSync } from 'node:zlib';

import { afterEach, describe, expect, it } from '@jest/globals';
import { type Answer, decode, encode, type Packet } from 'dns-packet';

import { nodesIn } from '../../src/mdns/records.ts';
import { recordOf } from '../../src/registry/mdns/records.ts';
import { MdnsRegistry, type MdnsRegistryOptions } from '../../src/registry/mdns.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { group, host, question, recordsOf, socketOn as openSocket } from '../mdns/support.ts';
import { freePort } from '../support/process.ts';
import { eventually } from '../support/waiting.ts';
import { idsOf, serviceOf } from './support.ts';

const patientMs = 20_000;
const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0)) await close();
});

describe('a node that multicast DNS found', () => {
  const values = `${'{"values":['.repeat(8_000)}${']}'.repeat(8_000)}`;
  const deep = `{"Service":"greeter","Endpoints":[{"request":${values}}]}`;

  it.each<[string, unknown, number]>([
    ['nested 8,000 deep', deep, 7_000],
    ['with an id that is no text', { Service: 'greeter', Id: 7 }, 7_000],
    ['with an empty id', { Service: 'greeter', Id: '' }, 7_000],
    ['with an address that is no text', { Service: 'greeter', Address: {} }, 7_000],
    ['with a port above 65,535', { Service: 'greeter', Address: '127.0.0.1:70000' }, 7_000],
    ['with the port 0', { Service: 'greeter' }, 0],
  ])('is skipped if its text is %s', (_what, said, port) => {
    const text = typeof said === 'string' ? deflateSync(said).toString('hex') : said;
    const answers = [host, ...recordsOf('greeter', 'n1', text, port)];
    expect(nodesIn({ answers }, 'micro', () => true).map(recordOf)).toEqual([undefined]);
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

  async function socketOn(port: number): Promise<Socket> {
    const socket = await openSocket(port);
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
