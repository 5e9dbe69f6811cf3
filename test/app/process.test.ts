import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';

import { type ClientOf, Code, contract, Handler, Rpc, Service, System } from '../../src/index.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { startNode, type TestProcess } from '../support/process.ts';
import { refusalOf } from './verify-support.ts';

interface CarelessApi {
  throwsText(request: object): Promise<unknown>;
  throwsLater(request: object): Promise<{ ok: boolean }>;
  rejectsLater(request: object): Promise<{ ok: boolean }>;
  throwsAfterMessages(request: object): AsyncIterable<{ n: number }>;
  neverEnds(request: object): Promise<unknown>;
  fine(request: object): Promise<object>;
  missing(request: object): Promise<unknown>;
}
const careless = contract<CarelessApi>('careless.Careless', {
  throwsText: {},
  throwsLater: {},
  rejectsLater: {},
  throwsAfterMessages: { stream: 'server' },
  neverEnds: {},
  fine: {},
  missing: {},
});
const program = fileURLToPath(new URL('./programs/careless.mjs', import.meta.url));

const start = async (env: Record<string, string> = {}): Promise<{ child: TestProcess; address: string }> => {
  const child = startNode(program, { env: { TENON_PROFILE: 'local', TENON_LAME_DUCK_MS: '0', ...env } });
  const [, address = ''] = await child.waitForLine(/^address (\S+)/);
  return { child, address };
};

describe('a process whose handlers are careless, over real gRPC', () => {
  let child: TestProcess;
  let address: string;
  let caller: System;
  let client: ClientOf<CarelessApi>;

  beforeAll(async () => {
    ({ child, address } = await start({ TENON_MAX_RECEIVE_BYTES: '100000', LIVES_ON: '1' }));
    caller = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
    client = caller.client(careless);
  });

  afterAll(async () => {
    await caller.stop();
    await child.kill();
  });

  const lives = async (): Promise<void> => {
    expect(await client.fine({ still: 'here' }, { address })).toEqual({ still: 'here' });
    expect(child.exit).toBeUndefined();
  };

  it('answers INTERNAL when a handler throws a text, and tells nobody the text', async () => {
    const error = await failureOf(client.throwsText({}, { address }));
    expect([error.code, error.reason]).toEqual([Code.Internal, 'server.handler_failed']);
    expect(error.message).not.toContain('just a text');
    await lives();
  });

  it('goes on under exitOnUncaught: false when a handler throws after its reply, and logs the error', async () => {
    expect(await client.throwsLater({}, { address })).toEqual({ ok: true });
    expect(await client.rejectsLater({}, { address })).toEqual({ ok: true });
    await child.waitForLog(/nobody waits for this/);
    await child.waitForLog(/after the reply/);
    await lives();
  });

  it('delivers what a stream yielded before it threw', async () => {
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const reply of client.throwsAfterMessages({}, { address })) seen.push(reply);
    })();
    expect((await failureOf(reading)).code).toBe(Code.Internal);
    expect(seen).toEqual([{ n: 1 }]);
    await lives();
  });

  it('fails with DEADLINE_EXCEEDED when a handler never ends', async () => {
    expect((await failureOf(client.neverEnds({}, { address, timeoutMs: 50 }))).code).toBe(Code.DeadlineExceeded);
    await lives();
  });

  it('refuses a request above the limit with RESOURCE_EXHAUSTED', async () => {
    const error = await failureOf(client.fine({ text: 'x'.repeat(200_000) }, { address }));
    expect(error.code).toBe(Code.ResourceExhausted);
    await lives();
  });

  it('refuses an unknown method with UNIMPLEMENTED', async () => {
    expect((await failureOf(client.missing({}, { address }))).code).toBe(Code.Unimplemented);
    await lives();
  });

  it('refuses bytes that do not decode with INVALID_ARGUMENT', async () => {
    // A client that knows nothing of tenon, and sends what is no JSON.
    const stranger = new Client(address, credentials.createInsecure());
    const same = (bytes: Buffer): Buffer => bytes;
    const error = await new Promise<ServiceError | null>((resolve) => {
      stranger.makeUnaryRequest('/careless.Careless/Fine', same, same, Buffer.of(0xff), resolve);
    });
    stranger.close();
    expect([error?.code, error?.metadata.get('tenon-reason')]).toEqual([Code.InvalidArgument, ['codec.decode']]);
    await lives();
  });
});

