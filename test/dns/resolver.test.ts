import { createSocket } from 'node:dgram';

import { describe, expect, it } from '@jest/globals';

import { type DnsConfig, DnsFailure } from '../../src/dns/dns.ts';
import { DnsResolver } from '../../src/dns/resolver.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { a, type Answering, cname, encoded, ScriptedDnsServer, soa, srv, zone } from './scripted-server.ts';

expectNothingUncaught();

const bounds = { timeoutMs: 20_000 };

function resolverOf(config: DnsConfig, more: object = {}): DnsResolver {
  return new DnsResolver({ ...systemRuntime, config: () => config, ...more });
}

async function served(answer: Answering): Promise<{ server: ScriptedDnsServer; resolver: DnsResolver }> {
  const server = await ScriptedDnsServer.start(answer);
  return { server, resolver: resolverOf(server.config()) };
}

function kindOf(lookup: Promise<unknown>): Promise<unknown> {
  return lookup.then(
    () => 'an answer',
    (error: unknown) => (error instanceof DnsFailure ? error.kind : error),
  );
}

describe('DnsResolver', () => {
  it('takes the addresses of SRV targets from the additional section, and the smallest TTL', async () => {
    const { server, resolver } = await served(() => ({
      answers: [
        srv('greeter.test', 'One.test', 4_000, { priority: 1, weight: 2 }, 20),
        srv('greeter.test', 'two.test', 4_001),
      ],
      additionals: [
        a('one.TEST', '10.0.0.1', 9),
        a('two.test', '::1', 15),
        a('two.test', '10.0.0.2', 15),
        a('else.test', '10.0.0.9', 1),
      ],
    }));
    expect(await resolver.services('greeter.test', bounds)).toEqual({
      outcome: 'found',
      name: 'greeter.test',
      ttlMs: 9_000,
      isCertain: true,
      items: [
        { target: 'one.test', port: 4_000, priority: 1, weight: 2, addresses: ['10.0.0.1'] },
        { target: 'two.test', port: 4_001, priority: 0, weight: 0, addresses: ['10.0.0.2'] },
      ],
    });
    expect(server.asked).toEqual(['greeter.test SRV']);
  });

  it('looks up each SRV target without an address once', async () => {
    const { server, resolver } = await served(
      zone([
        srv('greeter.test', 'one.test', 1),
        srv('greeter.test', 'one.test', 2),
        srv('greeter.test', 'two.test', 3),
        srv('greeter.test', 'gone.test', 4),
        a('one.test', '10.0.0.1', 7),
        a('two.test', '::2'),
      ]),
    );
    const { items, ttlMs } = await resolver.services('greeter.test', bounds);
    expect(items.map(({ addresses }) => addresses)).toEqual([['10.0.0.1'], ['10.0.0.1'], ['::2'], []]);
    expect(ttlMs).toBe(5_000);
    expect(server.asked.sort()).toEqual([
      'gone.test A',
      'greeter.test SRV',
      'one.test A',
      'two.test A',
      'two.test AAAA',
    ]);
  });

  it('leaves the addresses of a target undefined that cannot be looked up, and fails if that is so of all', async () => {
    const records = zone([
      srv('greeter.test', 'one.test', 1),
      srv('greeter.test', 'two.test', 2),
      a('one.test', '10.0.0.1'),
    ]);
    const { server, resolver } = await served((query) => (query.name === 'two.test' ? { rcode: 2 } : records(query)));
    const { items } = await resolver.services('greeter.test', bounds);
    expect(items.map(({ addresses }) => addresses)).toEqual([['10.0.0.1'], undefined]);
    server.answer = (query) => (query.type === 'A' ? { rcode: 2 } : records(query));
    expect(await kindOf(resolver.services('greeter.test', bounds))).toBe('server-failure');
  });

  it('follows aliases, within an answer and to names that the server leaves to be asked for', async () => {
    const { server, resolver } = await served((query) =>
      query.name === 'www.test'
        ? { answers: [cname('www.test', 'Web.test', 40), cname('web.test', 'far.test', 12)] }
        : { answers: [cname('far.test', 'host.test', 50), a('host.test', '10.0.0.1', 60)] },
    );
    expect(await resolver.addresses('www.test', bounds)).toMatchObject({
      outcome: 'found',
      name: 'www.test',
      items: ['10.0.0.1'],
      ttlMs: 12_000,
    });
    expect(server.asked).toEqual(['www.test A', 'far.test A']);
  });

  it.each<[what: string, Answering]>([
    ['in one answer', () => ({ answers: [cname('www.test', 'web.test'), cname('web.test', 'www.test')] })],
    ['in one query after the other', ({ name }) => ({ answers: [cname(name, `x${name}`)] })],
  ])('gives up on aliases that do not end, %s', async (_, answer) => {
    const { server, resolver } = await served(answer);
    expect(await kindOf(resolver.addresses('www.test', bounds))).toBe('malformed');
    expect(server.queries.length).toBeLessThan(20);
  });

  it('looks up IPv6 addresses only of a host without IPv4 addresses', async () => {
    const { server, resolver } = await served(
      zone([a('both.test', '10.0.0.1'), a('both.test', '::1'), a('six.test', '::6')]),
    );
    expect((await resolver.addresses('both.test', bounds)).items).toEqual(['10.0.0.1']);
    expect((await resolver.addresses('six.test', bounds)).items).toEqual(['::6']);
    expect(server.asked).toEqual(['both.test A', 'six.test A', 'six.test AAAA']);
  });

  it.each([
    ['NXDOMAIN', 3, 'no-such-name'],
    ['an answer without records', 0, 'no-data'],
  ])('tells %s from a failure, with the negative TTL of the SOA record', async (_, rcode, outcome) => {
    const { resolver, server } = await served(() => ({ rcode, authorities: [soa(9)] }));
    const lookup = await resolver.services('greeter.test', bounds);
    expect(lookup).toMatchObject({ outcome, items: [], ttlMs: 9_000, isCertain: true });
    server.answer = () => ({ rcode, authorities: [soa(9, 4)] });
    expect(await resolver.services('greeter.test', bounds)).toMatchObject({ outcome, ttlMs: 4_000 });
    server.answer = () => ({ rcode });
    expect(await resolver.services('greeter.test', bounds)).toMatchObject({ outcome, ttlMs: 0 });
  });

  it.each([
    ['SERVFAIL', 2, 'server-failure'],
    ['REFUSED', 5, 'refused'],
    ['NOTIMP', 4, 'refused'],
    ['FORMERR', 1, 'refused'],
  ])('rejects with the kind of failure for %s, and names the server', async (name, rcode, kind) => {
    const { server, resolver } = await served(() => ({ rcode }));
    const failure = await resolver.services('greeter.test', bounds).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind, message: expect.stringContaining(`127.0.0.1:${server.address.port}`) });
    expect(String(failure)).toContain(name);
  });

  it('rejects with `refused` if the server names other servers', async () => {
    const authorities = [{ type: 'NS', name: 'test', ttl: 1, data: 'ns.test' }] as const;
    const { server, resolver } = await served(() => ({ flags: 0, authorities: [...authorities] }));
    expect(await kindOf(resolver.services('greeter.test', bounds))).toBe('refused');
    server.answer = () => ({ authorities: [...authorities] });
    expect(await resolver.services('greeter.test', bounds)).toMatchObject({ outcome: 'no-data' });
  });

  it('asks the next server after one that is silent or fails, and asks the one first that answered', async () => {
    const silent = await ScriptedDnsServer.start(() => undefined);
    const failing = await ScriptedDnsServer.start(() => ({ rcode: 2 }));
    const good = await ScriptedDnsServer.start(zone([a('host.test', '10.0.0.1')]));
    const servers = [silent, failing, good].map(({ address }) => address);
    const resolver = resolverOf({ servers, search: [], ndots: 1 }, { attemptMs: 1_000 });
    expect((await resolver.addresses('host.test', bounds)).items).toEqual(['10.0.0.1']);
    expect([silent, failing, good].map(({ queries }) => queries.length)).toEqual([1, 1, 1]);
    expect((await resolver.addresses('host.test', bounds)).items).toEqual(['10.0.0.1']);
    expect([silent, failing, good].map(({ queries }) => queries.length)).toEqual([1, 1, 2]);
    await good.close();
    silent.answer = zone([a('host.test', '10.0.0.2')]);
    expect((await resolver.addresses('host.test', bounds)).items).toEqual(['10.0.0.2']);
  });

  it('asks all servers twice before it gives up, and says why the last one failed', async () => {
    const server = await ScriptedDnsServer.start(() => undefined);
    const closed = await ScriptedDnsServer.start(() => undefined);
    await closed.close();
    const servers = [closed.address, server.address];
    const resolver = resolverOf({ servers, search: [], ndots: 1 }, { attemptMs: 50 });
    const failure = await resolver.addresses('host.test', bounds).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'timeout', message: expect.stringContaining('within 100 ms') });
    expect(server.queries).toHaveLength(2);
    expect(
      await kindOf(resolverOf({ ...server.config(), servers: [closed.address] }).addresses('x.test', bounds)),
    ).toBe('unreachable');
    expect(await kindOf(resolverOf({ ...server.config(), servers: [] }).addresses('x.test', bounds))).toBe(
      'unreachable',
    );
  });

  it('ends within the bounds of the lookup, and at the abort of its signal', async () => {
    const { resolver } = await served(() => undefined);
    const failure = await resolver.services('greeter.test', { timeoutMs: 60 }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'timeout', message: expect.stringContaining('within 60 ms') });
    const controller = new AbortController();
    const lookup = resolver.services('greeter.test', { ...bounds, signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(lookup).rejects.toThrow('enough');
  });

  it('uses a random port and a random id for each query', async () => {
    const { server, resolver } = await served(zone([a('host.test', '10.0.0.1')]));
    for (let round = 0; round < 20; round += 1) await resolver.addresses('host.test', bounds);
    expect(new Set(server.queries.map(({ port }) => port)).size).toBeGreaterThan(10);
    expect(new Set(server.queries.map(({ id }) => id)).size).toBeGreaterThan(10);
    const ids = server.queries.map(({ id }) => id).sort((one, other) => one - other);
    expect((ids.at(-1) ?? 0) - (ids[0] ?? 0)).toBeGreaterThan(1_000);
  });

  it('ignores answers of another id, to another question, and questions', async () => {
    const { resolver } = await served((query) => {
      const forged = { answers: [a('host.test', '6.6.6.6')] };
      const question = (name: string, type: 'A' | 'AAAA') => ({ questions: [{ name, type, class: 'IN' as const }] });
      return [
        encoded({ ...query, id: query.id ^ 1 }, forged),
        encoded(query, { ...forged, ...question('other.test', 'A') }),
        encoded(query, { ...forged, ...question('host.test', 'AAAA') }),
        encoded(query, { ...forged, questions: [] }),
        encoded(query, {
          ...forged,
          questions: [...question('host.test', 'A').questions, ...question('x', 'A').questions],
        }),
        query.bytes,
        Buffer.from('junk'),
        Buffer.alloc(0),
        { answers: [a('host.test', '10.0.0.1')] },
      ];
    });
    expect((await resolver.addresses('host.test', bounds)).items).toEqual(['10.0.0.1']);
  });

  it('does not receive what others send to the port of a query', async () => {
    const { server, resolver } = await served(() => undefined);
    const other = createSocket('udp4');
    const lookup = resolver.addresses('host.test', bounds);
    await eventually('the query came', () => server.queries.length > 0);
    const [query] = server.queries;
    if (!query) throw new Error('no query');
    for (let id = 0; id < 3; id += 1) {
      await new Promise<void>((resolve) =>
        other.send(encoded(query, { answers: [a('host.test', '6.6.6.6')] }), query.port, '127.0.0.1', () => resolve()),
      );
    }
    other.close();
    // The second round comes after the time-out of the first.
    server.answer = zone([a('host.test', '10.0.0.1')]);
    expect((await lookup).items).toEqual(['10.0.0.1']);
    expect(server.queries).toHaveLength(2);
  });

  it.each([
    ['written out', '0010 0000 000a 0fa0 01 70 01 67 04 74657374 00'],
    ['compressed', '000a 0000 000a 0fa0 01 70 c00c'],
  ])('reads an SRV target that is %s', async (_, data) => {
    const { resolver } = await served((query) => {
      if (query.type !== 'SRV') return { answers: [a('p.g.test', '10.0.0.1')] };
      // The header, the question g.test SRV, and a record whose name is a pointer to that of the question.
      const header = '0000 8580 0001 0001 0000 0000 01 67 04 74657374 00 0021 0001 c00c 0021 0001 0000001e';
      const bytes = Buffer.from(`${header} ${data}`.replaceAll(' ', ''), 'hex');
      bytes.writeUInt16BE(query.id);
      return bytes;
    });
    expect((await resolver.services('g.test', bounds)).items).toEqual([
      { target: 'p.g.test', port: 4_000, priority: 0, weight: 10, addresses: ['10.0.0.1'] },
    ]);
  });

  it('compares names without regard to case', async () => {
    const { resolver } = await served((query) => ({
      questions: [{ name: query.name.toUpperCase(), type: 'SRV', class: 'IN' }],
      answers: [srv('GREETER.TEST', 'POD-1.TEST', 4_000)],
      additionals: [a('Pod-1.Test', '10.0.0.1')],
    }));
    expect(await resolver.services('Greeter.Test', bounds)).toMatchObject({
      name: 'greeter.test',
      items: [{ target: 'pod-1.test', addresses: ['10.0.0.1'] }],
    });
  });

  it('asks with EDNS for 1,232 bytes, and without it where the server does not know it', async () => {
    const { server, resolver } = await served(({ packet }) =>
      (packet.additionals ?? []).length > 0 ? { rcode: 1, questions: [] } : { answers: [a('host.test', '10.0.0.1')] },
    );
    expect((await resolver.addresses('host.test', bounds)).items).toEqual(['10.0.0.1']);
    const [first, second] = server.queries;
    expect(first?.packet.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1_232 }]);
    expect(second?.packet.additionals).toEqual([]);
  });

  it('asks by TCP where the answer by UDP is truncated, even in the middle of a record', async () => {
    const pods = Array.from({ length: 60 }, (_, index) => `pod-${index}.a-rather-long-name.default.svc.cluster.test`);
    const answers = pods.map((pod) => srv('greeter.test', pod, 4_000));
    const additionals = pods.map((pod, index) => a(pod, `10.0.0.${index}`));
    const { server, resolver } = await served((query) => {
      const whole = encoded(query, { answers, additionals });
      return query.via === 'tcp'
        ? whole
        : Buffer.from(whole.subarray(0, 1_200).map((byte, at) => (at === 2 ? byte | 2 : byte)));
    });
    const { items } = await resolver.services('greeter.test', bounds);
    expect(items.map(({ addresses }) => addresses?.[0])).toEqual(pods.map((_, index) => `10.0.0.${index}`));
    expect(server.queries.map(({ via }) => via)).toEqual(['udp', 'tcp']);
  });

  it.each<[what: string, kind: string, answer: (whole: Buffer) => Buffer]>([
    [
      'with a part of the records again',
      'malformed',
      (whole) => Buffer.from(whole.map((byte, at) => (at === 2 ? byte | 2 : byte))),
    ],
    [
      'to another question',
      'unreachable',
      (whole) => Buffer.from(whole.map((byte, at) => (at === 0 ? byte ^ 1 : byte))),
    ],
    ['that cannot be read', 'malformed', (whole) => whole.subarray(0, -3)],
  ])('fails if the answer by TCP is one %s', async (_, kind, answer) => {
    const { resolver } = await served((query) => {
      const whole = encoded(query, { answers: [a('host.test', '10.0.0.1')] });
      return query.via === 'tcp' ? answer(whole) : { flags: 0x0680 };
    });
    expect(await kindOf(resolver.addresses('host.test', bounds))).toBe(kind);
  });

  it('fails where TCP is refused, and takes no part of the answer for all of it', async () => {
    const answers = Array.from({ length: 10 }, (_, index) => a('host.test', `10.0.0.${index}`));
    const { server, resolver } = await served(() => ({ flags: 0x0680, answers }));
    server.refusesTcp = true;
    expect(await kindOf(resolver.addresses('host.test', bounds))).toBe('unreachable');
  });

  it('does not wait for ever for a TCP connection on which nothing comes', async () => {
    const { resolver } = await served(({ via }) => (via === 'tcp' ? undefined : { flags: 0x0680 }));
    expect(await kindOf(resolver.addresses('host.test', { timeoutMs: 300 }))).toBe('timeout');
  });

  it('has at most so many queries under way, and asks the others later', async () => {
    const answers = Array.from({ length: 40 }, (_, index) => srv('greeter.test', `pod-${index}.test`, 1));
    const server = await ScriptedDnsServer.start(({ name, type }) => ({
      answers: type === 'SRV' ? answers : [a(name, '10.0.0.1')],
    }));
    const resolver = resolverOf(server.config(), { maxQueries: 4 });
    expect((await resolver.services('greeter.test', bounds)).items).toHaveLength(40);
    expect(server.queries).toHaveLength(41);
    server.answer = ({ type }) => (type === 'SRV' ? { answers } : undefined);
    const patient = resolverOf(server.config(), { maxQueries: 4, attemptMs: 60_000 });
    expect(await kindOf(patient.services('greeter.test', { timeoutMs: 500 }))).toBe('timeout');
    expect(server.queries).toHaveLength(41 + 1 + 4);
  });
});

