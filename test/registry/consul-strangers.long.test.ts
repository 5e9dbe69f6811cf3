import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import type { ConsulRegistry } from '../../src/registry/consul.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { authority } from '../support/certificates.ts';
import { socketServer } from '../support/socket-server.ts';
import { closing } from '../support/closing.ts';
import { BackendServer, describeWithServer, startServer } from '../support/servers.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';
import { agentProxy, consulApi, httpServer, registryAt } from './consul-support.ts';
import { idsOf, nodeOf, serviceOf } from './support.ts';

expectNothingUncaught();

const { timers } = systemRuntime;
const patientMs = 30_000;
const greeter = serviceOf('greeter', ['greeter-1']);

/** Every call that asks a server. */
const calls: readonly (readonly [string, (registry: ConsulRegistry) => Promise<unknown>])[] = [
  ['register', (registry) => registry.register(greeter)],
  ['deregister', (registry) => registry.deregister(greeter)],
  ['getService', (registry) => registry.getService('greeter')],
  ['listServices', (registry) => registry.listServices()],
  ['watch', (registry) => registry.watch({ service: 'greeter' })],
  ['watch', (registry) => registry.watch()],
];

describe('ConsulRegistry at an address that is none of Consul', () => {
  it('says that nobody is there, and where to look', async () => {
    for (const [, call] of calls) {
      const failure = await failureOf(call(registryAt('127.0.0.1:1')));
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'registry.unreachable' });
      expect(failure.message).toMatch(
        /Consul at 127\.0\.0\.1:1 cannot be reached .*ECONNREFUSED.*TENON_REGISTRY_ADDRESS/,
      );
    }
  });

  it.each([
    ['a page', 200, '<html><title>It works!</title>', /not that of a Consul agent: "<html>/],
    ['JSON of another kind', 200, '{"status":"UP"}', /not that of a Consul agent: "{"status/],
    ['nothing', 200, '', /not that of a Consul agent: ""/],
  ])('refuses %s with status %i for an answer', async (_, status, body, message) => {
    const asked: string[] = [];
    const address = await httpServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(status).end(body);
    });
    for (const [, call] of calls) {
      const failure = await failureOf(call(registryAt(address)));
      expect(failure).toMatchObject({ code: Code.Internal, reason: 'registry.refused' });
      expect(failure.message).toMatch(message);
      expect(failure.message).toMatch('TENON_REGISTRY_ADDRESS');
    }
    expect(asked.length).toBeLessThan(12);
  });

  it.each([
    [404, 'registry.refused', Code.Internal, /was answered with status 404: no such page/],
    [400, 'registry.refused', Code.Internal, /was answered with status 400/],
    [302, 'registry.refused', Code.Internal, /status 302, to https:\/\/login\.example\/.*TENON_REGISTRY_ADDRESS/],
    [401, 'registry.refused', Code.PermissionDenied, /TENON_REGISTRY_TOKEN/],
    [403, 'registry.refused', Code.PermissionDenied, /TENON_REGISTRY_TOKEN/],
    [429, 'registry.unreachable', Code.Unavailable, /status 429/],
    [503, 'registry.unreachable', Code.Unavailable, /status 503/],
  ])('rejects for status %i', async (status, reason, code, message) => {
    const asked: string[] = [];
    const address = await httpServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(status, { location: 'https://login.example/' }).end('no such page');
    });
    for (const [, call] of calls) {
      const failure = await failureOf(call(registryAt(address)));
      expect(failure).toMatchObject({ reason, code });
      expect(failure.message).toMatch(message);
    }
    expect(asked.length).toBeLessThan(12);
  });

  it('says that the server speaks no HTTP, or sends more than any agent does', async () => {
    const ssh = await failureOf(
      registryAt(await socketServer((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'))).listServices(),
    );
    expect(ssh).toMatchObject({ reason: 'registry.unreachable' });
    expect(ssh.message).toMatch(/TENON_REGISTRY_ADDRESS/);
    const block = 'x'.repeat(1_048_576);
    const large = await httpServer((_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(block));
      };
      response.on('drain', more);
      more();
    });
    const failure = await failureOf(registryAt(large, { timeoutMs: patientMs }).listServices());
    expect(failure).toMatchObject({ code: Code.Internal, reason: 'registry.refused' });
    expect(failure.message).toMatch(/larger than 33554432 bytes/);
  });

  it('gives a server that answers byte by byte no more time than another', async () => {
    const address = await httpServer((_, response) => {
      response.write('[');
      const timer = timers.every(5, () => {
        if (response.destroyed) timer.cancel();
        else response.write(' ');
      });
    });
    for (const [, call] of calls) {
      expect(await failureOf(call(registryAt(address, { timeoutMs: 200 })))).toMatchObject({
        code: Code.DeadlineExceeded,
        reason: 'registry.timeout',
      });
    }
  });

  it('says that one side speaks TLS, and the other does not', async () => {
    const { cert, key } = authority().issue({ name: 'consul', names: ['127.0.0.1'] });
    const secure = createTlsServer({ cert, key }, (_, response) => response.end('[]'));
    secure.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      secure.closeAllConnections();
      secure.close();
    });
    const plainly = await failureOf(registryAt(`127.0.0.1:${(secure.address() as AddressInfo).port}`).listServices());
    expect(plainly).toMatchObject({ code: Code.Unavailable, reason: 'registry.unreachable' });
    const plain = await httpServer((_, response) => response.end('[]'));
    const secured = await failureOf(registryAt(plain, { tls: {} }).listServices());
    expect(secured).toMatchObject({ code: Code.Unavailable, reason: 'registry.unreachable' });
    expect(secured.message).toMatch('does not speak TLS');
    // As nginx says it.
    const said = '<center>The plain HTTP request was sent to HTTPS port</center>';
    const nginx = await httpServer((_, response) => response.writeHead(400).end(said));
    expect((await failureOf(registryAt(nginx).listServices())).message).toMatch('TENON_REGISTRY_TLS=true');
  });
});

