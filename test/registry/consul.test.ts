import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';

import { afterAll, describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { decodeTags, encodeTags } from '../../src/go-micro/consul.ts';
import { ConsulRegistry, type ConsulRegistryOptions } from '../../src/registry/consul.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { authority } from '../support/certificates.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { consulApi, httpServer, registryAt } from './consul-support.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const golden = JSON.parse(readFileSync(new URL('./go-micro-consul.json', import.meta.url), 'utf8')) as {
  readonly tags: readonly string[];
  readonly plain: readonly string[];
  readonly service: {
    readonly version: string;
    readonly metadata: Readonly<Record<string, string>>;
    readonly endpoints: readonly object[];
  };
};
const maxBytes = 65_536;

describe("Go Micro's tags", () => {
  it('are read, as today and in the plain form before', () => {
    expect(decodeTags(golden.tags, maxBytes)).toEqual({ ...golden.service, own: {} });
    expect(decodeTags(golden.plain, maxBytes)).toEqual({
      version: '1.2.0',
      metadata: { zone: 'b' },
      endpoints: [{ name: 'Greeter.Hello', request: null, response: null, metadata: null }],
      own: {},
    });
  });

  it('are written with the same texts in the same order', () => {
    const texts = (tags: readonly string[]): string[] =>
      tags.map((one) => one.slice(0, 2) + inflateSync(Buffer.from(one.slice(2), 'hex')).toString());
    const tags = encodeTags(golden.service);
    // Go writes three characters of JSON escaped.
    const escaped = (text: string): string =>
      text.replace(/[<>&]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
    expect(texts(tags).map(escaped)).toEqual(texts(golden.tags));
    for (const one of tags) expect(one).toMatch(/^[tev]-789c[\da-f]+$/);
  });

  it('of others that begin alike are passed over', () => {
    const bomb = encodeTags({ version: 'x'.repeat(maxBytes + 1), metadata: {}, endpoints: [] });
    const others = ['t-shirt', 'v-neck', 'e-commerce', 'n-', 't-00', 'e=[1]', 't=null', 'urlprefix-/', '', ...bomb];
    expect(decodeTags(others, maxBytes)).toEqual({ version: '', metadata: undefined, endpoints: [], own: {} });
    const { metadata } = decodeTags(['t={"__proto__":{"polluted":"yes"}}'], maxBytes);
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
  });

  it.each([
    ['fit one by one', maxBytes],
    ['are each too large', maxBytes + 1],
  ])('are not decompressed any further where their texts are too large together, though they %s', (_, size) => {
    const [bomb = ''] = encodeTags({ version: 'x'.repeat(size), metadata: {}, endpoints: [] });
    const few = Array.from({ length: 3 }, () => bomb);
    expect(() => decodeTags(few, maxBytes)).not.toThrow();
    expect(() => decodeTags([...few, bomb], maxBytes)).toThrow(RangeError);
  });
});

describe('the address of ConsulRegistry', () => {
  it.each(['', 'a b', 'host:99999', 'http://host:8500', 'host:8500/v1'])('may not be "%s"', (address) => {
    expect(() => new ConsulRegistry({ address })).toThrow(
      expect.objectContaining({ code: Code.InvalidArgument, reason: 'registry.invalid_address' }),
    );
  });

  it('may have several hosts, and no port', () => {
    expect(new ConsulRegistry({ address: 'one,[::1]:8501' }).options.address).toBe('one,[::1]:8501');
  });
});

describeWithServer('ConsulRegistry', new BackendServer('consul'), (consul) => {
  const registry = (options: ConsulRegistryOptions = {}, logger?: RecordingLogger): ConsulRegistry =>
    registryAt(consul.address, options, logger);

  it("stores a service per node as Go Micro does, whose id is the node's and whose check passes at once", async () => {
    const { health } = consulApi(consul.address);
    const { version, metadata } = golden.service;
    // Go writes null for what is empty.
    const text = JSON.stringify(golden.service.endpoints).replaceAll('"values":null', '"values":[]');
    const endpoints = JSON.parse(text.replaceAll('"response":null,', '')) as never;
    const node = nodeOf('layout-1', { address: '10.0.0.7:50051', metadata });
    await registry().register(serviceOf('layout', [node], { version, endpoints }), { ttlMs: 20_000 });
    const [entry, ...others] = await health('layout');
    expect(others).toEqual([]);
    expect(entry?.Service).toMatchObject({
      ID: 'layout-1',
      Service: 'layout',
      Address: '10.0.0.7',
      Port: 50_051,
      Meta: { zone: 'b', note: '<a> & "b"', protocol: 'grpc' },
    });
    expect(JSON.stringify(decodeTags(entry?.Service.Tags ?? [], maxBytes).endpoints)).toBe(text);
    expect(decodeTags(entry?.Service.Tags ?? [], maxBytes)).toMatchObject({ version, metadata, own: {} });
    const check = entry?.Checks.find(({ CheckID }) => CheckID === 'service:layout-1');
    expect(check).toMatchObject({ Status: 'passing', Type: 'ttl' });
  });

  it('reads what Go Micro registers, tags before all else, and leaves out what is critical', async () => {
    const { register, check } = consulApi(consul.address);
    const Check = { TTL: '60s', Status: 'passing' };
    const base = { Name: 'foreign', Port: 9001, Check };
    await register({ ...base, ID: 'n1', Address: '10.0.0.1', Tags: golden.tags, Meta: { zone: 'of meta' } });
    await register({ ...base, ID: 'n2', Tags: golden.plain });
    await register({ ...base, ID: 'n3', Address: '::1', Tags: ['primary'], Meta: { zone: 'c' } });
    await register({ ...base, ID: 'n4' });
    await check('fail', 'service:n4');
    await check('warn', 'service:n3');
    const seen = registry();
    await eventually('all are there', async () => (await idsOf(seen, 'foreign')).length === 3);
    const [one, two] = await seen.getService('foreign');
    expect(one).toMatchObject({
      name: 'foreign',
      version: '1.2.0',
      metadata: {},
      endpoints: [{ name: 'Greeter.Hello' }, { name: 'Func', response: undefined }],
      nodes: [
        { id: 'n1', address: '10.0.0.1:9001', metadata: golden.service.metadata },
        { id: 'n2', address: '127.0.0.1:9001', metadata: { zone: 'b' } },
      ],
    });
    expect(two).toMatchObject({ version: '', nodes: [{ id: 'n3', address: '[::1]:9001', metadata: { zone: 'c' } }] });
    expect((await seen.listServices()).map(({ name }) => name)).not.toContain('consul');
  });

  it('keeps what tags and Meta cannot hold: ids, addresses, metadata of any kind', async () => {
    const { health } = consulApi(consul.address);
    const metadata = {
      ...Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`key-${index}`, 'x'])),
      'with a space': 'a',
      'consul-x': 'b',
      long: 'ü'.repeat(2_000),
      'new\nline': '\u0000',
      constructor: 'c',
    };
    const odd = serviceOf(
      'odd',
      [
        nodeOf('n1', { address: 'unix:/run/odd.sock', metadata }),
        nodeOf('odd-ü/1?', { address: 'host.example:7000' }),
        nodeOf('odd-2', { address: '[fe80::1]:7000' }),
      ],
      { metadata: { owner: 'ü' } },
    );
    const own = registry();
    await own.register(odd);
    expect(await own.getService('odd')).toEqual([
      { ...odd, nodes: expect.arrayContaining(odd.nodes.map((node) => ({ ...node }))) },
    ]);
    const ids = (await health('odd')).map(({ Service }) => Service.ID);
    expect(ids).toContain('odd-2');
    for (const id of ids) expect(id).toMatch(/^odd-[\w-]+$/);
    await own.deregister(odd);
    expect(await health('odd')).toEqual([]);
  });

  it('takes names and ids of any length, and none that are no text', async () => {
    const own = registryAt(consul.address);
    const long = serviceOf('long'.repeat(500), [nodeOf('n'.repeat(2_000))]);
    await own.register(long);
    expect(await own.getService(long.name)).toEqual([long]);
    await own.deregister(long);
    expect(await idsOf(own, long.name)).toEqual([]);
    const invalid = { code: Code.InvalidArgument, reason: 'registry.invalid_service' };
    for (const [name, id] of [
      ['', 'n1'],
      ['half-\ud800', 'n1'],
      ['half', 'half-\ud800'],
    ] as const) {
      expect(await failureOf(own.register(serviceOf(name, [id])))).toMatchObject(invalid);
    }
  });

  it.each(['..', '.', '/lead', 'a//b', 'a/../b', 'a/.'])(
    'leaves out services such as "%s", whose path servers clean, and takes none',
    async (name) => {
      const { register, deregister } = consulApi(consul.address);
      await register({ ID: 'unasked-1', Name: name, Port: 7 });
      const own = registry();
      await own.register(serviceOf('a/b/', ['n1']));
      const names = async (): Promise<readonly string[]> => (await own.listServices()).map((one) => one.name);
      expect(await names()).toContain('a/b/');
      expect(await names()).not.toContain(name);
      const watcher = await own.watch();
      watcher.stop();
      (await own.watch({ service: name })).stop();
      expect(await failureOf(own.getService(name))).toMatchObject({ reason: 'registry.not_found' });
      const invalid = { code: Code.InvalidArgument, reason: 'registry.invalid_service' };
      expect(await failureOf(own.register(serviceOf(name, ['n1'])))).toMatchObject(invalid);
      await own.deregister(serviceOf(name, ['n1']));
      await deregister('unasked-1');
    },
  );

  it('never removes the service of another name that has the same id', async () => {
    const own = registry();
    await own.register(serviceOf('twin', ['n1', 'twin-a-1']));
    await own.register(serviceOf('twin-a', ['n1', 'twin-a-1'], { version: '2.0.0' }));
    expect(await idsOf(own, 'twin')).toEqual(['n1']);
    await own.deregister(serviceOf('twin', ['n1', 'twin-a-1']));
    expect(await idsOf(own, 'twin')).toEqual([]);
    expect(await idsOf(own, 'twin-a')).toEqual(['n1', 'twin-a-1']);
  });
});

