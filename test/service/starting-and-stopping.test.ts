import { describe, expect, it } from '@jest/globals';

import type { Client } from '../../src/client/client.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { systemRuntime, systemTimers } from '../../src/runtime/system.ts';
import type { Timers } from '../../src/runtime/runtime.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import { ManagedService } from '../../src/service/managed-service.ts';
import type { ServiceOptions } from '../../src/service/service.ts';
import { eventually, gate } from '../support/waiting.ts';
import { memoryParts, type Parts } from '../../src/testing/internal/parts.ts';
import { type Registry, stateKey } from '../../src/registry/registry.ts';

const noClient = { toString: () => 'none' } as unknown as Client;

/** Timers that do not wait: what is bounded by one of them is over at once. */
const hasty: Timers = {
  ...systemTimers,
  after: (_delayMs, callback, options) => systemTimers.after(1, callback, options),
  sleep: (_delayMs, signal) => systemTimers.sleep(1, signal),
};

function serviceOf(parts: Parts, options: ServiceOptions = {}, timers = systemTimers): ManagedService {
  const { transport, registry, broker, marshalers, logger } = parts;
  const { clock, random } = systemRuntime;
  const server = new RpcServer(transport, registry, broker, marshalers, clock, random, systemTimers, logger);
  return new ManagedService(server, noClient, timers, silentLogger, { name: 'suite', lameDuckMs: 1, ...options });
}

/** A registry whose `register` goes through `before`. */
function registryThat(parts: Parts, before: () => Promise<void>): Registry {
  const { registry } = parts;
  const register: Registry['register'] = async (record, options) => {
    await before();
    await registry.register(record, options);
  };
  return Object.assign(Object.create(registry) as Registry, {
    register,
    deregister: registry.deregister.bind(registry),
  });
}

describe('a service that is stopped while it starts', () => {
  it('does not listen when it was stopped before it listened', async () => {
    const asked = gate();
    const go = gate();
    const beforeStart = async (): Promise<void> => {
      asked.open();
      await go.opened;
    };
    const service = serviceOf(memoryParts(), { beforeStart: [beforeStart] });
    const starting = service.start();
    await asked.opened;
    await service.stop();
    go.open();
    await expect(starting).rejects.toMatchObject({ reason: 'server.stopped' });
    expect([service.state, service.server().address]).toEqual(['stopped', undefined]);
  });

  it('deregisters when it was stopped while it registered', async () => {
    const base = memoryParts();
    const asked = gate();
    const go = gate();
    const registry = registryThat(base, async () => {
      asked.open();
      await go.opened;
    });
    const service = serviceOf({ ...base, registry });
    const starting = service.start();
    await asked.opened;
    const stopping = service.stop();
    go.open();
    await expect(starting).rejects.toMatchObject({ reason: 'server.stopped' });
    await stopping;
    expect(await base.registry.listServices()).toEqual([]);
  });
});

describe('a service whose stop is forced during its lame duck period', () => {
  it('deregisters all the same', async () => {
    const parts = memoryParts();
    const service = serviceOf(parts, { lameDuckMs: 3_600_000 });
    await service.start();
    const stopping = service.stop();
    const state = async (): Promise<string | undefined> =>
      (await parts.registry.getService('suite'))[0]?.nodes[0]?.metadata[stateKey];
    await eventually('the drain is announced', async () => (await state()) === 'draining');
    await Promise.all([stopping, service.stop({ signal: AbortSignal.abort() })]);
    expect(await parts.registry.listServices()).toEqual([]);
  });
});

describe('a registry that never answers', () => {
  it('does not hold up the stop', async () => {
    const base = memoryParts();
    let isMute = false;
    const mute = gate();
    const registry = registryThat(base, () => {
      if (!isMute) return Promise.resolve();
      mute.open();
      return new Promise(() => {});
    });
    const service = serviceOf({ ...base, registry }, {}, hasty);
    await service.start();
    isMute = true;
    await mute.opened;
    await service.stop();
    expect(service.state).toBe('stopped');
  });
});
