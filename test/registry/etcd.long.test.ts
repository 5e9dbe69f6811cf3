import { createServer, type Socket } from 'node:net';
import { readFileSync } from 'node:fs';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { EtcdRegistry, type EtcdRegistryOptions } from '../../src/registry/etcd.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { EtcdOperator } from './etcd-support.ts';
import { announcing, foundElsewhere, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const patientMs = 20_000;
const { clock, random, timers } = systemRuntime;

interface Vector {
  readonly key: string;
  readonly record: { readonly name: string };
}
const vectors = JSON.parse(readFileSync(new URL('./go-micro-etcd.json', import.meta.url), 'utf8')) as {
  readonly prefix: string;
  readonly greeter: Vector;
  readonly slash: Vector;
};

function etcd(options: EtcdRegistryOptions): { readonly registry: EtcdRegistry; readonly logger: RecordingLogger } {
  const logger = new RecordingLogger();
  const registry = new EtcdRegistry(options, clock, random, timers, logger);
  closing.push(() => registry.close());
  return { registry, logger };
}

describe('the options of EtcdRegistry', () => {
  it.each(['', 'a b', 'host:99999', 'http://host:2379', 'a:1,,b:2', 'user:secret@host:1'])(
    'take no address "%s"',
    (address) => {
      const invalid = expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_address' });
      expect(() => new EtcdRegistry({ address })).toThrow(invalid);
      expect(() => new EtcdRegistry().init({ address })).toThrow(invalid);
    },
  );

  it.each(['host', 'host:2379', '[::1]:2379', 'a:1,b:2, c'])('take the address "%s"', (address) => {
    expect(new EtcdRegistry({ address }).options.address).toBe(address);
  });

  it('take no empty prefix, and no password without a user', () => {
    const invalid = expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_option' });
    expect(() => new EtcdRegistry({ prefix: '' })).toThrow(invalid);
    expect(() => new EtcdRegistry({ credentials: { password: 'x' } })).toThrow(invalid);
  });
});

describeWithServer('EtcdRegistry', new BackendServer('etcd'), (server) => {
  const operator = new EtcdOperator(server);
  const open = (options: EtcdRegistryOptions = {}): ReturnType<typeof etcd> =>
    etcd({ address: server.address, ...options });

  it("stores Go Micro's Service JSON under Go Micro's key, with a lease of whole seconds", async () => {
    const { registry } = open();
    const service = serviceOf('go.micro.layout', ['one', 'two'], {
      endpoints: [{ name: 'Greeter.Hello', metadata: {} }],
    });
    await registry.register(service, { ttlMs: 59_500 });
    const keys = await operator.keys('/micro/registry/go.micro.layout/');
    expect(keys.map(({ key }) => key)).toEqual([
      '/micro/registry/go.micro.layout/one',
      '/micro/registry/go.micro.layout/two',
    ]);
    expect(keys.map(({ value }) => JSON.parse(value) as unknown)).toEqual(
      service.nodes.map((node) => ({ ...service, nodes: [node] })),
    );
    const [one, two] = keys.map(({ lease }) => lease);
    expect(one).not.toBe(two);
    expect(await operator.grantedTtl(String(one))).toBe(60);
    await registry.deregister(service);
    expect(await operator.keys('/micro/registry/go.micro.layout/')).toEqual([]);
    expect(await operator.leases()).not.toContain(one);
  });

  it.each(['greeter', 'slash'] as const)("reads Go Micro's record, and writes at its key: %s", async (name) => {
    const { key, record } = vectors[name];
    const { registry } = open();
    await operator.put(key, JSON.stringify(record).replaceAll('<', '\\u003c').replaceAll('&', '\\u0026'));
    const [found, ...others] = await registry.getService(record.name);
    expect(others).toEqual([]);
    // Go Micro's null is an empty list or map, and a shape that is null is absent.
    const noNull = (_: string, value: unknown): unknown => (value === null ? undefined : value);
    const expected = JSON.parse(JSON.stringify(record, noNull)) as object;
    expect(found).toMatchObject(expected);
    await operator.remove(key);
    await registry.register(found!);
    const [stored, ...more] = await operator.keys(`${vectors.prefix}${record.name.replaceAll('/', '-')}/`);
    expect(more).toEqual([]);
    expect(stored?.key).toBe(key);
    expect(JSON.parse(stored?.value ?? '')).toMatchObject(expected);
    await registry.deregister(found!);
  });

  it('keeps names apart that have one key in Go Micro, and removes only its own', async () => {
    const { registry } = open();
    const seen = new WatchRecorder(await registry.watch());
    const [slash, dash] = [serviceOf('of/team', ['a/b', 'c']), serviceOf('of-team', ['a-b', 'c'])];
    await registry.register(slash);
    await registry.register(dash);
    await registry.register(slash);
    expect(await idsOf(registry, 'of/team')).toEqual(['a/b', 'c']);
    expect(await idsOf(registry, 'of-team')).toEqual(['a-b', 'c']);
    expect(await operator.keys('/micro/registry/of-team/')).toHaveLength(4);
    await eventually('all have come', () => seen.texts.length === 4, patientMs);
    const { registry: other } = open();
    await other.deregister(slash);
    expect(await idsOf(registry, 'of/team')).toEqual([]);
    expect(await idsOf(registry, 'of-team')).toEqual(['a-b', 'c']);
    await registry.deregister(dash);
    expect(await operator.keys('/micro/registry/of-team/')).toEqual([]);
    const names = (): string[] =>
      seen.events.map(({ action, service }) => `${action} ${service.name} ${service.nodes[0]?.id}`).sort();
    await eventually('all is told', () => names().length >= 8, patientMs);
    expect(names()).toEqual([
      'create of-team a-b',
      'create of-team c',
      'create of/team a/b',
      'create of/team c',
      'delete of-team a-b',
      'delete of-team c',
      'delete of/team a/b',
      'delete of/team c',
    ]);
  });

  it.each(['a b', '..', '.hidden', 'a/../b', 'ünï cödé ☃ *?[x]', '\ud800 half', 'line\nbreak', 'nul\0', 'a%2Fb', '~'])(
    'registers, finds, watches and removes the service %j and a node of that id',
    async (name) => {
      const { registry } = open();
      const seen = new WatchRecorder(await registry.watch({ service: name }));
      await registry.register(serviceOf(name, [name]));
      expect(await idsOf(registry, name)).toEqual([name]);
      await registry.deregister(serviceOf(name, [name]));
      await eventually('all is told', () => seen.texts.length === 2, patientMs);
      expect(seen.texts).toEqual([`create ${name}`, `delete ${name}`]);
    },
  );

  it('does not replace the record of another node, and says so', async () => {
    const { registry } = open();
    await registry.register(serviceOf('taken', ['n1']));
    const taken = (await operator.keys('/micro/registry/taken/'))[0]?.key ?? '';
    const foreign = serviceOf('taken', ['n/1']);
    await operator.put('/micro/registry/taken/n-1', JSON.stringify(foreign));
    await registry.register(serviceOf('taken', ['n-1']));
    const own = (await operator.keys('/micro/registry/taken/n-1~'))[0]?.key ?? '';
    await registry.deregister(serviceOf('taken', ['n-1']));
    await operator.put(own, JSON.stringify(foreign));
    expect(await failureOf(registry.register(serviceOf('taken', ['n-1'])))).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_service',
      message: expect.stringContaining('taken by other nodes'),
    });
    const keys = await operator.keys('/micro/registry/taken/');
    expect(keys.map(({ key }) => key)).toEqual(['/micro/registry/taken/n-1', own, taken]);
    for (const { key } of keys) await operator.remove(key);
  });

  it('finds what another process registered, and drops it when that was killed', async () => {
    const { registry } = open();
    const seen = new WatchRecorder(await registry.watch({ service: 'killed' }));
    const child = await announcing('etcd', { address: server.address }, 'killed', 'n1', 10_000);
    expect(await idsOf(registry, 'killed')).toEqual(['n1']);
    expect(await foundElsewhere('etcd', { address: server.address }, 'killed')).toEqual(
      await registry.getService('killed'),
    );
    await child.kill('SIGKILL');
    await eventually('watchers know', () => seen.texts.includes('delete n1'), patientMs);
    expect(await idsOf(registry, 'killed')).toEqual([]);
    expect(seen.texts).toEqual(['create n1', 'delete n1']);
  });

  it.each([
    ['the key was removed', (key: string) => operator.remove(key)],
    ['the key was overwritten', (key: string) => operator.put(key, 'nonsense')],
    ['the lease was revoked', async (key: string) => operator.revoke((await operator.keys(key))[0]?.lease ?? '')],
  ])('is registered again by the next renewal after %s, which is logged', async (_what, lose) => {
    const { registry, logger } = open();
    await registry.register(serviceOf('lost', ['n1']));
    await lose('/micro/registry/lost/n1');
    expect(await idsOf(registry, 'lost')).toEqual([]);
    await registry.register(serviceOf('lost', ['n1']));
    expect(await idsOf(registry, 'lost')).toEqual(['n1']);
    expect(logger.texts.filter((text) => text.includes('announced again'))).toEqual([
      expect.stringMatching(/^warn .*lost node "n1" of service "lost"/),
    ]);
    await registry.register(serviceOf('lost', ['n1']));
    await registry.deregister(serviceOf('lost', ['n1']));
    expect(await operator.keys('/micro/registry/lost/')).toEqual([]);
  });

  it('lets the last of two processes with one node id have it, and leaves its registration when the first goes', async () => {
    const [first, second] = [open(), open()];
    const at = (port: number) => serviceOf('twins', [nodeOf('n1', { address: `127.0.0.1:${port}` })]);
    const addressOf = async () => (await second.registry.getService('twins'))[0]?.nodes.map(({ address }) => address);
    await first.registry.register(at(7_001));
    await second.registry.register(at(7_002));
    const seen = new WatchRecorder(await first.registry.watch({ service: 'twins' }));
    for (let round = 0; round < 3; round += 1) {
      await first.registry.register(at(7_001));
      await second.registry.register(at(7_002));
    }
    // A changed record, as that of one that drains, replaces nothing either.
    await first.registry.register(serviceOf('twins', [nodeOf('n1', { metadata: { 'tenon-state': 'draining' } })]));
    expect(await addressOf()).toEqual(['127.0.0.1:7002']);
    expect(first.logger.texts).toEqual([expect.stringMatching(/^warn node "n1" of service "twins" .* another place/)]);
    expect(second.logger.texts).toEqual([]);
    await first.registry.deregister(at(7_001));
    expect(await addressOf()).toEqual(['127.0.0.1:7002']);
    expect(seen.texts).toEqual([]);
    await first.registry.register(at(7_003));
    expect(await addressOf()).toEqual(['127.0.0.1:7003']);
    await second.registry.register(at(7_002));
    await first.registry.deregister(at(7_003));
    await second.registry.register(at(7_002));
    expect(await addressOf()).toEqual(['127.0.0.1:7002']);
    await second.registry.deregister(at(7_002));
  });

  it('keeps the node of a process that was restarted with its id when the lease of the first ends', async () => {
    const child = await announcing('etcd', { address: server.address }, 'restarted', 'n1', 8_000);
    await child.kill('SIGKILL');
    const { registry } = open();
    const seen = new WatchRecorder(await registry.watch({ service: 'restarted' }));
    await registry.register(serviceOf('restarted', ['n1']), { ttlMs: 30_000 });
    const leases = await operator.leases();
    await eventually(
      'the lease of the first ends',
      async () => (await operator.leases()).length < leases.length,
      patientMs,
    );
    expect(await idsOf(registry, 'restarted')).toEqual(['n1']);
    expect(seen.texts).toEqual(['update n1']);
  });

  it('reports every change of one transaction', async () => {
    const { registry } = open();
    const ids = ['n1', 'n2', 'n3'];
    await registry.register(serviceOf('at-once', ids));
    const [one, all] = [
      new WatchRecorder(await registry.watch({ service: 'at-once' })),
      new WatchRecorder(await registry.watch()),
    ];
    await operator.removeAtOnce(ids.map((id) => `/micro/registry/at-once/${id}`));
    for (const seen of [one, all]) {
      await eventually('all is told', () => seen.texts.length >= 3, patientMs);
      expect(seen.texts).toEqual(['delete n1', 'delete n2', 'delete n3']);
    }
    await registry.deregister(serviceOf('at-once', ids));
  });

  it('reads any number of nodes, of any size, in pages', async () => {
    const { registry } = open({ prefix: '/pages/', timeoutMs: 30_000 });
    const metadata = { much: 'x'.repeat(1_000_000) };
    const large = Array.from({ length: 20 }, (_, at) => `large-${String(at).padStart(2, '0')}`);
    for (const id of large) await registry.register(serviceOf('large', [nodeOf(id, { metadata })]), { ttlMs: 60_000 });
    expect(await idsOf(registry, 'large')).toEqual(large);
    const many = Array.from({ length: 600 }, (_, at) => `n${String(at).padStart(3, '0')}`);
    await registry.register(serviceOf('many', many), { ttlMs: 60_000 });
    expect(await idsOf(registry, 'many')).toEqual(many);
    const seen = new WatchRecorder(await registry.watch());
    await registry.deregister(serviceOf('large', large));
    await eventually('all is told', () => seen.texts.length === large.length, patientMs);
    await registry.deregister(serviceOf('many', many));
  }, 60_000);

  it('refuses a record that is larger than etcd takes', async () => {
    const { registry } = open();
    const metadata = { much: 'x'.repeat(1_600_000) };
    expect(await failureOf(registry.register(serviceOf('huge', [nodeOf('n1', { metadata })])))).toMatchObject({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_service',
      message: expect.stringContaining('1048576 bytes. Shorten its metadata'),
    });
    const { registry: careless } = open({ maxRecordBytes: 2_000_000 });
    expect(await failureOf(careless.register(serviceOf('huge', [nodeOf('n1', { metadata })])))).toMatchObject({
      code: Code.Internal,
      reason: 'registry.refused',
      message: expect.stringContaining('too large'),
    });
  });

  it.each([
    ['no JSON', 'not json'],
    ['null', 'null'],
    ['nested 100,000 deep', '['.repeat(100_000)],
    ['of another service', JSON.stringify(serviceOf('other', ['bad']))],
    ['without nodes', JSON.stringify(serviceOf('broken', []))],
    ['with two nodes', JSON.stringify(serviceOf('broken', ['a', 'b']))],
    ['with a port above 65,535', JSON.stringify(serviceOf('broken', [nodeOf('bad', { address: 'h:65536' })]))],
    [
      'larger than a record may be',
      JSON.stringify(serviceOf('broken', ['bad'], { metadata: { x: 'y'.repeat(1_100_000) } })),
    ],
  ])('passes over a record that is broken (%s), and logs it once', async (_why, text) => {
    const { registry, logger } = open();
    const key = '/micro/registry/broken/bad';
    await registry.register(serviceOf('broken', ['n1']));
    const seen = new WatchRecorder(await registry.watch({ service: 'broken' }));
    const all = new WatchRecorder(await registry.watch());
    await operator.put(key, text);
    for (let round = 0; round < 3; round += 1) expect(await idsOf(registry, 'broken')).toEqual(['n1']);
    await operator.put(key, JSON.stringify(serviceOf('broken', ['bad'])));
    await eventually('it is mended', () => seen.texts.includes('create bad'), patientMs);
    await operator.put(key, text);
    await eventually('it is broken again', () => seen.texts.includes('delete bad'), patientMs);
    await operator.remove(key);
    await registry.deregister(serviceOf('broken', ['n1']));
    await eventually('it goes on', () => seen.texts.includes('delete n1'), patientMs);
    expect(seen.texts).toEqual(['create bad', 'delete bad', 'delete n1']);
    await eventually('all is told', () => all.texts.length === 3, patientMs);
    expect(logger.texts).toEqual([expect.stringMatching(/^warn the record at \/micro\/registry\/broken\/bad is skip/)]);
  });

  it('finds a node that was written under a key of another form, and reports when it goes', async () => {
    const { registry } = open();
    const seen = new WatchRecorder(await registry.watch({ service: 'by-hand' }));
    await operator.put('/micro/registry/by-hand/whatever', JSON.stringify(serviceOf('by-hand', ['n1'])));
    await eventually('it is seen', () => seen.texts.includes('create n1'), patientMs);
    await registry.register(serviceOf('by-hand', ['n1']));
    expect(await idsOf(registry, 'by-hand')).toEqual(['n1']);
    await operator.remove('/micro/registry/by-hand/whatever');
    await operator.put('/micro/registry/by-hand/n2', JSON.stringify(serviceOf('by-hand', ['n2'])));
    await eventually('both are told', () => seen.texts.includes('create n2'), patientMs);
    expect(await idsOf(registry, 'by-hand')).toEqual(['n1', 'n2']);
    expect(seen.texts).toEqual(['create n1', 'create n2']);
    await registry.deregister(serviceOf('by-hand', ['n1', 'n2']));
    expect(await operator.keys('/micro/registry/by-hand/')).toEqual([]);
  });

  it('works on with the address that answers where the first accepts and never answers', async () => {
    const address = `${await silentAddress()},${server.address}`;
    const { registry } = open({ address, timeoutMs: 3_000 });
    const seen = new WatchRecorder(await registry.watch({ service: 'second' }));
    await registry.register(serviceOf('second', ['n1']));
    expect(await idsOf(registry, 'second')).toEqual(['n1']);
    await eventually('it is told', () => seen.texts.includes('create n1'), patientMs);
    await registry.deregister(serviceOf('second', ['n1']));
  });
});

describe('EtcdRegistry without etcd', () => {
  const unreachable = {
    code: Code.Unavailable,
    reason: 'registry.unreachable',
    message: expect.stringMatching(/etcd at 127\.0\.0\.1:1 cannot be reached .*ECONNREFUSED.*TENON_REGISTRY_ADDRESS/),
  };

  it('rejects every call with registry.unreachable', async () => {
    const { registry } = etcd({ address: '127.0.0.1:1' });
    const service = serviceOf('greeter', ['n1']);
    for (const call of [
      () => registry.getService('greeter'),
      () => registry.listServices(),
      () => registry.register(service),
      () => registry.deregister(service),
      () => registry.watch(),
    ])
      expect(await failureOf(call())).toMatchObject(unreachable);
  });

  it('rejects with registry.timeout where nothing answers', async () => {
    const { registry } = etcd({ address: await silentAddress(), timeoutMs: 300 });
    expect(await failureOf(registry.getService('greeter'))).toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'registry.timeout',
    });
    expect((await failureOf(registry.watch())).code).not.toBe(Code.Ok);
  });
});

/** A server that accepts connections, and never answers. */
async function silentAddress(): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('it listens');
  return `127.0.0.1:${address.port}`;
}
