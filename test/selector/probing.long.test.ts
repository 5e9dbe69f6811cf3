import { rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';

import { backendRow } from '../../src/app/internal/backend-table.ts';
import { contract, Registry, System, TenonError } from '../../src/index.ts';
import { systemTimers } from '../../src/runtime/system.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { freePort, startNode, type TestProcess } from '../support/process.ts';
import { describeWithServers } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';
import { selectorNames } from './support.ts';

interface SlowApi {
  wait(request: { ms: number }): Promise<{ pid: number }>;
}
const slow = contract<SlowApi>('slow.Slow', { wait: {} });
const program = fileURLToPath(new URL('../service/programs/slow.mjs', import.meta.url));

// Within the first second, within the time of an ejection, and long enough for every wait to have grown.
const downMs = [300, 3_000, 8_000];
const barMs = 2_000;
const ttlMs = 60_000;

/** A caller with one selector that calls all the time, and what it saw. */
class Caller {
  readonly selector: string;
  readonly system: System;
  readonly failures: string[] = [];
  /** The time of the first answer of each process. */
  readonly firstMs = new Map<number, number>();
  #calls = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #pending = new Set<Promise<void>>();

  constructor(selector: string, system: System) {
    this.selector = selector;
    this.system = system;
  }

  start(): void {
    const client = this.system.client(slow);
    this.#timer = setInterval(() => {
      const call = this.#call(client.wait({ ms: 20 }, { hashKey: `user-${(this.#calls += 1)}` }));
      this.#pending.add(call);
      void call.finally(() => this.#pending.delete(call));
    }, 20);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
    await this.system.stop();
  }

  async #call(reply: Promise<{ pid: number }>): Promise<void> {
    try {
      const { pid } = await reply;
      if (!this.firstMs.has(pid)) this.firstMs.set(pid, performance.now());
    } catch (error) {
      this.failures.push(TenonError.from(error).reason ?? 'none');
    }
  }
}

/** Resolves when something listens at the port, with the time. */
async function listening(port: number): Promise<number> {
  for (;;) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isThere) return performance.now();
    await systemTimers.sleep(5);
  }
}

describe.each([
  ['memory', 'tcp'],
  ['file', 'grpc'],
  ['etcd', 'grpc'],
] as const)('a node that was killed, with the registry %s, over %s', (registry, transport) => {
  const { server } = backendRow('registry', registry) ?? {};
  const where = server === undefined ? 'between processes' : 'on a real server';
  describeWithServers(where, server === undefined ? [] : [server], (addressOf) => {
    it('is called again within two seconds of listening at the same address, by every selector', async () => {
      const ports = [await freePort(), await freePort(), await freePort()];
      const nodes = ports.map((port, index) => nodeOf(`slow-${index}`, { address: `127.0.0.1:${port}` }));
      const file = join(tmpdir(), `tenon-fleet-${ports.join('-')}.json`);
      writeFileSync(file, JSON.stringify({ services: [{ name: 'slow', nodes }] }));
      const address = server === undefined ? file : addressOf(server);
      const known = { TENON_REGISTRY: registry, ...(registry !== 'memory' && { TENON_REGISTRY_ADDRESS: address }) };
      const env = { TENON_TRANSPORT: transport, ...known };
      const start = async (index: number): Promise<TestProcess> => {
        const own = {
          TENON_PROFILE: 'dev',
          TENON_SERVER_ADDRESS: `127.0.0.1:${ports[index]}`,
          TENON_SERVER_ID: String(index),
          // The record outlives the process.
          TENON_REGISTER_TTL_MS: String(ttlMs),
          TENON_REGISTER: String(registry === 'etcd'),
          TENON_LOG_FORMAT: 'text',
        };
        const child = startNode(program, { env: { ...env, ...own } });
        await child.waitForLog(/slow serves/, 60_000);
        return child;
      };
      const children = await Promise.all(ports.map((_, index) => start(index)));
      const callers = await Promise.all(
        selectorNames.map(async (selector) => {
          const own = { TENON_SELECTOR: selector, TENON_LOG_LEVEL: 'silent' };
          return new Caller(selector, await System.start([], { profile: 'dev', env: { ...env, ...own } }));
        }),
      );
      if (registry === 'memory')
        for (const { system } of callers) await system.get(Registry).register(serviceOf('slow', nodes), { ttlMs });
      const took: number[][] = [];
      try {
        for (const caller of callers) caller.start();
        const all = (pid: number): boolean => callers.every(({ firstMs }) => firstMs.has(pid));
        await eventually('all are called by all', () => children.every(({ pid }) => all(pid)), 60_000);
        for (const [run, waitMs] of downMs.entries()) {
          const index = run % 3;
          await children[index]!.kill();
          await systemTimers.sleep(waitMs);
          // What was in flight when it died, and nothing since.
          for (const caller of callers) {
            expect(caller.failures.filter((reason) => reason !== 'transport.connection_lost')).toEqual([]);
            expect(caller.failures.length).toBeLessThanOrEqual(8);
            caller.failures.length = 0;
          }
          const [sinceMs, again] = await Promise.all([listening(ports[index]!), start(index)]);
          children[index] = again;
          await eventually('the new process is called by all', () => all(again.pid), 30_000);
          took.push(callers.map(({ firstMs }) => Math.round(firstMs.get(again.pid)! - sinceMs)));
          for (const caller of callers) expect(caller.failures).toEqual([]);
        }
      } finally {
        await Promise.all(callers.map((caller) => caller.stop()));
        await Promise.all(children.map((child) => child.kill()));
        rmSync(file);
      }
      // Of three runs the median, as the machine may be busy with something else in one of them.
      const medians = callers.map(({ selector }, index) => ({
        selector,
        ms: took.map((run) => run[index]!).sort((a, b) => a - b)[1]!,
      }));
      expect(medians.filter(({ ms }) => ms > barMs)).toEqual([]);
    }, 300_000);
  });
});
