import { describe, expect, it } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import { Code } from '../../src/errors/errors.ts';
import { contract, Registry, System } from '../../src/index.ts';
import { type NextNode, SelectorObserver, type SelectorOptions } from '../../src/selector/selector.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { errorOf, lost, rigFor, selectorClass, selectorNames, unreachable } from './support.ts';

/** An observer that writes down what it is told. */
function recording() {
  const told: [name: string, event: object][] = [];
  const methods = ['onEjected', 'onReadmitted', 'onPanic', 'onPanicOver', 'onSlowStart', 'onNoneAvailable'];
  const observer = Object.fromEntries(
    methods.map((name) => [name, (event: object) => void told.push([name, event])]),
  ) as SelectorObserver;
  const take = (): [string, object][] => told.splice(0);
  return { observer, take };
}

const of = (node: string, more: object = {}): object => ({
  service: 'greeter',
  node,
  address: '127.0.0.1:7000',
  ...more,
});

function observed(name: string, nodes: readonly string[], options?: SelectorOptions) {
  const { observer, take } = recording();
  const rig = rigFor(name, nodes, options, observer);
  const pick = (): string => (rig.selector.select('greeter') as NextNode)().id;
  pick();
  return { ...rig, pick, take };
}

describe.each(selectorNames)('an observer of the selector %s', (name) => {
  it('is told of a node that is ejected, and of its return when its time is over', () => {
    const { take, call, pick, timers } = observed(name, ['n1', 'n2', 'n3'], { ejectMs: 1_000 });
    call('n2', 2, errorOf(undefined));
    expect(take()).toEqual([]);
    call('n2', 5, errorOf(undefined));
    expect(take()).toEqual([['onEjected', of('n2', { reason: 'failures', durationMs: 1_000 })]]);
    pick();
    timers.nowMs += 999;
    pick();
    expect(take()).toEqual([]);
    timers.nowMs += 1;
    pick();
    pick();
    expect(take()).toEqual([['onReadmitted', of('n2')]]);
    call('n2', 1, errorOf(undefined));
    expect(take()).toEqual([['onEjected', of('n2', { reason: 'failures', durationMs: 2_000 })]]);
    call('n2');
    expect(take()).toEqual([['onReadmitted', of('n2')]]);
  });

  it('is told of a node that takes no calls, once, and of the call that gets through', () => {
    const { take, call, pick, timers, selector } = observed(name, ['n1', 'n2', 'n3']);
    call('n2', 3, unreachable);
    expect(take()).toEqual([['onEjected', of('n2', { reason: 'unreachable', durationMs: undefined })]]);
    timers.nowMs += 100;
    expect(pick()).toBe('n2');
    call('n2', 1, unreachable);
    call('n3', 1, errorOf('server.draining'));
    expect(take()).toEqual([['onEjected', of('n3', { reason: 'draining', durationMs: undefined })]]);
    call('n2');
    selector.firstReply?.('greeter', nodeOf('n3'), 1);
    call('n3');
    expect(take()).toEqual([
      ['onReadmitted', of('n2')],
      ['onReadmitted', of('n3')],
    ]);
  });

  it('is told twice of a node that was killed: its connections broke, and then nobody listens', () => {
    const { take, call, pick, timers } = observed(name, ['n1', 'n2', 'n3']);
    call('n2', 7, lost);
    timers.nowMs += 1_000;
    expect(pick()).toBe('n2');
    call('n2', 1, unreachable);
    timers.nowMs += 100;
    expect(pick()).toBe('n2');
    call('n2');
    pick();
    expect(take()).toEqual([
      ['onEjected', of('n2', { reason: 'failures', durationMs: 5_000 })],
      ['onEjected', of('n2', { reason: 'unreachable', durationMs: undefined })],
      ['onReadmitted', of('n2')],
    ]);
  });

  it('is told why a node is ejected at the end of an interval', () => {
    for (const [options, reason] of [
      [{ failureVolume: 20 }, 'failure-share'],
      [{ failurePercent: 100, successRateStdev: 1_900, successRateNodes: 5, successRateVolume: 20 }, 'success-rate'],
      [{ failurePercent: 100, failureVolume: 20, latencyFactor: 3 }, 'latency'],
    ] as const) {
      const nodes = ['n1', 'n2', 'n3', 'n4', 'n5'];
      const { take, begin, end, timers } = observed(name, nodes, { ejectMs: 1_000, ...options });
      const isBad = (id: string): boolean => id === 'n3' && reason !== 'latency';
      for (const id of nodes) {
        for (let call = 0; call < 30; call += 1) {
          begin(id);
          end(id, undefined, id === 'n3' ? 100 : 10, { answer: isBad(id) ? Code.Internal : Code.Ok });
        }
      }
      timers.nowMs += 10_000;
      begin('n1');
      end('n1', undefined, 10, { answer: Code.Ok });
      expect(take()).toEqual([['onEjected', of('n3', { reason, durationMs: 1_000 })]]);
    }
  });

  it('is told of panic, and of its end', () => {
    const { take, call, pick, records, timers } = observed(name, ['n1', 'n2', 'n3', 'n4'], { ejectMs: 1_000 });
    call('n1', 3, errorOf(undefined));
    call('n2', 3, errorOf(undefined));
    pick();
    take();
    records.current = [serviceOf('greeter', ['n1', 'n2', 'n3'])];
    pick();
    pick();
    expect(take()).toEqual([['onPanic', { service: 'greeter', usable: 1, nodes: 3 }]]);
    timers.nowMs += 1_000;
    pick();
    expect(take()).toEqual([
      ['onReadmitted', of('n1')],
      ['onReadmitted', of('n2')],
      ['onPanicOver', { service: 'greeter' }],
    ]);
    for (const id of ['n1', 'n2', 'n3']) call(id, 1, unreachable);
    pick();
    expect(take().at(-1)).toEqual(['onPanic', { service: 'greeter', usable: 0, nodes: 3 }]);
  });

  it('is told of the slow start of a node that is new, or back', () => {
    const { take, call, pick, records, timers } = observed(name, ['n1', 'n2'], { slowStartMs: 30_000 });
    records.current = [serviceOf('greeter', ['n1', 'n2', 'n3'])];
    pick();
    const slowly = ['weighted', 'least-request', 'peak-ewma'].includes(name);
    expect(take()).toEqual(slowly ? [['onSlowStart', of('n3', { durationMs: 30_000 })]] : []);
    call('n2', 1, unreachable);
    timers.nowMs += 100;
    pick();
    call('n2');
    const back = ['onReadmitted', of('n2')];
    expect(take().slice(1)).toEqual(slowly ? [back, ['onSlowStart', of('n2', { durationMs: 30_000 })]] : [back]);
  });

  it('is told of calls that get no node, and of the return of nodes that are forgotten', async () => {
    const { take, call, pick, records, selector } = observed(name, ['n1', 'n2', 'n3']);
    await failureOf((async () => (selector.select('greeter', { filters: [() => []] }) as NextNode)())());
    expect(take()).toEqual([['onNoneAvailable', { service: 'greeter', nodes: 3 }]]);
    call('n2', 1, unreachable);
    call('n3', 1, unreachable);
    take();
    selector.reset('greeter');
    expect(take()).toEqual([
      ['onReadmitted', of('n2')],
      ['onReadmitted', of('n3')],
    ]);
    call('n2', 1, unreachable);
    take();
    records.current = [serviceOf('greeter', ['n1', nodeOf('n2', { address: '127.0.0.1:7001' })])];
    pick();
    expect(take()).toEqual([['onReadmitted', of('n2')]]);
    records.current = [serviceOf('greeter', [nodeOf('n1', { metadata: { 'tenon-state': 'draining' } })])];
    await failureOf((async () => pick())());
    expect(take()).toEqual([['onNoneAvailable', { service: 'greeter', nodes: 1 }]]);
  });

  it('is told of a node that leaves while it is ejected, and of one that comes back and is ejected still', () => {
    const nodes = ['n1', 'n2', 'n3', 'n4', 'n5'];
    const { take, begin, end, call, pick, records, timers } = observed(name, nodes, { ejectMs: 10_000 });
    const all = records.current;
    begin('n4');
    call('n2', 3, errorOf(undefined));
    call('n3', 1, unreachable);
    take();
    records.current = [serviceOf('greeter', ['n1', 'n5'])];
    pick();
    expect(take()).toEqual([
      ['onReadmitted', of('n2')],
      ['onReadmitted', of('n3')],
    ]);
    // The last call of a node that has left.
    end('n4', unreachable);
    expect(take()).toEqual([]);
    timers.nowMs += 4_000;
    records.current = all;
    pick();
    expect(take()).toEqual([['onEjected', of('n2', { reason: 'failures', durationMs: 6_000 })]]);
    timers.nowMs += 6_000;
    pick();
    expect(take()).toEqual([['onReadmitted', of('n2')]]);
  });

  it('is told of the nodes of a service that is forgotten, as nobody has called it for long', () => {
    const { take, call, pick, timers, selector } = observed(name, ['n1', 'n2', 'n3'], {
      ejectMs: 30_000_000,
      maxEjectMs: 30_000_000,
    });
    const useAnother = (): void => {
      timers.nowMs += 600_000;
      (selector.select(`other-${timers.nowMs}`) as NextNode)();
    };
    call('n2', 3, errorOf(undefined));
    take();
    for (let time = 0; time < 4; time += 1) {
      useAnother();
      pick();
    }
    expect(take()).toEqual([]);
    for (let time = 0; time < 4; time += 1) useAnother();
    expect(take()).toEqual([['onReadmitted', of('n2')]]);
  });

  it('is told of the end of panic in a service that is forgotten', () => {
    const { take, call, pick, timers, selector } = observed(name, ['n1', 'n2', 'n3']);
    for (const id of ['n1', 'n2', 'n3']) call(id, 1, unreachable);
    pick();
    expect(take().at(-1)).toEqual(['onPanic', { service: 'greeter', usable: 0, nodes: 3 }]);
    for (let time = 0; time < 4; time += 1) {
      timers.nowMs += 600_000;
      (selector.select(`other-${timers.nowMs}`) as NextNode)();
    }
    expect(take().at(-1)).toEqual(['onPanicOver', { service: 'greeter' }]);
  });

  it('is told of the nodes of a service that the registry has no longer', async () => {
    const { observer, take } = recording();
    const found = { current: [serviceOf('greeter', ['n1', 'n2', 'n3'])] };
    const registry = {
      getService: async () => {
        if (found.current.length === 0) throw errorOf('registry.not_found', Code.NotFound);
        return found.current;
      },
    } as unknown as Registry;
    const { clock, random, timers } = virtualRuntime(1_000_000);
    const selector = new (selectorClass(name))(registry, {}, clock, random, observer);
    await selector.select('greeter');
    selector.mark('greeter', nodeOf('n2'), unreachable);
    take();
    found.current = [];
    expect((await failureOf((async () => selector.select('greeter'))())).code).toBe(Code.NotFound);
    expect(take()).toEqual([['onReadmitted', of('n2')]]);
    // After a minute it is another process, of which nothing is known.
    timers.nowMs += 60_000;
    await failureOf((async () => selector.select('greeter'))());
    found.current = [serviceOf('greeter', ['n1', 'n2', 'n3'])];
    await selector.select('greeter');
    expect(take()).toEqual([]);
  });

  it('disturbs nothing if it throws, rejects, or has one method alone', () => {
    const broken: SelectorObserver[] = [
      {
        onEjected() {
          throw new Error('it broke');
        },
      },
      { onEjected: () => Promise.reject(new Error('it broke')) as unknown as void },
      {},
    ];
    for (const observer of broken) {
      const rig = rigFor(name, ['n1', 'n2'], {}, observer);
      (rig.selector.select('greeter') as NextNode)();
      rig.call('n2', 1, unreachable);
      expect(rig.shares(20)).toEqual(new Map([['n1', 20]]));
    }
  });
});

describe('the observer of an application', () => {
  it.each(backendRows.selector.map(({ name }) => name))(
    'is bound by its key, with the selector %s',
    async (selector) => {
      const { observer, take } = recording();
      const system = await System.start([], {
        profile: 'test',
        env: { TENON_SELECTOR: selector, TENON_LOG_LEVEL: 'silent' },
        bind: (container) => container.bind(SelectorObserver).toConstantValue(observer),
      });
      try {
        await system.get(Registry).register(serviceOf('gone', [nodeOf('n1', { address: '127.0.0.1:1' })]));
        const client = system.client(contract<{ hello(request: object): Promise<object> }>('gone.Gone', { hello: {} }));
        expect((await failureOf(client.hello({}))).reason).toBe('transport.unreachable');
        expect(take()[0]).toEqual([
          'onEjected',
          { service: 'gone', node: 'n1', address: '127.0.0.1:1', reason: 'unreachable', durationMs: undefined },
        ]);
      } finally {
        await system.stop();
      }
    },
  );
});
