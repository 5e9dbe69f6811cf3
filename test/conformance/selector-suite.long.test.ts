import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import type { NodeRecord, Registry, ServiceRecord } from '../../src/registry/registry.ts';
import type { Clock } from '../../src/runtime/runtime.ts';
import { LeastRequestSelector } from '../../src/selector/least-request.ts';
import { PeakEwmaSelector } from '../../src/selector/peak-ewma.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import type { NextNode, SelectOptions, Selector, SelectorOptions } from '../../src/selector/selector.ts';
import { selectorCasesFor, type SelectorHarness } from '../../src/testing/selector.ts';
import { failing, saneLimitMs } from './support.ts';

type Make = SelectorHarness['make'];
/** Replaces methods of `inner`, a correct selector, by broken ones. */
type Change = (inner: Selector, registry: Registry, clock: Clock, options: SelectorOptions) => Partial<Selector>;

const capabilities = RandomSelector.capabilities;
const sane: Make = (registry, options, clock) => new RoundRobinSelector(registry, options, clock);

const counting: Make = (registry, options, clock) => new LeastRequestSelector(registry, options, clock);

function broken(change: Change, whole = sane, able = capabilities): () => SelectorHarness {
  const make: Make = (registry, options, clock) => {
    const inner = whole(registry, options, clock);
    const changed = change(inner, registry, clock, options) as Record<string | symbol, unknown>;
    return new Proxy(inner, {
      get: (target, name) => {
        const value: unknown = name in changed ? changed[name] : Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  return () => ({ make, capabilities: able });
}

/** A registry whose records are changed by `see`. */
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

function changedNext(change: (next: NextNode) => NextNode): Change {
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
  it('passes the selectors of tenon', async () => {
    for (const Implementation of [RandomSelector, RoundRobinSelector, LeastRequestSelector, PeakEwmaSelector]) {
      const make: Make = (registry, options, clock) => new Implementation(registry, options, clock);
      expect(await run(() => ({ make, capabilities: Implementation.capabilities }), saneLimitMs)).toEqual([]);
    }
  });

  it.each<[string, Change, string[]]>([
    [
      'a selector that always returns a promise',
      (inner) => ({ select: async (service, options) => inner.select(service, options) }),
      ['select returns without a promise when the nodes are known'],
    ],
    [
      'a selector that knows one version only',
      (_inner, registry, clock, options) =>
        selecting(
          sane(
            through(registry, (records) => records.slice(0, 1)),
            options,
            clock,
          ),
        ),
      [
        'nodes of every version are selected',
        'only nodes that serve are selected',
        'filters narrow the selection',
        'a filter applies to its own selection only',
      ],
    ],
    [
      'a selector that prefers one node',
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
      [
        'every node is selected about equally often',
        'at most half of the nodes are ejected, and never the last',
        'ejected nodes are used while fewer than half are left',
      ],
    ],
    [
      'a selector that ignores node states',
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
        'only nodes that serve are selected',
        'the error for a service without a serving node names the nodes and their states',
        'later selections see nodes that come and go',
      ],
    ],
    [
      'a selector that does not see that nodes are busy',
      (_inner, registry, clock, options) =>
        selecting(
          sane(
            through(registry, (records) =>
              records.map((record) => ({
                ...record,
                nodes: record.nodes.map(({ metadata: { 'tenon-busy': _busy, ...metadata }, ...node }) => ({
                  ...node,
                  metadata,
                })),
              })),
            ),
            options,
            clock,
          ),
        ),
      ['a node that is busy is left for others, as long as there are enough'],
    ],
    [
      'a selector whose error names no nodes',
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
        'the error for a service without a serving node names the nodes and their states',
        'a filter that leaves no node is UNAVAILABLE, naming the service',
      ],
    ],
    [
      'a selector that ignores filters',
      (inner) => ({ select: (service) => inner.select(service) }),
      ['filters narrow the selection', 'a filter that leaves no node is UNAVAILABLE, naming the service'],
    ],
    [
      'a selector that keeps the first filters it was given',
      (inner) => {
        let kept: SelectOptions | undefined;
        return { select: (service, options) => inner.select(service, (kept ??= options)) };
      },
      ['filters narrow the selection', 'a filter applies to its own selection only'],
    ],
    [
      'a selector that repeats the same node',
      changedNext((next) => {
        const node = next();
        return () => node;
      }),
      [
        'a node that is busy is left for others, as long as there are enough',
        'a further attempt of a call gets another node, as long as there is one',
        'a selection keeps the nodes that it was made from',
        'an ejected node is tried last within a call',
      ],
    ],
    [
      'a selector that never refreshes its nodes',
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
      [
        'a node that is busy is left for others, as long as there are enough',
        'later selections see nodes that come and go',
        'ejections survive a change of the nodes',
        'ejected nodes are used while fewer than half are left',
      ],
    ],
    [
      'a selector that selects only when the attempt is made',
      (_inner, registry, clock, options) => {
        const chance = new RandomSelector(registry, options, clock);
        const select: Selector['select'] = (service, given) => {
          const next = chance.select(service, given);
          return typeof next === 'function' ? () => (chance.select(service, given) as NextNode)() : next;
        };
        return selecting(chance, select);
      },
      [
        'a node that is busy is left for others, as long as there are enough',
        'a further attempt of a call gets another node, as long as there is one',
        'a selection keeps the nodes that it was made from',
        'an ejected node is tried last within a call',
      ],
    ],
    [
      'a selector that wraps the errors of the registry',
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
        'select returns without a promise when the nodes are known',
        'a service that is not registered is NOT_FOUND',
        'errors of the registry pass through',
        'the error for a service without a serving node names the nodes and their states',
        'a filter that leaves no node is UNAVAILABLE, naming the service',
        'select fails with FAILED_PRECONDITION after close',
      ],
    ],
    [
      'a selector that ignores marks',
      () => ({ mark: () => {} }),
      [
        'a node that could not be reached is tried by one call a second, and is back once it answers',
        'a node that cannot be reached is left out at once, and all are used when none can be',
        'ejected nodes are used while fewer than half are left',
        'at most half of the nodes are ejected, and never the last',
        'a node that fails ejectAfter times in a row is ejected for ejectMs',
        'a node that fails after its return is ejected for longer',
        'an ejected node is tried last within a call',
        'ejections apply to filtered selections too',
        'ejections survive a change of the nodes',
        'reset ends ejections',
        'init changes options at any time',
      ],
    ],
    [
      'a selector that ejects at the first failure',
      (inner) => ({
        mark: (service, node, error) => {
          for (let time = 0; time < (error ? 5 : 1); time += 1) inner.mark(service, node, error);
        },
      }),
      [
        'a node that fails ejectAfter times in a row is ejected for ejectMs',
        'a successful call clears the failures before it',
        'init changes options at any time',
      ],
    ],
    [
      'a selector that never clears failures',
      (inner) => ({ mark: (service, node, error) => (error ? inner.mark(service, node, error) : undefined) }),
      [
        'a node that could not be reached is tried by one call a second, and is back once it answers',
        'a node that cannot be reached is left out at once, and all are used when none can be',
        'a successful call clears the failures before it',
      ],
    ],
    [
      'a selector that counts every error against the node',
      (inner) => ({
        mark: (service, node, error) =>
          inner.mark(service, node, error && new TenonError({ code: Code.Unavailable, message: 'failed' })),
      }),
      [
        'a node that could not be reached is tried by one call a second, and is back once it answers',
        'a node that cannot be reached is left out at once, and all are used when none can be',
        'an error that the handler returned is not counted against the node',
      ],
    ],
    [
      'a selector whose ejections do not grow',
      (inner) => {
        const marked = new Map<string, NodeRecord>();
        return {
          mark: (service, node, error) => {
            // Forgives the node before it counts the new failure.
            if (error && inner.options.ejectAfter === 1) inner.mark(service, node);
            marked.set(node.id, node);
            inner.mark(service, node, error);
          },
        };
      },
      ['a node that fails after its return is ejected for longer'],
    ],
    [
      'a selector that ejects all nodes but one',
      (_inner, registry, clock, options) => selecting(sane(registry, { ...options, maxEjectedPercent: 100 }, clock)),
      ['at most half of the nodes are ejected, and never the last'],
    ],
    [
      'a selector that leaves all calls to the few nodes that are well',
      (_inner, registry, clock, options) => selecting(sane(registry, { ...options, panicPercent: 0 }, clock)),
      [
        'a node that is busy is left for others, as long as there are enough',
        'ejected nodes are used while fewer than half are left',
      ],
    ],
    [
      'a selector that takes a refused connection for a failure like others',
      (inner) => ({
        mark: (service, node, error) =>
          inner.mark(service, node, error && new TenonError({ code: error.code, message: 'failed' })),
      }),
      [
        'a node that cannot be reached is left out at once, and all are used when none can be',
        'a node that could not be reached is tried by one call a second, and is back once it answers',
      ],
    ],
    [
      'a selector that never tries a node again that it could not reach',
      (inner) => {
        const lost = new Set<string>();
        return {
          mark: (service, node, error) => {
            if (error?.reason === 'transport.unreachable') lost.add(node.id);
            inner.mark(service, node, error);
          },
          select: (service, options) => {
            const next = inner.select(service, options) as NextNode;
            return lost.size === 1 && typeof next === 'function'
              ? () => {
                  const node = next();
                  return lost.has(node.id) ? next() : node;
                }
              : next;
          },
        };
      },
      ['a node that could not be reached is tried by one call a second, and is back once it answers'],
    ],
    [
      'a selector that forgets ejections when nodes come',
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
      [
        'ejected nodes are used while fewer than half are left',
        'at most half of the nodes are ejected, and never the last',
        'ejections survive a change of the nodes',
      ],
    ],
    ['a selector that ignores reset', () => ({ reset: () => {} }), ['reset ends ejections']],
    ['a selector that ignores init', () => ({ init: () => {} }), ['init changes options at any time']],
    [
      'a selector that goes on after close',
      () => ({ close: async () => {} }),
      ['select fails with FAILED_PRECONDITION after close'],
    ],
  ])('catches %s', async (_what, change, expected) => {
    expect((await run(broken(change))).sort()).toEqual([...expected].sort());
  });

  it.each<[string, Change, string[]]>([
    [
      'a selector that does not count',
      () => ({ begin: () => {} }),
      [
        'a call counts from its begin until its end, however it ends',
        'calls in flight are counted across changes of the nodes, and reset',
      ],
    ],
    [
      'a selector that counts calls on that have failed',
      (inner) => ({ mark: (service, node, error) => (error ? undefined : inner.mark(service, node, error)) }),
      ['a call counts from its begin until its end, however it ends'],
    ],
    [
      'a selector that counts calls that ended below none',
      (inner) => {
        let owed = 0;
        let begun = 0;
        return {
          begin: (service, node) => {
            begun += 1;
            if (owed > 0) owed -= 1;
            else inner.begin?.(service, node);
          },
          mark: (service, node, error) => {
            begun -= 1;
            if (begun < 0) owed += 1;
            inner.mark(service, node, error);
          },
        };
      },
      ['a call counts from its begin until its end, however it ends'],
    ],
    [
      'a selector that forgets calls in flight when nodes go',
      (_inner, registry, clock, options) => {
        let seen: readonly ServiceRecord[] | undefined;
        const fresh = (): Selector =>
          counting(
            through(registry, (records) => {
              if (seen && seen !== records && seen[0]?.nodes.length !== records[0]?.nodes.length) current = fresh();
              seen = records;
              return records;
            }),
            options,
            clock,
          );
        let current = fresh();
        return {
          select: (service, given) => {
            const next = current.select(service, given);
            return typeof next === 'function' ? current.select(service, given) : next;
          },
          begin: (service, node) => current.begin?.(service, node),
          mark: (service, node, error) => current.mark(service, node, error),
        };
      },
      ['calls in flight are counted across changes of the nodes, and reset'],
    ],
  ])('catches %s, where calls are counted', async (_what, change, expected) => {
    const harness = broken(change, counting, LeastRequestSelector.capabilities);
    // Most of these are wrong in other ways too.
    expect(await run(harness)).toEqual(expect.arrayContaining(expected));
  });
});

/** Delegates to another selector, with `select` replaced. */
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
