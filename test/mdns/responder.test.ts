import type { RemoteInfo } from 'node:dgram';

import { describe, expect, it } from '@jest/globals';
import { encode, type Packet } from 'dns-packet';

import { MdnsResponder } from '../../src/mdns/responder.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { host, pointer, question, recordsOf } from './support.ts';

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
      linkOf: () => '127.0.0.1',
      send: ({ name }, records, to, toAll) => {
        const packet: Packet = { type: 'response', questions: [question(name)], answers: [...records] };
        sent.push({ name, to: toAll ? 'all' : to.address, bytes: encode(packet).length });
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

  it('marks the records that only it has in multicast answers, and not in those to one address', () => {
    const sent: unknown[] = [];
    const records = [pointer('greeter', 'n1'), ...recordsOf('greeter', 'n1'), host];
    const responder = new MdnsResponder({
      clock: { now: () => 0, monotonicMs: () => 0 },
      port,
      maxAnswerBytesPerSecond: 100_000,
      answers: () => [{ name: 'greeter.micro', records, isUnique: true }],
      linkOf: () => '127.0.0.1',
      send: (_question, answers) => void sent.push(answers.map((record) => 'flush' in record && record.flush)),
    });
    responder.answer({ questions: [question('greeter.micro')] }, { ...asker, port });
    responder.answer({ questions: [question('greeter.micro')] }, asker);
    expect(sent).toEqual([
      [false, true, true, false],
      [false, false, false, false],
    ]);
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
