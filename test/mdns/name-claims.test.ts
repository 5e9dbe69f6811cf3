import { describe, expect, it } from '@jest/globals';
import type { Answer, Packet } from 'dns-packet';

import { NameClaims, type NamedNode } from '../../src/mdns/name-claims.ts';
import { VirtualTimers } from '../../src/testing/virtual-time.ts';
import { recordsOf } from './support.ts';

interface Named extends NamedNode {
  readonly port: number;
  number: number;
}

/** Two or more hosts on one link: each hears what the others send, and answers for the names that it has. */
function link() {
  const timers = new VirtualTimers();
  const hosts: Host[] = [];
  const probes: { readonly atMs: number; readonly packet: Packet }[] = [];

  class Host {
    readonly announced: Named[] = [];
    readonly renamed: string[] = [];
    readonly reclaimed: string[] = [];
    readonly claims: NameClaims<Named>;
    /** Parts of the random delay before the first probe. */
    random = 0;
    isDeaf = false;

    constructor() {
      hosts.push(this);
      this.claims = new NameClaims<Named>({
        clock: { now: () => timers.nowMs, monotonicMs: () => timers.nowMs },
        random: { next: () => this.random, uuid: () => '' },
        timers,
        probeMs: 250,
        sockets: {
          query: (packet) => {
            probes.push({ atMs: timers.nowMs, packet });
            for (const host of hosts) host.hear(packet);
            return Promise.resolve();
          },
        },
        rename: (node) => {
          node.number += 1;
          Object.assign(node, namedNode(node.port, node.number));
          this.renamed.push(node.instance);
        },
        onReclaimed: (node) => void this.reclaimed.push(node.instance),
      });
    }

    hear(query: Packet): void {
      if (this.isDeaf) return;
      this.claims.onQuery(query);
      for (const { instance, records, isContested } of this.announced) {
        if (query.questions?.[0]?.name === instance && isContested !== true) tell(records);
      }
    }

    async claim(port: number): Promise<Named> {
      const node = { ...namedNode(port, 1), port, number: 1 };
      await this.claims.claim(node, new AbortController().signal);
      this.claims.note(node);
      this.announced.push(node);
      tell(node.records);
      return node;
    }
  }

  function tell(answers: readonly Answer[]): void {
    for (const host of hosts) if (!host.isDeaf) host.claims.onResponse({ answers: [...answers] });
  }

  return { timers, probes, tell, host: () => new Host() };
}

function namedNode(port: number, number: number): NamedNode {
  const id = number === 1 ? 'n1' : `n1-${number}`;
  return { instance: `${id}.greeter.micro`, records: recordsOf('greeter', id, { Service: 'greeter' }, port) };
}

describe('NameClaims', () => {
  it('asks three times for a name, with the records in the authority section (RFC 6762 section 8.1)', async () => {
    const { timers, probes, host } = link();
    const one = host();
    one.random = 0.5;
    const claimed = one.claim(7_001);
    await timers.advance(2_000);
    expect((await claimed).instance).toBe('n1.greeter.micro');
    expect(probes.map(({ atMs }) => atMs)).toEqual([125, 375, 625]);
    const { questions, authorities } = probes[0]!.packet;
    expect(questions).toEqual([{ name: 'n1.greeter.micro', type: 'ANY', class: 'IN' }]);
    expect(authorities?.map(({ type, name }) => `${type} ${name}`)).toEqual([
      'SRV n1.greeter.micro',
      'TXT n1.greeter.micro',
    ]);
  });

  it('gives a node another name if somebody has its own', async () => {
    const { timers, host } = link();
    const [first, second] = [host(), host()];
    const claimed = first.claim(7_001);
    await timers.advance(1_000);
    await claimed;
    const late = second.claim(7_002);
    await timers.advance(2_000);
    expect((await late).instance).toBe('n1-2.greeter.micro');
    expect([first.renamed, second.renamed]).toEqual([[], ['n1-2.greeter.micro']]);
  });

  it.each([
    [7_001, 7_002],
    [7_002, 7_001],
  ])(
    'lets the host whose records come later in order have the name: %i against %i (RFC 6762 section 8.2)',
    async (one, other) => {
      const { timers, host } = link();
      const claims = [host().claim(one), host().claim(other)];
      await timers.advance(4_000);
      const names = new Map((await Promise.all(claims)).map(({ port, instance }) => [port, instance]));
      expect(names).toEqual(
        new Map([
          [one, one > other ? 'n1.greeter.micro' : 'n1-2.greeter.micro'],
          [other, other > one ? 'n1.greeter.micro' : 'n1-2.greeter.micro'],
        ]),
      );
    },
  );

  it('does not take the same records for those of another host', async () => {
    const { timers, host } = link();
    const claims = [host().claim(7_001), host().claim(7_001)];
    await timers.advance(2_000);
    expect((await Promise.all(claims)).map(({ instance }) => instance)).toEqual([
      'n1.greeter.micro',
      'n1.greeter.micro',
    ]);
  });

  it('claims a name again that another host announced, as after a cut (RFC 6762 section 9)', async () => {
    const { timers, tell, host } = link();
    const [one, other] = [host(), host()];
    const first = one.claim(7_001);
    await timers.advance(1_000);
    one.isDeaf = true;
    const second = other.claim(7_002);
    await timers.advance(1_000);
    const nodes = [await first, await second];
    expect(nodes[0]?.instance).toBe(nodes[1]?.instance);
    one.isDeaf = false;
    for (const { records } of nodes) tell(records);
    await timers.advance(5_000);
    expect(nodes.map(({ instance }) => instance)).toEqual(['n1-2.greeter.micro', 'n1.greeter.micro']);
    expect(one.reclaimed).toEqual(['n1-2.greeter.micro']);
  });

  it('does not probe for every packet that somebody forges', async () => {
    const { timers, probes, tell, host } = link();
    const claimed = host().claim(7_001);
    await timers.advance(1_000);
    await claimed;
    const before = probes.length;
    for (let time = 0; time < 6; time += 1) {
      tell(namedNode(6_666, 1).records);
      await timers.advance(1_500);
    }
    expect(probes.length - before).toBe(3);
  });

  it('knows packets of its own that come back after its data changed', async () => {
    const { timers, probes, tell, host } = link();
    const one = host();
    const claimed = one.claim(7_001);
    await timers.advance(1_000);
    const node = await claimed;
    const before = [...node.records];
    node.records = namedNode(7_009, 1).records;
    one.claims.note(node);
    tell(before);
    await timers.advance(2_000);
    expect(probes).toHaveLength(3);
    expect(one.renamed).toEqual([]);
  });

  it('slows down after 15 names that are taken (RFC 6762 section 8.1)', async () => {
    const { timers, tell, host } = link();
    const one = host();
    const stop = new AbortController();
    const node = { ...namedNode(7_001, 1), port: 7_001, number: 1 };
    const claimed = one.claims.claim(node, stop.signal).catch((error: unknown) => error);
    for (let time = 0; time < 600; time += 1) {
      tell(recordsOf('greeter', node.number === 1 ? 'n1' : `n1-${node.number}`, { Service: 'greeter' }, 6_666));
      await timers.advance(50);
    }
    expect(node.number).toBeGreaterThan(15);
    expect(node.number).toBeLessThan(25);
    stop.abort();
    expect(await claimed).toBe(stop.signal.reason);
  });
});