describe('an address that cannot be called', () => {
  it.each([
    ['a port where nobody listens', '127.0.0.1:1', Code.Unavailable],
    ['a name that does not resolve', 'no-such-host.invalid:50051', Code.Unavailable],
    ['what is no address', 'nonsense', Code.InvalidArgument],
  ])('%s: the error names it', async (_what, address, code) => {
    const caller = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
    try {
      const error = await failureOf(caller.client(careless).fine({}, { address, timeoutMs: 10_000 }));
      expect(error.code).toBe(code);
      expect(error.message).toContain(address);
    } finally {
      await caller.stop();
    }
  });
});

describe('a start that cannot be', () => {
  @Handler('fine.Fine')
  class FineHandler {
    @Rpc() async fine(): Promise<object> {
      return {};
    }
  }
  @Service({ name: 'fine', handlers: [FineHandler] })
  class Fine {}

  let taken: Server;
  let port: number;

  beforeAll(async () => {
    taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    port = (taken.address() as { port: number }).port;
  });
  afterAll(() => void taken.close());

  it.each([
    ['a port in use', () => `127.0.0.1:${port}`, 'transport.address_in_use'],
    ['an address of another machine', () => '192.0.2.1:4000', 'transport.cannot_listen'],
    ['what is no address', () => 'nonsense', 'transport.invalid_address'],
  ])('%s is named in the error', async (_what, address, reason) => {
    const env = { TENON_LOG_LEVEL: 'silent', TENON_SERVER_ADDRESS: address() };
    const error = await refusalOf([Fine], { profile: 'local', env });
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(address());
  });
});

it('a program whose onStarted throws ends with an error, and does not seem to have ended well', async () => {
  const child = startNode(program, { env: { TENON_PROFILE: 'local', REFUSE_TO_START: '1' } });
  expect((await child.waitForExit()).code).toBe(1);
  expect(child.stderr).toContain('Error: not today');
  expect(child.stderr).not.toContain('uncaught error');
});

describe('a start that fails', () => {
  it.each([
    ['a configuration that is wrong', { TENON_TRANSPORT: 'pigeon' }, 'config.invalid'],
    ['an address that is none', { TENON_SERVER_ADDRESS: 'nonsense' }, 'transport.invalid_address'],
  ])('of %s is one message and exit code 1, and no dump of a stack', async (_what, env, reason) => {
    const child = startNode(program, {
      env: { TENON_PROFILE: 'local', TENON_LOG_FORMAT: 'json', TENON_LOG_LEVEL: 'error', ...env },
    });
    expect((await child.waitForExit()).code).toBe(1);
    const lines = child.stderr.trim().split('\n');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'error', message: expect.stringContaining(reason) });
  });

  it('has its stack at the level debug', async () => {
    const child = startNode(program, {
      env: { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'debug', TENON_SERVER_ADDRESS: 'nonsense' },
    });
    expect((await child.waitForExit()).code).toBe(1);
    expect(child.stderr).toMatch(/^ {4} +at /m);
  });
});

describe('a start that fails before there is a logger', () => {
  const failing = fileURLToPath(new URL('./programs/failing.mjs', import.meta.url));
  const shell = { TENON_PROFILE: undefined, TENON_LOG_LEVEL: 'info', TENON_LOG_FORMAT: 'json' };

  it('is told in the form that the environment asks for', async () => {
    const child = startNode(failing, { env: shell });
    expect(await child.waitForExit()).toEqual({ code: 1, signal: null });
    const message = 'the start failed: Error: no store';
    expect(JSON.parse(child.stderr)).toMatchObject({ level: 'error', message: expect.stringContaining(message) });
  });

  it('is told at the level of the environment also where that names a backend of the application', async () => {
    const env = { ...shell, TENON_REGISTRY: 'own', TENON_LOG_LEVEL: 'debug', TENON_LOG_FORMAT: 'text' };
    const child = startNode(failing, { env });
    expect((await child.waitForExit()).code).toBe(1);
    expect(child.stderr).toMatch(/DEBUG.*stack of the failed start/i);
  });

  it('does not see the variables of the shell under the profile test, named in code, unless they are given', async () => {
    const silent = startNode(failing, { env: { ...shell, PROFILE_IN_CODE: 'test' } });
    expect([(await silent.waitForExit()).code, silent.stderr]).toEqual([1, '']);
    const told = startNode(failing, { env: { ...shell, PROFILE_IN_CODE: 'test', ENV_IN_CODE: '1' } });
    expect((await told.waitForExit()).code).toBe(1);
    expect(JSON.parse(told.stderr)).toMatchObject({ level: 'error' });
  });
});

