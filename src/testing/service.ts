import assert from 'node:assert/strict';

import type { Client } from '../client/client.ts';
import { Code, TenonError } from '../errors/errors.ts';
import type { NodeState } from '../registry/registry.ts';
import type { Server, ServerOptions } from '../server/server.ts';
import type { ServiceOptions, ServiceRuntime } from '../service/service.ts';
import type { Case, TestApi } from './api.ts';
import { systemRuntime } from '../runtime/system.ts';
import { eventually } from './internal/patience.ts';

/** Makes the service under test from a server and a client that a case provides. */
export interface ServiceHarness {
  make(server: Server, client: Client, options?: ServiceOptions): ServiceRuntime;
}

/** A server that records the calls of its methods, and does nothing else. */
interface RecordedServer extends Server {
  readonly told: string[];
  /** True to make registrations fail. */
  registryIsAway: boolean;
  /** A promise that `drain` waits for. */
  drained: Promise<void>;
  failsToStart: boolean;
}

function recordedServer(): RecordedServer {
  const told: string[] = [];
  let options: ServerOptions = { name: 'suite' };
  const unused = (): never => assert.fail('a service does not call this');
  const server: RecordedServer = {
    told,
    registryIsAway: false,
    drained: Promise.resolve(),
    failsToStart: false,
    get options() {
      return options;
    },
    address: '127.0.0.1:7000',
    advertisedAddress: '127.0.0.1:7000',
    nodeId: 'suite-1',
    isSubscribed: true,
    inFlight: 0,
    init(given) {
      options = { ...options, ...given };
    },
    handle: unused,
    newHandler: unused,
    newSubscriber: unused,
    subscribe: unused,
    record: () => ({ name: 'suite', version: '', metadata: {}, endpoints: [], nodes: [] }),
    async register({ state = 'serving' }: { readonly state?: NodeState } = {}) {
      told.push(`register ${state}`);
      if (server.registryIsAway)
        throw new TenonError({ code: Code.Unavailable, reason: 'registry.unreachable', message: 'away' });
    },
    async deregister() {
      told.push('deregister');
    },
    async start() {
      told.push('start');
      if (server.failsToStart)
        throw new TenonError({ code: Code.AlreadyExists, reason: 'transport.address_in_use', message: 'taken' });
    },
    async drain(signal) {
      told.push('drain');
      await Promise.race([
        server.drained,
        new Promise((_resolve, reject) => {
          if (signal?.aborted) reject(signal.reason);
          signal?.addEventListener('abort', () => reject(signal.reason));
        }),
      ]);
      told.push('drained');
    },
    async stop() {
      told.push('stop');
    },
  };
  return server;
}

const noClient = { toString: () => 'none' } as unknown as Client;

function made(
  harness: ServiceHarness,
  options: ServiceOptions = {},
): { service: ServiceRuntime; server: RecordedServer } {
  const server = recordedServer();
  return { server, service: harness.make(server, noClient, { name: 'suite', lameDuckMs: 1, ...options }) };
}

