import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { decodeTags, encodeTags } from '../../src/go-micro/consul.ts';
import { ConsulRegistry, type ConsulRegistryOptions } from '../../src/registry/consul.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { BackendServer, describeWithServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { consulApi, registryAt } from './consul-support.ts';
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
