import { describe, expect, it } from '@jest/globals';

import { LeaseManager, type LeaseBackend } from '../../../src/registry/kit/lease-manager.ts';
import type { Registration } from '../../../src/registry/kit/driver.ts';
import { RecordingLogger } from '../../../src/testing/recorders.ts';
import { gate } from '../../../src/testing/waiting.ts';
import { virtualRuntime } from '../../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../support.ts';

const ttlMs = 9_000;

function registrationOf(id = 'n1', metadata: Record<string, string> = {}): Registration {
  const node = nodeOf(id, { metadata });
  return { service: serviceOf('greeter', [node]), node, ttlMs };
}

/** A server that does what the test says, and LeaseManager there. */
function scene() {
  const runtime = virtualRuntime();
  const logger = new RecordingLogger();
  const log: string[] = [];
  const server = {
    grants: 0,
    isAway: false,
    /** Leases that the server still knows. */
    known: new Set<number>(),
    held: Promise.resolve(),
  };
  const ask = async (what: string): Promise<void> => {
    log.push(what);
    await server.held;
    if (server.isAway) throw new Error('away');
  };
  const backend: LeaseBackend<number> = {
    grant: async ({ node }) => {
      await ask(`grant ${node.id}`);
      server.grants += 1;
      server.known.add(server.grants);
      return server.grants;
    },
    renew: async (grant, { node }) => {
      await ask(`renew ${node.id}`);
      return server.known.has(grant) ? grant : undefined;
    },
    replace: async (grant, { node }) => {
      await ask(`replace ${node.id}`);
      return server.known.has(grant) ? grant : undefined;
    },
    revoke: async (grant, { node }) => {
      await ask(`revoke ${node.id}`);
      server.known.delete(grant);
    },
  };
  const leases = new LeaseManager(backend, { ...runtime, logger, registry: 'scripted' });
  const { signal } = new AbortController();
  const announce = (registration = registrationOf()): Promise<void> => leases.announce(registration, signal);
  const withdraw = (id = 'n1'): Promise<void> => leases.withdraw('greeter', id, signal);
  return { runtime, timers: runtime.timers, logger, log, server, backend, leases, announce, withdraw };
}

