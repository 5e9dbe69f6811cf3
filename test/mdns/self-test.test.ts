import type { RemoteInfo } from 'node:dgram';

import { describe, expect, it } from '@jest/globals';
import type { Packet } from 'dns-packet';

import { SelfTest } from '../../src/mdns/self-test.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { recordsOf } from './support.ts';

function scene(...addresses: string[]) {
  const timers = new VirtualTimers();
  const asked: Packet[] = [];
  const silent: string[][] = [];
  const links = addresses.map((address) => ({ address, netmask: '255.255.255.0' }));
  const test = new SelfTest({
    timers,
    sockets: {
      links: () => links,
      linkOf: (of) => links.find(({ address }) => address === of),
      query: (packet) => {
        asked.push(packet);
        return Promise.resolve();
      },
    },
    onSilence: (those) => void silent.push([...those]),
  });
  const answerAt = (address: string, id = 'n1'): void => {
    const from: RemoteInfo = { address, port: 5353, family: 'IPv4', size: 0 };
    test.onResponse({ questions: asked[0]?.questions ?? [], answers: recordsOf('greeter', id) }, from);
  };
  return { timers, test, asked, silent, answerAt };
}

describe('SelfTest', () => {
  it('asks for the first node, and tells once which interfaces do not work', async () => {
    const { timers, test, asked, silent } = scene('127.0.0.1', '10.0.0.1', '10.1.0.1');
    test.start('n1.greeter.micro');
    test.start('n2.greeter.micro');
    await timers.advance(999);
    expect(asked.map(({ questions }) => questions?.[0]?.name)).toEqual(Array(3).fill('n1.greeter.micro'));
    expect(silent).toEqual([]);
    await timers.advance(1);
    expect(silent).toEqual([['10.0.0.1', '10.1.0.1']]);
    test.start('n3.greeter.micro');
    await timers.advance(5_000);
    expect(silent).toHaveLength(1);
  });

  it('is content with an answer at one interface that leads to other machines', async () => {
    const { timers, test, silent, answerAt } = scene('127.0.0.1', '10.0.0.1', '10.1.0.1');
    test.start('n1.greeter.micro');
    await timers.advance(10);
    answerAt('10.1.0.1');
    await timers.advance(2_000);
    expect(silent).toEqual([]);
  });

  it('is not content with an answer at loopback alone, nor with that of another node', async () => {
    const { timers, test, silent, answerAt } = scene('127.0.0.1', '10.0.0.1');
    test.start('n1.greeter.micro');
    await timers.advance(10);
    answerAt('127.0.0.1');
    answerAt('10.0.0.1', 'n2');
    await timers.advance(2_000);
    expect(silent).toEqual([['10.0.0.1']]);
  });

  it('is content with loopback where there is nothing else', async () => {
    const { timers, test, silent, answerAt } = scene('127.0.0.1');
    test.start('n1.greeter.micro');
    await timers.advance(10);
    answerAt('127.0.0.1');
    await timers.advance(2_000);
    expect(silent).toEqual([]);
  });

  it('tells nothing after it was closed', async () => {
    const { timers, test, silent } = scene('10.0.0.1');
    test.start('n1.greeter.micro');
    test.close();
    await timers.advance(2_000);
    expect([silent, timers.pending]).toEqual([[], 0]);
  });
});
