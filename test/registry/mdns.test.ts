import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';

import { afterEach, describe, expect, it } from '@jest/globals';
import { decode, encode, type Packet, type SrvAnswer, type TxtAnswer } from 'dns-packet';

import { Code } from '../../src/errors/errors.ts';
import { MdnsRegistry, type MdnsRegistryOptions } from '../../src/registry/mdns.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { Stranger } from '../mdns/support.ts';
import { freePort } from '../support/process.ts';
import { eventually } from '../support/waiting.ts';
import { announcing, foundElsewhere, idsOf, nodeOf, serviceOf } from './support.ts';

const goMicro = (
  JSON.parse(readFileSync(new URL('./go-micro-mdns.json', import.meta.url), 'utf8')) as {
    packets: Record<
      | 'question'
      | 'answer'
      | 'answerWithDots'
      | 'listingQuestion'
      | 'listing1'
      | 'listing2'
      | 'announcement'
      | 'goodBye',
      string
    >;
  }
).packets;

const { timers } = systemRuntime;
const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0)) await close();
});

/** A port is a network of its own, on loopback. */
async function network(): Promise<{ readonly interface: string; readonly port: number }> {
  return { interface: '127.0.0.1', port: await freePort() };
}

function registryOn(options: MdnsRegistryOptions): MdnsRegistry {
  const registry = new MdnsRegistry({ probeMs: 40, ...options });
  toClose.push(() => registry.close());
  return registry;
}

/** A stranger that leaves with the test. */
async function strangerOn(port: number, bindTo: number): Promise<Stranger> {
  const stranger = await Stranger.on(port, bindTo);
  toClose.push(() => stranger.close());
  return stranger;
}

function textOf(packet: Packet): unknown {
  const txt = packet.answers?.find((record): record is TxtAnswer => record.type === 'TXT');
  return JSON.parse(inflateSync(Buffer.from(Buffer.concat(txt?.data as Buffer[]).toString(), 'hex')).toString());
}

