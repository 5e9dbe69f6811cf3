import { describe, expect, it } from '@jest/globals';

import { ApiClient } from '../../src/kubernetes/api-client.ts';
import { type ApiChannel, ApiError, type ApiObject, type ApiRequest } from '../../src/kubernetes/kubernetes.ts';
import { Reflector } from '../../src/kubernetes/reflector.ts';
import { ServerClock } from '../../src/kubernetes/server-clock.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const resource = { group: '', version: 'v1', namespace: 'default', plural: 'pods' };
const object = (name: string, resourceVersion: string): ApiObject => ({ metadata: { name, resourceVersion } });

/** An API server by hand: it gives what it has for lists, and lines as they are written for watches. */
class ScriptedServer implements ApiChannel {
  readonly requests: string[] = [];
  list: () => { status: number; body: string; headers?: Record<string, string> } = () => listed('1');
  watch: () => AsyncIterable<string> | { status: number; body: string; headers?: Record<string, string> } = forever;

  async request(request: ApiRequest): ReturnType<ApiChannel['request']> {
    const isOfVersion = request.query?.['limit'] === 1;
    this.requests.push(isOfVersion ? 'version' : `list ${this.#shown(request)}`);
    return { headers: {}, ...this.list() };
  }

  async stream(request: ApiRequest): ReturnType<ApiChannel['stream']> {
    this.requests.push(`watch ${this.#shown(request)}`);
    const answer = this.watch();
    const isError = 'status' in answer;
    const lines = isError ? linesOf([answer.body]) : answer;
    const iterator = lines[Symbol.asyncIterator]();
    const head = isError ? { status: answer.status, headers: answer.headers ?? {} } : { status: 200, headers: {} };
    return Object.assign(head, {
      next: () => iterator.next() as Promise<IteratorResult<string, undefined>>,
      [Symbol.asyncIterator]() {
        return this;
      },
    });
  }

  #shown({ query = {} }: ApiRequest): string {
    return `${query['resourceVersion'] ?? ''}${query['continue'] === undefined ? '' : `+${query['continue']}`}`;
  }
}

function listed(resourceVersion: string, ...items: ApiObject[]): { status: number; body: string } {
  return { status: 200, body: JSON.stringify({ metadata: { resourceVersion }, items }) };
}

async function* linesOf(lines: readonly (object | string)[]): AsyncGenerator<string> {
  for (const line of lines) yield typeof line === 'string' ? line : JSON.stringify(line);
}

async function* forever(): AsyncGenerator<string> {
  await new Promise(() => {});
  yield '';
}

async function* thenForever(...lines: object[]): AsyncGenerator<string> {
  yield* linesOf(lines);
  yield* forever();
}

/** Lets virtual time pass in steps, so that what each step brings about has happened before the next. */
async function pass({ timers }: ReturnType<typeof virtualRuntime>, ms: number): Promise<void> {
  for (let passed = 0; passed <= ms; passed += 500) {
    await systemRuntime.timers.sleep(0);
    await timers.advance(Math.min(500, ms - passed));
  }
  await systemRuntime.timers.sleep(0);
}

function reflecting() {
  const runtime = virtualRuntime();
  const server = new ScriptedServer();
  const log: string[] = [];
  const logger = new RecordingLogger();
  const client = new ApiClient({
    channel: server,
    clock: new ServerClock(runtime.clock),
    timeoutMs: 1e3,
    credentials: { token: async () => undefined, refused: () => false },
  });
  const reflector = new Reflector<ApiObject>({
    client,
    resource,
    by: {},
    runtime,
    logger,
    watchMs: 24e4,
    replaced: (objects) => log.push(`= ${objects.map(({ metadata }) => metadata?.name).join()}`),
    changed: ({ metadata }) => log.push(`+ ${metadata?.name}`),
    removed: ({ metadata }) => log.push(`- ${metadata?.name}`),
    resumed: () => log.push('resumed'),
    lost: () => log.push('lost'),
  });
  const ended = new AbortController();
  return { runtime, server, log, logger, reflector, ended, client };
}

