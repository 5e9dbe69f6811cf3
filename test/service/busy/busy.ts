import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { backendRow } from '../../../src/app/internal/backend-table.ts';
import { type ClientOf, contract, System } from '../../../src/index.ts';
import { busyKey, type NodeRecord, Registry, stateKey } from '../../../src/registry/registry.ts';
import { WatchRecorder } from '../../../src/testing/recorders.ts';
import { freePort, startNode, type TestProcess } from '../../support/process.ts';
import { describeWithServers } from '../../support/servers.ts';
import { eventually } from '../../support/waiting.ts';
import { leaseOf } from '../support.ts';

interface BusyApi {
  pid(request: object): Promise<{ pid: number }>;
  block(request: { ms: number }): Promise<{ pid: number }>;
}
const busy = contract<BusyApi>('busy.Busy', { pid: {}, block: {} });
const program = fileURLToPath(new URL('../programs/busy.mjs', import.meta.url));
const patienceMs = 90_000;

const multicastPort = String(await freePort());

/** The suite of a process whose event loop is blocked, with a registry whose leases a worker thread can renew. */
export function describeBusyProcess(registry: string): void {
  describe(`a process whose event loop is blocked, with the registry ${registry}`, () => {
    const { server } = backendRow('registry', registry) ?? {};
    const where = server === undefined ? 'between processes' : 'on a real server';
    describeWithServers(where, server === undefined ? [] : [server], (addressOf, envOf) => {
      const ttlMs = leaseOf(registry, 2_000);
      let caller: System;
      let client: ClientOf<BusyApi>;
      let seen: WatchRecorder;
      const env = (): Record<string, string> =>
        server === undefined
          ? { TENON_REGISTRY: registry, TENON_MDNS_INTERFACE: '127.0.0.1', TENON_MDNS_PORT: multicastPort }
          : { TENON_REGISTRY: `${registry}://${addressOf(server)}`, ...envOf(server) };
      beforeEach(async () => {
        caller = await System.start([], { profile: 'dev', env: { ...env(), TENON_LOG_LEVEL: 'silent' } });
        client = caller.client(busy);
        seen = new WatchRecorder(await caller.get(Registry).watch({ service: 'busy' }));
      });
      afterEach(() => caller.stop());

      const start = async (more: Record<string, string> = {}): Promise<{ process: TestProcess; id: string }> => {
        const process = startNode(program, {
          env: {
            TENON_PROFILE: 'dev',
            ...env(),
            TENON_REGISTER_TTL_MS: String(ttlMs),
            TENON_LAME_DUCK_MS: '0',
            TENON_LOG_LEVEL: 'debug',
            ...more,
          },
        });
        const [, id = ''] = await process.waitForLine(/^node (.+)$/, patienceMs);
        return { process, id };
      };
      const nodes = async (): Promise<readonly NodeRecord[]> => {
        const found = caller.get(Registry);
        // Multicast DNS lists names alone, and hears of changes by itself.
        const records =
          server === undefined
            ? await found.getService('busy').catch(() => [])
            : (await found.listServices()).filter(({ name }) => name === 'busy');
        return records.flatMap((record) => record.nodes);
      };
      const node = async (id: string): Promise<NodeRecord | undefined> => (await nodes()).find((one) => one.id === id);
      /** The node is renewed by the thread once it is announced again, whatever its record. */
      const handedOver = (process: TestProcess): Promise<unknown> =>
        process.waitForLog(/is renewed by a thread/, patienceMs);

      it('stays registered for three leases, announced as busy, and comes back', async () => {
        const { process, id } = await start();
        await handedOver(process);
        const blocking = client.block({ ms: 3 * ttlMs });
        await eventually(
          'it is announced as busy',
          async () => (await node(id))?.metadata[busyKey] === 'true',
          patienceMs,
        );
        await blocking;
        await eventually('it is as before', async () => (await node(id))?.metadata[busyKey] === undefined, patienceMs);
        const ofNode = seen.events.filter(({ service }) => service.nodes.some((one) => one.id === id));
        expect(ofNode.filter(({ action }) => action === 'delete')).toEqual([]);
        expect(process.lines.filter((line) => line.includes('false'))).toEqual([]);
        await process.waitForLog(/its event loop is back/, patienceMs);
        process.signal('SIGTERM');
        await process.waitForLine(/^stopped$/, patienceMs);
        await eventually('it is gone', async () => (await node(id)) === undefined, patienceMs);
        expect((await process.waitForExit()).code).toBe(0);
      }, 300_000);

      it('is not called while another node is not busy, and again when it is back', async () => {
        const [one, other] = [await start(), await start()];
        await Promise.all([handedOver(one.process), handedOver(other.process)]);
        const pids = async (): Promise<Set<number>> => {
          const called = new Set<number>();
          for (let call = 0; call < 40; call += 1) {
            // A node that is blocked, and that this process does not yet know to be busy, answers too late.
            const { pid } = await client.pid({}, { timeoutMs: 2_000 }).catch(() => ({ pid: 0 }));
            called.add(pid);
          }
          return called;
        };
        await eventually('both are called', async () => (await pids()).size === 2, patienceMs);
        const { pid } = await client.block({ ms: 1 });
        const blocked = pid === one.process.pid ? one : other;
        const free = pid === one.process.pid ? other : one;
        // Which of the two blocks is the choice of the selector.
        let isBlocking = true;
        const blocking = client.block({ ms: 6 * ttlMs }).finally(() => (isBlocking = false));
        const isBusy = async ({ id }: { id: string }): Promise<boolean> =>
          (await node(id))?.metadata[busyKey] === 'true';
        await eventually('one is busy', async () => (await isBusy(blocked)) || (await isBusy(free)), patienceMs);
        const idle = (await isBusy(blocked)) ? free : blocked;
        await eventually('callers know it', async () => (await pids()).size === 1, patienceMs);
        expect([...(await pids())]).toEqual([idle.process.pid]);
        expect(isBlocking).toBe(true);
        await blocking;
        await eventually('both are called again', async () => (await pids()).size === 2, patienceMs);
        await Promise.all([one.process.kill('SIGKILL'), other.process.kill('SIGKILL')]);
      }, 300_000);

      it('leaves after the stated bound, and comes back with its event loop', async () => {
        const { process, id } = await start({ TENON_REGISTER_BUSY_MS: '2500', TENON_REGISTER_BUSY_AFTER_MS: '400' });
        await handedOver(process);
        const blocking = client.block({ ms: 12_000 });
        await eventually('it is gone', async () => (await node(id)) === undefined, patienceMs);
        await blocking;
        await eventually('it is back', async () => (await node(id)) !== undefined, patienceMs);
        expect((await node(id))?.metadata[busyKey]).toBeUndefined();
        await process.kill('SIGKILL');
      }, 300_000);

      it('leaves when the whole process is stopped, and is registered again when it goes on', async () => {
        const { process, id } = await start();
        await handedOver(process);
        process.signal('SIGSTOP');
        await eventually('it is gone', async () => (await node(id)) === undefined, patienceMs);
        expect(seen.events.filter(({ service }) => service.nodes[0]?.metadata[busyKey] !== undefined)).toEqual([]);
        process.signal('SIGCONT');
        await eventually('it is back', async () => (await node(id)) !== undefined, patienceMs);
        await process.kill('SIGKILL');
      }, 300_000);

      it('leaves with its process', async () => {
        const { process, id } = await start();
        await handedOver(process);
        await process.kill('SIGKILL');
        await eventually('it is gone', async () => (await node(id)) === undefined, patienceMs);
      }, 300_000);

      it('announces its drain after its last renewal, and is never seen after it left', async () => {
        // Of multicast DNS a node is registered, and its drain announced, within a second.
        const brief = { TENON_REGISTER_TTL_MS: '900', TENON_LAME_DUCK_MS: '300' };
        const { process, id } = await start(server === undefined ? { TENON_LAME_DUCK_MS: '1500' } : brief);
        await handedOver(process);
        process.signal('SIGTERM');
        await process.waitForLine(/^stopped$/, patienceMs);
        await eventually('it is gone', async () => (await node(id)) === undefined, patienceMs);
        // Over multicast DNS watchers hear of that a second later.
        await eventually('watchers know', () => seen.texts.at(-1) === `delete ${id}`, patienceMs);
        const states = seen.events
          .filter(({ service }) => service.nodes.some((one) => one.id === id))
          .map(({ action, service }) => `${action} ${service.nodes[0]?.metadata[stateKey] ?? ''}`);
        expect(states.at(-2)).toMatch(/^(?:create|update) draining$/);
        expect(states.at(-1)).toMatch(/^delete/);
      }, 300_000);
    });
  });
}
