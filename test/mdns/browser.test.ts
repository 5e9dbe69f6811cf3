import type { RemoteInfo } from 'node:dgram';

import { describe, expect, it } from '@jest/globals';
import type { Answer, Packet } from 'dns-packet';

import { MdnsBrowser } from '../../src/mdns/browser.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { pointer, recordsOf } from './support.ts';

const here = '127.0.0.1';

/** The address of a node is the IP address of its host, and the one that is given for a second interface. */
function hostAt(data: string): Answer {
  return { type: 'A', name: 'host', ttl: 120, data };
}

function scene(maxNodes = 100) {
  const timers = new VirtualTimers();
  const asked: { readonly atMs: number; readonly packet: Packet }[] = [];
  const links = [here, '10.0.0.1'];
  const browser = new MdnsBrowser<string>({
    clock: { now: () => timers.nowMs, monotonicMs: () => timers.nowMs },
    random: { next: () => 0, uuid: () => '' },
    timers,
    sockets: {
      isOwn: (address) => [here, '127.0.0.2'].includes(address),
      linkOf: (address) => ({ address, netmask: '255.255.255.255' }),
      links: () => links.map((address) => ({ address, netmask: '255.255.255.255' })),
      query: (packet) => {
        asked.push({ atMs: timers.nowMs, packet });
        return Promise.resolve();
      },
    },
    domain: 'micro',
    nodeOf: ({ id, address }) => `${String(id)} ${String(address)}`,
    hasRoom: (count) => count < maxNodes,
  });
  const events: string[] = [];
  const stop = new AbortController();
  const watch = (): void =>
    browser.watch('greeter', ({ node, isGone }) => events.push(`${isGone ? '-' : '+'} ${node}`), stop.signal);
  const from = (address: string): RemoteInfo => ({ address, port: 5353, family: 'IPv4', size: 0 });
  const records = (id: string, ttl: number, port = 7_000, ip = here): Answer[] =>
    [...recordsOf('greeter', id, { Service: 'greeter' }, port), hostAt(ip)].map(
      (record) => ({ ...record, ttl }) as Answer,
    );
  return {
    timers,
    asked,
    links,
    browser,
    events,
    stop,
    watch,
    records,
    announce: (id: string, ttl = 10, port = 7_000, at = here) =>
      browser.onResponse({ answers: records(id, ttl, port, at) }, from(at)),
    answer: (id: string, ttl = 10, port = 7_000) =>
      browser.onResponse(
        {
          questions: [{ type: 'PTR', name: 'greeter.micro' }],
          answers: [pointer('greeter', id, ttl), ...records(id, ttl, port)],
        },
        from(here),
      ),
    goodbye: (id: string, at = here) => browser.onResponse({ answers: records(id, 0) }, from(at)),
  };
}

