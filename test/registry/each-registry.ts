import { afterEach, describe } from '@jest/globals';
import { Container, type Newable } from 'inversify';

import { loadBackend } from '../../src/app/backends.ts';
import { backendRow } from '../../src/app/internal/backend-table.ts';
import { Logger, silentLogger } from '../../src/logger/logger.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { Clock, Random, type Runtime, Timers } from '../../src/runtime/runtime.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { freePort } from '../support/process.ts';
import { describeWithServers } from '../support/servers.ts';

/** Makes a registry, on the server of the suite. It is closed after the test. */
export type MakeRegistry = (runtime?: Partial<Runtime>) => Promise<Registry>;

// A network of its own for multicast DNS.
const multicastPort = await freePort();

/** A `describe` for each of the registries that are named, with its real server if it has one. */
export function describeEachRegistry(
  title: string,
  names: readonly string[],
  define: (make: MakeRegistry, name: string) => void,
): void {
  describe.each(names)(`${title}, with the registry %s`, (name) => {
    const { server } = backendRow('registry', name) ?? {};
    const where = server === undefined ? 'between instances' : 'on a real server';
    describeWithServers(where, server === undefined ? [] : [server], (addressOf, envOf) => {
      const made: Registry[] = [];
      afterEach(() => Promise.all(made.splice(0).map((registry) => registry.close())));
      const settings = () => {
        if (server === undefined) return { interface: '127.0.0.1', port: multicastPort };
        const { TENON_REGISTRY_TLS_CA_FILE: caFile, TENON_REGISTRY_TOKEN: token } = envOf(server);
        return {
          address: addressOf(server),
          ...(caFile !== undefined && { tls: { caFile } }),
          ...(token !== undefined && { credentials: { token } }),
        };
      };
      const make: MakeRegistry = async (runtime = {}) => {
        const { clock, random, timers } = { ...systemRuntime, ...runtime };
        const { implementation, options } = await loadBackend('registry', name, settings());
        const container = new Container();
        container.bind(Clock).toConstantValue(clock);
        container.bind(Random).toConstantValue(random);
        container.bind(Timers).toConstantValue(timers);
        container.bind(Logger).toConstantValue(silentLogger);
        if (options) container.bind(options.key).toConstantValue(options.value);
        const key = implementation as Newable<Registry>;
        container.bind(key).toSelf();
        const registry = container.get(key);
        made.push(registry);
        return registry;
      };
      define(make, name);
    });
  });
}