describe('a watch of all services by ConsulRegistry', () => {
  it('no longer asks for a service that is gone, unless another watch follows it', async () => {
    let services = ['gone', 'wanted'];
    let index = 1;
    let held: (() => void)[] = [];
    const open = new Map<string, number>();
    const address = await httpServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://agent');
      const answer = (): void => {
        const names = Object.fromEntries(services.map((name) => [name, []]));
        const body = JSON.stringify(pathname === '/v1/catalog/services' ? names : []);
        response.setHeader('x-consul-index', String(index)).end(body);
      };
      open.set(pathname, (open.get(pathname) ?? 0) + 1);
      response.once('close', () => open.set(pathname, (open.get(pathname) ?? 0) - 1));
      if (Number(searchParams.get('index') ?? 0) < index) answer();
      else held.push(answer);
    });
    const own = registryAt(address, { minReadMs: 1 });
    const watchers = [await own.watch(), await own.watch({ service: 'wanted' })];
    const asks = (name: string): boolean => (open.get(`/v1/health/service/${name}`) ?? 0) > 0;
    await eventually('it asks for both', () => asks('gone') && asks('wanted') && held.length === 3);
    [services, index] = [[], 2];
    const before = held;
    held = [];
    for (const answer of before) answer();
    await eventually('it asks for all and for the one that is watched', () => held.length >= 2 && !asks('gone'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([asks('gone'), asks('wanted')]).toEqual([false, true]);
    for (const watcher of watchers) watcher.stop();
  });
});

