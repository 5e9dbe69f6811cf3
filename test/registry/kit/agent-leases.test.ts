import { describe, expect, it } from '@jest/globals';

import { AddressList, type ServerAddress } from '../../../src/registry/kit/address-list.ts';
import { type AgentBackend, agentLeases, type Holder } from '../../../src/registry/kit/agent-leases.ts';
import type { Registration } from '../../../src/registry/kit/driver.ts';
import { callTimedOut } from '../../../src/registry/kit/errors.ts';
import { RecordingLogger } from '../../../src/testing/recorders.ts';
import { virtualRuntime } from '../../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../support.ts';

const ttlMs = 9_000;

function registrationOf(zone = 'a'): Registration {
  const node = nodeOf('n1', { metadata: { zone } });
  return { service: serviceOf('greeter', [node]), node, ttlMs };
}

/** An agent that does what the test says. */
class Agent {
  /** False while it hangs: what it is asked fails as a time-out does. */
  answers = true;
  /** Refuses with this error. */
  refusal: Error | undefined;
  holder: Holder = 'nobody';
  /** False if it does not say whose a node is. */
  tells = true;
  held: Promise<void> | undefined;
}

class Overloaded extends Error {}

/** Agents `a` and `b`, and leases there. */
function scene(hosts: readonly string[] = ['a', 'b'], { tells = true } = {}) {
  const runtime = virtualRuntime();
  const { timers } = runtime;
  const logger = new RecordingLogger();
  const log: string[] = [];
  const agents = new Map(hosts.map((host) => [host, new Agent()]));
  const agent = (host: string): Agent => agents.get(host)!;
  const addresses = new AddressList(
    hosts.map((host) => ({ host, port: 1 })),
    { ...runtime, registry: 'scripted', serverName: 'Scripted' },
  );
  const ask = async (what: string, { host }: ServerAddress, signal: AbortSignal): Promise<Agent> => {
    log.push(`${what} ${host}`);
    const asked = agent(host);
    await asked.held;
    signal.throwIfAborted();
    if (!asked.answers) throw callTimedOut({ registry: 'scripted', method: what, server: host }, 1_000);
    if (asked.refusal) throw asked.refusal;
    return asked;
  };
  const backend: AgentBackend = {
    register: async ({ node }, at, signal) => {
      const asked = await ask(`register ${node.metadata['zone']}`, at, signal);
      asked.holder = 'own';
    },
    renew: async (_, at, signal) => (await ask('renew', at, signal)).holder !== 'nobody',
    remove: async (_, at, signal) => {
      const asked = await ask('remove', at, signal);
      if (asked.holder === 'own') asked.holder = 'nobody';
    },
    isFaultOfAgent: (error) => error instanceof Overloaded,
    ...(tells && {
      holder: async (_: Registration, { host }: ServerAddress) => {
        if (!agent(host).answers || !agent(host).tells) throw new Error('it cannot be told');
        return agent(host).holder;
      },
    }),
  };
  const closing = new AbortController();
  const { signal } = closing;
  const options = { ...runtime, registry: 'scripted', logger, addresses, timeoutMs: 4_000, signal };
  const leases = agentLeases(backend, options);
  const call = new AbortController().signal;
  const announce = (zone?: string): Promise<void> => leases.announce(registrationOf(zone), call);
  const withdraw = (): Promise<void> => leases.withdraw('greeter', 'n1', call);
  const close = (): void => {
    closing.abort();
    leases.close();
  };
  return { timers, logger, log, agent, addresses, leases, announce, withdraw, close };
}

