import { describe, expect, it } from '@jest/globals';

import type { Client } from '../../src/client/client.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { systemTimers } from '../../src/runtime/system.ts';
import type { Server } from '../../src/server/server.ts';
import { ManagedService } from '../../src/service/managed-service.ts';
import type { ServiceOptions, ServiceRuntime } from '../../src/service/service.ts';
import { serviceCases } from '../../src/testing/service.ts';
import { failing, saneLimitMs, unkept } from './support.ts';

type Make = (server: Server, client: Client, options?: ServiceOptions) => ServiceRuntime;

const sane: Make = (server, client, options) =>
  new ManagedService(server, client, unkept(systemTimers), silentLogger, options);

/** A service that sees its server through `change`. */
function seeing(change: (server: Server) => Partial<Server>): Make {
  return (server, client, options) => {
    const seen = new Proxy(server, {
      get: (target, name) => {
        const changed = change(target) as Record<string | symbol, unknown>;
        return name in changed ? changed[name] : Reflect.get(target, name, target);
      },
    });
    const service = sane(seen, client, options);
    service.server = () => server;
    return service;
  };
}

describe('the suite of services', () => {
  it('finds nothing in one that keeps its promises', async () => {
    expect(await failing(serviceCases, () => ({ make: sane }), saneLimitMs)).toEqual([]);
  }, 60_000);

  it.each<[string, Make, string]>([
    [
      'one that announces itself before it listens',
      seeing((server) => ({
        start: async (options) => {
          await server.register();
          await server.start(options);
        },
      })),
      'the start listens before it announces',
    ],
    [
      'one that tells nobody that it drains',
      seeing((server) => ({
        register: async (options) => (options?.state === 'draining' ? undefined : server.register(options)),
      })),
      'the stop announces the drain, leaves the registry, finishes, and only then stops the server',
    ],
    [
      'one that does not wait for callers to see the drain',
      (server, client, options) => sane(server, client, { ...options, lameDuckMs: 0 }),
      'it serves on for the lame duck time before it leaves the registry',
    ],
    [
      'one that drains although it is told not to',
      (server, client, options) => sane(server, client, { ...options, drain: true }),
      'without a drain it stops at once, and still leaves the registry',
    ],
    [
      'one that waits for a drain for ever',
      (server, client, options) => sane(server, client, { ...options, drainTimeoutMs: 3_600_000 }),
      'a drain that takes too long is cut off',
    ],
    [
      'one that stays in the registry',
      seeing(() => ({ deregister: async () => undefined })),
      'without a drain it stops at once, and still leaves the registry',
    ],
    [
      'one that renews no lease',
      (server, client, options) => sane(server, client, { ...options, registerIntervalMs: 60_000 }),
      'the lease is renewed',
    ],
    [
      'one that fails when the registry is away',
      (server, client, options) => {
        const service = sane(server, client, options);
        const start = service.start.bind(service);
        service.start = async (given) => {
          await server.register();
          server.register = async () => undefined;
          await start(given);
        };
        return service;
      },
      'a registry that is away does not fail the start, and hears of the node when it is back',
    ],
    [
      'one that forgets its hooks',
      (server, client, { beforeStart: _before, afterStop: _after, ...options } = {}) => sane(server, client, options),
      'hooks run in their places',
    ],
    [
      'one that keeps its changes to itself',
      (server, client, options) => {
        const service = sane(server, client, options);
        service.onChange = () => () => {};
        return service;
      },
      'it tells of each change: who can find it, and whether calls are taken',
    ],
    [
      'one that does not notice that its lease has ended',
      (server, client, options) => {
        const service = sane(server, client, options);
        Object.defineProperty(service, 'status', {
          get: () => ({ state: service.state, isRegistered: true, isSubscribed: true, isAccepting: true }),
        });
        return service;
      },
      'it can be found until its lease ends, however often a renewal fails, and again when it is announced',
    ],
  ])(
    'catches %s',
    async (_what, make, expected) => {
      expect(await failing(serviceCases, () => ({ make }))).toContain(expected);
    },
    60_000,
  );
});
