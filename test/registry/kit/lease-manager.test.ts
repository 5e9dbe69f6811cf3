import { describe, expect, it } from '@jest/globals';

import { LeaseManager, type LeaseBackend, takenElsewhere } from '../../../src/registry/kit/lease-manager.ts';
import type { Registration } from '../../../src/registry/kit/driver.ts';
import { RegistryObservers } from '../../../src/registry/kit/observers.ts';
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
function scene({ lapses = false } = {}) {
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
    release: (grant, { node }) => void log.push(`release ${grant} of ${node.id}`),
    lapse: (grant, { node }) => void log.push(`lapse ${grant} of ${node.id}`),
    revoke: async (grant, { node }) => {
      await ask(`revoke ${node.id}`);
      server.known.delete(grant);
    },
  };
  const observers = new RegistryObservers(logger);
  const restored: string[] = [];
  observers.add({ onRestored: ({ registry, service, node }) => void restored.push(`${registry} ${service} ${node}`) });
  const leases = new LeaseManager(backend, { ...runtime, logger, registry: 'scripted', observers, lapses });
  const { signal } = new AbortController();
  const announce = (registration = registrationOf()): Promise<void> => leases.announce(registration, signal);
  const withdraw = (id = 'n1'): Promise<void> => leases.withdraw('greeter', id, signal);
  return { runtime, timers: runtime.timers, logger, log, server, backend, leases, restored, announce, withdraw };
}