describe('the search list of DnsResolver', () => {
  const found = (name: string): Answering => zone([srv(name, 'pod.test', 1), a('pod.test', '10.0.0.1')]);
  const search = ['default.svc.test', 'svc.test'];

  it.each([
    ['greeter', 'greeter.default.svc.test', 5, ['greeter.default.svc.test']],
    ['greeter.other', 'greeter.other.svc.test', 5, ['greeter.other.default.svc.test', 'greeter.other.svc.test']],
    ['greeter.example', 'greeter.example', 1, ['greeter.example']],
    [
      'greeter.example',
      'greeter.example',
      5,
      ['greeter.example.default.svc.test', 'greeter.example.svc.test', 'greeter.example'],
    ],
    ['greeter.example.', 'greeter.example', 5, ['greeter.example']],
    ['greeter.example.', 'nothing', 5, ['greeter.example']],
    ['greeter', 'greeter', 1, ['greeter.default.svc.test', 'greeter.svc.test', 'greeter']],
  ])('completes %s to find %s with ndots %d', async (name, there, ndots, asked) => {
    const server = await ScriptedDnsServer.start(found(there));
    const resolver = resolverOf(server.config({ search, ndots }));
    const lookup = await resolver.services(name, bounds);
    expect(lookup.outcome).toBe(there === 'nothing' ? 'no-such-name' : 'found');
    expect(server.asked.filter((one) => one.endsWith('SRV'))).toEqual(asked.map((one) => `${one} SRV`));
    if (lookup.outcome === 'found') expect(lookup.name).toBe(there);
  });

  it('goes on after a name for which the server fails, and says that the result is not certain', async () => {
    const there = found('greeter.svc.test');
    const server = await ScriptedDnsServer.start((query) =>
      query.name.includes('default') ? { rcode: 2 } : there(query),
    );
    const resolver = resolverOf(server.config({ search, ndots: 5 }));
    expect(await resolver.services('greeter', bounds)).toMatchObject({ name: 'greeter.svc.test', isCertain: false });
    expect(await kindOf(resolver.services('other', bounds))).toBe('server-failure');
  });

  it('ends at a server that does not answer', async () => {
    const there = found('greeter.svc.test');
    const server = await ScriptedDnsServer.start((query) =>
      query.name.includes('default') ? undefined : there(query),
    );
    const resolver = resolverOf(server.config({ search, ndots: 5 }), { attemptMs: 30 });
    expect(await kindOf(resolver.services('greeter', bounds))).toBe('timeout');
  });

  it('prefers the answer that a name exists, and leaves out names that are too long', async () => {
    const server = await ScriptedDnsServer.start(zone([a('greeter.default.svc.test', '10.0.0.1')]));
    const resolver = resolverOf(server.config({ search: [...search, `${'x'.repeat(61)}.`.repeat(4)], ndots: 5 }));
    expect(await resolver.services('greeter', bounds)).toMatchObject({ outcome: 'no-data' });
    expect(server.asked).toEqual(['greeter.default.svc.test SRV', 'greeter.svc.test SRV', 'greeter SRV']);
    expect(await resolver.services('', bounds)).toMatchObject({ outcome: 'no-such-name', ttlMs: 0 });
    expect(await resolverOf(server.config()).services('a..b', bounds)).toMatchObject({
      outcome: 'no-such-name',
      ttlMs: 0,
    });
  });
});