describe('MdnsRegistry with Go Micro', () => {
  it('reads the answer of a node of Go Micro', async () => {
    const where = await network();
    (await strangerOn(where.port, where.port)).answerWith(goMicro.answer);
    expect(await registryOn(where).getService('small.service')).toEqual([
      serviceOf('small.service', [nodeOf('small-1', { address: '127.0.0.1:9002', metadata: { protocol: 'grpc' } })]),
    ]);
  });

  it('reads ids and names with dots, long texts and endpoints with nulls', async () => {
    const where = await network();
    (await strangerOn(where.port, where.port)).answerWith(goMicro.answerWithDots);
    const [record] = await registryOn(where).getService('go.micro.srv.greeter');
    expect(record?.nodes).toEqual([
      nodeOf('go.micro.srv.greeter-fixed-id-1', {
        address: '127.0.0.1:9001',
        metadata: { broker: 'memory', protocol: 'grpc', registry: 'mdns', server: 'grpc', transport: 'grpc' },
      }),
    ]);
    expect(record?.endpoints[0]).toEqual({
      name: 'Greeter.Chat',
      metadata: { stream: 'true' },
      request: { name: 'Context', type: 'Context', values: [] },
      response: { name: 'Stream', type: 'Stream', values: [] },
    });
  });

  it('reads the list of services of Go Micro', async () => {
    const where = await network();
    (await strangerOn(where.port, where.port)).answerWith(goMicro.listing1, goMicro.listing2);
    expect((await registryOn(where).listServices()).map(({ name }) => name)).toEqual([
      'go.micro.srv.greeter',
      'small.service',
    ]);
  });

  it('reports announcements and goodbyes of Go Micro', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port, where.port);
    const [one, all] = [registryOn(where), registryOn(where)];
    const seen = [
      new WatchRecorder(await one.watch({ service: 'small.service' })),
      new WatchRecorder(await all.watch()),
    ];
    for (let time = 0; time < 3; time += 1) stranger.send(goMicro.announcement);
    await eventually('the node comes', () => seen.every(({ texts }) => texts.includes('create small-1')));
    stranger.send(goMicro.goodBye);
    await eventually('the node goes', () => seen.every(({ texts }) => texts.includes('delete small-1')));
    expect(seen.map(({ texts }) => texts)).toEqual([
      ['create small-1', 'delete small-1'],
      ['create small-1', 'delete small-1'],
    ]);
  });

  it.each<['question' | 'listingQuestion', 'answer' | 'listing2']>([
    ['question', 'answer'],
    ['listingQuestion', 'listing2'],
  ])('answers the %s of Go Micro by unicast, as Go Micro does', async (question, answer) => {
    const where = await network();
    const registry = registryOn(where);
    const node = nodeOf('small-1', { address: '127.0.0.1:9002', metadata: { protocol: 'grpc' } });
    await registry.register(serviceOf('small.service', [node]), { ttlMs: 120_000 });
    const stranger = await strangerOn(where.port, 0);
    stranger.send(goMicro[question]);
    await eventually('it is answered', () => stranger.heard.length > 0);
    const [ours, theirs] = [stranger.heard[0]!.packet, decode(Buffer.from(goMicro[answer], 'hex'))];
    // The machine's name and the bytes of zlib are each one's own.
    const srv = ours.answers!.find((record): record is SrvAnswer => record.type === 'SRV')!;
    const plain = (packet: Packet, own: string): unknown =>
      JSON.parse(
        JSON.stringify({
          ...packet,
          answers: packet.answers?.map((record) => (record.type === 'TXT' ? { ...record, data: 0 } : record)),
        }).replaceAll(`"${own}"`, '"a host"'),
      );
    expect(plain(ours, srv.data.target)).toEqual(plain(theirs, 'host-a'));
    if (answer === 'answer') expect(textOf(ours)).toEqual(textOf(theirs));
  });

  it('announces the records of Go Micro, and a goodbye with a time to live of 0', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port, where.port);
    const registry = registryOn(where);
    const service = serviceOf('small.service', [nodeOf('small-1', { address: '127.0.0.1:9002' })]);
    await registry.register(service, { ttlMs: 7_000 });
    await registry.deregister(service);
    await eventually('both are heard', () => stranger.announcements.length >= 2);
    const [come, gone] = stranger.announcements.map((packet) =>
      packet.answers?.map(({ type, name, ...more }) => [type, name, 'ttl' in more && more.ttl]),
    );
    const host = expect.any(String);
    expect(come).toEqual([
      ['SRV', 'small-1.small.service.micro', 7],
      ['A', host, 7],
      ['TXT', 'small-1.small.service.micro', 7],
    ]);
    expect(gone?.map(([, , ttl]) => ttl)).toEqual([0, 0, 0]);
  });
});