describe('LeaseManager', () => {
  it('makes a lease, renews it, replaces what changed, and takes it back', async () => {
    const { announce, withdraw, log, leases } = scene();
    await announce();
    await announce();
    await announce(registrationOf('n1', { 'tenon-state': 'draining' }));
    await withdraw();
    await withdraw();
    expect(log).toEqual(['grant n1', 'renew n1', 'replace n1', 'revoke n1']);
    expect([...leases.entries()]).toEqual([]);
  });

  it('makes anew what cannot be replaced', async () => {
    const { announce, log, backend, leases } = scene();
    delete (backend as Partial<LeaseBackend<number>>).replace;
    await announce();
    await announce(registrationOf('n1', { zone: 'b' }));
    expect(log).toEqual(['grant n1', 'grant n1']);
    expect([...leases.entries()].map(({ registration }) => registration.node.metadata)).toEqual([{ zone: 'b' }]);
  });

  it('makes a lease anew that the server no longer knows, and logs it', async () => {
    const { announce, log, server, logger } = scene();
    await announce();
    server.known.clear();
    await announce();
    await announce();
    expect(log).toEqual(['grant n1', 'renew n1', 'grant n1', 'renew n1']);
    expect(logger.texts).toEqual([
      'warn the scripted registry lost node "n1" of service "greeter": it is announced again',
    ]);
  });

  it('keeps a copy: what becomes of the record afterwards is not announced', async () => {
    const { announce, leases } = scene();
    const metadata = { zone: 'a' };
    await announce(registrationOf('n1', metadata));
    metadata.zone = 'b';
    expect([...leases.entries()].map(({ registration }) => registration.node.metadata)).toEqual([{ zone: 'a' }]);
  });

  it('takes back what nobody renews', async () => {
    const { announce, log, timers } = scene();
    await announce();
    await timers.advance(ttlMs - 1);
    await announce();
    await timers.advance(ttlMs - 1);
    expect(log).toEqual(['grant n1', 'renew n1']);
    await timers.advance(1);
    expect(log).toEqual(['grant n1', 'renew n1', 'revoke n1']);
  });

  it('does not take back what is renewed just when its lease ends', async () => {
    const { announce, log, timers, server, leases } = scene();
    await announce();
    const answered = gate();
    server.held = answered.opened;
    await timers.advance(ttlMs - 1);
    const renewing = announce();
    await timers.advance(1);
    answered.open();
    await renewing;
    await timers.settle();
    expect(log).toEqual(['grant n1', 'renew n1']);
    expect([...leases.entries()]).toHaveLength(1);
  });

  it('makes all leases again when they were lost together, spread over a second', async () => {
    const { announce, leases, log, timers, runtime, logger } = scene();
    const chances = [0.1, 0.9, 0.5];
    runtime.random.next = () => chances.shift() ?? 0.5;
    for (const id of ['n1', 'n2', 'n3']) await announce(registrationOf(id));
    log.length = 0;
    leases.markLost();
    await timers.advance(100);
    expect(log).toEqual(['grant n1']);
    await timers.advance(400);
    expect(log).toEqual(['grant n1', 'grant n3']);
    await timers.advance(400);
    expect(log).toEqual(['grant n1', 'grant n3', 'grant n2']);
    expect(leases.restored).toBe(3);
    expect(logger.texts).toHaveLength(3);
    await timers.advance(5_000);
    expect(log).toHaveLength(3);
  });

  it('makes only those again that were lost', async () => {
    const { announce, leases, log, timers } = scene();
    for (const id of ['n1', 'n2']) await announce(registrationOf(id));
    leases.markLost((grant) => grant === 2);
    leases.markLost((grant) => grant === 2);
    await timers.advance(1_000);
    expect(log.slice(2)).toEqual(['grant n2']);
  });

  it('tries again at a pace that slows down while the server is away, and no longer than the lease would have held', async () => {
    const { announce, leases, log, timers, server } = scene();
    await announce();
    server.isAway = true;
    leases.markLost();
    await timers.advance(ttlMs);
    const attempts = log.length - 1;
    expect(attempts).toBeGreaterThan(3);
    expect(attempts).toBeLessThan(10);
    server.isAway = false;
    await timers.advance(60_000);
    expect(log.slice(1)).toEqual(Array<string>(attempts).fill('grant n1'));
    expect([...leases.entries()]).toEqual([]);
  });

  it('is done when the node is announced again meanwhile', async () => {
    const { announce, leases, log, timers } = scene();
    await announce();
    leases.markLost();
    await announce();
    await timers.advance(5_000);
    expect(log).toEqual(['grant n1', 'grant n1']);
    expect(leases.restored).toBe(0);
  });

  it('does not bring back a node that was taken back meanwhile', async () => {
    const { announce, withdraw, leases, log, timers } = scene();
    await announce();
    leases.markLost();
    await withdraw();
    await timers.advance(5_000);
    expect(log).toEqual(['grant n1']);
  });

  it('does one thing at a time of one node, and does not wait for another node', async () => {
    const { announce, withdraw, log, server, timers } = scene();
    const answered = gate();
    server.held = answered.opened;
    const work = [announce(), withdraw(), announce(), announce(registrationOf('n2'))];
    await timers.settle();
    expect(log).toEqual(['grant n1', 'grant n2']);
    answered.open();
    await Promise.all(work);
    expect(log).toEqual(['grant n1', 'grant n2', 'revoke n1', 'grant n1']);
  });

  it('goes on to the next when nobody waits for an answer any more', async () => {
    const { leases, announce, log, server, timers } = scene();
    server.held = new Promise(() => {});
    const controller = new AbortController();
    const stuck = leases.announce(registrationOf(), controller.signal);
    const next = announce();
    await timers.settle();
    expect(log).toEqual(['grant n1']);
    server.held = Promise.resolve();
    controller.abort(new Error('given up'));
    await next;
    expect(log).toEqual(['grant n1', 'grant n1']);
    void stuck;
  });

  it("a failure is the caller's, and the next one makes a lease", async () => {
    const { announce, log, server } = scene();
    server.isAway = true;
    await expect(announce()).rejects.toThrow('away');
    server.isAway = false;
    await announce();
    expect(log).toEqual(['grant n1', 'grant n1']);
  });

  it('leaves leases to run out when it is closed', async () => {
    const { announce, leases, log, timers } = scene();
    await announce();
    leases.markLost();
    leases.close();
    await timers.advance(60_000);
    expect(log).toEqual(['grant n1']);
    expect([...leases.entries()]).toEqual([]);
  });
});