describe('LeaseManager', () => {
  it('creates a lease, renews it, replaces a changed record, and revokes it', async () => {
    const { announce, withdraw, log, leases } = scene();
    await announce();
    await announce();
    await announce(registrationOf('n1', { 'tenon-state': 'draining' }));
    await withdraw();
    await withdraw();
    expect(log).toEqual(['grant n1', 'renew n1', 'replace n1', 'revoke n1']);
    expect([...leases.entries()]).toEqual([]);
  });

  it('says that a lease was not renewed in time, where the server removes the node by itself', async () => {
    const { announce, log, leases, timers, withdraw } = scene({ lapses: true });
    await announce();
    await timers.advance(ttlMs - 1);
    expect(log).toEqual(['grant n1']);
    await timers.advance(1);
    expect(log).toEqual(['grant n1', 'lapse 1 of n1']);
    expect([...leases.entries()]).toEqual([]);
    await announce();
    await withdraw();
    expect(log.slice(2)).toEqual(['grant n1', 'revoke n1']);
  });

  it('creates a new lease if the driver cannot replace the record', async () => {
    const { announce, log, backend, leases, restored } = scene();
    delete (backend as Partial<LeaseBackend<number>>).replace;
    await announce();
    await announce(registrationOf('n1', { zone: 'b' }));
    expect(log).toEqual(['grant n1', 'grant n1']);
    expect(restored).toEqual([]);
    expect([...leases.entries()].map(({ registration }) => registration.node.metadata)).toEqual([{ zone: 'b' }]);
  });

  it('creates a lease again that the server has lost, logs it, and tells observers', async () => {
    const { announce, log, server, logger, restored } = scene();
    await announce();
    server.known.clear();
    await announce();
    await announce();
    expect(log).toEqual(['grant n1', 'renew n1', 'grant n1', 'renew n1']);
    expect(logger.texts).toEqual([
      'warn the scripted registry lost node "n1" of service "greeter": it is announced again',
    ]);
    expect(restored).toEqual(['scripted greeter n1']);
  });

  it("keeps a copy of the record, which later changes of the caller's object do not reach", async () => {
    const { announce, leases } = scene();
    const metadata = { zone: 'a' };
    await announce(registrationOf('n1', metadata));
    metadata.zone = 'b';
    expect([...leases.entries()].map(({ registration }) => registration.node.metadata)).toEqual([{ zone: 'a' }]);
  });

  it('revokes a lease that the service does not renew', async () => {
    const { announce, log, timers } = scene();
    await announce();
    await timers.advance(ttlMs - 1);
    await announce();
    await timers.advance(ttlMs - 1);
    expect(log).toEqual(['grant n1', 'renew n1']);
    await timers.advance(1);
    expect(log).toEqual(['grant n1', 'renew n1', 'revoke n1']);
  });

  it('does not revoke a lease that is renewed just before its end', async () => {
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

  it('creates all leases again that were lost together, spread over a second', async () => {
    const { announce, leases, log, timers, runtime, logger, restored } = scene();
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
    expect(restored.toSorted()).toEqual(['n1', 'n2', 'n3'].map((id) => `scripted greeter ${id}`));
    expect(logger.texts).toHaveLength(3);
    await timers.advance(5_000);
    expect(log).toHaveLength(3);
  });

  it('creates only the lost leases again', async () => {
    const { announce, leases, log, timers } = scene();
    for (const id of ['n1', 'n2']) await announce(registrationOf(id));
    leases.markLost((grant) => grant === 2);
    leases.markLost((grant) => grant === 2);
    await timers.advance(1_000);
    expect(log.slice(2)).toEqual(['grant n2']);
  });

  it('retries with back-off while the server is away, until the lease would have ended', async () => {
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

  it('stops retrying when the node is registered again meanwhile', async () => {
    const { announce, leases, log, timers } = scene();
    await announce();
    leases.markLost();
    await announce();
    await timers.advance(5_000);
    expect(log).toEqual(['grant n1', 'grant n1']);
    // By the caller.
    expect(leases.restored).toBe(1);
  });

  it('does not restore a node that was deregistered meanwhile', async () => {
    const { announce, withdraw, leases, log, timers } = scene();
    await announce();
    leases.markLost();
    await withdraw();
    await timers.advance(5_000);
    expect(log).toEqual(['grant n1']);
  });

  it('runs one operation per node at a time, and nodes do not wait for one another', async () => {
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

  it('starts the next operation of a node when the caller of the previous one has given up', async () => {
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

  it('rejects with the failure of an operation, and creates a lease at the next one', async () => {
    const { announce, log, server } = scene();
    server.isAway = true;
    await expect(announce()).rejects.toThrow('away');
    server.isAway = false;
    await announce();
    expect(log).toEqual(['grant n1', 'grant n1']);
  });

  it('lets leases expire after close', async () => {
    const { announce, leases, log, timers } = scene();
    await announce();
    leases.markLost();
    leases.close();
    await timers.advance(60_000);
    expect(log).toEqual(['grant n1']);
    expect([...leases.entries()]).toEqual([]);
  });
});

describe('a node that another process has registered since', () => {
  it('stays as that process says, which is logged once, and is announced again when it is gone', async () => {
    const { backend, logger, log, server, leases, announce } = scene();
    const { renew } = backend;
    await announce();
    backend.renew = () => Promise.resolve(takenElsewhere);
    await announce();
    await announce();
    expect([...leases.entries()]).toHaveLength(1);
    expect(logger.texts).toEqual([expect.stringMatching(/^warn node "n1" of service "greeter" .* another place/)]);
    expect(log).toEqual(['grant n1']);
    backend.renew = renew;
    server.known.clear();
    await announce();
    expect(log).toEqual(['grant n1', 'renew n1', 'grant n1']);
  });
});

describe('a node that is withdrawn and not announced here', () => {
  it('is left to the driver, in its turn, with what was announced before', async () => {
    const { leases, log, announce } = scene();
    const { signal } = new AbortController();
    const seen: unknown[] = [];
    const withdraw = (id: string): Promise<void> =>
      leases.withdraw('greeter', id, signal, async (before) => void seen.push([log.length, before?.node.address]));
    await withdraw('n1');
    const announced = announce();
    await Promise.all([announced, withdraw('n1'), withdraw('n1')]);
    // The first of the two withdrew what had been announced by then.
    expect(log).toEqual(['grant n1', 'revoke n1']);
    await announce();
    await leases.release('greeter', 'n1');
    await withdraw('n1');
    expect(log).toEqual(['grant n1', 'revoke n1', 'grant n1', 'release 2 of n1']);
    const [, address] = seen[1] as [number, string];
    expect(seen).toEqual([
      [0, undefined],
      [2, address],
      [4, address],
    ]);
    expect(address).toMatch(/:/);
  });
});

describe('a node that was released', () => {
  it('is neither renewed nor withdrawn any more, and asks nothing of the server', async () => {
    const { announce, leases, log, timers } = scene();
    await announce();
    await leases.release('greeter', 'n1');
    leases.markLost();
    await timers.advance(60_000);
    expect(log).toEqual(['grant n1', 'release 1 of n1']);
    expect([...leases.entries()]).toEqual([]);
  });

  it('stays released when an announcement that was given up takes effect later', async () => {
    const { leases, log, server, timers } = scene();
    const answered = gate();
    server.held = answered.opened;
    const impatient = new AbortController();
    const late = leases.announce(registrationOf(), impatient.signal);
    await timers.settle();
    impatient.abort();
    await leases.release('greeter', 'n1');
    answered.open();
    await late;
    expect([...leases.entries()]).toEqual([]);
    // Another instance keeps the node by now: its end here must not be its end there.
    await timers.advance(60_000);
    expect(log).toEqual(['grant n1', 'release 1 of n1']);
  });

  it('can be announced again', async () => {
    const { announce, leases, log } = scene();
    await announce();
    await leases.release('greeter', 'n1');
    await announce();
    expect(log).toEqual(['grant n1', 'release 1 of n1', 'grant n1']);
    expect([...leases.entries()]).toHaveLength(1);
  });
});
