import { describe, expect, it } from '@jest/globals';

import { ConsulStatusError, ForeignAnswerError } from '../../src/consul/consul.ts';
import { ConsulClient, type ConsulClientOptions, isUnfit } from '../../src/consul/consul-client.ts';
import { isAskable } from '../../src/consul/health-entry.ts';
import { type Answer, entry, ScriptedChannel } from './support.ts';

const call = { signal: new AbortController().signal };

function scene(answer: (path: string, asked: string) => Answer, options: Partial<ConsulClientOptions> = {}) {
  const [channel, heldChannel] = [new ScriptedChannel(answer), new ScriptedChannel(answer)];
  return { channel, heldChannel, client: new ConsulClient({ channel, heldChannel, ...options }) };
}

describe('the index of an answer of Consul', () => {
  it.each([
    ['7', 7],
    // A query with 0 is not held.
    ['0', 1],
    ['9007199254740991', 9_007_199_254_740_991],
    ['9007199254740993', 0],
    ['18446744073709551615', 0],
    ['1e30', 0],
    ['-5', 0],
    ['NaN', 0],
    ['', 0],
    ['12abc', 0],
    ['0x10', 0],
    [' 7', 0],
    ['7, 8', 0],
    ['Infinity', 0],
    [['7', '8'], 0],
    [undefined, 0],
  ])('is read from %j as %s, and 0 is none', async (header, index) => {
    const { client } = scene(() => ({ headers: { 'x-consul-index': header }, body: [] }));
    expect((await client.health('greeter', call)).index).toBe(index);
  });

  it('is told of once where it is missing', async () => {
    let told = 0;
    const { client } = scene(() => ({ headers: {}, body: [] }), { onUnnumbered: () => (told += 1) });
    await client.health('greeter', call);
    await client.health('greeter', call);
    expect(told).toBe(1);
  });
});

describe('a query of Consul', () => {
  it('goes to the datacentre, the namespace and the partition, and is held where there is an index', async () => {
    const { client, channel, heldChannel } = scene(() => ({ body: [] }), {
      datacenter: 'dc1',
      namespace: 'ns1',
      partition: 'p1',
    });
    await client.health('a/b c', call);
    await client.health('a', call, { index: 7, waitMs: 10_000 });
    await client.health('a', call, { isOwn: true });
    expect(channel.asked).toEqual([
      'GET /v1/health/service/a%2Fb%20c?ns=ns1&partition=p1&dc=dc1',
      'GET /v1/health/service/a?ns=ns1&partition=p1',
    ]);
    expect(heldChannel.asked).toEqual(['GET /v1/health/service/a?ns=ns1&partition=p1&dc=dc1&index=7&wait=10000ms']);
    // A connection that breaks under a query that is held has to be noticed.
    expect([channel.requests[0]?.isRepeatable, heldChannel.requests[0]?.isRepeatable]).toEqual([true, false]);
  });

  it('reads entries, whatever is in them', async () => {
    const odd = { ...entry('n2', { meta: 'none' }), Checks: null };
    const { client } = scene(() => ({
      body: [
        entry('n1', { checks: { 'service:n1': 'critical', serfHealth: 'passing' } }),
        entry('n3', { checks: { 'service:n3': 'warning', serfHealth: 'critical' } }),
        { ...odd, Service: { ...odd.Service, Port: -1.5, Tags: [1, 'a'], CreateIndex: 'x', ID: undefined } },
      ],
    }));
    const { value } = await client.health('greeter', call);
    expect(value).toMatchObject([
      { id: 'n1', port: 7, index: 3, isCritical: false, hasLapsed: true },
      { id: 'n3', isCritical: true, hasLapsed: false },
      { id: '', port: 0, index: 0, tags: ['', 'a'], isCritical: false, hasLapsed: false },
    ]);
  });

  it('says whether the token may not read all', async () => {
    const headers = { 'x-consul-index': '1', 'x-consul-results-filtered-by-acls': 'true' };
    const { client } = scene(() => ({ headers, body: [] }));
    expect(await client.health('greeter', call)).toMatchObject({ isHidden: true });
  });

  it('reads names, without Consul itself and those that nobody can ask for', async () => {
    const { client } = scene(() => ({ body: { consul: [], b: null, a: ['x'], '..': [] } }));
    expect([...(await client.names(call)).value.keys()]).toEqual(['b', 'a']);
  });

  it.each(['<html>', '', '{}', 'null', '"text"', '7', '[7]', '[{"Node":{}}]', '{"error":"none"}', '[[]]'])(
    'rejects for %s, which is no answer of Consul',
    async (body) => {
      const { client } = scene(() => ({ body }));
      await expect(client.health('greeter', call)).rejects.toThrow(ForeignAnswerError);
    },
  );

  it.each(['<html>', '[]', 'null', '{"error":"none"}'])('of names rejects for %s', async (body) => {
    await expect(scene(() => ({ body })).client.names(call)).rejects.toThrow(ForeignAnswerError);
  });

  it('rejects for another status, with the beginning of what was said, or where it leads', async () => {
    const long = `no\nright ${'x'.repeat(1_000)}`;
    const denied = scene(() => ({ status: 403, body: long })).client.health('greeter', call);
    await expect(denied).rejects.toThrow(
      `GET /v1/health/service/greeter at [::1]:8500 was answered with status 403: no right ${'x'.repeat(391)}`,
    );
    await expect(denied).rejects.toBeInstanceOf(ConsulStatusError);
    const headers = { location: 'https://login.example/' };
    const moved = scene(() => ({ status: 302, headers, body: '<html>' })).client.health('greeter', call);
    await expect(moved).rejects.toThrow(/status 302, to https:\/\/login\.example\/$/);
  });
});