describe('MdnsRegistry', () => {
  it('finds the nodes of another process, and is found by it', async () => {
    const where = await network();
    const registry = registryOn(where);
    await announcing('mdns', where, 'theirs', 'n1', 30_000);
    expect(await registry.getService('theirs')).toEqual([
      serviceOf('theirs', [nodeOf('n1', { address: '127.0.0.1:7001', metadata: { zone: 'b' } })], {
        version: '1.2.0',
        endpoints: [{ name: 'Greeter.Hello', metadata: {} }],
      }),
    ]);
    await registry.register(serviceOf('ours', ['n2']));
    expect(await foundElsewhere('mdns', where, 'ours')).toEqual([serviceOf('ours', ['n2'])]);
  });

  it('no longer finds a process that was killed when its lease has ended, and watchers report it', async () => {
    const where = await network();
    const registry = registryOn(where);
    const seen = new WatchRecorder(await registry.watch({ service: 'killed' }));
    const ttlMs = 3_000;
    const child = await announcing('mdns', where, 'killed', 'n1', ttlMs);
    expect(await idsOf(registry, 'killed')).toEqual(['n1']);
    await child.kill('SIGKILL');
    await eventually('it is not found', async () => (await idsOf(registry, 'killed')).length === 0, 20_000);
    await eventually('watchers miss it', () => seen.texts.includes('delete n1'), 20_000);
    expect(seen.texts).toEqual(['create n1', 'delete n1']);
  });

  it('reports a draining node to readers and watchers at once', async () => {
    const where = await network();
    const [here, there] = [registryOn(where), registryOn(where)];
    await here.register(serviceOf('greeter', ['n1']));
    const seen = new WatchRecorder(await there.watch({ service: 'greeter' }));
    await here.register(serviceOf('greeter', [nodeOf('n1', { metadata: { 'tenon-state': 'draining' } })]));
    await eventually('it is told', () => seen.texts.includes('update n1'));
    expect((await there.getService('greeter'))[0]?.nodes[0]?.metadata).toEqual({ 'tenon-state': 'draining' });
  });

  it('carries ids, addresses and metadata for which Go Micro has no field', async () => {
    const where = await network();
    const [here, there] = [registryOn(where), registryOn(where)];
    const [longId, port] = [`${'x'.repeat(70)}.a..b`, 7_000];
    const service = serviceOf(
      'greeter',
      [
        nodeOf(longId, { address: `localhost:${port}` }),
        nodeOf('n2', { address: '[::1]:7000' }),
        nodeOf('n3', { address: 'a socket' }),
      ],
      {
        metadata: { owner: 'suite' },
      },
    );
    await here.register(service);
    const [found] = await there.getService('greeter');
    const byId = (record: typeof service): unknown => ({
      ...record,
      nodes: [...record.nodes].sort((a, b) => (a.id < b.id ? -1 : 1)),
    });
    expect(byId(found!)).toEqual(byId(service));
  });

  it('cuts endpoints down to the size of a packet, and refuses metadata that is too large', async () => {
    const where = { ...(await network()), maxPacketBytes: 1_400 };
    const [here, there] = [registryOn(where), registryOn(where)];
    const stranger = await strangerOn(where.port, 0);
    // Names that do not compress.
    const value = (index: number) => ({ name: systemRuntime.random.uuid(), type: `T${index}`, values: [] });
    const endpoint = (index: number) => ({
      name: `Greeter.M${index}`,
      request: value(index),
      response: value(index),
      metadata: {},
    });
    const sizes = [3, 20, 400].map((count) => Array.from({ length: count }, (_, index) => endpoint(index)));
    for (const endpoints of sizes) await here.register(serviceOf(`with-${endpoints.length}`, ['n1'], { endpoints }));
    const found = await Promise.all(
      sizes.map(async ({ length }) => (await there.getService(`with-${length}`))[0]!.endpoints),
    );
    expect(found[0]).toEqual(sizes[0]);
    expect(found[1]).toEqual(
      sizes[1]!.map(({ name }) => ({ name, request: undefined, response: undefined, metadata: {} })),
    );
    expect(found[2]).toEqual([]);
    for (const { length } of sizes) {
      stranger.send(
        encode({ type: 'query', questions: [{ type: 'PTR', name: `with-${length}.micro` }] }).toString('hex'),
      );
    }
    await eventually('all are answered', () => stranger.heard.length === 3);
    for (const { bytes } of stranger.heard) expect(bytes.length).toBeLessThanOrEqual(1_400);

    const metadata = { much: Array.from({ length: 60 }, () => systemRuntime.random.uuid()).join('') };
    await here.register(serviceOf('large', [nodeOf('n1', { metadata })]));
    expect((await there.getService('large'))[0]?.nodes[0]?.metadata).toEqual(metadata);
    const tooMuch = { much: Array.from({ length: 400 }, () => systemRuntime.random.uuid()).join('') };
    await expect(here.register(serviceOf('too-large', [nodeOf('n1', { metadata: tooMuch })]))).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_service',
      message: expect.stringMatching(
        /service "too-large" .* node "n1" does not fit .* largest field is the metadata "much" with 14404 bytes/,
      ),
    });
  });

  it('refuses to register names that DNS cannot carry, and does not find them', async () => {
    const registry = registryOn(await network());
    for (const name of ['x'.repeat(64), 'a..b', '.a', `${'x.'.repeat(130)}y`]) {
      await expect(registry.register(serviceOf(name, ['n1']))).rejects.toMatchObject({
        reason: 'registry.invalid_service',
      });
      await expect(registry.getService(name)).rejects.toMatchObject({ reason: 'registry.not_found' });
    }
  });

  it('waits up to maxQueryMs for the first answer', async () => {
    const where = await network();
    const registry = registryOn({ ...where, queryMs: 40, maxQueryMs: 2_000 });
    const asked = registry.getService('small.service');
    await timers.sleep(150);
    (await strangerOn(where.port, where.port)).answerWith(goMicro.answer);
    expect((await asked)[0]?.nodes[0]?.id).toBe('small-1');
  });

  it('reports the end of a node without a goodbye when its lease ends', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port, where.port);
    const registry = registryOn({ ...where, queryMs: 40, maxQueryMs: 80 });
    const seen = new WatchRecorder(await registry.watch({ service: 'short.lived' }));
    const lived = registryOn(where);
    await lived.register(serviceOf('short.lived', ['n1']), { ttlMs: 1_000 });
    await eventually('it comes', () => seen.texts.includes('create n1'));
    // Ends without a word.
    await lived.close();
    await eventually('it is missed', () => seen.texts.includes('delete n1'), 5_000);
    expect(
      stranger.heard.some(({ packet }) => packet.answers?.some((record) => 'ttl' in record && record.ttl === 0)),
    ).toBe(false);
  });

  it('ignores malformed packets', async () => {
    const where = await network();
    const registry = registryOn(where);
    const seen = new WatchRecorder(await registry.watch());
    const stranger = await strangerOn(where.port, 0);
    const name = 'n1.greeter.micro';
    const srv = { type: 'SRV' as const, name, ttl: 120, data: { port: 1, target: 'host' } };
    const a = { type: 'A' as const, name: 'host', ttl: 120, data: '127.0.0.1' };
    const bomb = Buffer.alloc(10).toString('hex');
    const texts = ['', 'zz', '789c', bomb, Buffer.from('{}').toString('hex')];
    stranger.send('00');
    stranger.send('ffff'.repeat(40));
    for (const text of texts) {
      stranger.send(
        encode({ type: 'response', answers: [srv, a, { type: 'TXT', name, ttl: 120, data: text }] }).toString('hex'),
      );
    }
    stranger.send(encode({ type: 'response', answers: [srv, a] }).toString('hex'));
    await registry.register(serviceOf('greeter', ['n2']));
    await eventually('it goes on', () => seen.texts.includes('create n2'));
    expect(seen.texts).toEqual(['create n2']);
  });

  it('rejects with the remedy if its interface does not exist', async () => {
    const registry = registryOn({ interface: '203.0.113.7', port: await freePort() });
    const unreachable = {
      code: Code.Unavailable,
      reason: 'registry.unreachable',
      message: expect.stringMatching(/at the interface 203\.0\.113\.7 .*Set TENON_MDNS_INTERFACE/),
    };
    await expect(registry.register(serviceOf('greeter', ['n1']))).rejects.toMatchObject(unreachable);
    await expect(registry.getService('greeter')).rejects.toMatchObject(unreachable);
    await expect(registry.watch()).rejects.toMatchObject(unreachable);
  });

  it('rejects while another process owns its port, and works after that', async () => {
    const where = await network();
    const holder = createSocket('udp4');
    await new Promise<void>((resolve) => holder.bind(where.port, '0.0.0.0', resolve));
    const registry = registryOn(where);
    await expect(registry.register(serviceOf('greeter', ['n1']))).rejects.toMatchObject({
      code: Code.Unavailable,
      reason: 'registry.unreachable',
      message: expect.stringMatching(new RegExp(`UDP port ${where.port} .*EADDRINUSE.*TENON_MDNS_PORT`)),
    });
    await new Promise<void>((resolve) => holder.close(() => resolve()));
    await registry.register(serviceOf('greeter', ['n1']));
    expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
  });
});