describeWithServer('ConsulRegistry and what stands before its agent', new BackendServer('consul'), (consul) => {
  const secondAddress = async (first: Promise<string>): Promise<string> => `${await first},${consul.address}`;

  it.each([
    ['never answers', () => socketServer(() => {})],
    ['closes every connection', () => socketServer((socket) => socket.destroy())],
    ['has no leader', () => httpServer((_, response) => response.writeHead(500).end('No cluster leader'))],
  ])('goes on to the next address where the first one %s', async (_, make) => {
    const address = await secondAddress(make());
    const service = serviceOf('second', ['second-1']);
    for (const call of [
      (registry: ConsulRegistry) => registry.register(service),
      (registry: ConsulRegistry) => registry.getService('second'),
      (registry: ConsulRegistry) => registry.listServices(),
      async (registry: ConsulRegistry) => {
        const seen = new WatchRecorder(await registry.watch({ service: 'second' }));
        await registryAt(consul.address).register(serviceOf('second', ['second-2']));
        await eventually('it is told', () => seen.texts.length > 0, patientMs);
        expect(seen.texts).toEqual(['create second-2']);
      },
      (registry: ConsulRegistry) => registry.deregister(service),
    ]) {
      await call(registryAt(address, { timeoutMs: 3_000 }));
    }
    await registryAt(consul.address).deregister(serviceOf('second', ['second-1', 'second-2']));
    expect(await idsOf(registryAt(consul.address), 'second')).toEqual([]);
  });

  it('works, and polls, where a proxy drops the index, which is logged once', async () => {
    const proxy = await agentProxy(consul.address);
    proxy.headers = ({ 'x-consul-index': _, ...headers }) => headers;
    const logger = new RecordingLogger();
    const own = registryAt(proxy.address, {}, logger);
    const service = serviceOf('unnumbered', ['unnumbered-1']);
    await own.register(service);
    const seen = new WatchRecorder(await own.watch({ service: 'unnumbered' }));
    const from = proxy.requests.length;
    await timers.sleep(3_000);
    // One read in a second, and what the first of them set off.
    expect(proxy.requests.length - from).toBeLessThan(8);
    await registryAt(consul.address).register(serviceOf('unnumbered', ['unnumbered-2']));
    await eventually('it is told', () => seen.texts.length > 0, patientMs);
    await own.deregister(service);
    await eventually('it is told', () => seen.texts.length > 1, patientMs);
    expect(seen.texts).toEqual(['create unnumbered-2', 'delete unnumbered-1']);
    expect(logger.texts).toEqual([expect.stringMatching(/^warn Consul at .* X-Consul-Index/)]);
    await registryAt(consul.address).deregister(serviceOf('unnumbered', ['unnumbered-2']));
  });

  it('does not ask without pause while the catalog lacks what was registered', async () => {
    const proxy = await agentProxy(consul.address);
    // The answers of a server that is behind, and of a proxy that drops the index.
    proxy.answer = ({ url = '' }, answer) => {
      if (!url.startsWith('/v1/health/')) return false;
      answer.end('[]');
      return true;
    };
    const own = registryAt(proxy.address, { timeoutMs: 1_500 });
    const failure = await failureOf(own.register(serviceOf('behind', ['behind-1'])));
    expect(failure).toMatchObject({ reason: 'registry.timeout' });
    expect(proxy.requests.length).toBeLessThan(15);
    await registryAt(consul.address).deregister(serviceOf('behind', ['behind-1']));
  });

  it('shows what an agent says that refuses every renewal, and goes on when it renews again', async () => {
    const proxy = await agentProxy(consul.address);
    const logger = new RecordingLogger();
    const own = registryAt(proxy.address, {}, logger);
    const service = serviceOf('refused', ['refused-1']);
    await own.register(service, { ttlMs: 20_000 });
    proxy.answer = ({ url = '' }, answer) => {
      if (!url.startsWith('/v1/agent/check/')) return false;
      answer.writeHead(500).end('disk full');
      return true;
    };
    const from = proxy.requests.length;
    for (let round = 0; round < 3; round += 1) {
      const failure = await failureOf(own.register(service, { ttlMs: 20_000 }));
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: 'registry.unreachable' });
      expect(failure.message).toMatch(/check\/pass.*status 500: disk full/);
    }
    expect(proxy.requests.length - from).toBeLessThanOrEqual(6);
    proxy.answer = undefined;
    await own.register(service, { ttlMs: 20_000 });
    expect(await idsOf(own, 'refused')).toEqual(['refused-1']);
    expect(logger.texts).toEqual([]);
    await own.deregister(service);
  });

  it('passes over nobody, and reports nothing, where a proxy answers for the agent', async () => {
    const proxy = await agentProxy(consul.address);
    const own = registryAt(proxy.address, { waitMs: 300 });
    const service = serviceOf('masked', ['masked-1']);
    await registryAt(consul.address).register(service, { ttlMs: 600_000 });
    for (const [status, body] of [
      [200, '{}'],
      [200, 'null'],
      [200, '<html>'],
      [502, 'bad gateway'],
    ] as const) {
      const seen = new WatchRecorder(await own.watch({ service: 'masked' }));
      proxy.answer = (_, answer) => {
        answer.writeHead(status).end(body);
        return true;
      };
      expect(await seen.ended).toMatchObject({ reason: 'registry.watch_lost' });
      expect(seen.texts).toEqual([]);
      await failureOf(own.getService('masked'));
      proxy.answer = undefined;
    }
    await registryAt(consul.address).deregister(service);
  });

  it('reads again, and loses its watches where data is lost, when the index falls on a connection that stands', async () => {
    const other = await startServer('consul');
    closing.push(() => other.dispose());
    const writer = registryAt(consul.address);
    for (let round = 0; round < 20; round += 1) {
      await writer.register(serviceOf('ballast', [nodeOf('ballast-1', { metadata: { round: String(round) } })]));
    }
    const long = { ttlMs: 600_000 };
    await writer.register(serviceOf('falling', ['falling-1', 'falling-2']), long);
    await registryAt(other.address).register(serviceOf('falling', ['falling-2']), long);
    const proxy = await agentProxy(consul.address);
    const reader = registryAt(proxy.address, { waitMs: 500 });
    const first = new WatchRecorder(await reader.watch({ service: 'falling' }));
    proxy.to = other.address;
    expect(await first.ended).toMatchObject({ reason: 'registry.watch_lost' });
    expect(first.texts).toEqual([]);
    proxy.to = consul.address;
    // Nothing is gone here.
    const second = new WatchRecorder(await reader.watch({ service: 'hollow' }));
    proxy.to = other.address;
    const from = proxy.requests.length;
    await registryAt(other.address).register(serviceOf('hollow', ['hollow-1']), long);
    await eventually('it goes on', () => second.texts.length > 0, patientMs);
    expect(second.texts).toEqual(['create hollow-1']);
    await timers.sleep(2_000);
    expect(proxy.requests.length - from).toBeLessThan(20);
  });

  it('leaves the registration of the last of two processes with one node id at one agent', async () => {
    const loggers = [new RecordingLogger(), new RecordingLogger()];
    const [first, second] = loggers.map((logger) => registryAt(consul.address, {}, logger)) as [
      ConsulRegistry,
      ConsulRegistry,
    ];
    const at = (port: number) => serviceOf('twins', [nodeOf('twins-1', { address: `127.0.0.1:${port}` })]);
    const addressOf = async () => (await second.getService('twins'))[0]?.nodes.map(({ address }) => address);
    await first.register(at(7_001));
    await second.register(at(7_002));
    const seen = new WatchRecorder(await first.watch({ service: 'twins' }));
    for (let round = 0; round < 3; round += 1) {
      await first.register(at(7_001));
      await second.register(at(7_002));
    }
    // A changed record, as that of one that drains, replaces nothing either.
    await first.register(serviceOf('twins', [nodeOf('twins-1', { metadata: { 'tenon-state': 'draining' } })]));
    expect(await addressOf()).toEqual(['127.0.0.1:7002']);
    expect(loggers[0]?.texts).toEqual([expect.stringMatching(/^warn node "twins-1" .* another place/)]);
    expect(loggers[1]?.texts).toEqual([]);
    await first.deregister(at(7_001));
    // It has forgotten it, and does not take it for that of others.
    await first.deregister(at(7_001));
    expect(await addressOf()).toEqual(['127.0.0.1:7002']);
    expect(seen.texts).toEqual([]);
    await first.register(at(7_003));
    expect(await addressOf()).toEqual(['127.0.0.1:7003']);
    await second.register(at(7_002));
    await second.deregister(at(7_002));
    expect(await addressOf()).toEqual(['127.0.0.1:7003']);
    // Whoever never registered it may remove it.
    await registryAt(consul.address).deregister(at(7_003));
    expect(await idsOf(second, 'twins')).toEqual([]);
  });

  it('leaves a node of Go Micro that was registered since, and takes its place when its lease has ended', async () => {
    const own = registryAt(consul.address);
    const service = serviceOf('displaced', ['displaced-1']);
    const { register, health, check } = consulApi(consul.address);
    const theirs = {
      ID: 'displaced-1',
      Name: 'displaced',
      Address: '127.0.0.1',
      Port: 7_005,
      Check: { TTL: '600s', Status: 'passing' },
    };
    await own.register(service);
    await register(theirs);
    await own.register(service);
    await own.register(service);
    await own.deregister(service);
    expect((await health('displaced'))[0]?.Service).toMatchObject({ Port: 7_005 });
    await own.register(service);
    await register(theirs);
    await own.register(service);
    await check('fail', 'service:displaced-1');
    await own.register(service);
    const [entry, ...others] = await health('displaced');
    expect(others).toEqual([]);
    expect(entry?.Service).toMatchObject({ Port: 7_000, Meta: { 'tenon-owner': expect.any(String) } });
    expect(await idsOf(own, 'displaced')).toEqual(['displaced-1']);
    await own.deregister(service);
    expect(await health('displaced')).toEqual([]);
  });

  it('removes what another thread of its process has registered since it let go of it, and nothing else', async () => {
    const [main, thread, twin] = [registryAt(consul.address), registryAt(consul.address), registryAt(consul.address)];
    const service = serviceOf('handed', ['handed-1']);
    await main.register(service);
    await main.release(service);
    await thread.register(service);
    await main.deregister(service);
    expect(await idsOf(main, 'handed')).toEqual([]);
    await main.register(service);
    await main.release(service);
    await twin.register(serviceOf('handed', [nodeOf('handed-1', { address: '127.0.0.1:7009' })]));
    await main.deregister(service);
    expect(await idsOf(main, 'handed')).toEqual(['handed-1']);
    await twin.deregister(service);
    expect(await idsOf(main, 'handed')).toEqual([]);
  });
});
