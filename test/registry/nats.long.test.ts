import { readFileSync } from 'node:fs';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { NatsRegistry, type NatsRegistryOptions } from '../../src/registry/nats.ts';
import type { ServiceRecord } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { RawNats } from '../nats/support.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { announcing, foundElsewhere, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

/** What Go Micro says, with Go's nulls and escapes. */
const vectors = JSON.parse(readFileSync(new URL('./go-micro-nats.json', import.meta.url), 'utf8')) as {
  readonly subjects: Readonly<Record<'v5' | 'v4', { readonly query: string; readonly watch: string }>>;
  readonly get: object;
  readonly list: object;
  readonly service: ServiceRecord & { readonly nodes: readonly object[] };
};
const { v5, v4 } = vectors.subjects;
const patientMs = 20_000;
const { clock, random, timers } = systemRuntime;

function nats(options: NatsRegistryOptions): { readonly registry: NatsRegistry; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const registry = new NatsRegistry({ queryMs: 60, ...options }, clock, random, timers, logger);
  closing.push(() => registry.close());
  return { registry, logger };
}

describe('the options of NatsRegistry', () => {
  it.each(['', 'a b', 'host:99999', 'host:port', 'http://host', 'nats://', 'nats://user:secret@host', 'a:1,,b:2'])(
    'take no address "%s"',
    (address) => {
      const invalid = expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_address' });
      expect(() => new NatsRegistry({ address })).toThrow(invalid);
      expect(() => new NatsRegistry({ address })).not.toThrow(/secret/);
    },
  );

  it.each(['host', 'host:4222', 'nats://host:4222', '[::1]:4222', 'a:4222, b:4223', 'nats://a:4222,nats://b'])(
    'take the address "%s"',
    (address) => expect(new NatsRegistry({ address }).options.address).toBe(address),
  );

  it.each(['', 'micro nats', 'micro.', 'micro.*', '>', 'a,', 'a\r\nPUB x 0'])(
    'take no subjects that begin with %j',
    (prefixes) =>
      expect(() => new NatsRegistry({ prefixes })).toThrow(
        expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_option' }),
      ),
  );

  it('take no password without a user', () => {
    expect(() => new NatsRegistry({ credentials: { password: 'secret' } })).toThrow(/username is missing/);
    expect(() => new NatsRegistry().init({ credentials: { passwordFile: '/x' } })).toThrow(/TENON_REGISTRY_USERNAME/);
    expect(new NatsRegistry({ credentials: { token: 'secret' } }).options.credentials).toEqual({ token: 'secret' });
  });
});