describe('a service at an agent', () => {
  const service = { ID: 'n1', Service: 'greeter', Meta: { a: 'b' } };

  it.each([
    [200, 'passing', false],
    [429, 'warning', false],
    [503, 'critical', true],
  ])('is read with status %i, which is that of its checks', async (status, AggregatedStatus, isCritical) => {
    const { client, channel } = scene(() => ({ status, body: { AggregatedStatus, Service: service } }));
    expect(await client.agentService('n1', call)).toMatchObject({ id: 'n1', meta: { a: 'b' }, isCritical });
    // It says nothing of the agent.
    expect(channel.requests[0]?.retriesAfter(status)).toBe(false);
  });

  it('is not there with status 404', async () => {
    expect(await scene(() => ({ status: 404 })).client.agentService('n1', call)).toBeUndefined();
  });

  it.each([
    [429, 'slow down'],
    [503, '{"message":"no healthy upstream"}'],
    [500, '{}'],
    [302, ''],
  ])('is not known where a proxy answers with %i', async (status, body) => {
    const asked = scene(() => ({ status, body })).client.agentService('n1', call);
    await expect(asked).rejects.toBeInstanceOf(ConsulStatusError);
  });

  it.each([
    [200, '', true],
    [404, 'Unknown check ID "service:n1"', false],
    [500, 'CheckID "service:n1" does not have associated TTL', false],
    [500, 'Unknown service ID "n1"', false],
  ])('is renewed and removed unless it is unknown: status %i, "%s"', async (status, body, isKnown) => {
    const { client } = scene(() => ({ status, body }));
    expect(await client.pass('n1', call)).toBe(isKnown);
    expect(await client.deregister('n1', call)).toBe(isKnown);
  });

  it.each([500, 403, 301, 204])('is neither renewed nor registered nor removed with status %i', async (status) => {
    const { client } = scene(() => ({ status, body: 'rpc error' }));
    for (const made of [client.pass('n1', call), client.deregister('n1', call), client.register({} as never, call)]) {
      await expect(made).rejects.toBeInstanceOf(ConsulStatusError);
    }
  });

  it('is not registered with status 404, which says that nobody knows the path', async () => {
    const { client } = scene(() => ({ status: 404 }));
    await expect(client.register({} as never, call)).rejects.toBeInstanceOf(ConsulStatusError);
  });
});

it('asks the next agent after an answer that says that one cannot serve now', () => {
  expect([200, 301, 400, 403, 404, 429, 500, 502, 503].filter(isUnfit)).toEqual([429, 500, 502, 503]);
});

it.each([
  ['a', true],
  ['a/b', true],
  ['', false],
  ['..', false],
  ['a//b', false],
  ['\ud800', false],
  ['a\0', false],
  ['a\nb', false],
  ['\ud83d\ude00', true],
])('a service named %j can be asked for: %s', (name, is) => {
  expect(isAskable(name)).toBe(is);
});
