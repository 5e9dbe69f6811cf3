import { afterEach, describe, expect, it } from '@jest/globals';
import { encode, type Packet, type SrvAnswer } from 'dns-packet';

import { Code } from '../../src/errors/errors.ts';
import { MdnsRegistry, type MdnsRegistryOptions } from '../../src/registry/mdns.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { question, Stranger } from '../mdns/support.ts';
import { freePort } from '../support/process.ts';
import { eventually } from '../support/waiting.ts';
import { announcing, idsOf, nodeOf, serviceOf } from './support.ts';

const patientMs = 20_000;
const { clock, timers } = systemRuntime;
const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0)) await close();
});

interface Network {
  readonly interface: string;
  readonly port: number;
}

/** A port is a network of its own, on loopback. */
async function network(): Promise<Network> {
  return { interface: '127.0.0.1', port: await freePort() };
}

function registryOn(where: Network, options: MdnsRegistryOptions = {}, logger = new RecordingLogger()): MdnsRegistry {
  const registry = new MdnsRegistry({ ...where, probeMs: 40, ...options }, clock, timers, logger);
  toClose.push(() => registry.close());
  return registry;
}

async function strangerOn(port: number, bindTo = port): Promise<Stranger> {
  const stranger = await Stranger.on(port, bindTo);
  toClose.push(() => stranger.close());
  return stranger;
}

/** The names under which nodes are announced, or with a TTL of 0 leave. */
function instancesIn(packets: readonly Packet[], isGone: boolean): string[] {
  const records = packets.flatMap(({ answers = [] }) => answers);
  const ofNodes = records.filter((record): record is SrvAnswer => record.type === 'SRV');
  return [...new Set(ofNodes.filter(({ ttl }) => (ttl === 0) === isGone).map(({ name }) => name))];
}

describe('MdnsRegistry with one instance name in two processes', () => {
  it('announces the second under a name of its own, whose goodbye takes nobody else away', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port);
    const [reader, logger] = [registryOn(where), new RecordingLogger()];
    await announcing('mdns', where, 'greeter', 'n1', 30_000);
    // A busy process has the time that RFC 6762 gives it to answer a probe.
    const second = registryOn(where, { probeMs: 250 }, logger);
    const service = serviceOf('greeter', ['n1']);
    await second.register(service);
    expect(logger.texts).toEqual([
      expect.stringMatching(/^warn another process announces node "n1" of service "greeter".* as n1-2\.greeter\.micro/),
    ]);
    // One id is one node, to all.
    expect((await reader.getService('greeter'))[0]?.nodes.map(({ address }) => address)).toEqual(['127.0.0.1:7001']);
    const seen = new WatchRecorder(await reader.watch({ service: 'greeter' }));
    await second.deregister(service);
    const left = (): string[] => instancesIn(stranger.announcements, true);
    await eventually('it says goodbye', () => left().length > 0, patientMs);
    expect(left()).toEqual(['n1-2.greeter.micro']);
    expect(instancesIn(stranger.announcements, false)).toEqual(['n1.greeter.micro', 'n1-2.greeter.micro']);
    await timers.sleep(1_500);
    expect((await reader.getService('greeter'))[0]?.nodes.map(({ address }) => address)).toEqual(['127.0.0.1:7001']);
    expect(seen.texts).toEqual([]);
  });

  it('finds the second within two seconds of the end of the first', async () => {
    const where = await network();
    const [reader, first, second] = [registryOn(where), registryOn(where), registryOn(where)];
    const at = (port: number) => serviceOf('greeter', [nodeOf('n1', { address: `127.0.0.1:${port}` })]);
    await first.register(at(7_001));
    await second.register(at(7_002));
    const address = async (): Promise<unknown> => (await reader.getService('greeter'))[0]?.nodes[0]?.address;
    expect(await address()).toBe('127.0.0.1:7001');
    const seen = new WatchRecorder(await reader.watch({ service: 'greeter' }));
    await first.deregister(at(7_001));
    await eventually('the other is found', async () => (await address()) === '127.0.0.1:7002', patientMs);
    await eventually('watchers are told', () => seen.texts.length > 0, patientMs);
    expect(seen.texts).toEqual(['update n1']);
  });

  it('gives the name to one of two that start at the same moment', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port);
    const both = [registryOn(where), registryOn(where)];
    await Promise.all(
      both.map((registry, at) =>
        registry.register(serviceOf('greeter', [nodeOf('n1', { address: `127.0.0.1:${7_001 + at}` })])),
      ),
    );
    const names = (): string[] => instancesIn(stranger.announcements, false).sort();
    await eventually('both are announced', () => names().length > 1, patientMs);
    expect(names()).toEqual(['n1-2.greeter.micro', 'n1.greeter.micro']);
  });
});

