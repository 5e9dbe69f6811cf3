import { credentials, loadPackageDefinition, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { readFileSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { freePort, TestProcess } from '../support/process.ts';
import { describeWithRedis } from '../support/servers.ts';
import { describeWithTools, toolPath } from '../support/tools.ts';
import { certificateFiles, root, start, startService } from './support.ts';

type Answer = Readonly<Record<string, unknown>>;

/** A caller that is up. Lines go in, and the answer of an id comes out. */
class Caller {
  readonly process: TestProcess;
  #id = 0;

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.process = start('caller', { withInput: true, env });
  }

  async ask(order: object): Promise<Answer> {
    this.#id += 1;
    const id = this.#id;
    this.process.writeLine(JSON.stringify({ id, ...order }));
    const [line] = await this.process.waitForLine(new RegExp(`^\\{"id":${id},.*$`));
    const { id: _, ...answer } = JSON.parse(line) as Answer;
    return answer;
  }

  /** Ends the input, and gives the exit status. */
  async end(): Promise<number | null> {
    this.process.endInput();
    return (await this.process.waitForExit()).code;
  }
}

describe('the interop service', () => {
  it('listens, prints its address, and exits with 0 on SIGTERM', async () => {
    const { process } = await startService();
    expect(await process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(process.stderr).toBe('');
  });

  it.each([
    ['no port', { PORT: '' }, 'PORT is not set: say where to listen, 0 for any free port'],
    ['a port that is none', { PORT: 'http' }, 'PORT=http: a whole number is expected'],
    ['a registry that there is not', { REGISTRY: 'phonebook' }, 'the registry "phonebook" comes later: this version'],
    ['a broker that there is not', { BROKER: 'pigeons' }, 'the broker "pigeons" comes later: this version'],
  ])('refuses %s in one line', async (_, env, line) => {
    const process = start('service', { env: { PORT: '0', ...env } });
    expect((await process.waitForExit()).code).toBe(2);
    expect(process.stderr).toContain(line);
    expect(process.stderr.trim().split('\n')).toHaveLength(1);
  });

  it('serves for LAME_DUCK_MS after SIGTERM, and finishes the calls in progress', async () => {
    const { process, port } = await startService({ LAME_DUCK_MS: '1500', NODE_ID: 'leaving' });
    const caller = new Caller();
    const address = `127.0.0.1:${port}`;
    expect(await caller.ask({ op: 'call', address })).toMatchObject({ ok: true, serverId: 'leaving' });
    const client = rawClient(address);
    // Still under way when the lame duck is over.
    const slow = replySizes(client, [{ size: 1, interval_us: 2_500_000 }]);
    process.signal('SIGTERM');
    expect(await caller.ask({ op: 'call', address })).toMatchObject({ ok: true, serverId: 'leaving' });
    expect(await slow).toEqual([1]);
    expect(await process.exited).toEqual({ code: 0, signal: null });
    expect(await caller.ask({ op: 'call', address })).toMatchObject({ ok: false, code: status.UNAVAILABLE });
    expect(await caller.end()).toBe(0);
    client.close();
  });
});

describeWithTools('the interop service with grpcurl and grpc-health-probe', ['grpcurl', 'grpc-health-probe'], () => {
  const ask = async (tool: string, ...args: string[]): Promise<string> => {
    const asked = new TestProcess(toolPath(tool), args);
    const { code } = await asked.waitForExit();
    return code === 0 ? asked.stdout : `status ${code}: ${asked.stderr}`;
  };

  it('lists its services, health and reflection included', async () => {
    const { address } = await startService();
    expect((await ask('grpcurl', '-plaintext', address, 'list')).trim().split('\n')).toEqual([
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
      'grpc.testing.TestService',
    ]);
    const echoed = await ask(
      'grpcurl',
      '-plaintext',
      '-d',
      '{"responseSize": 3}',
      address,
      'grpc.testing.TestService/UnaryCall',
    );
    expect(JSON.parse(echoed)).toEqual({ payload: { body: 'AAAA' } });
  });

  it('is SERVING until SIGTERM, and NOT_SERVING while it drains', async () => {
    const { process, address } = await startService({ LAME_DUCK_MS: '4000' });
    const probe = (...service: string[]): Promise<string> => ask('grpc-health-probe', '-addr', address, ...service);
    for (const service of ['', 'grpc.testing.TestService'])
      expect(await probe('-service', service)).not.toMatch(/^status/);
    expect(await probe('-service', 'nobody')).toContain('NotFound');
    process.signal('SIGTERM');
    // The signal has to be heard first.
    let said = '';
    do said = await probe();
    while (!said.startsWith('status'));
    expect(said).toContain('NOT_SERVING');
    expect(await probe('-service', 'grpc.testing.TestService')).toContain('NOT_SERVING');
    expect(await process.exited).toEqual({ code: 0, signal: null });
  });
});

describe('an answer of the interop service', () => {
  let address = '';
  let client: RawClient;
  beforeAll(async () => {
    ({ address } = await startService({ NODE_ID: 'n1', MAX_RECV_BYTES: '1000' }));
    client = rawClient(address);
  });
  afterAll(() => client.close());

  const unary = (request: object, metadata = new Metadata()): Promise<Answer> =>
    new Promise((resolve, reject) => {
      client.UnaryCall(request, metadata, (error, reply) => (error ? reject(error) : resolve(reply)));
    });

  it('is RESOURCE_EXHAUSTED for a message above MAX_RECV_BYTES', async () => {
    await expect(unary({ payload: { body: Buffer.alloc(900) } })).resolves.toMatchObject({});
    await expect(unary({ payload: { body: Buffer.alloc(1_100) } })).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    });
  });

  it('echoes the metadata, even with an error', async () => {
    const metadata = new Metadata();
    metadata.set('x-grpc-test-echo-initial', 'abc');
    metadata.set('x-grpc-test-echo-trailing-bin', Buffer.from([1, 2, 255]));
    const call = client.UnaryCall({ response_status: { code: 9, message: 'as asked' } }, metadata, () => {});
    const headers = new Promise<Metadata>((resolve) => call.on('metadata', resolve));
    const ended = new Promise<ServiceError>((resolve) => call.on('status', resolve));
    expect((await headers).get('x-grpc-test-echo-initial')).toEqual(['abc']);
    const { code, details, metadata: trailers } = await ended;
    expect([code, details]).toEqual([9, 'as asked']);
    expect(trailers.get('x-grpc-test-echo-trailing-bin')).toEqual([Buffer.from([1, 2, 255])]);
    // Exactly what was asked for: nothing of tenon's own.
    expect(Object.keys(trailers.getMap()).filter((key) => key.startsWith('tenon'))).toEqual([]);
  });

  it('is INVALID_ARGUMENT for a message that is not compressed as expected', async () => {
    await expect(unary({ expect_compressed: { value: true } })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(unary({ expect_compressed: { value: false } })).resolves.toMatchObject({});
  });

  it('waits interval_us before a message of a stream', async () => {
    const startMs = performance.now();
    expect(await replySizes(client, [{ size: 3, interval_us: 300_000 }, { size: 5 }])).toEqual([3, 5]);
    expect(performance.now() - startMs).toBeGreaterThan(280);
  });
});

describe('the interop service over TLS', () => {
  const files = certificateFiles();

  it('refuses plaintext, and clients without a certificate if it asks for one', async () => {
    const { port } = await startService({ TLS_CERT: files.cert, TLS_KEY: files.key, TLS_CLIENT_CA: files.ca });
    const address = `localhost:${port}`;
    const call = (client: RawClient): Promise<number> =>
      new Promise((resolve) => {
        client.UnaryCall({}, new Metadata(), (error) => {
          resolve(error?.code ?? 0);
          client.close();
        });
      });
    const read = (path: string): Buffer => readFileSync(path);
    expect(await call(rawClient(address))).toBe(status.UNAVAILABLE);
    expect(await call(rawClient(address, credentials.createSsl(read(files.ca))))).toBe(status.UNAVAILABLE);
    const known = credentials.createSsl(read(files.ca), read(files.clientKey), read(files.clientCert));
    expect(await call(rawClient(address, known))).toBe(status.OK);
  });
});

describe('the interop caller', () => {
  it('answers each line, and exits with 0 at the end of its input', async () => {
    const caller = new Caller();
    expect(await caller.ask({ op: 'ping' })).toEqual({ ok: true });
    expect(await caller.ask({ op: 'dance' })).toMatchObject({ ok: false, message: 'there is no operation "dance"' });
    caller.process.writeLine('no JSON');
    await caller.process.waitForLine(/^\{"id":null,"ok":false/);
    expect(await caller.ask({ op: 'list', service: 'nobody' })).toEqual({ ok: true, nodes: [] });
    expect(await caller.end()).toBe(0);
    expect(caller.process.stderr).toBe('');
  });

  it('calls an address, and reports the code of a failure', async () => {
    const { process, address } = await startService({ NODE_ID: 'n7' });
    const caller = new Caller();
    expect(await caller.ask({ op: 'call', address, size: 10, responseSize: 20 })).toEqual({
      ok: true,
      serverId: 'n7',
      bytes: 20,
    });
    expect(await caller.ask({ op: 'call', address, size: 5_000_000 })).toMatchObject({
      ok: false,
      code: status.RESOURCE_EXHAUSTED,
    });
    expect(await caller.ask({ op: 'call', address, responseSize: 5_000_000 })).toMatchObject({
      ok: false,
      code: status.RESOURCE_EXHAUSTED,
    });
    process.signal('SIGSTOP');
    expect(await caller.ask({ op: 'call', address, timeoutMs: 200 })).toMatchObject({
      ok: false,
      code: status.DEADLINE_EXCEEDED,
    });
    process.signal('SIGCONT');
    expect(await caller.ask({ op: 'call', service: 'nobody.here' })).toMatchObject({
      ok: false,
      code: status.UNAVAILABLE,
      message: expect.stringContaining('nobody.here'),
    });
    expect(await caller.end()).toBe(0);
  });

  it('answers operations in the order in which they end', async () => {
    const { process, address } = await startService();
    const caller = new Caller();
    await caller.ask({ op: 'call', address });
    process.signal('SIGSTOP');
    const slow = caller.ask({ op: 'call', address });
    expect(await caller.ask({ op: 'ping' })).toEqual({ ok: true });
    process.signal('SIGCONT');
    expect(await slow).toMatchObject({ ok: true });
    // What is asked last is answered before it ends.
    caller.process.writeLine(JSON.stringify({ id: 99, op: 'call', address, responseSize: 7 }));
    expect(await caller.end()).toBe(0);
    expect(caller.process.lines.at(-1)).toContain('"id":99,"ok":true');
  });

  it('finds the nodes of STATIC_NODES', async () => {
    const nodes = await Promise.all(['a', 'b'].map((NODE_ID) => startService({ NODE_ID, REGISTRY: 'static' })));
    const addresses = nodes.map(({ address }) => address);
    const caller = new Caller({ REGISTRY: 'static', STATIC_NODES: addresses.join() });
    expect(await caller.ask({ op: 'list', service: 'any.name' })).toEqual({ ok: true, nodes: addresses });
    const seen = new Set<unknown>();
    for (let round = 0; round < 200 && seen.size < 2; round += 1)
      seen.add((await caller.ask({ op: 'call', service: 'any.name' }))['serverId']);
    expect([...seen].map(String).sort()).toEqual(['a', 'b']);
    expect(await caller.end()).toBe(0);
  });

  it('refuses an unknown registry', async () => {
    const caller = start('caller', { env: { REGISTRY: 'dns' } });
    expect((await caller.waitForExit()).code).toBe(2);
    expect(caller.stderr).toContain('the registry "dns" comes later');
  });

  it('finds a service by mDNS under its SERVICE_NAME', async () => {
    const mdns = { MDNS_INTERFACE: '127.0.0.1', TENON_MDNS_PORT: String(await freePort()), REGISTRY: 'mdns' };
    const service = await startService({ ...mdns, NODE_ID: 'm1', SERVICE_NAME: 'interop.named' });
    const caller = new Caller(mdns);
    expect(await caller.ask({ op: 'list', service: 'interop.named' })).toEqual({ ok: true, nodes: [service.address] });
    expect(await caller.ask({ op: 'call', service: 'interop.named' })).toMatchObject({ ok: true, serverId: 'm1' });
    expect(await caller.end()).toBe(0);
  });
});

describeWithRedis('service and caller through Redis', (redis) => {
  it('find each other, until the service stops', async () => {
    const env = { REGISTRY: 'redis', REGISTRY_ADDRESS: redis.address };
    const service = await startService({ ...env, NODE_ID: 'r1' });
    const caller = new Caller(env);
    expect(await caller.ask({ op: 'list', service: 'interop.echo' })).toEqual({ ok: true, nodes: [service.address] });
    expect(await caller.ask({ op: 'call', service: 'interop.echo', responseSize: 3 })).toEqual({
      ok: true,
      serverId: 'r1',
      bytes: 3,
    });
    expect(await service.process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(await caller.end()).toBe(0);
    const later = new Caller(env);
    expect(await later.ask({ op: 'list', service: 'interop.echo' })).toEqual({ ok: true, nodes: [] });
    expect(await later.end()).toBe(0);
  });

  it('refuse to start if the broker has no queues', async () => {
    const env = { PORT: '0', BROKER: 'redis', BROKER_ADDRESS: redis.address, SUBSCRIBE: 'one', QUEUE: 'q' };
    const service = start('service', { env });
    expect((await service.waitForExit()).code).toBe(1);
    expect(service.stderr).toContain('the queue "q" needs a broker with groups');
  });

  it('pass events on with any bytes in the body', async () => {
    const env = { BROKER: 'redis', BROKER_ADDRESS: redis.address };
    const service = await startService({ ...env, SUBSCRIBE: 'one,two' });
    await service.process.waitForLine(/^\{"event":"subscribed"\}$/);
    const caller = new Caller(env);
    const body = Buffer.from([0, 1, 254, 255]).toString('base64');
    const event = { topic: 'two', headers: { Colour: 'blue' }, body };
    expect(await caller.ask({ op: 'publish', ...event })).toEqual({ ok: true });
    const [line] = await service.process.waitForLine(/"event":"message".*/);
    expect(JSON.parse(`{${line}`)).toMatchObject({ event: 'message', topic: 'two', body });
    expect(line).toContain('"Colour":"blue"');
    expect(await caller.end()).toBe(0);
    expect(await service.process.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});

interface RawClient {
  UnaryCall(
    request: object,
    metadata: Metadata,
    done: (error: ServiceError | null, reply: Answer) => void,
  ): NodeJS.EventEmitter;
  StreamingOutputCall(request: object): AsyncIterable<{ readonly payload: { readonly body: Buffer } }>;
  close(): void;
}

/** A client that is grpc-js's own. */
function rawClient(address: string, creds = credentials.createInsecure()): RawClient {
  const definition = loadSync('grpc/testing/test.proto', {
    includeDirs: [`${root}samples/interop/proto`],
    keepCase: true,
  });
  const { grpc } = loadPackageDefinition(definition) as unknown as {
    grpc: { testing: { TestService: new (address: string, creds: unknown) => RawClient } };
  };
  return new grpc.testing.TestService(address, creds);
}

async function replySizes(client: RawClient, parameters: readonly object[]): Promise<number[]> {
  const sizes: number[] = [];
  for await (const { payload } of client.StreamingOutputCall({ response_parameters: parameters }))
    sizes.push(payload.body.length);
  return sizes;
}