describe('an uncaught error', () => {
  it.each(['throwsLater', 'rejectsLater'] as const)(
    'is said, drains, and ends the process with 1: %s',
    async (method) => {
      const { child, address } = await start();
      const caller = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
      expect(await caller.client(careless)[method]({}, { address })).toEqual({ ok: true });
      expect(await child.waitForExit()).toEqual({ code: 1, signal: null });
      expect(child.stderr).toMatch(/uncaught error: Error: (after the reply|nobody waits for this)/);
      expect(child.stderr).toContain('careless stopped');
      await caller.stop();
    },
  );
});

describe('a log that nobody reads any more', () => {
  it.each(['json', 'text'])('leaves the process at work, and it heeds SIGTERM: %s', async (format) => {
    const { child, address } = await start({ TENON_LOG_LEVEL: 'debug', TENON_LOG_FORMAT: format });
    child.closeOutput();
    const caller = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
    const client = caller.client(careless);
    for (let i = 0; i < 3; i++) await failureOf(client.throwsText({}, { address }));
    expect(await client.fine({ still: 'here' }, { address })).toEqual({ still: 'here' });
    child.signal('SIGTERM');
    expect(await child.waitForExit()).toEqual({ code: 0, signal: null });
    await caller.stop();
  });
});

describe('a step of the stop that never ends', () => {
  it.each([
    ['a beforeStop hook', { HANGING_HOOK: 'beforeStop' }],
    ['an afterStop hook', { HANGING_HOOK: 'afterStop' }],
    ['a @preDestroy', { HANGING_DISPOSAL: '1' }],
    ['the closing of a backend', { HANGING_CLOSE: '1' }],
  ])('%s is given up after its bound', async (_what, env) => {
    const { child } = await start({ TENON_STOP_TIMEOUT_MS: '100', ...env });
    child.signal('SIGTERM');
    expect(await child.waitForExit()).toEqual({ code: 0, signal: null });
    expect(child.stderr).toMatch(/the stop goes on/);
  });

  it.each([
    ['a beforeStop hook', { HANGING_HOOK: 'beforeStop' }],
    ['an afterStop hook', { HANGING_HOOK: 'afterStop' }],
    ['a @preDestroy', { HANGING_DISPOSAL: '1' }],
    ['the closing of a backend', { HANGING_CLOSE: '1' }],
  ])('%s does not keep a second signal from ending the process', async (_what, env) => {
    const { child } = await start({ TENON_STOP_TIMEOUT_MS: '600000', ...env });
    child.signal('SIGTERM');
    await child.waitForLine(/^hangs/);
    child.signal('SIGTERM');
    expect(await child.waitForExit()).toEqual({ code: 1, signal: null });
  });
});

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s drains, and the process exits with 0', async (signal) => {
    const { child } = await start();
    child.signal(signal);
    expect(await child.waitForExit()).toEqual({ code: 0, signal: null });
  });

  it('are heard while onStarted has not come to its end', async () => {
    const { child } = await start({ NEVER_DONE: '1' });
    child.signal('SIGTERM');
    try {
      expect(await child.waitForExit(5_000)).toEqual({ code: 0, signal: null });
    } finally {
      await child.kill();
    }
  });

  it('twice end a process whose start hangs', async () => {
    const child = startNode(program, { env: { TENON_PROFILE: 'local', NEVER_STARTED: '1' } });
    await child.waitForLine(/^starting/);
    child.signal('SIGTERM');
    // Another one: two of a kind that were not heard yet are one.
    child.signal('SIGINT');
    try {
      expect(await child.waitForExit(10_000)).toEqual({ code: 1, signal: null });
    } finally {
      await child.kill();
    }
  });

  it('waits for a call in flight, and a second signal does not', async () => {
    const { child, address } = await start({ TENON_DRAIN_TIMEOUT_MS: '60000' });
    const caller = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
    const failed = failureOf(caller.client(careless).neverEnds({}, { address }));
    await caller.client(careless).fine({}, { address });
    child.signal('SIGTERM');
    await child.waitForLog(/draining signal=SIGTERM/);
    expect(child.exit).toBeUndefined();
    child.signal('SIGTERM');
    expect(await child.waitForExit()).toEqual({ code: 1, signal: null });
    expect((await failed).code).toBe(Code.Unavailable);
    await caller.stop();
  });

  it('ends a drain at its bound', async () => {
    const { child, address } = await start({ TENON_DRAIN_TIMEOUT_MS: '200' });
    const caller = await System.start([], { profile: 'local', env: { TENON_LOG_LEVEL: 'silent' } });
    const failed = failureOf(caller.client(careless).neverEnds({}, { address }));
    await caller.client(careless).fine({}, { address });
    child.signal('SIGTERM');
    expect(await child.waitForExit(10_000)).toEqual({ code: 0, signal: null });
    expect((await failed).code).toBe(Code.Unavailable);
    await caller.stop();
  });
});
