import assert from 'node:assert/strict';

import { Code, TenonError } from '../errors/errors.ts';
import {
  busyKey,
  type NodeRecord,
  type Registry,
  type RegistryCache,
  serviceNotFound,
  type ServiceRecord,
  stateKey,
} from '../registry/registry.ts';
import type { Clock } from '../runtime/runtime.ts';
import {
  filterEndpoint,
  filterLabel,
  filterVersion,
  type SelectOptions,
  type Selector,
  type SelectorCapabilities,
  type SelectorOptions,
} from '../selector/selector.ts';
import type { Case, TestApi } from './api.ts';
import { failureOf } from './failures.ts';
import { virtualRuntime, type VirtualTimers } from './virtual-time.ts';

/** Makes the selectors to be tested. */
export interface SelectorHarness {
  /** Makes a selector over the registry and the clock of one case. */
  make(registry: Registry, options: SelectorOptions, clock: Clock): Selector;
  readonly capabilities: SelectorCapabilities;
}

const service = 'suite.greeter';

/** A registry whose contents, failures and `peek` are decided by a case. */
class Nodes {
  records: readonly ServiceRecord[] = [];
  /** The error with which `getService` fails. */
  failure: TenonError | undefined;
  /** True if `peek` returns the records. */
  answersAtOnce = true;
  reads = 0;

  set(...records: readonly ServiceRecord[]): void {
    this.records = records;
  }

  registry(): Registry {
    const getService = async (name: string): Promise<readonly ServiceRecord[]> => {
      this.reads += 1;
      if (this.failure) throw this.failure;
      if (name !== service || this.records.length === 0) throw serviceNotFound('suite', name);
      return this.records;
    };
    const peek = (name: string): readonly ServiceRecord[] | undefined =>
      this.answersAtOnce && !this.failure && name === service && this.records.length > 0 ? this.records : undefined;
    return { getService, peek } satisfies Partial<RegistryCache> as unknown as Registry;
  }
}

interface SelectorFixture {
  readonly nodes: Nodes;
  readonly timers: VirtualTimers;
  readonly selector: Selector;
  /** Selects once. Resolves with the node's id. */
  pick(options?: SelectOptions): Promise<string>;
  /** Selects `count` times. Resolves with the ids. */
  picks(count: number, options?: SelectOptions): Promise<string[]>;
  /** Begins calls of the node. */
  begin(id: string, count: number): void;
  /** Ends calls of the node that were begun, one for each error. */
  end(id: string, ...errors: readonly (TenonError | undefined)[]): void;
  /** Reports whole calls of the node, one for each error; `undefined` is a call that succeeded. */
  mark(id: string, ...errors: readonly (TenonError | undefined)[]): void;
}

function makeFixture(harness: SelectorHarness, ids: readonly string[], options: SelectorOptions = {}): SelectorFixture {
  const nodes = new Nodes();
  const { clock, timers } = virtualRuntime(1_000_000);
  if (ids.length > 0) nodes.set(record('1.0.0', ids));
  const selector = harness.make(nodes.registry(), options, clock);
  const pick = async (given?: SelectOptions): Promise<string> => (await selector.select(service, given))().id;
  return {
    nodes,
    timers,
    selector,
    pick,
    async picks(count, given) {
      const picked: string[] = [];
      for (let index = 0; index < count; index += 1) picked.push(await pick(given));
      return picked;
    },
    begin(id, count) {
      for (let call = 0; call < count; call += 1) selector.begin?.(service, node(id));
    },
    end(id, ...errors) {
      // Without latencies, which would make a difference to selectors that measure them.
      for (const error of errors) selector.mark(service, node(id), error);
    },
    mark(id, ...errors) {
      for (const error of errors) {
        selector.begin?.(service, node(id));
        selector.mark(service, node(id), error);
      }
    },
  };
}

function node(id: string, metadata: Readonly<Record<string, string>> = {}): NodeRecord {
  return { id, address: `127.0.0.1:${4000 + Number(id.replace(/\D/g, ''))}`, metadata };
}

function record(
  version: string,
  nodes: readonly (string | NodeRecord)[],
  more: Partial<ServiceRecord> = {},
): ServiceRecord {
  const all = nodes.map((one) => (typeof one === 'string' ? node(one) : one));
  return { name: service, version, metadata: {}, endpoints: [], nodes: all, ...more };
}

function failure(code: Code, reason?: string): TenonError {
  return new TenonError({ code, reason, message: 'of the suite' });
}

