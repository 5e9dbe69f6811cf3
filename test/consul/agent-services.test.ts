import { describe, expect, it } from '@jest/globals';

import { AgentServices } from '../../src/consul/agent-services.ts';
import { ConsulClient } from '../../src/consul/consul-client.ts';
import { definitionOf } from '../../src/go-micro/consul.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { type Answer, entry, ScriptedChannel } from './support.ts';

const call = { signal: new AbortController().signal };
const [ours, theirs] = [{ 'tenon-owner': 'us' }, { 'tenon-owner': 'them' }];

function definition(id: string) {
  const fields = { version: '', metadata: {}, endpoints: [] };
  return definitionOf({ ID: id, Name: 'greeter', Address: '10.0.0.7', Port: 7, ttlMs: 9_000, fields, owner: 'us' });
}

/** The parts of an agent and a catalog. */
interface Consul {
  /** Bodies of the catalog, one for each read; the last one stays. */
  catalog: unknown[][];
  /** What the agent has under the id. */
  local?: object | undefined;
  /** That of its checks. @default passing */
  status?: string | undefined;
  headers: Record<string, string>;
}

function scene(given: Partial<Consul> = {}) {
  const consul: Consul = { catalog: [[]], headers: { 'x-consul-index': '5' }, ...given };
  const { timers } = virtualRuntime();
  const answer = (path: string): Answer => {
    if (path.startsWith('/v1/agent/health/')) {
      return consul.local
        ? { body: { AggregatedStatus: consul.status ?? 'passing', Service: consul.local } }
        : { status: 404 };
    }
    if (path.startsWith('/v1/agent/service/deregister/')) return consul.local ? {} : { status: 404 };
    if (!path.startsWith('/v1/health/')) return {};
    const [body = []] = consul.catalog.length > 1 ? consul.catalog.splice(0, 1) : consul.catalog;
    return { headers: consul.headers, body };
  };
  const channel = new ScriptedChannel(answer);
  const client = new ConsulClient({ channel, heldChannel: channel });
  const services = new AgentServices({ client, timers, owner: 'us' });
  const removals = (): number => channel.asked.filter((one) => one.includes('/deregister/')).length;
  return { services, channel, timers, consul, removals };
}

/** True once the work has ended. */
function watched(work: Promise<unknown>): { isOver: boolean } {
  const state = { isOver: false };
  void work.then(
    () => (state.isOver = true),
    () => (state.isOver = true),
  );
  return state;
}

describe('a registration at an agent', () => {
  const Tags = definition('n1').Tags;

  it('has ended when the catalog has it as it was registered, by this owner', async () => {
    const there = entry('n1', { meta: ours, Tags });
    const others = [
      entry('n1', { meta: theirs, Tags }),
      entry('n1', { meta: ours, Tags: ['v-00'] }),
      entry('n1', { meta: ours, Tags, Port: 8 }),
      entry('n2', { meta: ours, Tags }),
      entry('n1', { meta: ours, Tags, checks: { 'service:n1': 'critical' } }),
    ];
    for (const other of others) {
      const { services, timers, channel } = scene({ catalog: [[], [other], [there]] });
      const made = watched(services.register(definition('n1'), call));
      await timers.advance(20);
      expect(made.isOver).toBe(false);
      await timers.advance(100);
      expect(made.isOver).toBe(true);
      expect(channel.asked.slice(0, 2)).toEqual([
        'PUT /v1/agent/service/register',
        'PUT /v1/agent/check/pass/service%3An1',
      ]);
      expect(channel.asked.at(-1)).toBe('GET /v1/health/service/greeter?index=5&wait=1000ms');
    }
  });

  it.each([
    ['lacks an index', {}],
    ['has one that always rises', undefined],
  ])('asks at a pace where an answer %s, and ends with its call', async (_, headers) => {
    const { services, timers, channel, consul } = scene({ headers: headers ?? {} });
    let index = 0;
    if (!headers) {
      Object.defineProperty(consul.headers, 'x-consul-index', { get: () => String((index += 1)), enumerable: true });
    }
    const aborting = new AbortController();
    const made = watched(services.register(definition('n1'), { signal: aborting.signal }));
    await timers.advance(10_000);
    // Pauses of 20, 40, 80, 160, 320 and then 500 ms.
    expect(channel.asked.length).toBeLessThanOrEqual(28);
    expect(channel.asked.length).toBeGreaterThan(20);
    expect(made.isOver).toBe(false);
    aborting.abort();
    await timers.settle();
    expect(made.isOver).toBe(true);
    expect(timers.pending).toBe(0);
  });
});