describe('Reflector', () => {
  it('lists once, and watches from the version of the list', async () => {
    const { runtime, server, log, reflector, ended } = reflecting();
    server.list = () => listed('7', object('a', '3'));
    server.watch = () =>
      thenForever({ type: 'ADDED', object: object('b', '8') }, { type: 'DELETED', object: object('a', '9') });
    await reflector.start(ended.signal);
    await pass(runtime, 0);
    expect(log).toEqual(['= a', '+ b', '- a']);
    expect(server.requests).toEqual(['list ', 'watch 7']);
    ended.abort();
  });

  it('resumes a watch that ended from the last version it saw, that of a bookmark included', async () => {
    const { runtime, server, log, reflector, ended } = reflecting();
    let watches = 0;
    server.watch = () => {
      watches += 1;
      if (watches > 1) return forever();
      return linesOf([
        { type: 'MODIFIED', object: object('a', '5') },
        { type: 'BOOKMARK', object: object('', '12') },
      ]);
    };
    await reflector.start(ended.signal);
    server.list = () => listed('12');
    await pass(runtime, 1_000);
    expect(server.requests).toEqual(['list ', 'watch 1', 'watch 12', 'version']);
    expect(log).toEqual(['= ', '+ a', 'resumed']);
    ended.abort();
  });

  it.each([
    ['as a status', () => ({ status: 410, body: '{"message":"too old"}' })],
    [
      'as an event in a stream with status 200',
      () => linesOf([{ type: 'ERROR', object: { code: 410, reason: 'Expired' } }]),
    ],
  ])('lists again after 410 %s, and watches from there', async (_how, gone) => {
    const { runtime, server, log, reflector, ended } = reflecting();
    let watches = 0;
    server.watch = () => ((watches += 1) === 1 ? gone() : forever());
    await reflector.start(ended.signal);
    server.list = () => listed('30', object('c', '20'));
    await pass(runtime, 2_000);
    expect(server.requests).toEqual(['list ', 'watch 1', 'list ', 'watch 30']);
    expect(log).toEqual(['= ', '= c']);
    ended.abort();
  });

  it.each([403, 500])(
    'makes at most a dozen requests in half a minute of status %d, and goes on when it is over',
    async (status) => {
      const { runtime, server, logger, reflector, ended } = reflecting();
      server.watch = () => ({ status, body: '{"message":"no"}' });
      await reflector.start(ended.signal);
      await pass(runtime, 30_000);
      expect(server.requests.length).toBeGreaterThan(5);
      expect(server.requests.length).toBeLessThanOrEqual(12);
      server.watch = forever;
      await pass(runtime, 60_000);
      const { length } = server.requests;
      await pass(runtime, 60_000);
      expect(server.requests).toHaveLength(length);
      expect(logger.lines.map(({ level }) => level)).toEqual(['warn', 'info']);
      ended.abort();
    },
  );

  it('waits as long as Retry-After says', async () => {
    const { runtime, server, reflector, ended } = reflecting();
    server.watch = () => ({ status: 429, body: '{}', headers: { 'retry-after': '20' } });
    await reflector.start(ended.signal);
    await pass(runtime, 19_000);
    expect(server.requests).toHaveLength(2);
    await pass(runtime, 2_000);
    expect(server.requests).toHaveLength(3);
    ended.abort();
  });

  it('waits two minutes at most, whatever Retry-After says, and also after a watch that lasted', async () => {
    const { runtime, server, reflector, ended } = reflecting();
    let end = (): void => {};
    server.watch = () => {
      const broken = new Promise<never>((_resolve, reject) => (end = () => reject(new Error('broken'))));
      return (async function* lines() {
        yield await broken;
      })();
    };
    await reflector.start(ended.signal);
    await pass(runtime, 70_000);
    server.watch = () => ({ status: 429, body: '{}', headers: { 'retry-after': '999999' } });
    end();
    await pass(runtime, 1_000);
    expect(server.requests).toEqual(['list ', 'watch 1', 'watch 1']);
    await pass(runtime, 100_000);
    expect(server.requests).toHaveLength(3);
    await pass(runtime, 25_000);
    expect(server.requests).toHaveLength(4);
    ended.abort();
  });

  it('says so when the server has lost its data, and lists what it has now', async () => {
    const { runtime, server, log, logger, reflector, ended } = reflecting();
    server.list = () => listed('500', object('a', '3'));
    let watches = 0;
    server.watch = () => ((watches += 1) === 1 ? linesOf([]) : forever());
    await reflector.start(ended.signal);
    server.list = () => listed('20', object('b', '15'));
    await pass(runtime, 2_000);
    expect(log).toEqual(['= a', 'lost', '= b', 'resumed']);
    expect(server.requests).toEqual(['list ', 'watch 500', 'watch 500', 'version', 'list ', 'watch 20']);
    expect(logger.lines.map(({ message }) => message)).toContainEqual(expect.stringMatching(/has lost its data/));
    ended.abort();
  });

  it('watches again if it is not told which version the server has', async () => {
    const { runtime, server, log, reflector, ended } = reflecting();
    let watches = 0;
    server.watch = () => ((watches += 1) === 1 ? linesOf([]) : forever());
    await reflector.start(ended.signal);
    server.list = () => ({ status: 500, body: '{}' });
    await pass(runtime, 1_000);
    server.list = () => listed('opaque');
    await pass(runtime, 20_000);
    const { length } = server.requests;
    await pass(runtime, 60_000);
    expect(server.requests).toHaveLength(length);
    expect(log).toEqual(['= ', 'resumed']);
    ended.abort();
  });

  it('does not take a watch that breaks at once for a recovery', async () => {
    const { runtime, server, reflector, ended } = reflecting();
    server.watch = () => linesOf([]);
    await reflector.start(ended.signal);
    await pass(runtime, 30_000);
    expect(server.requests.length).toBeLessThanOrEqual(12);
    ended.abort();
  });

  it('begins with the shortest wait again after a watch that lasted a minute', async () => {
    const { runtime, server, reflector, ended } = reflecting();
    server.watch = () => ({ status: 500, body: '{}' });
    await reflector.start(ended.signal);
    await pass(runtime, 60_000);
    let fail = (): void => {};
    server.watch = () => {
      const broken = new Promise<never>((_resolve, reject) => (fail = () => reject(new Error('broken'))));
      return (async function* lines() {
        yield await broken;
      })();
    };
    await pass(runtime, 40_000);
    await pass(runtime, 61_000);
    const { length } = server.requests;
    fail();
    await pass(runtime, 700);
    expect(server.requests.slice(length)).toEqual(['watch 1', 'version']);
    ended.abort();
  });

  it('rejects if the first list fails, and asks no more', async () => {
    const { runtime, server, reflector, ended } = reflecting();
    server.list = () => ({ status: 403, body: '{"message":"forbidden"}' });
    await expect(reflector.start(ended.signal)).rejects.toMatchObject({ status: 403, verb: 'list' });
    await pass(runtime, 60_000);
    expect(server.requests).toEqual(['list ']);
  });

  it('ends with its signal, whatever it waits for', async () => {
    const { runtime, server, reflector, ended } = reflecting();
    server.watch = () => ({ status: 500, body: '{}' });
    await reflector.start(ended.signal);
    await pass(runtime, 1_000);
    ended.abort();
    const { length } = server.requests;
    await pass(runtime, 60_000);
    expect(server.requests).toHaveLength(length);
  });
});