describe('MdnsRegistry after a goodbye', () => {
  it('finds a node that was restarted within 300 ms, after at most one delete', async () => {
    const where = await network();
    const [reader, old, next] = [registryOn(where), registryOn(where), registryOn(where)];
    await old.register(serviceOf('greeter', ['n1']));
    const seen = new WatchRecorder(await reader.watch({ service: 'greeter' }));
    await old.deregister(serviceOf('greeter', ['n1']));
    await old.close();
    await timers.sleep(200);
    await next.register(serviceOf('greeter', [nodeOf('n1', { address: '127.0.0.1:7009' })]));
    await timers.sleep(2_000);
    expect((await reader.getService('greeter'))[0]?.nodes).toEqual([nodeOf('n1', { address: '127.0.0.1:7009' })]);
    expect(seen.texts.filter((text) => text.startsWith('delete')).length).toBeLessThanOrEqual(1);
    expect(seen.texts.at(-1)).not.toBe('delete n1');
  });

  it('does not find a node that has just been deregistered, however its questions and goodbyes cross', async () => {
    const where = await network();
    const [here, there] = [registryOn(where, { probeMs: 1 }), registryOn(where, { queryMs: 20, maxQueryMs: 60 })];
    for (let round = 0; round < 30; round += 1) {
      const service = serviceOf(`greeter-${round}`, ['n1', 'n2']);
      await here.register(service);
      const asking = idsOf(there, service.name);
      if (round % 3 === 0) await asking;
      if (round % 3 === 1) await timers.sleep(round % 7);
      await here.deregister(service);
      expect([round, await idsOf(there, service.name)]).toEqual([round, []]);
      await asking;
      expect([round, await idsOf(there, service.name)]).toEqual([round, []]);
    }
  });
});

describe('MdnsRegistry with many askers', () => {
  it('asks at most twice for 1,000 reads in a second, and once more for none of them', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port);
    const [here, there] = [registryOn(where), registryOn(where)];
    await here.register(serviceOf('greeter', ['n1']));
    const asked = (): number => stranger.questions('greeter.micro').length;
    const first = await Promise.all(Array.from({ length: 500 }, () => idsOf(there, 'greeter')));
    for (let time = 0; time < 500; time += 1) expect(await idsOf(there, 'greeter')).toEqual(['n1']);
    expect(new Set(first.map(String))).toEqual(new Set(['n1']));
    expect(asked()).toBeLessThanOrEqual(2);
  });

  it('asks no more often for a service that there is not, and each reader gets its answer', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port);
    const registry = registryOn(where, { queryMs: 40, maxQueryMs: 300 });
    const all = await Promise.allSettled(Array.from({ length: 1_000 }, () => registry.getService('nobody')));
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set(['rejected']));
    expect(stranger.questions('nobody.micro').length).toBeLessThanOrEqual(10);
  });

  it('finds nodes that come and go without asking', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port);
    const [here, there] = [registryOn(where), registryOn(where)];
    await here.register(serviceOf('greeter', ['n1']));
    expect(await idsOf(there, 'greeter')).toEqual(['n1']);
    const before = stranger.questions('greeter.micro').length;
    await here.register(serviceOf('greeter', ['n2']));
    await eventually('it is found', async () => (await idsOf(there, 'greeter')).join() === 'n1,n2', patientMs);
    await here.deregister(serviceOf('greeter', ['n1']));
    await eventually('it is gone', async () => (await idsOf(there, 'greeter')).join() === 'n2', patientMs);
    expect(stranger.questions('greeter.micro')).toHaveLength(before);
  });

  it('goes on for other readers when one gives up', async () => {
    const where = await network();
    const registry = registryOn(where, { queryMs: 200 });
    await registryOn(where).register(serviceOf('greeter', ['n1']));
    const impatient = new AbortController();
    const cancelled = registry.getService('greeter', { signal: impatient.signal }).catch((error: unknown) => error);
    const patient = idsOf(registry, 'greeter');
    await timers.sleep(20);
    impatient.abort();
    expect(await cancelled).toMatchObject({ code: Code.Cancelled });
    expect(await patient).toEqual(['n1']);
  });
});

