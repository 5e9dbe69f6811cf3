import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { ZooKeeperRegistry, type ZooKeeperRegistryOptions } from '../../src/registry/zookeeper.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { clientOf } from '../zookeeper/support.ts';
import { announcing, foundElsewhere, idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const { clock, random, timers } = systemRuntime;
const patientMs = 30_000;
const goMicroRecord = (name: string, id: string): Buffer =>
  Buffer.from(
    `{"name":"${name}","version":"latest","metadata":null,"endpoints":[{"request":{"name":"Req","type":"Req","values":null},"response":null,"metadata":null,"name":"Greeter.Hello"}],"nodes":[{"metadata":{"protocol":"grpc"},"id":"${id}","address":"10.0.0.1:1"}]}`,
  );

describe('the options of ZooKeeperRegistry', () => {
  it.each(['', 'a b', 'host:99999', 'host:port', 'http://host', 'a:1,,b:2', 'host:1/a/../b', 'host:1/\u0001'])(
    'take no address "%s"',
    (address) => {
      const invalid = expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_address' });
      expect(() => new ZooKeeperRegistry({ address })).toThrow(invalid);
      expect(() => new ZooKeeperRegistry().init({ address })).toThrow(invalid);
    },
  );

  it.each(['host', 'host:2181', '[::1]:2181', 'a:1,b:2,c', 'a:1,b:2/chroot', 'a/some/where/'])(
    'take the address "%s"',
    (address) => {
      expect(new ZooKeeperRegistry({ address }).options.address).toBe(address);
    },
  );

  it.each<[what: string, options: ZooKeeperRegistryOptions, message: RegExp]>([
    [
      'a password without a user',
      { credentials: { password: 'secret' } },
      /username is missing.*TENON_REGISTRY_USERNAME/,
    ],
    ['a password file without a user', { credentials: { passwordFile: '/a', username: '' } }, /username is missing/],
    ['a prefix of nothing', { prefix: '/' }, /prefix is "\/"/],
    ['a prefix that ZooKeeper refuses', { prefix: '/a/./b' }, /prefix is/],
  ])('refuse %s', (_what, options, message) => {
    const invalid = {
      code: Code.InvalidArgument,
      reason: 'registry.invalid_option',
      message: expect.stringMatching(message),
    };
    expect(() => new ZooKeeperRegistry(options)).toThrow(expect.objectContaining(invalid));
  });
});

describeWithServer('ZooKeeperRegistry', new BackendServer('zookeeper'), (server) => {
  let serial = 0;
  const fresh = (): string => `/test-${(serial += 1)}`;
  const registryOf = (options: ZooKeeperRegistryOptions = {}, logger = new RecordingLogger()): ZooKeeperRegistry => {
    const registry = new ZooKeeperRegistry({ address: server.address, ...options }, clock, random, timers, logger);
    closing.push(() => registry.close());
    return registry;
  };
  const rawClient = (): ReturnType<typeof clientOf>['client'] => clientOf([server.address]).client;

  it("stores Go Micro's Service JSON as an ephemeral node, and leaves no service without nodes behind", async () => {
    const [registry, client] = [registryOf(), rawClient()];
    const one = serviceOf('a.greeter', ['n1'], { endpoints: [{ name: 'Greeter.Hello', metadata: {} }] });
    await registry.register(one);
    const path = '/micro-registry/a.greeter';
    const { data, stat } = await client.getData(`${path}/n1`);
    expect(JSON.parse(String(data))).toEqual(one);
    expect(stat.ephemeralOwner).not.toBe(0n);
    await registry.deregister(one);
    expect(await client.exists(path)).toBeUndefined();
    expect((await client.exists('/micro-registry'))?.childCount).toBe(0);
  });

  it('stores everything below the path of its address', async () => {
    const [chroot, client] = [`${fresh()}/deep`, rawClient()];
    const registry = registryOf({ address: `${server.address}${chroot}`, prefix: '/services/of/mine/' });
    await registry.register(serviceOf('greeter', ['n1']));
    expect((await client.getChildren(`${chroot}/services/of/mine/greeter`)).children).toEqual(['n1']);
    expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    expect(await idsOf(registryOf({ address: server.address }), 'greeter')).toEqual([]);
  });

  it('finds nothing below a path that is not there yet, and is told of what comes below it', async () => {
    const address = `${server.address}${fresh()}/not/there`;
    const reader = registryOf({ address });
    expect(await idsOf(reader, 'greeter')).toEqual([]);
    expect(await reader.listServices()).toEqual([]);
    const seen = [
      new WatchRecorder(await reader.watch({ service: 'greeter' })),
      new WatchRecorder(await reader.watch()),
    ];
    const writer = registryOf({ address });
    await writer.register(serviceOf('greeter', ['n1']));
    for (const one of seen) await eventually('it is told', () => one.texts.length > 0, patientMs);
    await writer.deregister(serviceOf('greeter', ['n1']));
    for (const one of seen) {
      await eventually('its end is told', () => one.texts.length > 1, patientMs);
      expect(one.texts).toEqual(['create n1', 'delete n1']);
    }
  });

  it('keeps names apart that ZooKeeper refuses, or takes for paths', async () => {
    const [prefix, client] = [fresh(), rawClient()];
    const registry = registryOf({ prefix });
    const odd = [
      'a/b',
      'a-b',
      'a',
      'a%2Fb',
      '.',
      '..',
      '...',
      'a b',
      'ünï',
      'x\u0000\u0007',
      '😀',
      '\ud800',
      '\uf8ff',
      'zookeeper',
    ];
    for (const name of odd) await registry.register(serviceOf(name, ['n1', '../n2', `${name}`]));
    const seen = new WatchRecorder(await registry.watch());
    for (const name of odd) expect(await idsOf(registry, name)).toEqual([...new Set(['n1', '../n2', name])].sort());
    expect((await registry.listServices()).map(({ name }) => name).sort()).toEqual([...odd].sort());
    // Ordinary names are as Go Micro writes them.
    const { children } = await client.getChildren(prefix);
    expect(children).toEqual(
      expect.arrayContaining(['a b', 'ünï', 'a-b', '...', 'zookeeper', 'a%2Fb', '%2E', '%2E%2E']),
    );
    for (const name of odd) await registry.deregister(serviceOf(name, ['n1', '../n2', `${name}`]));
    await eventually('all are gone', () => seen.events.length === 3 * odd.length, patientMs);
    expect(new Set(seen.events.map(({ service }) => service.name))).toEqual(new Set(odd));
    expect((await client.getChildren(prefix)).children).toEqual([]);
  });

  it('finds and watches what Go Micro registers, nulls and slashes included', async () => {
    const [prefix, client] = [fresh(), rawClient()];
    const registry = registryOf({ prefix });
    const seen = new WatchRecorder(await registry.watch({ service: 'go/greeter' }));
    const all = new WatchRecorder(await registry.watch());
    const none = Buffer.alloc(0);
    for (const path of [prefix, `${prefix}/go-greeter`]) await client.create(path, none, 'persistent', 'world');
    await client.create(
      `${prefix}/go-greeter/go-greeter-1`,
      goMicroRecord('go/greeter', 'go/greeter-1'),
      'persistent',
      'world',
    );
    expect(await registry.getService('go/greeter')).toEqual([
      {
        name: 'go/greeter',
        version: 'latest',
        metadata: {},
        endpoints: [
          {
            name: 'Greeter.Hello',
            request: { name: 'Req', type: 'Req', values: [] },
            response: undefined,
            metadata: {},
          },
        ],
        nodes: [nodeOf('go/greeter-1', { address: '10.0.0.1:1', metadata: { protocol: 'grpc' } })],
      },
    ]);
    expect(await idsOf(registry, 'go-greeter')).toEqual([]);
    expect((await registry.listServices()).map(({ name }) => name)).toEqual(['go/greeter']);
    await client.delete(`${prefix}/go-greeter/go-greeter-1`, -1);
    for (const { texts } of [seen, all])
      await eventually(
        'it goes',
        () => String(texts) === 'create go/greeter-1,delete go/greeter-1' || seen.texts.length === 2,
        patientMs,
      );
    await eventually('both know', () => all.texts.length === 2, patientMs);
    expect(seen.texts).toEqual(['create go/greeter-1', 'delete go/greeter-1']);
    expect(all.texts).toEqual(seen.texts);
  });

  it('goes on with a watch when another one ends that has a path in common', async () => {
    const registry = registryOf({ prefix: fresh() });
    const slash = await registry.watch({ service: 'a/b' });
    const seen = new WatchRecorder(await registry.watch({ service: 'a-b' }));
    const again = new WatchRecorder(await registry.watch({ service: 'a-b' }));
    slash.stop();
    (await registry.watch({ service: 'a-b' })).stop();
    await registry.register(serviceOf('a-b', ['n1']));
    await eventually('both are told', () => seen.texts.length > 0 && again.texts.length > 0, patientMs);
    expect([seen.texts, again.texts]).toEqual([['create n1'], ['create n1']]);
  });

  it('passes over nodes without a session if it is told to, for Go Micro leaves those of killed processes', async () => {
    const [prefix, client] = [fresh(), rawClient()];
    const [all, own] = [registryOf({ prefix }), registryOf({ prefix, ephemeralOnly: true })];
    await all.register(serviceOf('greeter', ['n1']));
    const seen = new WatchRecorder(await own.watch({ service: 'greeter' }));
    await client.create(`${prefix}/greeter/dead`, goMicroRecord('greeter', 'dead'), 'persistent', 'world');
    expect(await idsOf(all, 'greeter')).toEqual(['dead', 'n1']);
    expect(await idsOf(own, 'greeter')).toEqual(['n1']);
    await all.register(serviceOf('greeter', ['n2']));
    await eventually('the next is seen', () => seen.texts.length > 0, patientMs);
    expect(seen.texts).toEqual(['create n2']);
  });

  it('drops a process that was killed when its session times out, for readers and watchers', async () => {
    const registry = registryOf();
    const seen = new WatchRecorder(await registry.watch({ service: 'killed' }));
    const all = new WatchRecorder(await registry.watch());
    const child = await announcing('zookeeper', { address: server.address }, 'killed', 'n1', 4_000);
    expect(await idsOf(registry, 'killed')).toEqual(['n1']);
    await child.kill('SIGKILL');
    await eventually('it is gone', async () => (await idsOf(registry, 'killed')).length === 0, patientMs);
    await eventually('watchers know', () => seen.texts.length === 2 && all.texts.length === 2, patientMs);
    expect([seen.texts, all.texts]).toEqual([
      ['create n1', 'delete n1'],
      ['create n1', 'delete n1'],
    ]);
  });

  it('finds a node that another process registered', async () => {
    await registryOf().register(serviceOf('elsewhere', ['n1']));
    expect(await foundElsewhere('zookeeper', { address: server.address }, 'elsewhere')).toEqual([
      serviceOf('elsewhere', ['n1']),
    ]);
  });

  it('lets the last process have a node that two register, and gives it back to the one that is left', async () => {
    const [prefix, logger] = [fresh(), new RecordingLogger()];
    const [first, second] = [registryOf({ prefix }, logger), registryOf({ prefix })];
    const one = serviceOf('greeter', [nodeOf('n1', { address: '127.0.0.1:1' })]);
    const other = serviceOf('greeter', [nodeOf('n1', { address: '127.0.0.1:2' })]);
    await first.register(one);
    await second.register(other);
    // Renewals, changes and the end of the first leave the second alone.
    await first.register(one);
    await first.register({ ...one, metadata: { changed: 'yes' } });
    expect(await second.getService('greeter')).toEqual([other]);
    expect(logger.texts).toEqual([expect.stringContaining('another process registered')]);
    await second.deregister(other);
    await eventually('the first is found again', async () => (await idsOf(first, 'greeter')).length === 1, patientMs);
    expect((await first.getService('greeter'))[0]).toMatchObject({ metadata: { changed: 'yes' }, nodes: one.nodes });
    await second.register(other);
    await first.deregister(one);
    expect(await second.getService('greeter')).toEqual([other]);
  });

  it('replaces a node that stays without a session', async () => {
    const [prefix, client] = [fresh(), rawClient()];
    const registry = registryOf({ prefix });
    await registry.register(serviceOf('greeter', ['n1']));
    await client.create(`${prefix}/greeter/n2`, goMicroRecord('greeter', 'n2'), 'persistent', 'world');
    await registry.register(serviceOf('greeter', ['n2']));
    expect((await client.exists(`${prefix}/greeter/n2`))?.ephemeralOwner).not.toBe(0n);
  });

  it('makes a node again that somebody deletes, and so does the next renewal', async () => {
    const [prefix, client, logger] = [fresh(), rawClient(), new RecordingLogger()];
    const registry = registryOf({ prefix }, logger);
    await registry.register(serviceOf('greeter', ['n1']));
    for (let round = 1; round <= 3; round += 1) {
      const before = (await client.exists(`${prefix}/greeter/n1`))?.createdZxid;
      await client.delete(`${prefix}/greeter/n1`, -1);
      // A container may go with its last node.
      await client.delete(`${prefix}/greeter`, -1).catch(() => {});
      if (round === 2) await registry.register(serviceOf('greeter', ['n1']));
      const isAgain = async (): Promise<boolean> => {
        const stat = await client.exists(`${prefix}/greeter/n1`);
        return stat !== undefined && stat.createdZxid !== before;
      };
      await eventually('it is there again', isAgain, patientMs);
    }
    expect(logger.texts.some((text) => /lost node "n1" of service "greeter"/.test(text))).toBe(true);
  });

  it.each([30_000, 5_000])('hands a node over to another instance, which nobody notices: TTL %i', async (ttlMs) => {
    const [prefix, logger] = [fresh(), new RecordingLogger()];
    const [first, second] = [registryOf({ prefix }, logger), registryOf({ prefix }, logger)];
    const one = serviceOf('greeter', ['n1']);
    await first.register(one, { ttlMs });
    const seen = new WatchRecorder(await first.watch({ service: 'greeter' }));
    await first.release(one);
    for (let look = 0; look < 20; look += 1) expect(await idsOf(second, 'greeter')).toEqual(['n1']);
    await second.register(one, { ttlMs });
    await second.register(one, { ttlMs });
    expect(seen.texts).toEqual([]);
    await first.close();
    expect(await idsOf(second, 'greeter')).toEqual(['n1']);
    expect(logger.texts).toEqual([]);
  });

  it('has a session for each TTL, as long as a node needs it', async () => {
    const [prefix, client] = [fresh(), rawClient()];
    const registry = registryOf({ prefix });
    const ownerOf = async (id: string): Promise<bigint> =>
      (await client.exists(`${prefix}/greeter/${id}`))?.ephemeralOwner ?? 0n;
    await registry.register(serviceOf('greeter', ['n1', 'n2']), { ttlMs: 5_000 });
    await registry.register(serviceOf('greeter', ['n3']), { ttlMs: 6_000 });
    const [one, two, three] = [await ownerOf('n1'), await ownerOf('n2'), await ownerOf('n3')];
    expect([one === two, one === three]).toEqual([true, false]);
    // Another TTL moves a node to another session, and the session ends that nobody uses.
    await registry.register(serviceOf('greeter', ['n3']), { ttlMs: 5_000 });
    expect(await ownerOf('n3')).toBe(one);
    await registry.deregister(serviceOf('greeter', ['n1', 'n2']));
    await registry.register(serviceOf('greeter', ['n3']), { ttlMs: 7_000 });
    expect(await ownerOf('n3')).not.toBe(one);
    expect(await idsOf(registry, 'greeter')).toEqual(['n3']);
  });

  it('ends the session of a TTL after the last of its nodes is removed, not before', async () => {
    const registry = registryOf({ prefix: fresh() });
    for (let round = 0; round < 5; round += 1) {
      const service = serviceOf('last-of-its-session', ['n1']);
      await registry.register(service, { ttlMs: 5_000 + round });
      await registry.deregister(service);
      expect(await idsOf(registry, 'last-of-its-session')).toEqual([]);
    }
  });

  it('reports a burst of changes in order, the last one included', async () => {
    const registry = registryOf({ prefix: fresh() });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    const work: Promise<void>[] = [];
    for (let round = 0; round < 50; round += 1) {
      work.push(registry.register(serviceOf('greeter', [nodeOf('n1', { metadata: { round: String(round) } })])));
      if (round % 10 === 9) work.push(registry.deregister(serviceOf('greeter', ['n1'])));
    }
    await Promise.all(work);
    await registry.register(serviceOf('greeter', ['last']));
    await eventually('the last one comes', () => seen.texts.includes('create last'), patientMs);
    const rounds = seen.events
      .filter(({ action }) => action !== 'delete')
      .map(({ service }) => Number(service.nodes[0]?.metadata['round'] ?? 99));
    expect(rounds).toEqual([...rounds].sort((a, b) => a - b));
    expect(await idsOf(registry, 'greeter')).toEqual(['last']);
  });

  it('proves who it is, and keeps others from its nodes if it is told to', async () => {
    const prefix = fresh();
    const options = { prefix, acl: 'creator', credentials: { username: 'ann', password: 'secret' } } as const;
    const registry = registryOf(options);
    await registry.register(serviceOf('greeter', ['n1']));
    expect(await idsOf(registryOf(options), 'greeter')).toEqual(['n1']);
    const denied = {
      code: Code.PermissionDenied,
      reason: 'registry.refused',
      message: expect.stringMatching(/NoAuth.*TENON_REGISTRY_USERNAME and TENON_REGISTRY_PASSWORD/),
    };
    const strangers = [
      registryOf({ prefix }),
      registryOf({ ...options, credentials: { username: 'ann', password: 'wrong' } }),
    ];
    for (const stranger of strangers) {
      expect(await failureOf(stranger.getService('greeter'))).toMatchObject(denied);
      expect(await failureOf(stranger.register(serviceOf('greeter', ['n2'])))).toMatchObject(denied);
    }
    // Nobody has the rights of a creator who has not proved to be anybody.
    const nobody = registryOf({ prefix: fresh(), acl: 'creator' });
    expect(await failureOf(nobody.register(serviceOf('greeter', ['n1'])))).toMatchObject({
      reason: 'registry.refused',
    });
  });

  it.each<[what: string, credentials: NonNullable<ZooKeeperRegistryOptions['credentials']>]>([
    ['a password file that is not there', { username: 'u', passwordFile: '/absent' }],
    ['an empty password', { username: 'u', password: '' }],
  ])('sends nothing with %s, and says so to everybody who waits', async (_what, credentials) => {
    const prefix = fresh();
    const registry = registryOf({ prefix, credentials });
    const refusals = ['n1', 'n2'].map((id) => failureOf(registry.register(serviceOf('greeter', [id]))));
    const invalid = { code: Code.FailedPrecondition, reason: 'tls.invalid_credentials' };
    expect(await Promise.all(refusals)).toMatchObject([invalid, invalid]);
    expect(await failureOf(registry.register(serviceOf('greeter', ['n3'])))).toMatchObject(invalid);
    expect(await rawClient().exists(prefix)).toBeUndefined();
  });

  it.each<[why: string, text: string]>([
    ['no JSON', 'not json'],
    ['empty', ''],
    ['nested deeply', '['.repeat(100_000)],
    ['of another service', String(goMicroRecord('other', 'bad'))],
    ['of another node', String(goMicroRecord('greeter', 'other'))],
    ['without nodes', '{"name":"greeter","nodes":[]}'],
    ['with an invalid port', '{"name":"greeter","nodes":[{"id":"bad","address":"127.0.0.1:0"}]}'],
    ['too large', JSON.stringify({ name: 'greeter', nodes: [{ id: 'bad', address: 'a:1' }], more: 'x'.repeat(2_000) })],
  ])('skips a record that is broken (%s), and logs it once', async (_why, text) => {
    const [prefix, client, logger] = [fresh(), rawClient(), new RecordingLogger()];
    const registry = registryOf({ prefix, maxRecordBytes: 1_000 }, logger);
    await registry.register(serviceOf('greeter', ['n1']));
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await client.create(`${prefix}/greeter/bad`, Buffer.from(text), 'persistent', 'world');
    for (let round = 0; round < 3; round += 1) expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
    await registry.register(serviceOf('greeter', ['n2']));
    await eventually('it goes on', () => seen.texts.length > 0, patientMs);
    expect(seen.texts).toEqual(['create n2']);
    expect(logger.texts).toEqual([expect.stringMatching(`^warn the record at ${prefix}/greeter/bad is skipped: it `)]);
  });

  it('lets go of a node whose record somebody breaks', async () => {
    const [prefix, client] = [fresh(), rawClient()];
    const registry = registryOf({ prefix });
    await registry.register(serviceOf('greeter', ['n1']));
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    await client.setData(`${prefix}/greeter/n1`, Buffer.from('broken'), -1);
    await eventually('it goes', () => seen.texts.length > 0, patientMs);
    expect(seen.texts).toEqual(['delete n1']);
  });

  it('does not report renewals, and asks for little', async () => {
    const registry = registryOf({ prefix: fresh() });
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    for (let round = 0; round < 20; round += 1) await registry.register(serviceOf('greeter', ['n1']));
    expect(seen.texts).toEqual(['create n1']);
  });
});

describeWithServer('ZooKeeperRegistry with a ZooKeeper of old', new BackendServer('zookeeper-old'), (server) => {
  it('watches without recursive watches', async () => {
    const registry = new ZooKeeperRegistry({ address: server.address });
    closing.push(() => registry.close());
    const other = new ZooKeeperRegistry({ address: server.address });
    closing.push(() => other.close());
    const seen = new WatchRecorder(await registry.watch({ service: 'greeter' }));
    const all = new WatchRecorder(await registry.watch());
    const has = (text: string): Promise<void> =>
      eventually(text, () => seen.texts.includes(text) && all.texts.includes(text), patientMs);
    await other.register(serviceOf('greeter', ['n1']));
    await has('create n1');
    await other.register(serviceOf('greeter', ['n2']));
    await has('create n2');
    await other.register(serviceOf('greeter', [nodeOf('n1', { address: '127.0.0.1:2' })]));
    await has('update n1');
    await other.deregister(serviceOf('greeter', ['n1']));
    await has('delete n1');
    await other.deregister(serviceOf('greeter', ['n2']));
    await has('delete n2');
    await other.register(serviceOf('greeter', ['n3']));
    await has('create n3');
    expect(seen.texts).toEqual(['create n1', 'create n2', 'update n1', 'delete n1', 'delete n2', 'create n3']);
  });
});