const [managing, writing, narrow] = ['11111111', '22222222', '33333333'].map(
  (text) => `${text}-0000-4000-8000-000000000000`,
);
const acl = `acl { enabled = true default_policy = "deny" tokens { initial_management = "${managing}" agent = "${managing}" } }`;

describeWithServer('ConsulRegistry with tokens', new BackendServer('consul', { args: ['-hcl', acl] }), (consul) => {
  const { call } = { call: (...args: [string, string, object?]) => consulApi(consul.address, managing).call(...args) };
  const make = async (id: string, rules: string): Promise<void> => {
    await eventually('tokens can be made', () =>
      call('PUT', 'acl/policy', { Name: `p-${id.slice(0, 4)}`, Rules: rules }).then(
        () => true,
        () => false,
      ),
    );
    await call('PUT', 'acl/token', { SecretID: id, Policies: [{ Name: `p-${id.slice(0, 4)}` }] });
  };
  const denied = {
    code: Code.PermissionDenied,
    reason: 'registry.refused',
    message: expect.stringContaining('TENON_REGISTRY_TOKEN'),
  };

  it('registers and finds with one that may, from a file that is read for every request', async () => {
    await make(writing!, 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }');
    const folder = mkdtempSync(join(tmpdir(), 'tenon-consul-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, `${writing}\n`);
    const own = registryAt(consul.address, { credentials: { tokenFile } });
    await own.register(serviceOf('guarded', ['guarded-1']));
    expect(await idsOf(own, 'guarded')).toEqual(['guarded-1']);
    writeFileSync(tokenFile, 'nobody\n');
    expect(await failureOf(own.getService('guarded'))).toMatchObject(denied);
    expect(await failureOf(own.register(serviceOf('guarded', ['guarded-1'])))).toMatchObject(denied);
    writeFileSync(tokenFile, `${writing}\n`);
    await own.deregister(serviceOf('guarded', ['guarded-1']));
    expect(await idsOf(own, 'guarded')).toEqual([]);
  });

  it('renews and watches on while its file gets another one, and the one before it is deleted', async () => {
    const Rules = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }';
    await eventually('policies can be made', () =>
      call('PUT', 'acl/policy', { Name: 'rotated', Rules }).then(
        () => true,
        () => false,
      ),
    );
    const made = async () =>
      (await call('PUT', 'acl/token', { Policies: [{ Name: 'rotated' }] })) as Record<
        'AccessorID' | 'SecretID',
        string
      >;
    const folder = mkdtempSync(join(tmpdir(), 'tenon-consul-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const tokenFile = join(folder, 'token');
    let last = await made();
    writeFileSync(tokenFile, last.SecretID);
    const own = registryAt(consul.address, { credentials: { tokenFile }, waitMs: 1_000 });
    const node = serviceOf('rotated', ['rotated-1']);
    await own.register(node);
    const [one, all] = [
      new WatchRecorder(await own.watch({ service: 'rotated' })),
      new WatchRecorder(await own.watch()),
    ];
    for (let round = 0; round < 3; round += 1) {
      const next = await made();
      writeFileSync(tokenFile, next.SecretID);
      // At once, though queries that are held began with it.
      await call('DELETE', `acl/token/${last.AccessorID}`);
      last = next;
      await own.register(node);
      expect(await idsOf(own, 'rotated')).toEqual(['rotated-1']);
      await new Promise((resolve) => setTimeout(resolve, 1_500));
    }
    expect([one.texts, all.texts]).toEqual([[], []]);
    await own.deregister(node);
    await eventually('both are told', () => one.texts.length === 1 && all.texts.length === 1);
    expect(one.texts).toEqual(['delete rotated-1']);
  });

  it('is refused without one, and with one whose rights are too few, which is not taken for a missing service', async () => {
    await make(narrow!, 'service "mine" { policy = "write" } node_prefix "" { policy = "read" }');
    const [nobody, some] = [registryAt(consul.address), registryAt(consul.address, { credentials: { token: narrow } })];
    await registryAt(consul.address, { credentials: { token: writing } }).register(serviceOf('theirs', ['theirs-1']));
    expect(await failureOf(nobody.register(serviceOf('theirs', ['theirs-2'])))).toMatchObject(denied);
    // Consul does not tell a caller without a token that there is more.
    expect(await idsOf(nobody, 'theirs')).toEqual([]);
    expect(await failureOf(some.register(serviceOf('theirs', ['theirs-2'])))).toMatchObject(denied);
    expect(await failureOf(some.getService('theirs'))).toMatchObject(denied);
    await some.register(serviceOf('mine', ['mine-1']));
    expect((await some.listServices()).map(({ name }) => name)).toEqual(['mine']);
  });
});

describe('TLS of ConsulRegistry', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-consul-tls-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const ours = authority('Ours');
  const issued = ours.issue({ name: 'consul', names: ['127.0.0.1'] });
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const client = ours.issue({ name: 'client' });
  const files = { certFile: file('client.crt', client.cert), keyFile: file('client.key', client.key) };
  const caFile = file('ca.crt', ours.cert);
  const tls = {
    certFile: file('server.crt', issued.cert),
    keyFile: file('server.key', issued.key),
    caFile,
    asksClients: true,
    probe: files,
  };

  describeWithServer('with an agent that asks for certificates', new BackendServer('consul', { tls }), (consul) => {
    it('registers and finds with the right files, and says which one is wrong', async () => {
      const own = registryAt(consul.address, { tls: { ...files, caFile } });
      await own.register(serviceOf('secure', ['secure-1']));
      expect(await idsOf(own, 'secure')).toEqual(['secure-1']);
      const strangers = file('strangers.crt', authority('Strangers').cert);
      const wrong = await failureOf(
        registryAt(consul.address, { tls: { ...files, caFile: strangers } }).listServices(),
      );
      expect(wrong).toMatchObject({ reason: 'registry.unreachable' });
      expect(wrong.message).toMatch('TENON_REGISTRY_TLS_CA_FILE');
      const other = await failureOf(
        registryAt(consul.address, { tls: { ...files, caFile, serverName: 'other.internal' } }).listServices(),
      );
      expect(other).toMatchObject({ reason: 'registry.unreachable' });
      expect(other.message).toMatch('TENON_REGISTRY_TLS_SERVER_NAME');
      const nobody = await failureOf(registryAt(consul.address, { tls: { caFile } }).listServices());
      expect(nobody).toMatchObject({ code: Code.Unavailable });
      const plain = await failureOf(registryAt(consul.address).listServices());
      expect(plain).toMatchObject({ reason: 'registry.refused' });
      expect(plain.message).toMatch('TENON_REGISTRY_TLS');
    });
  });
});

describeWithServer('ConsulRegistry, told of what its server does not have', new BackendServer('consul'), (consul) => {
  it('passes on what Consul says of a namespace and a datacentre', async () => {
    const namespace = await failureOf(registryAt(consul.address, { namespace: 'payments' }).listServices());
    expect(namespace).toMatchObject({ code: Code.Internal, reason: 'registry.refused' });
    expect(namespace.message).toMatch(/Enterprise/i);
    const datacenter = await failureOf(registryAt(consul.address, { datacenter: 'mars' }).getService('greeter'));
    expect(datacenter.message).toMatch(/No path to datacenter/);
  });

  it('calls to an agent that hangs reject with registry.timeout, and work again when it answers', async () => {
    const own = registryAt(consul.address, { timeoutMs: 300 });
    await eventually('it is there', () =>
      own.register(serviceOf('greeter', ['greeter-1'])).then(
        () => true,
        () => false,
      ),
    );
    consul.pause();
    let reason: string | undefined;
    await eventually('it hangs', async () => {
      reason = await own.getService('greeter').then(
        () => undefined,
        (error: unknown) => TenonError.from(error).reason,
      );
      return reason !== undefined;
    });
    consul.resume();
    expect(reason).toBe('registry.timeout');
    await eventually('it answers', () =>
      idsOf(own, 'greeter').then(
        (ids) => ids.length === 1,
        () => false,
      ),
    );
  });

  it('passes over a record that is broken, and logs it once', async () => {
    const { register } = consulApi(consul.address);
    await register({ ID: 'broken-1', Name: 'broken', Port: 0 });
    await register({
      ID: 'broken-2',
      Name: 'broken',
      Port: 7,
      Tags: encodeTags({ version: '', metadata: {}, endpoints: [], id: 'other' }),
    });
    const [bomb = ''] = encodeTags({ version: 'x'.repeat(200_000), metadata: {}, endpoints: [] });
    const Tags = Array.from({ length: 100 }, () => bomb);
    await register({ ID: 'broken-3', Name: 'broken', Port: 7, Tags });
    const logger = new RecordingLogger();
    const own = registryAt(consul.address, {}, logger);
    expect(await idsOf(own, 'broken')).toEqual([]);
    expect(await idsOf(own, 'broken')).toEqual([]);
    expect(logger.texts).toHaveLength(3);
  });
});