describe('leases at agents', () => {
  it('stay with the agent that took them, whichever address is preferred since', async () => {
    const { announce, withdraw, addresses, log, agent } = scene();
    await announce();
    addresses.failed({ host: 'a', port: 1 });
    await announce();
    await announce('b');
    await withdraw();
    expect(log).toEqual(['register a a', 'renew a', 'register b a', 'remove a']);
    expect(agent('a').holder).toBe('nobody');
  });

  it('are granted anew by the agent that no longer knows them, which is logged once', async () => {
    const { announce, agent, log, logger } = scene();
    await announce();
    agent('a').holder = 'nobody';
    await announce();
    await announce();
    expect(log).toEqual(['register a a', 'renew a', 'register a a', 'renew a']);
    expect(logger.texts).toEqual([expect.stringContaining('lost node "n1"')]);
  });

  it('go to the next agent where one does not take them, and are removed there when it answers', async () => {
    const { announce, agent, log, timers } = scene();
    agent('a').answers = false;
    await announce();
    expect(log).toEqual(['register a a', 'register a b', 'remove a']);
    await timers.advance(60_000);
    const attempts = log.length;
    expect(attempts).toBeGreaterThan(5);
    // It had taken it all the same.
    agent('a').holder = 'own';
    agent('a').answers = true;
    await timers.advance(10_000);
    expect(agent('a').holder).toBe('nobody');
    // It is asked once more, for what it did late.
    expect(log.slice(attempts).filter((one) => one === 'remove a').length).toBeLessThanOrEqual(3);
    const after = log.length;
    await timers.advance(600_000);
    expect(log.length).toBe(after);
    // The lease of the node, which has ended.
    expect(timers.pending).toBe(0);
  });

  it('are removed once more from an agent that did late what it was asked while it hung', async () => {
    const { announce, agent, log, timers } = scene();
    agent('a').answers = false;
    await announce();
    agent('a').answers = true;
    while (log.filter((one) => one === 'remove a').length < 2) await timers.advance(10);
    // The agent has answered that it is not there.
    agent('a').holder = 'own';
    await timers.advance(1_500);
    expect(agent('a').holder).toBe('nobody');
  });

  it('move when their agent has not answered for half a TTL, and not before', async () => {
    const { announce, agent, log, timers, logger } = scene();
    await announce();
    agent('a').answers = false;
    await timers.advance(3_000);
    await expect(announce()).rejects.toMatchObject({ reason: 'registry.timeout' });
    await timers.advance(1_500);
    await announce();
    expect(log).toEqual(['register a a', 'renew a', 'renew a', 'register a b', 'remove a']);
    expect(logger.texts).toHaveLength(1);
    await announce();
    expect(log.at(-1)).toBe('renew b');
  });

  it('count every answer of their agent as a sign of life', async () => {
    const { announce, agent, timers, log } = scene();
    await announce();
    for (let round = 0; round < 5; round += 1) {
      await timers.advance(3_000);
      await announce();
    }
    agent('a').answers = false;
    await timers.advance(3_000);
    await expect(announce()).rejects.toThrow();
    expect(log.filter((one) => one.startsWith('register'))).toEqual(['register a a']);
  });

  it('move from an agent that refuses renewals, as one does that is overloaded', async () => {
    const { announce, agent, log, timers } = scene();
    await announce();
    agent('a').refusal = new Overloaded();
    await timers.advance(3_000);
    await expect(announce()).rejects.toBeInstanceOf(Overloaded);
    await timers.advance(3_000);
    await announce();
    expect(log.filter((one) => one.startsWith('register'))).toEqual(['register a a', 'register a b']);
  });

  it('stay with an agent that refuses for reasons of its own, and with the only one', async () => {
    for (const [hosts, refusal] of [
      [['a', 'b'], new Error('denied')],
      [['a'], new Overloaded()],
    ] as const) {
      const { announce, agent, log, timers } = scene(hosts);
      await announce();
      agent('a').refusal = refusal;
      for (let round = 0; round < 2; round += 1) {
        await timers.advance(4_000);
        await expect(announce()).rejects.toBe(refusal);
      }
      agent('a').refusal = undefined;
      await announce();
      expect(log).toEqual(['register a a', 'renew a', 'renew a', 'renew a']);
    }
  });

  it('are no longer removed from an agent to which they go again', async () => {
    const { announce, agent, log, timers } = scene();
    agent('a').answers = false;
    await announce();
    agent('b').answers = false;
    agent('a').answers = true;
    // A removal is on its way.
    let open = (): void => {};
    agent('a').held = new Promise((resolve) => (open = resolve));
    await timers.advance(6_000);
    agent('a').held = undefined;
    const before = log.length;
    await announce();
    open();
    expect(log.slice(before)).toContain('register a a');
    await timers.advance(8_000);
    expect(agent('a').holder).toBe('own');
    expect(log.slice(before).filter((one) => one === 'remove a')).toEqual([]);
  });

  it('are removed by one attempt at a time, however often they move', async () => {
    const { announce, agent, log, timers } = scene(['a', 'b', 'c']);
    agent('a').answers = false;
    await announce();
    for (let round = 0; round < 4; round += 1) {
      const [from, to] = round % 2 === 0 ? (['b', 'c'] as const) : (['c', 'b'] as const);
      agent(from).answers = false;
      agent(to).answers = true;
      await timers.advance(5_000);
      await announce();
    }
    log.length = 0;
    await timers.advance(20_000);
    // Each attempt is followed by a pause of up to five seconds.
    expect(log.filter((one) => one === 'remove a').length).toBeLessThanOrEqual(10);
  });

  it('are left to an agent that never answers, after a bounded number of attempts', async () => {
    const { announce, agent, log, timers } = scene();
    agent('a').answers = false;
    await announce();
    await timers.advance(3_600_000);
    expect(log.filter((one) => one === 'remove a')).toHaveLength(60);
    expect(timers.pending).toBe(0);
  });

  it('leave nothing behind when they are closed, in the midst of a removal or of a renewal', async () => {
    const { announce, agent, log, timers, close } = scene();
    agent('a').answers = false;
    await announce();
    await timers.advance(5_000);
    agent('b').held = new Promise(() => {});
    const renewal = announce();
    await timers.settle();
    close();
    void renewal.catch(() => {});
    const before = log.length;
    await timers.advance(600_000);
    expect(log.length).toBe(before);
    expect(timers.pending).toBe(0);
  });

  it('are removed from every agent that may have them, when they are withdrawn', async () => {
    const { announce, withdraw, agent, log, timers } = scene();
    await announce();
    agent('a').answers = false;
    agent('b').answers = false;
    await timers.advance(5_000);
    await expect(announce()).rejects.toThrow();
    agent('a').answers = true;
    agent('b').answers = true;
    // It took what it did not answer.
    agent('b').holder = 'own';
    log.length = 0;
    await withdraw();
    await timers.advance(2_000);
    expect(new Set(log)).toEqual(new Set(['remove a', 'remove b']));
    expect([agent('a').holder, agent('b').holder]).toEqual(['nobody', 'nobody']);
  });

  it('answer after they are late as well: one renewal waits for the other', async () => {
    const { announce, agent, log, timers } = scene();
    await announce();
    let open = (): void => {};
    agent('a').held = new Promise((resolve) => (open = resolve));
    const [late, next] = [announce(), announce()];
    await timers.settle();
    expect(log).toEqual(['register a a', 'renew a']);
    open();
    await Promise.all([late, next]);
    expect(log).toEqual(['register a a', 'renew a', 'renew a']);
  });
});

