import { afterEach, describe, expect, it } from '@jest/globals';
import type { Answer } from 'dns-packet';

import { MulticastDns } from '../../src/mdns/mdns.ts';
import type { MdnsNode } from '../../src/mdns/records.ts';
import type { LinkAddress } from '../../src/mdns/links.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { freePort } from '../support/process.ts';
import { eventually } from '../support/waiting.ts';
import { Stranger } from './support.ts';

const patientMs = 20_000;
const { timers } = systemRuntime;
const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0)) await close();
});

/** Every address of 127.0.0.0/8 is one of this machine: each may stand for an interface. */
function linkOf(address: string): LinkAddress {
  return { address, netmask: '255.255.255.255' };
}

/** A wire whose interfaces come and go as the test says. */
async function wireAt(...addresses: string[]) {
  const links = addresses.map(linkOf);
  const silent: string[][] = [];
  const ticks: (() => void)[] = [];
  const port = await freePort();
  const renamed: string[] = [];
  const make = (): MulticastDns<string> => {
    const made = new MulticastDns<string>({
      ...systemRuntime,
      timers: {
        after: (delayMs, callback, options) => timers.after(delayMs, callback, options),
        soon: (callback) => timers.soon(callback),
        sleep: (delayMs, signal) => timers.sleep(delayMs, signal),
        every: (periodMs, callback) => {
          ticks.push(callback);
          return timers.every(periodMs, callback);
        },
      },
      port,
      domain: 'micro',
      queryMs: 40,
      probeMs: 20,
      maxPacketBytes: 1_400,
      maxAnswerBytesPerSecond: 100_000,
      links: () => links,
      nodeOf: ({ id, address }) => `${String(id)} ${String(address)}`,
      hasRoom: () => true,
      onRename: (_node, instance) => void renamed.push(instance),
      onSilence: (those) => void silent.push([...those]),
    });
    toClose.push(() => made.close());
    return made;
  };
  const wire = make();
  const stranger = await Stranger.on(port, port);
  toClose.push(() => stranger.close());
  return { wire, second: make, links, stranger, silent, renamed, look: () => ticks.forEach((tick) => tick()) };
}

function nodeAt(address: string, id = 'n1'): MdnsNode {
  return { service: 'greeter', version: '1', serviceMetadata: {}, endpoints: [], id, address, metadata: {} };
}

const never = new AbortController().signal;

function addressIn(answers: readonly Answer[] = []): unknown {
  return answers.find(({ type }) => type === 'A');
}