describe('ApiClient', () => {
  const never = new AbortController().signal;

  it('reads a list by pages, and as one if the version of the pages is gone', async () => {
    const { server, client } = reflecting();
    const answers = [
      {
        status: 200,
        body: JSON.stringify({ metadata: { resourceVersion: '5', continue: 'x' }, items: [object('a', '1')] }),
      },
      { status: 410, body: '{"message":"expired"}' },
      listed('9', object('a', '1'), object('b', '7')),
    ];
    server.list = () => answers.shift() ?? listed('0');
    const { items, resourceVersion } = await client.list(resource, {}, never);
    expect([items.length, resourceVersion]).toEqual([2, '9']);
    expect(server.requests).toEqual(['list ', 'list +x', 'list ']);
  });

  it.each([
    ['not json', /no API server of Kubernetes: it said "not json"/],
    ['[]', /no API server of Kubernetes: it said "\[\]"/],
  ])('says so if the answer is %s', async (body, message) => {
    const { server, client } = reflecting();
    server.list = () => ({ status: 200, body });
    await expect(client.list(resource, {}, never)).rejects.toThrow(message);
  });

  it.each([
    [true, 2],
    [false, 1],
  ])('repeats a request whose token is refused once, if there is another token: %s', async (hasOther, requests) => {
    const { server, runtime } = reflecting();
    const refused: (string | undefined)[] = [];
    let tokens = 0;
    const credentials = {
      token: async () => `t${(tokens += 1)}`,
      refused: (token: string | undefined) => refused.push(token) > 0 && hasOther,
    };
    const clock = new ServerClock(runtime.clock);
    const client = new ApiClient({ channel: server, clock, timeoutMs: 1e3, credentials });
    server.list = () => ({ status: 401, body: '{"message":"token has expired"}' });
    await expect(client.list(resource, {}, never)).rejects.toThrow(/status 401: token has expired/);
    expect(refused).toEqual(['t1']);
    expect(server.requests).toHaveLength(requests);
    expect(new ApiError('list', resource, { status: 401, said: 'x' }).message).toContain('list pods');
  });
});
