import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import type { NodeRecord, Registry, ServiceRecord } from '../../src/registry/registry.ts';
import type { Clock } from '../../src/runtime/runtime.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import type { Next, SelectOptions, Selector, SelectorOptions } from '../../src/selector/selector.ts';
import { selectorCasesFor, type SelectorHarness } from '../../src/testing/selector.ts';
import { failing, saneLimitMs } from './support.ts';

type Make = SelectorHarness['make'];
/** What a broken selector does otherwise. `inner` keeps its promises. */
type Change = (inner: Selector, registry: Registry, clock: Clock, options: SelectorOptions) => Partial<Selector>;

const capabilities = RandomSelector.capabilities;
const sane: Make = (registry, options, clock) => new RoundRobinSelector(registry, options, clock);

function broken(change: Change): () => SelectorHarness {
  const make: Make = (registry, options, clock) => {
    const inner = sane(registry, options, clock);
    const changed = change(inner, registry, clock, options) as Record<string | symbol, unknown>;
    return new Proxy(inner, {
      get: (target, name) => {
        const value: unknown = name in changed ? changed[name] : Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  return () => ({ make, capabilities });
}

/** The registry as a selector sees it that looks at it through `see`. */
function through(registry: Registry, see: (records: readonly ServiceRecord[]) => readonly ServiceRecord[]): Registry {
  const { peek } = registry as unknown as { peek(name: string): readonly ServiceRecord[] | undefined };
  return {
    ...registry,
    getService: async (name: string) => see(await registry.getService(name)),
    peek: (name: string) => {
      const records = peek(name);
      return records && see(records);
    },
  } as unknown as Registry;
}

function changedNext(change: (next: Next) => Next): Change {
  return (inner) => ({
    select: (service, options) => {
      const next = inner.select(service, options);
      return typeof next === 'function' ? change(next) : next.then(change);
    },
  });
}

const run = (harness: () => SelectorHarness, limitMs?: number): Promise<string[]> =>
  failing(selectorCasesFor(harness()), harness, limitMs);

describe('the suite of selectors', () => {
  it('finds nothing in those that keep their promises', async () => {
    for (const Implementation of [RandomSelector, RoundRobinSelector]) {
      const make: Make = (registry, options, clock) => new Implementation(registry, options, clock);
      expect(await run(() => ({ make, capabilities }), saneLimitMs)).toEqual([]);
    }
  });

  it.each<[string, Change, string[]]>([
    [
      'one that always promises',
      (inner) => ({ select: async (service, options) => inner.select(service, options) }),
      ['known nodes are chosen without a promise'],
    ],
    [
      'one that knows one version only',
      (_inner, registry, clock, options) =>
        selecting(
          sane(
            through(registry, (records) => records.slice(0, 1)),
            options,
            clock,
          ),
        ),
      [
        'nodes of every version are chosen',
        'only nodes that serve are chosen',
        'filters narrow the choice',
        'a filter concerns its own choice only',
      ],
    ],
    [
      'one that has a favourite',
      (_inner, registry, clock, options) => {
        const chance = new RandomSelector(registry, options, clock);
        let calls = 0;
        const select: Selector['select'] = (service, given) => {
          const next = chance.select(service, given);
          calls += 1;
          if (typeof next !== 'function' || calls % 3 !== 0) return next;
          const nodes = Array.from({ length: 4 }, () => next());
          const favourite = nodes.find(({ id }) => id === 'n1');
          if (new Set(nodes).size < 4 || !favourite) return chance.select(service, given);
          return () => favourite;
        };
        return selecting(chance, select);
      },
      ['every node gets its share'],
    ],
    [
      'one that does not look at states',
      (_inner, registry, clock, options) =>
        selecting(
          sane(
            through(registry, (records) =>
              records.map((record) => ({
                ...record,
                nodes: record.nodes.map((node) => ({
                  ...node,
                  metadata: { ...node.metadata, 'tenon-state': 'serving' },
                })),
              })),
            ),
            options,
            clock,
          ),
        ),
      [
        'only nodes that serve are chosen',
        'without a node that serves the error says how many there are, and why each is left out',
        'nodes that come and go are followed',
      ],
    ],
    [
      'one that says only that there is none',
      (inner) => ({
        select: (service, options) => {
          try {
            return inner.select(service, options);
          } catch {
            throw new TenonError({
              code: Code.Unavailable,
              reason: 'selector.none_available',
              message: `no node of ${service}`,
            });
          }
        },
      }),
      [
        'without a node that serves the error says how many there are, and why each is left out',
        'a filter that leaves no node is UNAVAILABLE, naming the service',
      ],
    ],
    [
      'one that does not filter',
      (inner) => ({ select: (service) => inner.select(service) }),
      ['filters narrow the choice', 'a filter that leaves no node is UNAVAILABLE, naming the service'],
    ],
    [
      'one that keeps the first filters it was given',
      (inner) => {
        let kept: SelectOptions | undefined;
        return { select: (service, options) => inner.select(service, (kept ??= options)) };
      },
      ['filters narrow the choice', 'a filter concerns its own choice only'],
    ],
    [
      'one that tries the same node again and again',
      changedNext((next) => {
        const node = next();
        return () => node;
      }),
      [
        'an attempt after a failed one gets another node, as long as there is one',
        'a choice that was made keeps to the nodes it knew',
        'a node that is left out is still the last resort of a call',
      ],
    ],
    [
      'one that keeps the nodes it saw first',
      (_inner, registry, clock, options) => {
        let first: readonly ServiceRecord[] | undefined;
        return selecting(
          sane(
            through(registry, (records) => (first ??= records)),
            options,
            clock,
          ),
        );
      },
      ['nodes that come and go are followed', 'what was marked outlives a change of the nodes'],
    ],
    [
      'one that chooses only when it is tried',
      (_inner, registry, clock, options) => {
        const chance = new RandomSelector(registry, options, clock);
        const select: Selector['select'] = (service, given) => {
          const next = chance.select(service, given);
          return typeof next === 'function' ? () => (chance.select(service, given) as Next)() : next;
        };
        return selecting(chance, select);
      },
      [
        'an attempt after a failed one gets another node, as long as there is one',
        'a choice that was made keeps to the nodes it knew',
        'a node that is left out is still the last resort of a call',
      ],
    ],
    [
      'one that wraps the errors of the registry',
      (inner) => ({
        select: async (service, options) => {
          try {
            return await inner.select(service, options);
          } catch (error) {
            throw new TenonError({
              code: Code.Internal,
              reason: 'selector.failed',
              message: 'it failed',
              cause: error,
            });
          }
        },
      }),
      [
        'known nodes are chosen without a promise',
        'a service that nobody announced is NOT_FOUND',
        'errors of the registry pass through',
        'without a node that serves the error says how many there are, and why each is left out',
        'a filter that leaves no node is UNAVAILABLE, naming the service',
        'closing refuses what comes',
      ],
    ],
    [
      'one that marks nothing',
      () => ({ mark: () => {} }),
      [
        'a node that fails again and again is left out, and comes back',
        'a node that fails anew when it is back is left out for longer',
        'a node that is left out is still the last resort of a call',
        'while every node is left out, all are used',
        'what was marked holds for filtered choices too',
        'what was marked outlives a change of the nodes',
        'reset forgets what was marked',
        'options may be changed at any time',
      ],
    ],
    [
      'one that leaves out at the first failure',
      (inner) => ({
        mark: (service, node, error) => {
          for (let time = 0; time < (error ? 5 : 1); time += 1) inner.mark(service, node, error);
        },
      }),
      [
        'a node that fails again and again is left out, and comes back',
        'a call that went well wipes out the failures before it',
        'options may be changed at any time',
      ],
    ],
    [
      'one that never forgives',
      (inner) => ({ mark: (service, node, error) => (error ? inner.mark(service, node, error) : undefined) }),
      [
        'a call that went well wipes out the failures before it',
        'a node that fails anew when it is back is left out for longer',
        'while every node is left out, all are used',
      ],
    ],
    [
      'one that holds every error against the node',
      (inner) => ({
        mark: (service, node, error) =>
          inner.mark(service, node, error && new TenonError({ code: Code.Unavailable, message: 'failed' })),
      }),
      ['an answer that the handler chose is no failure of the node'],
    ],
    [
      'one that leaves out for ever the same time',
      (inner) => {
        const marked = new Map<string, NodeRecord>();
        return {
          mark: (service, node, error) => {
            // Forgives what it holds against the node before it holds it anew.
            if (error && inner.options.ejectAfter === 1) inner.mark(service, node);
            marked.set(node.id, node);
            inner.mark(service, node, error);
          },
        };
      },
      ['a node that fails anew when it is back is left out for longer'],
    ],
    [
      'one that gives no node while all are left out',
      (inner) => {
        const out = new Set<string>();
        return {
          mark: (service, node, error) => {
            if (error && inner.options.ejectAfter === 1) out.add(node.id);
            else out.delete(node.id);
            inner.mark(service, node, error);
          },
          select: (service, options) => {
            if (out.size < 3) return inner.select(service, options);
            throw new TenonError({
              code: Code.Unavailable,
              reason: 'selector.none_available',
              message: 'all are left out',
            });
          },
        };
      },
      ['while every node is left out, all are used'],
    ],
    [
      'one that forgets what was marked when nodes come',
      (_inner, registry, clock, options) => {
        const chance = new RandomSelector(registry, options, clock);
        const select: Selector['select'] = (service, given) => {
          const next = chance.select(service, given);
          if (typeof next !== 'function') return next;
          if (new Set(Array.from({ length: 8 }, () => next().id)).size > 3) chance.reset(service);
          return chance.select(service, given);
        };
        return selecting(chance, select);
      },
      ['what was marked outlives a change of the nodes'],
    ],
    ['one that resets nothing', () => ({ reset: () => {} }), ['reset forgets what was marked']],
    ['one that takes no options later', () => ({ init: () => {} }), ['options may be changed at any time']],
    ['one that goes on after its end', () => ({ close: async () => {} }), ['closing refuses what comes']],
  ])('catches %s', async (_what, change, expected) => {
    expect((await run(broken(change))).sort()).toEqual([...expected].sort());
  });
});

/** All of another selector. */
function selecting(
  other: Selector,
  select: Selector['select'] = (...given) => other.select(...given),
): Partial<Selector> {
  return {
    get options() {
      return other.options;
    },
    init: (options) => other.init(options),
    select,
    mark: (service, node, error) => other.mark(service, node, error),
    reset: (service) => other.reset(service),
    close: () => other.close(),
  };
}