describe('MulticastDns at several interfaces', () => {
  it('announces and asks at each of them', async () => {
    const { wire, stranger } = await wireAt('127.0.0.1', '127.0.0.2');
    await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never);
    await wire.find('other', 0, never);
    const froms = (isAnswer: boolean): string[] => {
      const those = stranger.heard.filter(({ packet }) => (packet.type === 'response') === isAnswer);
      return [...new Set(those.map(({ from }) => from))].sort();
    };
    await eventually('all is heard', () => froms(true).length === 2 && froms(false).length === 2, patientMs);
    expect([froms(true), froms(false)]).toEqual([
      ['127.0.0.1', '127.0.0.2'],
      ['127.0.0.1', '127.0.0.2'],
    ]);
  });

  it('tells each link its own address of a node that listens at all addresses', async () => {
    const { wire, stranger } = await wireAt('127.0.0.1', '127.0.0.2');
    await wire.announce(nodeAt('0.0.0.0:7000'), 30_000, never);
    const told = (): unknown[] =>
      stranger.heard
        .filter(({ packet: { questions = [], answers = [] } }) => questions.length === 0 && answers.length > 0)
        .map(({ from, packet }) => [from, addressIn(packet.answers)]);
    await eventually('both are told', () => told().length >= 2, patientMs);
    const record = (data: string): unknown => expect.objectContaining({ data });
    expect(told()).toEqual(
      expect.arrayContaining([
        ['127.0.0.1', record('127.0.0.1')],
        ['127.0.0.2', record('127.0.0.2')],
      ]),
    );
    expect(await wire.find('greeter', 0, never)).toEqual(['n1 127.0.0.1:7000']);
  });

  it('announces its nodes at an interface that came, and asks there for what is watched', async () => {
    const { wire, links, stranger, look } = await wireAt('127.0.0.1');
    await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never);
    await wire.watch('other', () => {}, never);
    // The announcements of a new node are over.
    await timers.sleep(3_300);
    const heardFrom = (address: string, type: string): boolean =>
      stranger.heard.some(({ from, packet }) => from === address && packet.type === type);
    expect(heardFrom('127.0.0.3', 'response')).toBe(false);
    links.push(linkOf('127.0.0.3'));
    look();
    await eventually('it is announced there', () => heardFrom('127.0.0.3', 'response'), patientMs);
    await eventually('it asks there', () => heardFrom('127.0.0.3', 'query'), patientMs);
  });

  it('goes on at the others when an interface goes, and at it when it comes back', async () => {
    const { wire, links, stranger, look } = await wireAt('127.0.0.1', '127.0.0.2');
    const own = await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never);
    links.pop();
    look();
    await timers.sleep(50);
    const before = stranger.heard.length;
    await wire.withdraw(own);
    const since = (): string[] => [...new Set(stranger.heard.slice(before).map(({ from }) => from))];
    await eventually('it says goodbye', () => since().length > 0, patientMs);
    expect(since()).toEqual(['127.0.0.1']);
    links.push(linkOf('127.0.0.2'));
    look();
    await timers.sleep(50);
    await wire.announce(nodeAt('127.0.0.1:7000', 'n2'), 30_000, never);
    await eventually('it is back', () => since().includes('127.0.0.2'), patientMs);
  });

  it('has heard its goodbye when a node is withdrawn, as others of this machine have', async () => {
    const { wire, stranger } = await wireAt('127.0.0.1');
    for (let round = 0; round < 20; round += 1) {
      const own = await wire.announce(nodeAt('127.0.0.1:7000', `n${round}`), 30_000, never);
      await wire.withdraw(own);
      // What has arrived is read in the next turn of the event loop.
      for (let turn = 0; turn < 2; turn += 1) await new Promise<void>((resolve) => timers.soon(resolve));
      const goodbyes = stranger.announcements.flatMap(({ answers = [] }) =>
        answers.filter((record) => record.type === 'SRV' && record.ttl === 0),
      );
      expect(goodbyes.map(({ name }) => name)).toContain(`n${round}.greeter.micro`);
    }
  });

  it('hands a node over to another wire without a moment in which nobody answers, and without a new name', async () => {
    const { wire, second, renamed } = await wireAt('127.0.0.1');
    const other = second();
    const events: string[] = [];
    await wire.watch('greeter', ({ node, isGone }) => events.push(`${isGone ? '-' : '+'} ${node}`), never);
    wire.release(await wire.announce(nodeAt('127.0.0.1:7000'), 3_000, never));
    expect(await second().find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7000']);
    const taking = other.announce(nodeAt('127.0.0.1:7000'), 3_000, never);
    const reader = second();
    expect(await reader.find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7000']);
    const own = await taking;
    // For longer than its TTL, which the first one does not renew.
    for (let time = 0; time < 6; time += 1) {
      await timers.sleep(1_000);
      await other.repeat(own);
      for (const one of [wire, other, reader])
        expect(await one.find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7000']);
    }
    expect(new Set(events)).toEqual(new Set(['+ n1 127.0.0.1:7000']));
    await other.withdraw(own);
    for (const one of [wire, other, reader]) expect(await one.find('greeter', 100, never)).toEqual([]);
    expect(renamed).toEqual([]);
  });

  it('gives the name of a released node up to who wants it with other records', async () => {
    const { wire, second, renamed } = await wireAt('127.0.0.1');
    wire.release(await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never));
    await second().announce(nodeAt('127.0.0.1:7001'), 30_000, never);
    expect(renamed).toEqual([]);
    expect(await second().find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7001']);
  });

  it('says goodbye for a released node that the other wire left without a word', async () => {
    const { wire, second } = await wireAt('127.0.0.1');
    const reader = second();
    wire.release(await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never));
    const other = second();
    await other.announce(nodeAt('127.0.0.1:7000'), 30_000, never);
    expect(await reader.find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7000']);
    await other.close();
    await wire.withdrawFormer('greeter', 'n2');
    expect(await reader.find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7000']);
    await wire.withdrawFormer('greeter', 'n1');
    await eventually('it is gone', async () => (await reader.find('greeter', 100, never)).length === 0, patientMs);
    expect(await second().find('greeter', 100, never)).toEqual([]);
  });

  it('says no goodbye for a released node whose name somebody else has, or that has left', async () => {
    const { wire, second, stranger } = await wireAt('127.0.0.1');
    wire.release(await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never));
    const other = second();
    const own = await other.announce(nodeAt('127.0.0.1:7001'), 30_000, never);
    const reader = second();
    expect(await reader.find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7001']);
    await wire.withdrawFormer('greeter', 'n1');
    await timers.sleep(100);
    expect(await reader.find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7001']);
    await other.withdraw(own);
    wire.release(await wire.announce(nodeAt('127.0.0.1:7000', 'n3'), 30_000, never));
    await other.withdraw(await other.announce(nodeAt('127.0.0.1:7000', 'n3'), 30_000, never));
    const goodbyes = (): number =>
      stranger.announcements.filter(({ answers = [] }) =>
        answers.some((record) => record.type === 'SRV' && record.ttl === 0 && record.name === 'n3.greeter.micro'),
      ).length;
    await eventually('the other said goodbye', () => goodbyes() > 0, patientMs);
    const before = goodbyes();
    await wire.withdrawFormer('greeter', 'n3');
    await timers.sleep(100);
    expect(goodbyes()).toBe(before);
  });

  it('rejects while there is no interface, and works when there is one', async () => {
    const { wire, links } = await wireAt();
    await expect(wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never)).rejects.toThrow('no network interface');
    links.push(linkOf('127.0.0.1'));
    await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never);
    expect(await wire.find('greeter', 500, never)).toEqual(['n1 127.0.0.1:7000']);
  });

  it('hears its own question, and is silent about it', async () => {
    const { wire, silent } = await wireAt('127.0.0.1');
    await wire.announce(nodeAt('127.0.0.1:7000'), 30_000, never);
    await timers.sleep(1_200);
    expect(silent).toEqual([]);
  });
});