describe('MdnsRegistry on the wire', () => {
  it('marks what only it has, and not the address of the host; an answer to one address has no mark', async () => {
    const where = await network();
    const [stranger, asker] = [await strangerOn(where.port), await strangerOn(where.port, 0)];
    await registryOn(where).register(serviceOf('greeter', ['n1']));
    asker.send(encode({ type: 'query', questions: [question('greeter.micro')] }).toString('hex'));
    await eventually('it is answered', () => asker.heard.length > 0 && stranger.announcements.length > 0, patientMs);
    const marks = (packet: Packet | undefined): unknown =>
      packet?.answers?.map((record) => [record.type, 'flush' in record && record.flush]);
    expect(marks(stranger.announcements[0])).toEqual([
      ['SRV', true],
      ['A', false],
      ['TXT', true],
    ]);
    const answer = asker.heard.map(({ packet }) => packet).find(({ questions = [] }) => questions.length > 0);
    expect(marks(answer)).toEqual([
      ['PTR', false],
      ['SRV', false],
      ['A', false],
      ['TXT', false],
    ]);
  });

  it('sends a TTL of 0 in goodbyes alone', async () => {
    const where = await network();
    const stranger = await strangerOn(where.port);
    const registry = registryOn(where);
    const service = serviceOf('greeter', ['n1']);
    await registry.register(service, { ttlMs: 1 });
    await registry.register(serviceOf('greeter', [nodeOf('n1', { metadata: { 'tenon-state': 'draining' } })]));
    await registry.deregister(service);
    const ttls = (): string[] =>
      stranger.announcements.map(({ answers = [] }) => answers.map((one) => ('ttl' in one ? one.ttl : -1)).join());
    await eventually('it is gone', () => ttls().includes('0,0,0'), patientMs);
    expect(
      ttls()
        .slice(0, -1)
        .filter((text) => /\b0\b/.test(text)),
    ).toEqual([]);
  });

  it('announces a service with 300 endpoints, without those that do not fit', async () => {
    const where = await network();
    const endpoints = Array.from({ length: 300 }, (_, at) => ({
      name: `Greeter.${systemRuntime.random.uuid()}${at}`,
      metadata: {},
    }));
    await registryOn(where).register(serviceOf('greeter', ['n1'], { endpoints }));
    expect(await registryOn(where).getService('greeter')).toEqual([serviceOf('greeter', ['n1'])]);
  });

  it('names the largest field of a record that no packet can carry', async () => {
    const registry = registryOn(await network());
    const much = Array.from({ length: 300 }, () => systemRuntime.random.uuid()).join('');
    const refused = (largest: string) => ({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_service',
      message: expect.stringContaining(`The largest field is ${largest} with 108`),
    });
    await expect(
      registry.register(serviceOf('greeter', [nodeOf('n1', { metadata: { a: 'b', much } })])),
    ).rejects.toMatchObject(refused('the metadata "much"'));
    await expect(registry.register(serviceOf('greeter', ['n1'], { metadata: { much } }))).rejects.toMatchObject(
      refused('the metadata "much" of the service'),
    );
    await expect(registry.register(serviceOf('greeter', ['n1'], { version: much }))).rejects.toMatchObject(
      refused('the version'),
    );
    expect(await idsOf(registry, 'greeter')).toEqual([]);
  });
});