describe('MdnsBrowser', () => {
  it('asks for a node that is in use at 80, 85, 90 and 95 % of its TTL, then drops it (RFC 6762 section 5.2)', async () => {
    const { timers, asked, events, watch, announce } = scene();
    watch();
    announce('n1');
    await timers.advance(9_900);
    expect(asked.map(({ atMs }) => atMs)).toEqual([8_000, 8_500, 9_000, 9_500]);
    expect(events).toEqual([`+ n1 ${here}:7000`]);
    await timers.advance(200);
    expect(events).toEqual([`+ n1 ${here}:7000`, `- n1 ${here}:7000`]);
  });

  it('keeps a node that answers, and asks again at 80 % of the new TTL', async () => {
    const { timers, asked, events, watch, announce, answer } = scene();
    watch();
    announce('n1');
    await timers.advance(8_100);
    answer('n1');
    await timers.advance(7_900);
    expect(asked.map(({ atMs }) => atMs)).toEqual([8_000]);
    await timers.advance(300);
    expect(asked.map(({ atMs }) => atMs)).toEqual([8_000, 16_100]);
    expect(events).toHaveLength(2);
  });

  it('lists the nodes with at least half of their TTL as known answers', async () => {
    const { timers, asked, watch, announce } = scene();
    watch();
    announce('old', 10);
    announce('fresh', 120);
    await timers.advance(8_000);
    expect(asked[0]?.packet.answers).toEqual([
      { type: 'PTR', name: 'greeter.micro', ttl: 112, data: 'fresh.greeter.micro' },
    ]);
  });

  it('keeps nodes that ended while this process was blocked until they could answer', async () => {
    const { timers, asked, browser, events, watch, announce, answer } = scene();
    watch();
    announce('n1');
    announce('n2');
    timers.nowMs = 60_000;
    expect(browser.nodes('greeter')).toHaveLength(2);
    await timers.advance(1);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.packet.answers).toEqual([]);
    answer('n1', 30);
    await timers.advance(1_010);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
    expect(events.slice(2)).toEqual([`+ n1 ${here}:7000`, `- n2 ${here}:7000`]);
  });

  it('reports nothing to a watch that has stopped, and asks no more for it', async () => {
    const { timers, asked, events, stop, watch, announce } = scene();
    watch();
    await timers.advance(1);
    announce('n1');
    stop.abort();
    announce('n2');
    await timers.advance(20_000);
    expect(events).toEqual([`+ n1 ${here}:7000`]);
    expect(asked).toEqual([]);
  });

  it('does not ask for nodes that nobody looks for any more', async () => {
    const { timers, asked, browser, answer } = scene();
    await browser.seek('greeter', () => {
      answer('n1');
      return Promise.resolve();
    });
    await timers.advance(1);
    answer('n1');
    await timers.advance(20_000);
    expect(asked).toEqual([]);
    expect(browser.isKnown('greeter')).toBe(false);
  });

  it('drops a node a second after its goodbye, and does not find it in that second (RFC 6762 section 10.1)', async () => {
    const { timers, browser, events, watch, announce, goodbye } = scene();
    watch();
    announce('n1');
    goodbye('n1');
    expect(browser.nodes('greeter')).toEqual([]);
    await timers.advance(999);
    expect(events).toHaveLength(1);
    await timers.advance(2);
    expect(events[1]).toBe(`- n1 ${here}:7000`);
  });

  it('keeps a node that is announced again within a second of its goodbye', async () => {
    const { timers, browser, events, watch, announce, goodbye } = scene();
    watch();
    announce('n1');
    goodbye('n1');
    await timers.advance(300);
    announce('n1', 10, 7_001);
    await timers.advance(2_000);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7001`]);
    expect(events).toEqual([`+ n1 ${here}:7000`, `+ n1 ${here}:7001`]);
  });

  it('is not misled by an answer that was on its way when the goodbye came', async () => {
    const { timers, browser, events, watch, announce, answer, goodbye } = scene();
    watch();
    announce('n1');
    goodbye('n1');
    answer('n1');
    expect(browser.nodes('greeter')).toEqual([]);
    // Of a node that was not known before it said goodbye, too.
    goodbye('n2');
    answer('n2');
    expect(browser.nodes('greeter')).toEqual([]);
    await timers.advance(1_001);
    expect(events).toEqual([`+ n1 ${here}:7000`, `- n1 ${here}:7000`]);
    answer('n1');
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
  });

  it('is not misled by it either after a second in which this process did not run', async () => {
    const { timers, browser, watch, announce, answer, goodbye } = scene();
    watch();
    announce('n1');
    goodbye('n1');
    // The answer is read in the same turn of the event loop, from another socket.
    timers.nowMs += 5_000;
    answer('n1');
    expect(browser.nodes('greeter')).toEqual([]);
    await timers.advance(1);
    expect(browser.nodes('greeter')).toEqual([]);
    answer('n1');
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
  });

  it('takes goodbyes for a node from the host that announced it alone', async () => {
    const { timers, browser, events, watch, announce, answer, goodbye } = scene();
    watch();
    announce('n1');
    for (let time = 0; time < 100; time += 1) goodbye('n1', '10.0.0.66');
    announce('n3', 10, 7_003, '10.0.0.9');
    goodbye('n3', '10.0.0.66');
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`, 'n3 10.0.0.9:7003']);
    // Nor does a forged one keep the answer of the host away.
    goodbye('n2', '10.0.0.66');
    answer('n2');
    await timers.advance(2_000);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`, 'n3 10.0.0.9:7003', `n2 ${here}:7000`]);
    expect(events.filter((event) => event.startsWith('-'))).toEqual([]);
    // A host that is this machine may say it from another of its addresses.
    goodbye('n1', '127.0.0.2');
    goodbye('n3', '10.0.0.9');
    expect(browser.nodes('greeter')).toEqual([`n2 ${here}:7000`]);
  });

  it('keeps a node for 120 s at most, whatever TTL it has', async () => {
    const { timers, browser, watch, announce } = scene();
    watch();
    announce('n1', 4_294_967_295);
    await timers.advance(119_000);
    expect(browser.nodes('greeter')).toHaveLength(1);
    await timers.advance(2_000);
    expect(browser.nodes('greeter')).toEqual([]);
  });

  it('is not slowed down by a flood of goodbyes, and finds nodes after it', async () => {
    const { timers, browser, watch, announce, goodbye } = scene();
    watch();
    for (let at = 0; at < 30_000; at += 1) goodbye(`n${at}`);
    announce('n1');
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
    await timers.advance(1_100);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
  });

  it('takes nothing for a node of a service whose name is not that of the records', () => {
    const { browser, watch } = scene();
    watch();
    const forged = (name: string, service: string): Answer[] => [
      ...recordsOf(name, 'n1', { Service: service }, 7_000),
      hostAt(here),
    ];
    for (const answers of [forged('other', 'greeter'), forged('greeter', 'other'), forged('greeter', '')])
      browser.onResponse({ answers }, { address: here, port: 5353, family: 'IPv4', size: 0 });
    expect(browser.nodes('greeter')).toEqual([]);
  });

  it('adds the zone to an address of the link alone', () => {
    const { browser, watch } = scene();
    watch();
    const answers: Answer[] = [
      ...recordsOf('greeter', 'n1', { Service: 'greeter' }, 7_000),
      { type: 'AAAA', name: 'host', ttl: 120, data: 'fe80::9' },
    ];
    browser.onResponse({ answers }, { address: 'fe80::9%eth0', port: 5353, family: 'IPv6', size: 0 });
    expect(browser.nodes('greeter')).toEqual(['n1 [fe80::9%eth0]:7000']);
  });

  it('takes a goodbye that has only the name of the node', async () => {
    const { timers, browser, events, watch, announce } = scene();
    watch();
    announce('n1');
    browser.onResponse(
      { answers: [pointer('greeter', 'n1', 0)] },
      { address: here, port: 5353, family: 'IPv4', size: 0 },
    );
    await timers.advance(1_001);
    expect(events.at(-1)).toBe(`- n1 ${here}:7000`);
  });

  it('believes no packet about a node of this process', async () => {
    const { timers, browser, events, watch, records, announce, goodbye } = scene();
    watch();
    browser.setOwn('n1.greeter.micro', records('n1', 10));
    goodbye('n1');
    announce('n1', 10, 6_666);
    await timers.advance(60_000);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
    browser.setOwn('n1.greeter.micro', undefined);
    // The announcements of this process come back to it.
    announce('n1');
    expect(browser.nodes('greeter')).toEqual([]);
    expect(events).toEqual([`+ n1 ${here}:7000`, `- n1 ${here}:7000`]);
  });

  it('keeps the address of the interface at which it heard a node first, until that is silent', async () => {
    const { timers, browser, links, watch, announce } = scene();
    watch();
    announce('n1', 10, 7_000, here);
    announce('n1', 10, 7_000, '10.0.0.1');
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
    await timers.advance(8_100);
    announce('n1', 10, 7_000, '10.0.0.1');
    expect(browser.nodes('greeter')).toEqual(['n1 10.0.0.1:7000']);
    links.pop();
    announce('n1', 10, 7_000, here);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
  });

  it('takes one node for each id, and the other one when the first is gone', async () => {
    const { timers, browser, events, watch, announce } = scene();
    watch();
    const renamed = { Service: 'greeter', Id: 'n1' };
    const answers = [...recordsOf('greeter', 'n1-2', renamed, 7_002), hostAt(here)];
    browser.onResponse({ answers }, { address: here, port: 5353, family: 'IPv4', size: 0 });
    announce('n1', 10, 7_001);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7001`]);
    await timers.advance(10_100);
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7002`]);
    expect(events).toEqual([`+ n1 ${here}:7002`, `+ n1 ${here}:7001`, `+ n1 ${here}:7002`]);
  });

  it('reads answers in the additional section, as those of zeroconf are', () => {
    const { browser, watch, records } = scene();
    watch();
    browser.onResponse(
      { answers: [pointer('greeter', 'n1')], additionals: records('n1', 120) },
      { address: here, port: 5353, family: 'IPv4', size: 0 },
    );
    expect(browser.nodes('greeter')).toEqual([`n1 ${here}:7000`]);
  });

  it('keeps no more nodes than there is room for, whatever is announced', () => {
    const { browser, watch, announce } = scene(5);
    watch();
    for (let at = 0; at < 20; at += 1) announce(`n${at}`);
    expect(browser.nodes('greeter')).toHaveLength(5);
    announce('n0', 10, 7_777);
    expect(browser.nodes('greeter')).toContain(`n0 ${here}:7777`);
  });
});