describe('whose a service at an agent is', () => {
  it.each([
    ['own', ours],
    ['other', theirs],
    ['other', {}],
    ['other', null],
  ])('is told by its mark: %s for %j', async (holder, Meta) => {
    const { services } = scene({ local: { ID: 'n1', Service: 'greeter', Meta } });
    expect(await services.holder('greeter', 'n1', call)).toBe(holder);
  });

  it('is nobody where it is not there', async () => {
    expect(await scene().services.holder('greeter', 'n1', call)).toBe('nobody');
  });

  it.each([
    ['own', ours],
    ['nobody', theirs],
    ['nobody', {}],
  ])('is told by its checks as well: %s for %j that is critical', async (holder, Meta) => {
    const { services } = scene({ local: { ID: 'n1', Service: 'greeter', Meta }, status: 'critical' });
    expect(await services.holder('greeter', 'n1', call)).toBe(holder);
  });

  it('is another one under another name', async () => {
    const { services, removals } = scene({ local: { ID: 'n1', Service: 'others', Meta: ours } });
    expect(await services.holder('greeter', 'n1', call)).toBe('other');
    await services.remove('greeter', 'n1', call);
    expect(removals()).toBe(0);
  });

  it('decides whether it is removed from its agent', async () => {
    for (const [Meta, count] of [
      [ours, 1],
      [theirs, 0],
    ] as const) {
      const { services, removals } = scene({ local: { ID: 'n1', Service: 'greeter', Meta } });
      await services.remove('greeter', 'n1', call);
      expect(removals()).toBe(count);
    }
  });
});

describe('a service that is removed wherever it is', () => {
  const local = (Meta: object, more = {}) => ({ ID: 'n1', Service: 'greeter', Meta, ...more });

  it("is anybody's where it was never registered here", async () => {
    const { services, removals } = scene({ catalog: [[entry('n1', { meta: theirs })], []], local: local(theirs) });
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(1);
  });

  it('is its own alone once it was registered here', async () => {
    const { services, consul, removals } = scene();
    const registered = entry('n1', { meta: ours, Tags: definition('n1').Tags });
    consul.catalog = [[registered]];
    await services.register(definition('n1'), call);
    consul.catalog = [[entry('n1', { meta: theirs }), entry('n1', { meta: {} })]];
    consul.local = local(theirs);
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(0);
    // Its own is at another agent: the one that answers has that of somebody else.
    consul.catalog = [[registered, entry('n1', { meta: theirs })]];
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(0);
    consul.local = local(ours);
    consul.catalog = [[registered, entry('n1', { meta: theirs })], [entry('n1', { meta: theirs })]];
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(1);
  });

  it('may have been registered again at the same address by whom it was released to, and by nobody else', async () => {
    const { services, consul, removals } = scene();
    consul.catalog = [[entry('n1', { meta: ours, Tags: definition('n1').Tags })]];
    await services.register(definition('n1'), call);
    services.release('n1');
    consul.catalog = [[entry('n1', { meta: theirs, Port: 8 })]];
    consul.local = local(theirs, { Address: '10.0.0.7', Port: 8 });
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(0);
    consul.catalog = [[entry('n1', { meta: theirs })], []];
    consul.local = local(theirs, { Address: '10.0.0.7', Port: 7 });
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(1);
  });

  it('is asked of the agent where the token may not see it in the catalog', async () => {
    const headers = { 'x-consul-index': '5', 'x-consul-results-filtered-by-acls': 'true' };
    const { services, removals, consul } = scene({ headers, local: local(theirs) });
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBeGreaterThan(0);
    const before = removals();
    consul.local = undefined;
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(before);
  });

  it('is left after a few attempts at an agent that does not know it', async () => {
    const { services, removals, channel } = scene({ catalog: [[entry('n1', { meta: theirs })]] });
    await services.clear('greeter', 'n1', call);
    expect(removals()).toBe(3);
    expect(channel.asked.length).toBeLessThan(10);
  });
});