/** The cases of the {@link ServiceRuntime} contract. */
export const serviceCases: readonly Case<ServiceHarness>[] = [
  {
    name: 'it gathers a server and a client',
    run(harness) {
      const { service, server } = made(harness);
      assert.equal(service.server(), server);
      assert.equal(service.client(), noClient);
      assert.equal(String(service), 'suite');
    },
  },
  {
    name: 'the start listens before it announces',
    async run(harness) {
      const { service, server } = made(harness);
      assert.equal(service.state, 'stopped');
      await service.start();
      assert.equal(service.state, 'serving');
      assert.deepEqual(server.told, ['start', 'register serving']);
      await service.stop();
    },
  },
  {
    name: 'the stop announces the drain, leaves the registry, finishes, and only then stops the server',
    async run(harness) {
      const { service, server } = made(harness);
      await service.start();
      server.told.length = 0;
      await service.stop();
      assert.deepEqual(server.told, ['register draining', 'deregister', 'drain', 'drained', 'stop']);
      assert.equal(service.state, 'stopped');
    },
  },
  {
    name: 'it serves on for the lame duck time before it leaves the registry',
    async run(harness) {
      const { service, server } = made(harness, { lameDuckMs: 60_000 });
      await service.start();
      server.told.length = 0;
      const controller = new AbortController();
      const stopped = service.stop({ signal: controller.signal });
      await eventually('the drain is announced', () => server.told.includes('register draining'));
      await systemRuntime.timers.sleep(30);
      const told = [...server.told];
      const { state } = service;
      controller.abort(new Error('now'));
      await stopped;
      assert.deepEqual(told, ['register draining']);
      assert.equal(state, 'draining');
      const brief = made(harness, { lameDuckMs: 30 });
      await brief.service.start();
      await brief.service.stop();
      assert.ok(brief.server.told.includes('deregister'));
    },
  },
  {
    name: 'without a drain it stops at once, and still leaves the registry',
    async run(harness) {
      const { service, server } = made(harness, { drain: false });
      await service.start();
      server.told.length = 0;
      await service.stop();
      assert.deepEqual(server.told, ['deregister', 'stop']);
    },
  },
  {
    name: 'a drain that takes too long is cut off',
    async run(harness) {
      const { service, server } = made(harness, { drainTimeoutMs: 20 });
      server.drained = new Promise(() => {});
      await service.start();
      server.told.length = 0;
      const stopped = service.stop();
      try {
        await eventually('the drain is cut off', () => service.state === 'stopped');
      } finally {
        // One that goes on waiting would keep the process.
        await service.stop({ signal: AbortSignal.abort(new Error('now')) });
      }
      await stopped;
      assert.deepEqual(server.told, ['register draining', 'deregister', 'drain', 'stop']);
    },
  },
  {
    name: 'a signal cuts a stop short that is under way',
    async run(harness) {
      const { service, server } = made(harness, { drainTimeoutMs: 3_000 });
      server.drained = new Promise(() => {});
      await service.start();
      const stopped = service.stop();
      await eventually('it drains', () => server.told.includes('drain'));
      await service.stop({ signal: AbortSignal.abort(new Error('now')) });
      await stopped;
      assert.equal(service.state, 'stopped');
    },
  },
  {
    name: 'hooks run in their places',
    async run(harness) {
      const server = recordedServer();
      const hook = (name: string) => [() => void server.told.push(name)];
      const service = harness.make(server, noClient, {
        lameDuckMs: 1,
        beforeStart: hook('beforeStart'),
        afterStart: hook('afterStart'),
        beforeStop: hook('beforeStop'),
        afterStop: hook('afterStop'),
      });
      await service.start();
      await service.stop();
      const order = [
        'beforeStart',
        'start',
        'register serving',
        'afterStart',
        'beforeStop',
        'register draining',
        'deregister',
        'drain',
        'drained',
        'stop',
        'afterStop',
      ];
      assert.deepEqual(server.told, order);
    },
  },
  {
    name: 'a start that fails stops what was started, and says why',
    async run(harness) {
      const { service, server } = made(harness);
      server.failsToStart = true;
      await assert.rejects(service.start(), { reason: 'transport.address_in_use' });
      assert.equal(service.state, 'stopped');
      assert.ok(server.told.includes('stop'), server.told.join(', '));
      server.failsToStart = false;
      await service.start();
      assert.equal(service.state, 'serving');
      await service.stop();
    },
  },
  {
    name: 'a hook that fails fails the start',
    async run(harness) {
      const { service, server } = made(harness, { afterStart: [() => Promise.reject(new Error('the hook failed'))] });
      await assert.rejects(service.start(), /the hook failed/);
      assert.equal(service.state, 'stopped');
      assert.ok(server.told.includes('deregister') && server.told.includes('stop'), server.told.join(', '));
    },
  },
  {
    name: 'the lease is renewed',
    async run(harness) {
      const { service, server } = made(harness, { registerIntervalMs: 5 });
      await service.start();
      const renewals = (): number => server.told.filter((one) => one === 'register serving').length;
      await eventually('three registrations', () => renewals() >= 3);
      await service.stop();
      const after = renewals();
      await systemRuntime.timers.sleep(30);
      assert.equal(renewals(), after, 'it went on after the stop');
    },
  },
  {
    name: 'a registry that is away does not fail the start, and hears of the node when it is back',
    async run(harness) {
      const { service, server } = made(harness, { registerIntervalMs: 5 });
      server.registryIsAway = true;
      await service.start();
      assert.equal(service.state, 'serving');
      server.registryIsAway = false;
      server.told.length = 0;
      await eventually('it is announced', () => server.told.includes('register serving'));
      await service.stop();
      assert.ok(server.told.includes('deregister'), server.told.join(', '));
    },
  },
  {
    name: 'it tells of each change: who can find it, and whether calls are taken',
    async run(harness) {
      const { service, server } = made(harness, { lameDuckMs: 40 });
      const told: string[] = [];
      const describe = (): string => {
        const { state, isRegistered, isAccepting } = service.status;
        return [state, isRegistered && 'registered', isAccepting && 'accepting'].filter(Boolean).join(' ');
      };
      service.onChange(() => told.push(describe()));
      service.onChange(() => told.push('a listener that was taken back was called'))();
      assert.equal(describe(), 'stopped');
      await service.start();
      server.drained = Promise.resolve(told.push('started')).then(() => {});
      await service.stop();
      assert.deepEqual(told, [
        'starting',
        'serving accepting',
        'serving registered accepting',
        'started',
        'draining registered accepting',
        'draining accepting',
        'draining',
        'stopped',
      ]);
    },
  },
  {
    name: 'it can be found until its lease ends, however often a renewal fails, and again when it is announced',
    async run(harness) {
      const { service, server } = made(harness, { registerIntervalMs: 20, registerTtlMs: 400 });
      const told: boolean[] = [];
      await service.start();
      assert.equal(service.status.isRegistered, true);
      service.onChange(({ isRegistered }) => told.push(isRegistered));
      server.told.length = 0;
      server.registryIsAway = true;
      await eventually('the lease ends', () => !service.status.isRegistered);
      assert.ok(server.told.length > 1, 'it ended with the first renewal that failed');
      server.registryIsAway = false;
      await eventually('it is announced', () => service.status.isRegistered);
      assert.deepEqual(told, [false, true]);
      await service.stop();
    },
  },
  {
    name: 'options come before the start, and it starts once',
    async run(harness) {
      const { service } = made(harness);
      service.init({ version: '2' });
      assert.equal(service.options.version, '2');
      await service.start();
      const late = { code: Code.FailedPrecondition, reason: 'service.started' };
      assert.throws(() => service.init({ version: '3' }), late);
      await assert.rejects(service.start(), late);
      await service.stop();
      await service.stop();
    },
  },
  {
    name: 'run serves until its signal aborts',
    async run(harness) {
      const { service, server } = made(harness);
      const controller = new AbortController();
      const running = service.run({ signal: controller.signal });
      await eventually('it serves', () => service.state === 'serving');
      controller.abort();
      await running;
      assert.equal(server.told.at(-1), 'stop');
    },
  },
];

/** Registers the cases of a service with a test runner. */
export function serviceConformance(api: TestApi, name: string, harness: ServiceHarness): void {
  api.describe(`service: ${name}`, () => {
    for (const one of serviceCases) api.it(one.name, () => one.run(harness));
  });
}