describeWithServer('NatsRegistry', new BackendServer('nats'), (server) => {
  const { service } = vectors;
  const { name } = service;

  it("asks, answers and announces as Go Micro does, with fields of tenon's beside them", async () => {
    const raw = await RawNats.to(server);
    for (const subject of [v5.query, v5.watch, v4.query, v4.watch, 'answers']) await raw.subscribe(subject);
    const { registry } = nats({ address: server.address });
    await registry.getService(name).catch(() => {});
    await registry.listServices();
    await raw.flush();
    const prefixes = ['micro.nats', 'micro.registry.nats'];
    for (const { query } of [v5, v4]) {
      const asked = raw.heard.filter(({ subject }) => subject === query);
      expect(asked.map(({ reply }) => reply?.startsWith('_INBOX.'))).toEqual([true, true]);
      expect(raw.messages(query)).toEqual([
        { ...vectors.get, prefixes },
        { ...vectors.list, prefixes },
      ]);
    }
    // Tenon leaves out what there is not, and has empty lists.
    const json = JSON.stringify(service).replaceAll('"response":null,', '').replaceAll('"values":null', '"values":[]');
    const own = { ...(JSON.parse(json) as ServiceRecord), metadata: {} };
    await registry.register(own, { ttlMs: 5_000 });
    await registry.deregister(own);
    await registry.register(own, { ttlMs: 5_000 });
    await raw.flush();
    for (const { watch } of [v5, v4]) {
      const claim = { leaseMs: expect.any(Number), owner: expect.any(String), sinceMs: expect.any(Number) };
      expect(raw.messages(watch)).toEqual([
        { Service: own, Action: 'create', prefixes, ...claim },
        { Service: own, Action: 'delete', prefixes, ...claim },
        { Service: own, Action: 'create', prefixes, ...claim },
      ]);
    }
    for (const question of [vectors.get, vectors.list]) {
      raw.heard.length = 0;
      await raw.publish(v4.query, question, 'answers');
      await eventually('it answers', () => raw.messages('answers').length === 1);
      const [{ leaseMs, owner, sinceMs, ...answer } = {}] = raw.messages('answers');
      expect(answer).toEqual(own);
      expect([typeof owner, typeof sinceMs]).toEqual(['string', 'number']);
      expect(leaseMs).toBeGreaterThan(0);
      expect(leaseMs).toBeLessThanOrEqual(5_000);
    }
  });

  it('finds, lists and watches what Go Micro registers, nulls and several nodes included', async () => {
    const raw = await RawNats.to(server);
    await raw.subscribe(v5.query);
    const answer = (text: string): void => {
      for (const { subject, reply = '', text: asked } of raw.heard.splice(0)) {
        if (subject === v5.query && /"greeter\.of\.go"|"list"/.test(asked)) void raw.publish(reply, text);
      }
    };
    const answering = timers.every(5, () => answer(JSON.stringify(of(['one', 'two']))));
    closing.push(() => answering.cancel());
    const of = (ids: readonly string[]): object => ({
      ...service,
      name: 'greeter.of.go',
      nodes: ids.map((id) => ({ ...service.nodes[0], id, metadata: null })),
    });
    const { registry } = nats({ address: server.address });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter.of.go' }));
    const all = new WatchRecorder(await registry.watch());
    const [found] = await registry.getService('greeter.of.go');
    expect(found).toMatchObject({ version: '2.1.0', metadata: {} });
    expect(found?.nodes).toEqual(['one', 'two'].map((id) => nodeOf(id, { address: '10.0.0.4:9001' })));
    expect(found?.endpoints.map((endpoint) => [endpoint.name, endpoint.metadata])).toEqual([
      ['Greeter.Chat', { stream: 'true' }],
      ['Greeter.Hello', {}],
      ['Func', { subscriber: 'true', topic: 'greeter.events' }],
    ]);
    expect((await registry.listServices()).map((one) => one.name)).toContain('greeter.of.go');
    for (const [action, ids] of [
      ['create', ['three']],
      ['create', ['three']],
      ['update', ['four', 'five']],
      ['delete', ['three', 'one']],
    ] as const)
      await raw.publish(action === 'update' ? v4.watch : v5.watch, { Service: of(ids), Action: action });
    const told = ['create three', 'create four', 'create five', 'delete three', 'delete one'];
    for (const watch of [seen, all]) await eventually('all is told', () => watch.texts.length >= 5, patientMs);
    expect(seen.texts).toEqual(told);
    expect(all.texts.filter((text) => told.includes(text))).toEqual(told);
  });

  it('answers for names with dots, spaces, wildcards and letters of any kind, each for itself', async () => {
    const { registry } = nats({ address: server.address });
    const names = ['a.b', 'a', 'a.*', '>', 'a b', 'a\tb', 'ünï/cödé', 'x\r\nPUB y 0', 'micro.nats.query'];
    for (const one of names) await registry.register(serviceOf(one, [`of ${one}`]));
    for (const one of names) expect(await idsOf(registry, one)).toEqual([`of ${one}`]);
    expect(await idsOf(registry, 'a.c')).toEqual([]);
    expect((await registry.listServices()).map((one) => one.name)).toEqual(expect.arrayContaining(names));
    for (const one of names) await registry.deregister(serviceOf(one, [`of ${one}`]));
    for (const one of names) expect(await idsOf(registry, one)).toEqual([]);
  });

  it('is found by those that have one of its prefixes, once, and by no others', async () => {
    const { registry: both } = nats({ address: server.address, prefixes: 'one,two' });
    const { registry: first } = nats({ address: server.address, prefixes: 'one' });
    const { registry: second } = nats({ address: server.address, prefixes: 'two' });
    const { registry: twisted } = nats({ address: server.address, prefixes: 'two,one' });
    const { registry: none } = nats({ address: server.address, prefixes: 'three' });
    const watches = await Promise.all(
      [both, first, second, twisted].map(async (one) => new WatchRecorder(await one.watch({ service: 'split' }))),
    );
    const apart = new WatchRecorder(await none.watch());
    await both.register(serviceOf('split', ['n']));
    for (const one of [both, first, second, twisted]) {
      const [{ nodes } = { nodes: [] }] = await one.getService('split');
      expect(nodes.map(({ id }) => id)).toEqual(['n']);
    }
    expect(await idsOf(none, 'split')).toEqual([]);
    for (const [index, watch] of watches.entries())
      await eventually(`watch ${index} is told`, () => watch.texts.length > 0, patientMs);
    await second.register(serviceOf('split', ['m']));
    for (const index of [0, 2, 3])
      await eventually(`watch ${index} is told`, () => watches[index]?.texts.includes('create m') === true, patientMs);
    expect(watches[1]?.texts).toEqual(['create n']);
    expect(apart.texts).toEqual([]);
  });

  it('drops a process that was killed when its lease ends, for watchers, and at once for readers', async () => {
    const { registry } = nats({ address: server.address });
    const [one, all] = [
      new WatchRecorder(await registry.watch({ service: 'killed' })),
      new WatchRecorder(await registry.watch()),
    ];
    const child = await announcing('nats', { address: server.address }, 'killed', 'n1', 2_000);
    expect(await idsOf(registry, 'killed')).toEqual(['n1']);
    await child.kill('SIGKILL');
    await eventually('it is gone', async () => (await idsOf(registry, 'killed')).length === 0, patientMs);
    await eventually('watchers know', () => [one, all].every(({ texts }) => texts.includes('delete n1')), patientMs);
    expect(one.texts).toEqual(['create n1', 'delete n1']);
  });

  it('drops a node of Go Micro that neither announces nor answers when the lease that it was given ends', async () => {
    const raw = await RawNats.to(server);
    const { registry } = nats({ address: server.address, goMicroTtlMs: 300, maxReadMs: 100 });
    const seen = new WatchRecorder(await registry.watch({ service: name }));
    await raw.publish(v5.watch, { Service: service, Action: 'create' });
    await eventually('it came', () => seen.texts.length === 1, patientMs);
    await eventually('it went', () => seen.texts.length === 2, patientMs);
    expect(seen.texts).toEqual(['create go.micro.srv.greeter-one', 'delete go.micro.srv.greeter-one']);
  });

  it('keeps a node of Go Micro that announces nothing, as long as it answers', async () => {
    const raw = await RawNats.to(server);
    await raw.subscribe(v5.query);
    const answering = timers.every(5, () => {
      for (const { reply = '' } of raw.heard.splice(0)) void raw.publish(reply, service);
    });
    const { registry } = nats({ address: server.address, goMicroTtlMs: 400, maxReadMs: 100 });
    const seen = new WatchRecorder(await registry.watch({ service: name }));
    await raw.publish(v5.watch, { Service: { ...service, nodes: [nodeOf('other')] }, Action: 'create' });
    await eventually('the one that does not answer went', () => seen.texts.includes('delete other'), patientMs);
    await timers.sleep(1_000);
    expect(seen.texts.filter((text) => text.includes('one'))).toEqual([]);
    answering.cancel();
    await eventually('it went', () => seen.texts.includes('delete go.micro.srv.greeter-one'), patientMs);
  });

  it('keeps a node that did not answer a read until its lease ends', async () => {
    const raw = await RawNats.to(server);
    await raw.subscribe(v5.query);
    const { registry } = nats({ address: server.address, maxReadMs: 50 });
    const seen = new WatchRecorder(await registry.watch({ service: name }));
    await raw.publish(v5.watch, { Service: service, Action: 'create' });
    const from = raw.heard.length;
    await eventually('it was asked for again and again', () => raw.heard.length > from + 3, patientMs);
    expect(seen.texts).toEqual(['create go.micro.srv.greeter-one']);
  });

  it('answers a question that comes to several subjects once', async () => {
    const raw = await RawNats.to(server);
    await raw.subscribe('answers');
    const { registry } = nats({ address: server.address });
    await registry.register({ ...serviceOf('once', ['n1']), name });
    const question = { ...vectors.get, prefixes: ['micro.nats', 'micro.registry.nats'] };
    for (const { query } of [v4, v5]) await raw.publish(query, question, 'answers');
    await eventually('it answers', () => raw.heard.length > 0, patientMs);
    await registry.listServices();
    await raw.flush();
    expect(raw.heard).toHaveLength(1);
  });

  it('finds a node that another process registered', async () => {
    const { registry } = nats({ address: server.address });
    await registry.register(serviceOf('elsewhere', ['n1']));
    expect(await foundElsewhere('nats', { address: server.address }, 'elsewhere')).toEqual([
      serviceOf('elsewhere', ['n1']),
    ]);
  });

  it('does not report renewals, and keeps a renewed lease for watchers', async () => {
    const { registry } = nats({ address: server.address });
    const seen = new WatchRecorder(await registry.watch({ service: 'renewed' }));
    for (let round = 0; round < 8; round += 1) {
      await registry.register(serviceOf('renewed', ['n1']), { ttlMs: 3_000 });
      await timers.sleep(450);
    }
    expect(seen.texts).toEqual(['create n1']);
  });

  it('withdraws a node that is not renewed, and tells', async () => {
    const raw = await RawNats.to(server);
    await raw.subscribe(v5.watch);
    const { registry } = nats({ address: server.address });
    await registry.register(serviceOf('lapsing', ['n1']), { ttlMs: 200 });
    await eventually('it told', () => raw.messages(v5.watch).some(({ Action }) => Action === 'delete'), patientMs);
    expect(await idsOf(registry, 'lapsing')).toEqual([]);
  });

  it('lets go of a node that another instance goes on with', async () => {
    const { registry: first } = nats({ address: server.address });
    const { registry: second } = nats({ address: server.address });
    const seen = new WatchRecorder(await second.watch({ service: 'handed' }));
    const one = serviceOf('handed', ['n1']);
    await first.register(one, { ttlMs: 1_500 });
    await second.register(one, { ttlMs: 60_000 });
    await first.release(one);
    await first.close();
    await timers.sleep(2_000);
    expect(await idsOf(second, 'handed')).toEqual(['n1']);
    expect(seen.texts).toEqual(['create n1']);
  });

  it('lets the last of two processes with one node id have it, and gives it back when that goes', async () => {
    const { registry: first, logger } = nats({ address: server.address });
    const { registry: second } = nats({ address: server.address });
    const { registry: reader } = nats({ address: server.address });
    const at = (port: number): ServiceRecord => serviceOf('twins', [nodeOf('n1', { address: `127.0.0.1:${port}` })]);
    const addresses = async (): Promise<string> =>
      String((await reader.getService('twins')).flatMap(({ nodes }) => nodes.map((node) => node.address)));
    const seen = new WatchRecorder(await reader.watch({ service: 'twins' }));
    await first.register(at(1), { ttlMs: 30_000 });
    await second.register(at(2), { ttlMs: 30_000 });
    for (let round = 0; round < 3; round += 1) {
      await first.register(at(1), { ttlMs: 30_000 });
      expect(await addresses()).toBe('127.0.0.1:2');
      await second.register(at(2), { ttlMs: 30_000 });
    }
    expect(seen.texts).toEqual(['create n1', 'update n1']);
    expect(logger.texts).toEqual([expect.stringMatching(/^warn node "n1" .*from another place/)]);
    await second.deregister(at(2));
    await eventually('the first has it again', async () => (await addresses()) === '127.0.0.1:1', patientMs);
    await second.register(at(3), { ttlMs: 400 });
    expect(await addresses()).toBe('127.0.0.1:3');
    await second.close();
    await eventually(
      'a renewal of the first has it again',
      async () => {
        await first.register(at(1), { ttlMs: 30_000 });
        return (await addresses().catch(() => '')) === '127.0.0.1:1';
      },
      patientMs,
    );
    await second.close();
    const { registry: third } = nats({ address: server.address });
    await third.register(at(4));
    const from = seen.texts.length;
    await first.deregister(at(1));
    expect(await addresses()).toBe('127.0.0.1:4');
    await eventually('it is told', () => seen.events.at(-1)?.service.nodes[0]?.address === '127.0.0.1:4', patientMs);
    await reader.listServices();
    expect(seen.texts.slice(from)).not.toContain('delete n1');
  });

  it('announces its node again where somebody else announces or withdraws one of its id', async () => {
    const raw = await RawNats.to(server);
    const { registry } = nats({ address: server.address });
    const seen = new WatchRecorder(await registry.watch({ service: 'claimed' }));
    await registry.register(serviceOf('claimed', ['n1']));
    const other = { Service: serviceOf('claimed', [nodeOf('n1', { address: '10.0.0.1:1' })]), Action: 'create' };
    await raw.publish(v5.watch, other);
    await raw.publish(v5.watch, { ...other, Action: 'delete' });
    await eventually('it is back', () => seen.events.length === 5, patientMs);
    const [, , , , last] = seen.events;
    expect(seen.texts.at(-1)).toMatch(/^(?:create|update) n1$/);
    expect(last?.service.nodes[0]?.address).toBe('127.0.0.1:7000');
  });

  it('finds who has answered while this process was too busy to read', async () => {
    const { registry } = nats({ address: server.address });
    await idsOf(registry, 'busy');
    await announcing('nats', { address: server.address }, 'busy', 'n1', 60_000);
    const finding = idsOf(registry, 'busy');
    await timers.sleep(20);
    const endsAtMs = clock.monotonicMs() + 800;
    while (clock.monotonicMs() < endsAtMs);
    expect(await finding).toEqual(['n1']);
  });

  it('waits for the answers of many, and not for ever for those of one that goes on', async () => {
    const many = Array.from({ length: 300 }, (_, index) => `n${String(index).padStart(3, '0')}`);
    const { registry } = nats({ address: server.address });
    await registry.register(serviceOf('many', many));
    expect(await idsOf(registry, 'many')).toEqual(many);
    const raw = await RawNats.to(server);
    await raw.subscribe(v5.query);
    const flooding = timers.every(5, () => {
      for (const { reply = '' } of raw.heard) void raw.publish(reply, { ...service, name: 'flooded' });
    });
    closing.push(() => flooding.cancel());
    expect(await idsOf(registry, 'flooded')).not.toEqual([]);
  });

  it('refuses a record that does not fit into a message, and one that readers would skip', async () => {
    const { registry } = nats({ address: server.address, maxRecordBytes: 4_000_000 });
    const sized = (bytes: number): ServiceRecord =>
      serviceOf('large', [nodeOf('n1', { metadata: { much: 'x'.repeat(bytes) } })]);
    await registry.register(sized(1_000_000));
    expect(await idsOf(registry, 'large')).toEqual(['n1']);
    expect(await failureOf(registry.register(sized(1_100_000)))).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_service',
      message: expect.stringContaining('max_payload'),
    });
    expect(await idsOf(registry, 'large')).toEqual(['n1']);
    const { registry: other } = nats({ address: server.address });
    expect(await failureOf(other.register(sized(300_000)))).toMatchObject({ reason: 'registry.invalid_service' });
    expect(await idsOf(other, 'large')).toEqual([]);
  });

  it('reports a burst of changes in order, the last one included', async () => {
    const { registry } = nats({ address: server.address });
    const seen = new WatchRecorder(await registry.watch({ service: 'burst' }));
    const work: Promise<void>[] = [];
    for (let round = 0; round < 50; round += 1) {
      const node = nodeOf('n1', { metadata: { round: String(round) } });
      work.push(registry.register(serviceOf('burst', [node]), { ttlMs: 10_000 }));
      if (round % 10 === 9) work.push(registry.deregister(serviceOf('burst', ['n1'])));
    }
    await Promise.all(work);
    await registry.register(serviceOf('burst', ['last']));
    await eventually('the last one comes', () => seen.texts.includes('create last'), patientMs);
    const rounds = seen.events
      .filter(({ action, service: { nodes } }) => action !== 'delete' && nodes[0]?.id === 'n1')
      .map(({ service: { nodes } }) => Number(nodes[0]?.metadata['round']));
    expect(rounds).toEqual([...rounds].sort((a, b) => a - b));
    expect(seen.texts.filter((text) => text === 'delete n1')).toHaveLength(5);
  });

  it('ends its subscriptions with the last watch', async () => {
    const subscriptions = async (): Promise<number> => {
      const response = await fetch(`http://${server.details['monitor']}/varz`);
      return ((await response.json()) as { readonly subscriptions: number }).subscriptions;
    };
    const { registry } = nats({ address: server.address, prefixes: 'leaving' });
    await idsOf(registry, 'nothing');
    let before = -1;
    await eventually('it is quiet', async () => before === (before = await subscriptions()), patientMs);
    const watchers = [await registry.watch(), await registry.watch({ service: 'a' }), await registry.watch()];
    await eventually('there is one', async () => (await subscriptions()) === before + 1, patientMs);
    for (const watcher of watchers) watcher.stop();
    await eventually('they have ended', async () => (await subscriptions()) === before, patientMs);
    const again = new WatchRecorder(await registry.watch());
    await registry.register(serviceOf('a', ['n1']));
    await eventually('it is told', () => again.texts.length === 1, patientMs);
  });
});