const unavailable = failure(Code.Unavailable, 'transport.connection_lost');
const unreachable = failure(Code.Unavailable, 'transport.unreachable');
const three = ['n1', 'n2', 'n3'] as const;
// A random selection of three misses one of them in 100 tries less than once in a billion runs.
const many = 100;

/** Asserts that exactly the nodes `ids` are selected, each at least once. */
async function assertChosen(
  from: SelectorFixture,
  ids: readonly string[],
  why: string,
  options?: SelectOptions,
): Promise<void> {
  assert.deepEqual([...new Set(await from.picks(many, options))].sort(), [...ids].sort(), why);
}

/** The error of a selection, which `select` may throw or reject with. */
function selectError(selector: Selector, name = service, options?: SelectOptions): Promise<TenonError> {
  return failureOf((async () => (await selector.select(name, options))())());
}

/** The cases of the {@link Selector} contract. */
export const selectorCases: readonly Case<SelectorHarness>[] = [
  {
    name: 'nodes of every version are selected',
    async run(harness) {
      const one = makeFixture(harness, []);
      one.nodes.set(record('1.0.0', ['n1', 'n2']), record('2.0.0', ['n3']));
      await assertChosen(one, three, 'of both versions');
      assert.equal((await one.selector.select(service))().address.startsWith('127.0.0.1:400'), true);
    },
  },
  {
    name: 'every node is selected about equally often',
    async run(harness) {
      const picked = await makeFixture(harness, ['n1', 'n2', 'n3', 'n4']).picks(2_000);
      for (const id of ['n1', 'n2', 'n3', 'n4']) {
        const share = picked.filter((one) => one === id).length;
        assert.ok(share > 350 && share < 650, `${id} was chosen ${share} times of 2,000`);
      }
    },
  },
  {
    name: 'select returns without a promise when the nodes are known',
    run(harness) {
      const next = makeFixture(harness, three).selector.select(service);
      assert.equal(typeof next, 'function');
    },
  },
  {
    name: 'select reads the registry when the nodes are not known',
    async run(harness) {
      const one = makeFixture(harness, three);
      one.nodes.answersAtOnce = false;
      await assertChosen(one, three, 'after reading');
      assert.ok(one.nodes.reads > 0);
    },
  },
  {
    name: 'concurrent first selections all get a node',
    async run(harness) {
      const one = makeFixture(harness, three);
      one.nodes.answersAtOnce = false;
      const picked = await Promise.all(Array.from({ length: 20 }, () => one.pick()));
      assert.ok(picked.every((id) => (three as readonly string[]).includes(id)));
    },
  },
  {
    name: 'a service that is not registered is NOT_FOUND',
    async run(harness) {
      const { code, reason, message } = await selectError(makeFixture(harness, []).selector, 'suite.nobody');
      assert.deepEqual([code, reason], [Code.NotFound, 'registry.not_found']);
      assert.match(message, /suite\.nobody/);
    },
  },
  {
    name: 'errors of the registry pass through',
    async run(harness) {
      const one = makeFixture(harness, three);
      one.nodes.failure = failure(Code.Unavailable, 'registry.unreachable');
      assert.equal(await selectError(one.selector), one.nodes.failure);
    },
  },
  {
    name: 'only nodes that serve are selected',
    async run(harness) {
      const one = makeFixture(harness, []);
      one.nodes.set(
        record('1.0.0', ['n1', node('n2', { [stateKey]: 'draining' }), node('n3', { [stateKey]: 'starting' })]),
        record('2.0.0', [node('n4', { [stateKey]: 'serving' }), node('n5', { [stateKey]: 'draining' })]),
      );
      await assertChosen(one, ['n1', 'n4'], 'by state');
    },
  },
  {
    name: 'the error for a service without a serving node names the nodes and their states',
    async run(harness) {
      const one = makeFixture(harness, []);
      one.nodes.set(record('1.0.0', [node('n1', { [stateKey]: 'draining' }), node('n2', { [stateKey]: 'starting' })]));
      const { code, reason, message } = await selectError(one.selector);
      assert.deepEqual([code, reason], [Code.Unavailable, 'selector.none_available']);
      for (const part of [service, '2', 'n1', 'draining', 'n2', 'starting'])
        assert.ok(message.includes(part), `${part} is not in "${message}"`);
    },
  },
  {
    name: 'filters narrow the selection',
    async run(harness) {
      const one = makeFixture(harness, []);
      const endpoints = [{ name: 'Greeter.Hello', metadata: {} }];
      one.nodes.set(
        record('1.0.0', [node('n1', { zone: 'a' }), node('n2', { zone: 'b' })], { endpoints }),
        record('2.0.0', [node('n3', { zone: 'b' })], { endpoints: [{ name: 'Greeter.Bye', metadata: {} }] }),
      );
      await assertChosen(one, ['n3'], 'by version', { filters: [filterVersion('2.0.0')] });
      await assertChosen(one, ['n2', 'n3'], 'by label', { filters: [filterLabel('zone', 'b')] });
      await assertChosen(one, ['n1', 'n2'], 'by endpoint', { filters: [filterEndpoint('Greeter.Hello')] });
      await assertChosen(one, ['n2'], 'by both', { filters: [filterLabel('zone', 'b'), filterVersion('1.0.0')] });
      await assertChosen(one, three, 'by nothing', { filters: [] });
    },
  },
  {
    name: 'a filter that leaves no node is UNAVAILABLE, naming the service',
    async run(harness) {
      const { code, reason, message } = await selectError(makeFixture(harness, three).selector, service, {
        filters: [filterVersion('9.9.9')],
      });
      assert.deepEqual([code, reason], [Code.Unavailable, 'selector.none_available']);
      for (const part of [service, '3', 'filter']) assert.ok(message.includes(part), `${part} is not in "${message}"`);
    },
  },
  {
    name: 'a filter applies to its own selection only',
    async run(harness) {
      const one = makeFixture(harness, []);
      one.nodes.set(record('1.0.0', ['n1', 'n2']), record('2.0.0', ['n3']));
      await one.picks(3, { filters: [filterVersion('2.0.0')] });
      await assertChosen(one, three, 'afterwards');
    },
  },
  {
    name: 'a further attempt of a call gets another node, as long as there is one',
    async run(harness) {
      const one = makeFixture(harness, three);
      for (let round = 0; round < 10; round += 1) {
        const next = await one.selector.select(service);
        const ids = Array.from({ length: 3 }, () => next().id);
        assert.deepEqual([...ids].sort(), [...three], `the attempts went to ${ids.join(', ')}`);
        assert.ok((three as readonly string[]).includes(next().id), 'then it begins anew');
      }
    },
  },
  {
    name: 'later selections see nodes that come and go',
    async run(harness) {
      const one = makeFixture(harness, three);
      await one.picks(5);
      one.nodes.set(record('1.0.0', ['n2', 'n4']));
      await assertChosen(one, ['n2', 'n4'], 'after the change');
      one.nodes.set(record('1.0.0', ['n2', node('n4', { [stateKey]: 'draining' })]));
      await assertChosen(one, ['n2'], 'after the drain');
    },
  },
  {
    name: 'a selection keeps the nodes that it was made from',
    async run(harness) {
      const one = makeFixture(harness, ['n1', 'n2']);
      const next = await one.selector.select(service);
      one.nodes.set(record('1.0.0', ['n8', 'n9']));
      await one.picks(3);
      assert.deepEqual([next().id, next().id].sort(), ['n1', 'n2']);
    },
  },
  {
    name: 'a node that fails ejectAfter times in a row is ejected for ejectMs',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 2 });
      await one.picks(3);
      one.mark('n2', unavailable);
      await assertChosen(one, three, 'after one failure');
      one.mark('n2', unavailable);
      await assertChosen(one, ['n1', 'n3'], 'after two failures');
      one.timers.nowMs += 999;
      await assertChosen(one, ['n1', 'n3'], 'before its time');
      one.timers.nowMs += 1;
      await assertChosen(one, three, 'when its time has passed');
    },
  },
  {
    name: 'a successful call clears the failures before it',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 2 });
      await one.picks(3);
      one.mark('n2', unavailable, undefined, unavailable, undefined, unavailable);
      await assertChosen(one, three, 'never two in a row');
    },
  },
  {
    name: 'an error that the handler returned is not counted against the node',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 2 });
      await one.picks(3);
      for (const code of [
        Code.NotFound,
        Code.InvalidArgument,
        Code.AlreadyExists,
        Code.PermissionDenied,
        Code.Cancelled,
      ])
        one.mark('n2', failure(code), failure(code), failure(code));
      await assertChosen(one, three, 'after answers with errors');
    },
  },
  {
    name: 'a node that fails after its return is ejected for longer',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 1 });
      await one.picks(3);
      one.mark('n2', unavailable);
      one.timers.nowMs += 1_000;
      await assertChosen(one, three, 'it is tried again');
      one.mark('n2', unavailable);
      one.timers.nowMs += 1_000;
      await assertChosen(one, ['n1', 'n3'], 'for longer than the first time');
      one.timers.nowMs += 60_000;
      await assertChosen(one, three, 'not for ever');
      one.mark('n2', undefined);
      one.mark('n2', unavailable);
      one.timers.nowMs += 1_000;
      await assertChosen(one, three, 'as the first time, once it has answered');
    },
  },
  {
    name: 'an ejected node is tried last within a call',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 1 });
      await one.picks(3);
      one.mark('n2', unavailable);
      for (let round = 0; round < 10; round += 1) {
        const next = await one.selector.select(service);
        const ids = [next().id, next().id, next().id];
        assert.deepEqual([ids.slice(0, 2).sort(), ids[2]], [['n1', 'n3'], 'n2'], ids.join(', '));
      }
    },
  },
  {
    name: 'a node that is busy is left for others, as long as there are enough',
    async run(harness) {
      const one = makeFixture(harness, []);
      const busy = (id: string): NodeRecord => node(id, { [busyKey]: 'true' });
      one.nodes.set(record('1.0.0', ['n1', busy('n2'), 'n3']));
      await assertChosen(one, ['n1', 'n3'], 'with two others');
      const next = await one.selector.select(service);
      assert.equal([next(), next(), next()][2]?.id, 'n2', 'it is tried last');
      one.nodes.set(record('1.0.0', [busy('n1'), busy('n2'), 'n3']));
      await assertChosen(one, three, 'with one other of three');
    },
  },
  {
    name: 'at most half of the nodes are ejected, and never the last',
    requires: 'marks',
    async run(harness) {
      const options = { ejectMs: 1_000, ejectAfter: 1 };
      const four = ['n1', 'n2', 'n3', 'n4'];
      const one = makeFixture(harness, four, options);
      await one.picks(4);
      for (const id of four) one.mark(id, unavailable, unavailable);
      await assertChosen(one, ['n3', 'n4'], 'of four');
      const pair = makeFixture(harness, ['n1', 'n2'], options);
      await pair.picks(2);
      for (const id of ['n1', 'n2']) pair.mark(id, unavailable, unavailable);
      await assertChosen(pair, ['n2'], 'of two');
      const single = makeFixture(harness, ['n1'], options);
      await single.pick();
      single.mark('n1', unavailable, unavailable, unavailable);
      await assertChosen(single, ['n1'], 'of one');
    },
  },
  {
    name: 'ejected nodes are used while fewer than half are left',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, ['n1', 'n2', 'n3', 'n4'], { ejectMs: 1_000, ejectAfter: 1 });
      await one.picks(4);
      one.mark('n1', unavailable);
      one.mark('n2', unavailable);
      await assertChosen(one, ['n3', 'n4'], 'with half of them left');
      one.nodes.set(record('1.0.0', three));
      await assertChosen(one, three, 'with one of three left');
      one.nodes.set(record('1.0.0', ['n1', 'n3']));
      await assertChosen(one, ['n3'], 'with one of two left');
      one.nodes.set(record('1.0.0', ['n1']));
      await assertChosen(one, ['n1'], 'with none left');
    },
  },
  {
    name: 'a node that cannot be reached is left out at once, and all are used when none can be',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three);
      await one.picks(3);
      one.mark('n2', unreachable);
      await assertChosen(one, ['n1', 'n3'], 'with two left');
      one.mark('n1', unreachable);
      await assertChosen(one, ['n3'], 'with one left');
      one.mark('n3', failure(Code.Unavailable, 'server.draining'));
      await assertChosen(one, three, 'with none left');
      one.mark('n1', undefined);
      await assertChosen(one, ['n1'], 'with one that answers');
    },
  },
  {
    name: 'a node that could not be reached is tried by one call a second, and is back once it answers',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three);
      await one.picks(3);
      one.mark('n2', unreachable);
      for (let round = 0; round < 8; round += 1) {
        one.timers.nowMs += 1_000;
        const ids = await one.picks(many);
        assert.equal(ids.filter((id) => id === 'n2').length, 1, `in round ${round}: ${ids.join(' ')}`);
        one.mark('n2', unreachable);
        await assertChosen(one, ['n1', 'n3'], 'after the refusal');
      }
      one.timers.nowMs += 1_000;
      await one.picks(many);
      one.mark('n2', undefined);
      await assertChosen(one, three, 'once it has answered');
    },
  },
  {
    name: 'a call counts from its begin until its end, however it ends',
    requires: 'counts',
    async run(harness) {
      const one = makeFixture(harness, ['n1', 'n2']);
      await one.pick();
      const ends = [undefined, failure(Code.NotFound), failure(Code.Cancelled, 'call.cancelled'), unavailable];
      for (const end of ends) {
        one.begin('n1', 2);
        await assertChosen(one, ['n2'], 'while two calls are in flight');
        one.end('n1', end);
        await assertChosen(one, ['n2'], 'while one call is in flight');
        one.end('n1', end);
        await assertChosen(one, ['n1', 'n2'], `after both have ended with ${end?.code}`);
      }
      // What is told too often must not make up for a call in flight.
      one.end('n1', undefined, undefined);
      one.begin('n1', 1);
      await assertChosen(one, ['n2'], 'after an end without a begin');
    },
  },
  {
    name: 'calls in flight are counted across changes of the nodes, and reset',
    requires: 'counts',
    async run(harness) {
      const one = makeFixture(harness, ['n1', 'n2']);
      await one.pick();
      one.begin('n1', 1);
      one.nodes.set(record('1.0.0', ['n2']));
      await one.pick();
      one.selector.reset(service);
      one.nodes.set(record('1.0.0', ['n1', 'n2']));
      await assertChosen(one, ['n2'], 'after it was away');
      one.end('n1', undefined);
      await assertChosen(one, ['n1', 'n2'], 'after its call has ended');
    },
  },
  {
    name: 'ejections apply to filtered selections too',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 1 });
      const options = { filters: [filterVersion('1.0.0')] };
      await one.picks(3, options);
      one.mark('n2', unavailable);
      await assertChosen(one, ['n1', 'n3'], 'filtered', options);
    },
  },
  {
    name: 'ejections survive a change of the nodes',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 1 });
      await one.picks(3);
      one.mark('n2', unavailable);
      one.nodes.set(record('1.0.0', [...three, 'n4']));
      await assertChosen(one, ['n1', 'n3', 'n4'], 'after a node came');
    },
  },
  {
    name: 'reset ends ejections',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 1 });
      await one.picks(3);
      one.mark('n2', unavailable);
      await assertChosen(one, ['n1', 'n3'], 'before');
      one.selector.reset(service);
      one.selector.reset('suite.nobody');
      await assertChosen(one, three, 'after');
    },
  },
  {
    name: 'mark ignores services and nodes that are not known',
    async run(harness) {
      const one = makeFixture(harness, three);
      one.selector.mark('suite.nobody', node('n1'), unavailable, 1);
      one.mark('n77', unavailable, unavailable, unavailable, undefined);
      await assertChosen(one, three, 'afterwards');
    },
  },
  {
    name: 'init changes options at any time',
    requires: 'marks',
    async run(harness) {
      const one = makeFixture(harness, three, { ejectMs: 1_000, ejectAfter: 1 });
      await one.picks(3);
      one.selector.init({ ejectAfter: 3 });
      assert.deepEqual([one.selector.options.ejectMs, one.selector.options.ejectAfter], [1_000, 3]);
      one.mark('n2', unavailable, unavailable);
      await assertChosen(one, three, 'after two of three');
      one.mark('n2', unavailable);
      await assertChosen(one, ['n1', 'n3'], 'after three');
    },
  },
  {
    name: 'select fails with FAILED_PRECONDITION after close',
    async run(harness) {
      const one = makeFixture(harness, three);
      await one.picks(3);
      await one.selector.close();
      await one.selector.close();
      const { code, reason } = await selectError(one.selector);
      assert.deepEqual([code, reason], [Code.FailedPrecondition, 'selector.closed']);
    },
  },
];

/** The cases that apply to a selector with these capabilities. */
export function selectorCasesFor({ capabilities }: SelectorHarness): readonly Case<SelectorHarness>[] {
  return selectorCases.filter(
    ({ requires }) => requires === undefined || capabilities[requires as keyof SelectorCapabilities] === true,
  );
}

/** Registers the cases of a selector with a test runner. */
export function selectorConformance(api: TestApi, name: string, harness: SelectorHarness): void {
  api.describe(`selector: ${name}`, () => {
    for (const one of selectorCasesFor(harness)) api.it(one.name, () => one.run(harness));
  });
}