describe('a node that another process has registered at the same agent', () => {
  it('is that of the process, and neither renewed nor replaced nor removed, which is logged once', async () => {
    const { announce, withdraw, agent, log, logger } = scene();
    await announce();
    agent('a').holder = 'other';
    for (const zone of ['a', 'a', 'b', 'b']) await announce(zone);
    await withdraw();
    // The one renewal was on its way before it was told.
    expect(log).toEqual(['register a a', 'renew a', 'remove a']);
    expect(agent('a').holder).toBe('other');
    expect(logger.texts).toEqual([expect.stringMatching(/^warn node "n1" of service "greeter" .* another place/)]);
  });

  it.each(['a', 'b'])('is announced again when that is gone, as the last record says (%s)', async (zone) => {
    const { announce, agent, log } = scene();
    await announce();
    agent('a').holder = 'other';
    await announce();
    await announce(zone);
    agent('a').holder = 'nobody';
    await announce(zone);
    expect(log.at(-1)).toBe(`register ${zone} a`);
    await announce(zone);
    expect(log.at(-1)).toBe('renew a');
  });

  it.each([true, false])('is renewed by its own process though it cannot be told whose it is', async (tells) => {
    const { announce, agent, log } = scene(['a'], { tells });
    await announce();
    agent('a').tells = false;
    await announce();
    await announce('b');
    expect(log).toEqual(['register a a', 'renew a', 'register b a']);
  });
});
