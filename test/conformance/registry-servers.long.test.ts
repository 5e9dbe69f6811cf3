import { describe, expect, it } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import { Code, type TenonError } from '../../src/errors/errors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import type { Registry, RegistryOptions } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { networkedRegistries, registryFrom } from '../registry/networked.ts';
import { idsOf, serviceOf } from '../registry/support.ts';
import { closing } from '../support/closing.ts';
import { type FrontMode, FrontServer } from '../support/front-server.ts';
import { describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';

expectNothingUncaught();

const patientMs = 60_000;
const testMs = 180_000;
const { timers } = systemRuntime;
const isAddressed = (name: string): boolean => name !== 'file';

describe('the registries that have a server', () => {
  it('are all tried with servers that are wrong', () => {
    const all = backendRows.registry.filter(({ name, takesAddress = false }) => takesAddress && isAddressed(name));
    expect(networkedRegistries.map(({ name }) => name).sort()).toEqual(all.map(({ name }) => name).sort());
  });
});

describe.each(networkedRegistries.map((one) => [one.name, one] as const))('registry: %s', (name, one) => {
  const { server, isSingle = false, list } = one;
  const registers = list === undefined;

  const registryAt = async (
    address: string,
    options: RegistryOptions = {},
    logger = new RecordingLogger(),
  ): Promise<Registry> => {
    const registry = await registryFrom(name, { ...one.options?.(), address, ...options }, { logger });
    closing.push(() => registry.close());
    return registry;
  };
  const frontOf = async (mode: FrontMode): Promise<FrontServer> => {
    const front = await FrontServer.start(server.address, mode);
    closing.push(() => front.close());
    return front;
  };
  /** The calls that ask a server about a service. */
  const callsOf = (registry: Registry): readonly (() => Promise<unknown>)[] => [
    () => registry.getService('greeter'),
    () => registry.watch({ service: 'greeter' }),
    ...(registers ? [() => registry.register(serviceOf('greeter', ['n1']))] : []),
  ];

  describeWithServer('with its server', server, () => {
    // Redis takes a user and a password in its address.
    const withSecret = isSingle ? [] : ['user:secret@host:1'];
    it.each(['', ',', 'a b', 'host:99999', 'host:port', 'ftp://host:1', ...withSecret])(
      'takes no address "%s", and does not show a secret',
      async (address) => {
        const failure = await failureOf(registryAt(address));
        expect(failure).toMatchObject({ code: Code.InvalidArgument, reason: 'registry.invalid_address' });
        expect(failure.message).not.toContain('secret');
      },
    );

    it('says where nobody listens, and which variable says where to look', async () => {
      const registry = await registryAt('127.0.0.1:1', { timeoutMs: 5_000 });
      for (const call of callsOf(registry)) {
        const failure = await failureOf(call());
        expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'registry.unreachable' });
        expect(failure.message).toMatch(/127\.0\.0\.1:1\b.*TENON_REGISTRY_ADDRESS/);
      }
    });

    it.each<FrontMode>(['silent', 'close', 'garbage', 'page'])(
      'says so where something else listens, which it asks a few times: %s',
      async (mode) => {
        const front = await frontOf(mode);
        const registry = await registryAt(front.address, { timeoutMs: 1_500 });
        const failures: TenonError[] = [];
        for (const call of callsOf(registry)) failures.push(await failureOf(call()));
        for (const { code, reason, message } of failures) {
          expect(['registry.unreachable', 'registry.timeout', 'registry.refused']).toContain(reason);
          expect([Code.Unavailable, Code.DeadlineExceeded, Code.Internal]).toContain(code);
          expect(message).toContain(front.address);
          if (reason !== 'registry.timeout') expect(message).toContain('TENON_REGISTRY_');
        }
        // Three calls of at most a second and a half.
        expect(front.count).toBeLessThan(60);
      },
      testMs,
    );

    it.each<FrontMode>(['silent', 'close', 'garbage', 'page'])(
      'asks a server that has become something else a bounded number of times, and goes on when it is itself: %s',
      async (mode) => {
        const front = await frontOf('pass');
        const direct = await registryAt(server.address);
        const service = `turns-${mode}`;
        const announce = async (ids: readonly string[]): Promise<void> => {
          if (list) list(service, ids);
          else await direct.register(serviceOf(service, ids), { ttlMs: 600_000 });
        };
        await announce(['n1']);
        const logger = new RecordingLogger();
        const registry = await registryAt(front.address, { timeoutMs: 2_000 }, logger);
        const cache = new CachedRegistry(registry, { logger });
        closing.push(() => cache.close());
        await eventually('it is found', async () => (await idsOf(cache, service)).length === 1, patientMs);
        const known = await idsOf(cache, service);
        const own = serviceOf(`${service}-own`, ['own']);
        if (registers) await registry.register(own, { ttlMs: 6_000 });
        const renewing = timers.every(1_000, () => void (registers && registry.register(own).catch(() => {})));
        closing.push(() => renewing.cancel());
        front.become(mode);
        const before = front.count;
        await timers.sleep(6_000);
        expect(await idsOf(cache, service)).toEqual(known);
        // A busy loop makes thousands.
        expect(front.count - before).toBeLessThan(120);
        expect(logger.lines.length).toBeLessThan(20);
        front.become('pass');
        await announce(['n1', 'n2']);
        await eventually('it follows', async () => (await idsOf(cache, service)).length === 2, patientMs);
        if (!registers) return;
        await eventually('it is registered', async () => (await idsOf(direct, own.name)).length === 1, patientMs);
      },
      testMs,
    );

    if (isSingle) return;

    it.each<FrontMode>(['silent', 'close', 'garbage'])(
      'works with the second address where the first is something else: %s',
      async (mode) => {
        const front = await frontOf(mode);
        const registry = await registryAt(`${front.address},${server.address}`, { timeoutMs: 6_000 });
        const service = `second-${mode}`;
        list?.(service, ['n1']);
        if (registers) await registry.register(serviceOf(service, ['n1']), { ttlMs: 60_000 });
        await eventually('it is found', async () => (await idsOf(registry, service)).length === 1, patientMs);
        const seen = new WatchRecorder(await registry.watch({ service }));
        list?.(service, ['n1', 'n2']);
        if (registers) await registry.register(serviceOf(service, ['n2']), { ttlMs: 60_000 });
        await eventually('it is told', () => seen.texts.length > 0, patientMs);
        expect(await idsOf(registry, service)).toHaveLength(2);
      },
      testMs,
    );
  });
});
