import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { EtcdClient } from '../../src/etcd/etcd.ts';
import type { EtcdChannel, KeyEvent } from '../../src/etcd/messages.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import type { ConnectionSecurity } from '../../src/tls/connection.ts';
import { ScriptedStream } from './support.ts';

interface Header {
  readonly clusterId: bigint;
  readonly revision: bigint;
  readonly raftTerm: bigint;
}

const headerAt = (revision: number, more: Partial<Header> = {}): Header => {
  return { clusterId: 1n, revision: BigInt(revision), raftTerm: 2n, ...more };
};

function event(key: string, revision: number, type: KeyEvent['type'] = 'PUT'): KeyEvent {
  return { type, kv: { key: Buffer.from(key), value: Buffer.from(''), modRevision: BigInt(revision), lease: 0n } };
}

function reply(revision: number, events: readonly KeyEvent[] = [], more: object = {}): object {
  const parts = {
    watchId: 0n,
    created: false,
    canceled: false,
    cancelReason: '',
    compactRevision: 0n,
    fragment: false,
  };
  return { header: headerAt(revision), events, ...parts, ...more };
}

/** The reply to the request for a watch. */
function created(revision: number, more: object = {}): object {
  return reply(revision, [], { created: true, ...more });
}

interface Create {
  readonly createRequest: { readonly startRevision: bigint };
}

function isCreate(request: unknown): request is Create {
  return typeof request === 'object' && request !== null && 'createRequest' in request;
}

function refusal(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'suite.refused', message });
}

/** A watch over streams that the test scripts. */
function scene(hasCredentials = false) {
  const runtime = virtualRuntime();
  const streams: ScriptedStream[] = [];
  const log: string[] = [];
  const server = { header: headerAt(7), tokens: 0, takesToken: true, takesPassword: true };
  const channel: EtcdChannel = {
    unary: async (method, _request, { metadata }) => {
      log.push(method.replace('etcdserverpb.', ''));
      if (method.endsWith('Authenticate')) {
        if (!server.takesPassword) throw refusal('etcdserver: authentication failed, invalid user ID or password');
        return { token: `token ${(server.tokens += 1)}` };
      }
      await (metadata as (() => Promise<object>) | undefined)?.();
      if (!server.takesToken) throw refusal('etcdserver: invalid auth token');
      return { header: server.header, kvs: [], more: false };
    },
    stream: async (_method, _request, { metadata }) => {
      await metadata();
      const stream = new ScriptedStream();
      streams.push(stream);
      return stream;
    },
  };
  const security = { hasCredentials, username: 'u', password: 'p' } as unknown as ConnectionSecurity;
  const tools = { ...runtime, security };
  const client = new EtcdClient({ channel, addressCount: 1, tools, timeoutMs: 4_000, progressMs: 10_000 });
  const ended = new AbortController();
  /** Watches the keys that begin with a letter. What is told of any but `a` begins with it in the log. */
  const watch = (letter = 'a', { signal } = ended): Promise<void> => {
    const note = (text: string): void => void log.push(letter === 'a' ? text : `${letter}: ${text}`);
    const key = Buffer.from(letter);
    const rangeEnd = Buffer.of((key[0] ?? 0) + 1);
    const onEvent = ({ type, kv }: KeyEvent): void => note(`${type} ${Buffer.from(kv.key).toString()}`);
    const onLost = (why: string): void => note(`lost ${why}`);
    return client.watch(
      { key, rangeEnd, onEvent, onGap: () => note('gap'), onResumed: () => note('resumed'), onLost },
      signal,
    );
  };
  const { timers } = runtime;
  const isPending = async (promise: Promise<unknown>): Promise<boolean> => {
    await timers.settle();
    const no = Symbol('no');
    return (await Promise.race([promise, Promise.resolve(no)])) === no;
  };
  const last = (): ScriptedStream => streams.at(-1) as ScriptedStream;
  /** Starts the watch; etcd is at revision 7. */
  const established = async (): Promise<void> => {
    const starting = watch();
    await timers.settle();
    last().reply(created(7));
    await starting;
  };
  /** Breaks the stream, and waits for the next. */
  const resumed = async (first: object = created(7)): Promise<void> => {
    last().fail(new Error('broken'));
    await timers.advance(1_500);
    last().reply(first);
    await timers.settle();
  };
  /** The revisions from which watches were asked for, on all streams. */
  const startRevisions = (): bigint[] =>
    streams.flatMap(({ sent }) => sent.flatMap((one) => (isCreate(one) ? [one.createRequest.startRevision] : [])));
  const parts = { timers, streams, last, log, server, client, security, ended, isPending };
  return { ...parts, watch, established, resumed, startRevisions };
}

describe('a watch of etcd', () => {
  it('asks for what comes, with the former values, in fragments, and with signs of progress', async () => {
    const { established, last, timers } = scene();
    await established();
    const createRequest = {
      key: Buffer.from('a'),
      rangeEnd: Buffer.from('b'),
      startRevision: 0n,
      progressNotify: true,
      prevKv: true,
      fragment: true,
    };
    expect(last().sent).toEqual([{ createRequest }]);
    await timers.advance(10_000);
    expect(last().sent).toEqual([{ createRequest }, { progressRequest: {} }]);
  });

  it('resumes after the last event, and says that it was resumed before what comes then', async () => {
    const { established, resumed, last, log, timers, startRevisions } = scene();
    await established();
    last().reply(reply(9, [event('a1', 8), event('a2', 9)]));
    await timers.settle();
    await resumed(created(9));
    last().reply(reply(10, [event('a3', 10, 'DELETE')]));
    await timers.settle();
    expect(log).toEqual(['PUT a1', 'PUT a2', 'resumed', 'DELETE a3']);
    expect(startRevisions()).toEqual([0n, 9n]);
  });

  it('resumes from a revision that is there, as etcd gives no sign of progress before it, and tells nothing twice', async () => {
    const { established, resumed, last, log, timers } = scene();
    await established();
    last().reply(reply(9, [event('a1', 9)]));
    await timers.settle();
    await resumed(created(9));
    last().reply(reply(10, [event('a1', 9), event('a2', 10)]));
    await timers.settle();
    expect(log).toEqual(['PUT a1', 'resumed', 'PUT a2']);
  });

  it('resumes after the revision at which it was established, if nothing has happened', async () => {
    const { established, resumed, startRevisions } = scene();
    await established();
    await resumed();
    expect(startRevisions()).toEqual([0n, 7n]);
  });

  it('resumes after the last sign of progress', async () => {
    const { established, resumed, last, timers, startRevisions } = scene();
    await established();
    last().reply(reply(5_000));
    await timers.settle();
    await resumed(created(5_000));
    expect(startRevisions()).toEqual([0n, 5_000n]);
  });

  it('resumes at a revision of which it has only a fragment', async () => {
    const { established, resumed, last, log, timers, startRevisions } = scene();
    await established();
    last().reply(reply(9, [event('a1', 9)], { fragment: true }));
    await timers.settle();
    await resumed(created(9));
    last().reply(reply(9, [event('a1', 9)], { fragment: true }), reply(9, [event('a2', 9)]));
    await timers.settle();
    await resumed(created(9));
    expect(startRevisions()).toEqual([0n, 8n, 9n]);
    expect(log.filter((text) => text.startsWith('PUT'))).toEqual(['PUT a1', 'PUT a1', 'PUT a2']);
  });

  const compacted = reply(40, [], { canceled: true, compactRevision: 30n, cancelReason: 'compacted' });

  it.each([
    ['after a break', true],
    ['while the stream stands', false],
  ])('goes on with what comes after changes that were compacted %s, and says so', async (_when, isBroken) => {
    const { established, resumed, last, log, timers, streams, startRevisions } = scene();
    await established();
    if (isBroken) await resumed(created(40));
    last().reply(compacted);
    await timers.settle();
    // Otherwise etcd answers no probe of this stream any more.
    expect(last().sent).toContainEqual({ cancelRequest: { watchId: 0n } });
    last().reply(created(40, { watchId: 1n }));
    await timers.settle();
    const before = isBroken ? ['resumed', 'gap'] : ['gap'];
    expect(log).toEqual(before);
    last().reply(reply(41, [event('a1', 41)], { watchId: 1n }));
    await timers.settle();
    expect(streams).toHaveLength(isBroken ? 2 : 1);
    await resumed(created(41));
    expect(log).toEqual([...before, 'PUT a1', 'resumed']);
    expect(startRevisions()).toEqual(isBroken ? [0n, 7n, 0n, 41n] : [0n, 0n, 41n]);
  });

  it('tells nothing twice where a stream breaks among the parts of what was seen before', async () => {
    const { established, resumed, last, log, timers } = scene();
    await established();
    last().reply(reply(9, [event('a1', 9)]));
    await timers.settle();
    await resumed(created(9));
    last().reply(reply(9, [event('a1', 9)], { fragment: true }));
    await timers.settle();
    await resumed(created(9));
    last().reply(reply(9, [event('a1', 9)]));
    last().reply(reply(10, [event('a2', 10)]));
    await timers.settle();
    expect(log.filter((text) => text.startsWith('PUT'))).toEqual(['PUT a1', 'PUT a2']);
  });

  it('fetches a token again where its password could not be read the first time', async () => {
    const { client, security, timers } = scene(true);
    let reads = 0;
    Object.defineProperty(security, 'password', {
      get: () => {
        reads += 1;
        if (reads === 1) throw new Error('there is no such file');
        return 'p';
      },
    });
    const { signal } = new AbortController();
    const get = (): Promise<unknown> => client.get('a', { signal });
    const first = get().then(
      () => 'well',
      (error: unknown) => String(error),
    );
    await timers.advance(10_000);
    expect(await first).toMatch(/no such file/);
    const second = get();
    await timers.advance(1_000);
    await second;
  });

  it('asks at a bounded rate where etcd says again and again that changes were compacted', async () => {
    const { established, last, log, timers, streams, startRevisions } = scene();
    await established();
    const answered = new Map([[last(), 1]]);
    last().reply(compacted);
    for (let passedMs = 0; passedMs < 20_000; passedMs += 50) {
      const asked = last().sent.filter(isCreate).length;
      for (let at = answered.get(last()) ?? 0; at < asked; at += 1) last().reply(created(40), compacted);
      answered.set(last(), asked);
      await timers.advance(50);
    }
    expect(streams.length).toBeGreaterThan(5);
    expect(startRevisions().length).toBeLessThan(120);
    expect(log.filter((text) => text.startsWith('lost'))).toEqual([]);
  });

  it('is lost when etcd cancels it, with the reason', async () => {
    const { established, last, log, timers, streams } = scene();
    await established();
    last().reply(reply(8, [], { canceled: true, cancelReason: 'the key range is not allowed' }));
    await timers.advance(30_000);
    expect(log).toEqual(['lost as etcd refused it (the key range is not allowed)']);
    expect(streams).toHaveLength(1);
  });

  const badToken = { canceled: true, cancelReason: 'etcdserver: invalid auth token' };

  it('goes on with another token, on another stream, when etcd cancels it for its token', async () => {
    const { established, last, log, timers, streams } = scene(true);
    await established();
    last().reply(reply(8, [], badToken));
    await timers.settle();
    expect([streams.length, streams[0]?.isReturned]).toEqual([2, false]);
    last().reply(created(8));
    await timers.settle();
    expect(log).toEqual(['Auth/Authenticate', 'Auth/Authenticate', 'resumed']);
  });

  it('begins with another token where the first is refused', async () => {
    const { watch, last, log, timers, streams } = scene(true);
    const starting = watch();
    await timers.settle();
    last().reply(created(7, { ...badToken, watchId: -1n }));
    await timers.settle();
    last().reply(created(7));
    await starting;
    expect([streams.length, log]).toEqual([2, ['Auth/Authenticate', 'Auth/Authenticate']]);
  });

  it('goes on at a member that lags, as it will catch up', async () => {
    const { established, resumed, last, log, server, timers, startRevisions } = scene();
    await established();
    last().reply(reply(9, [event('a1', 9)]));
    await timers.settle();
    server.header = headerAt(12);
    await resumed(created(8));
    last().reply(reply(10, [event('a2', 10)]));
    await timers.settle();
    expect(log).toEqual(['PUT a1', 'KV/Range', 'resumed', 'PUT a2']);
    expect(startRevisions()).toEqual([0n, 9n]);
  });

  it.each([
    ['a lower revision', headerAt(3)],
    ['another cluster', headerAt(900, { clusterId: 5n })],
    ['an earlier term', headerAt(900, { raftTerm: 1n })],
  ])('is lost where etcd has %s than before, as it has lost its data', async (_what, header) => {
    const { established, last, log, server, timers } = scene();
    await established();
    server.header = header;
    last().fail(new Error('broken'));
    await timers.advance(1_500);
    last().reply(created(3, { header }));
    await timers.advance(30_000);
    expect(log).toEqual(['KV/Range', 'lost as etcd has lost its data']);
  });

  it.each([
    ['is no message', undefined],
    ['has no header', { watchId: 0n, events: [] }],
    ['has no list of events', { watchId: 0n, header: headerAt(8), canceled: false }],
    ['makes a watch that nobody asked for', created(8)],
    ['has an event without a key', { ...reply(8), events: [{ type: 'PUT' }] }],
    ['has an event that is nothing', { ...reply(8), events: [null] }],
  ])('is resumed, at a bounded rate, by a server whose reply %s', async (_what, nonsense) => {
    const { established, last, log, streams, timers } = scene();
    await established();
    let opened = streams.length;
    // Each stream begins well: a watch whose streams never do is lost.
    const pass = async (): Promise<void> => {
      await timers.advance(50);
      if (streams.length > opened) last().reply(created(8));
      opened = streams.length;
    };
    for (let passedMs = 0; passedMs < 20_000; passedMs += 100) {
      await pass();
      last().reply(nonsense);
      await pass();
    }
    expect(streams.length).toBeGreaterThan(5);
    expect(streams.length).toBeLessThan(60);
    for (let passedMs = 0; passedMs < 10_000; passedMs += 50) await pass();
    last().reply(reply(9, [event('a1', 9)]));
    await timers.settle();
    expect(log.at(-1)).toBe('PUT a1');
    expect(log.filter((text) => text.startsWith('lost'))).toEqual([]);
  });

  it('is told when credentials are valid again that were not, as nodes could not be renewed meanwhile', async () => {
    const { established, log, server, client, ended, timers } = scene(true);
    const { signal } = new AbortController();
    await established();
    server.takesToken = false;
    server.takesPassword = false;
    await expect(client.get('a1', { signal })).rejects.toThrow(/authentication failed/);
    expect(log).not.toContain('resumed');
    server.takesToken = true;
    server.takesPassword = true;
    await client.get('a1', { signal });
    expect(log.filter((text) => text === 'resumed')).toHaveLength(1);
    ended.abort();
    await timers.settle();
  });

  it('is not told when a token has merely ended', async () => {
    const { established, log, server, client } = scene(true);
    const { signal } = new AbortController();
    await established();
    server.takesToken = false;
    await expect(client.get('a1', { signal })).rejects.toThrow(/invalid auth token/);
    expect(server.tokens).toBe(2);
    expect(log).not.toContain('resumed');
  });

  it('fetches one token for all calls whose token was refused', async () => {
    const { established, server, client } = scene(true);
    const { signal } = new AbortController();
    await established();
    server.takesToken = false;
    const calls = Array.from({ length: 20 }, (_, at) => client.get(`a${at}`, { signal }).catch(() => undefined));
    await Promise.all(calls);
    // One for the watch, one after the refusals, and at most one more as that is refused as well.
    expect(server.tokens).toBeLessThanOrEqual(3);
  });

  it('is lost where there is nothing but nonsense for the time of a call', async () => {
    const { established, last, log, streams, timers } = scene();
    await established();
    last().end();
    for (let passedMs = 0; passedMs < 20_000; passedMs += 100) {
      last().reply({});
      await timers.advance(100);
    }
    expect(streams.length).toBeLessThan(20);
    expect(log).toEqual(['lost as etcd cannot be reached']);
  });

  it('rejects where the first reply makes no sense', async () => {
    const { watch, streams, timers } = scene();
    const starting = watch();
    const failed = expect(starting).rejects.toThrow();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await timers.settle();
      streams.at(-1)?.reply({});
      await timers.advance(10);
    }
    await failed;
    expect(streams).toHaveLength(2);
  });

  it('ends with its signal, and opens no stream any more', async () => {
    const { established, ended, last, streams, timers } = scene();
    await established();
    ended.abort();
    last().end();
    await timers.advance(60_000);
    expect(streams).toHaveLength(1);
  });
});

describe('watches of one client', () => {
  const letters = ['a', 'b', 'c'] as const;

  /** Three watches on one stream, with the numbers 0, 1 and 2. */
  async function three(hasCredentials = false) {
    const all = scene(hasCredentials);
    const leaving = new Map(letters.map((letter) => [letter, new AbortController()] as const));
    const starting = letters.map((letter) => all.watch(letter, leaving.get(letter)));
    await all.timers.settle();
    all.last().reply(...letters.map((_, at) => created(7, { watchId: BigInt(at) })));
    await Promise.all(starting);
    const leave = async (letter: (typeof letters)[number]): Promise<void> => {
      leaving.get(letter)?.abort();
      await all.timers.settle();
    };
    const again = (revision: number): void => {
      all.last().reply(...letters.map((_, at) => created(revision, { watchId: BigInt(at) })));
    };
    return { ...all, leave, again };
  }

  it('share a stream, and each is told what is its own', async () => {
    const { streams, last, log, timers } = await three();
    expect([streams.length, last().sent.length]).toEqual([1, 3]);
    last().reply(
      reply(8, [event('b1', 8)], { watchId: 1n }),
      reply(9, [event('a1', 9)]),
      reply(9, [event('x', 9)], { watchId: 77n }),
      reply(10, [event('c1', 10, 'DELETE')], { watchId: 2n }),
    );
    await timers.settle();
    expect(log).toEqual(['b: PUT b1', 'PUT a1', 'c: DELETE c1']);
  });

  it('are established one by one, in the order in which they were asked for', async () => {
    const { watch, last, timers, isPending } = scene();
    const [first, second] = [watch('a'), watch('b')];
    await timers.settle();
    last().reply(created(7));
    await first;
    expect(await isPending(second)).toBe(true);
    const third = watch('c');
    await timers.settle();
    last().reply(created(7, { watchId: 1n }), created(8, { watchId: 2n }));
    await Promise.all([second, third]);
  });

  it('are resumed each at its own revision, those without changes after the last sign of progress', async () => {
    const { last, log, timers, again, startRevisions } = await three();
    last().reply(reply(20, [], { watchId: -1n }), reply(21, [event('a1', 21)]));
    last().reply(reply(22, [event('b1', 22)], { watchId: 1n, fragment: true }));
    await timers.settle();
    last().fail(new Error('broken'));
    await timers.advance(1_500);
    again(22);
    await timers.settle();
    expect(startRevisions().slice(3)).toEqual([21n, 21n, 20n]);
    expect(log.slice(2)).toEqual(['resumed', 'b: resumed', 'c: resumed']);
  });

  it('are refused one by one', async () => {
    const { watch, last, log, timers, streams } = scene();
    const [first, denied, third] = [watch('a'), watch('b'), watch('c')];
    await timers.settle();
    const refused = created(7, { watchId: -1n, canceled: true, cancelReason: 'etcdserver: permission denied' });
    last().reply(created(7), refused, created(7, { watchId: 1n }));
    await expect(denied).rejects.toThrow('permission denied');
    await Promise.all([first, third]);
    last().reply(reply(8, [event('c1', 8)], { watchId: 1n }));
    await timers.settle();
    expect([streams.length, log]).toEqual([1, ['c: PUT c1']]);
  });

  it('go on where the first one was refused', async () => {
    const { watch, last, timers } = scene();
    const [denied, second] = [watch('a'), watch('b')];
    await timers.settle();
    last().reply(created(7, { watchId: -1n, canceled: true, cancelReason: 'etcdserver: permission denied' }));
    last().reply(created(7));
    await expect(denied).rejects.toThrow('permission denied');
    await second;
  });

  it('leave one by one: etcd is told, and tells no more; the stream ends with the last', async () => {
    const { leave, watch, last, log, streams, timers, startRevisions } = await three();
    await leave('b');
    expect(last().sent.slice(3)).toEqual([{ cancelRequest: { watchId: 1n } }]);
    last().reply(reply(8, [event('b1', 8)], { watchId: 1n }), reply(8, [], { watchId: 1n, canceled: true }));
    await timers.settle();
    expect(log).toEqual([]);
    last().fail(new Error('broken'));
    await timers.advance(1_500);
    expect(startRevisions().slice(3)).toEqual([7n, 7n]);
    last().reply(created(8), created(8, { watchId: 1n }));
    await timers.settle();
    await leave('a');
    await leave('c');
    void watch('d').catch(() => {});
    await timers.settle();
    expect(streams).toHaveLength(3);
  });

  it('leave before they are made: etcd is told as soon as it has made them', async () => {
    const { established, watch, last, log, timers } = scene();
    await established();
    const leaving = new AbortController();
    const starting = watch('b', leaving);
    const third = watch('c');
    await timers.settle();
    leaving.abort(new Error('enough'));
    await expect(starting).rejects.toThrow('enough');
    last().reply(created(8, { watchId: 1n }), created(8, { watchId: 2n }));
    await third;
    expect(last().sent.slice(3)).toEqual([{ cancelRequest: { watchId: 1n } }]);
    last().reply(reply(9, [event('c1', 9)], { watchId: 2n }));
    await timers.settle();
    expect(log).toEqual(['c: PUT c1']);
  });

  it('do not open a stream for one that has left', async () => {
    const { watch, streams, timers } = scene();
    const leaving = new AbortController();
    leaving.abort(new Error('enough'));
    await expect(watch('a', leaving)).rejects.toThrow('enough');
    await timers.advance(10_000);
    expect(streams).toEqual([]);
  });

  it('find out by a new one that the stream stands silent', async () => {
    const { established, watch, last, streams, log, timers } = scene();
    await established();
    const starting = watch('b');
    await timers.advance(1_999);
    expect(streams[0]?.isGivenUp).toBe(false);
    await timers.advance(1);
    expect(streams[0]?.isGivenUp).toBe(true);
    await timers.advance(100);
    last().reply(created(7), created(7, { watchId: 1n }));
    await starting;
    expect([streams.length, log]).toEqual([2, ['resumed']]);
  });

  it('get a stream of their own while that of the others is broken, and fail by it', async () => {
    const { established, watch, last, streams, log, timers } = scene();
    await established();
    const [broken] = streams;
    broken?.fail(new Error('broken'));
    await timers.settle();
    const starting = watch('b');
    await timers.settle();
    expect(streams).toHaveLength(2);
    last().fail(new Error('nobody there'));
    await timers.settle();
    last().fail(new Error('still nobody there'));
    await expect(starting).rejects.toThrow('still nobody there');
    await timers.advance(100);
    last().reply(created(8));
    await timers.settle();
    expect(log).toEqual(['resumed']);
  });

  it('are all lost when there is no etcd for the time of a call', async () => {
    const { last, log, timers, streams } = await three();
    last().fail(new Error('broken'));
    for (let passedMs = 0; passedMs < 10_000; passedMs += 100) {
      last().fail(new Error('broken'));
      await timers.advance(100);
    }
    expect(log).toEqual([
      'lost as etcd cannot be reached',
      'b: lost as etcd cannot be reached',
      'c: lost as etcd cannot be reached',
    ]);
    const { length } = streams;
    await timers.advance(60_000);
    expect(streams).toHaveLength(length);
  });

  it('go on where they are after the token has changed; later ones come with the next', async () => {
    const { client, watch, last, log, server, streams, timers } = await three(true);
    server.takesToken = false;
    await client.get('a1', { signal: new AbortController().signal }).catch(() => {});
    server.takesToken = true;
    const fourth = watch('d');
    await timers.settle();
    expect(streams).toHaveLength(2);
    last().reply(created(8));
    await fourth;
    const fifth = watch('e');
    await timers.settle();
    expect(streams).toHaveLength(2);
    last().reply(created(8, { watchId: 1n }));
    await fifth;
    streams[0]?.reply(reply(9, [event('b1', 9)], { watchId: 1n }));
    await timers.settle();
    expect(log.filter((text) => !text.includes('/'))).toEqual(['b: PUT b1']);
  });

  it('ask for another token a bounded number of times', async () => {
    const { watch, last, log, timers, isPending } = scene(true);
    const starting = watch();
    for (let round = 0; round < 20 && (await isPending(starting.catch(() => {}))); round += 1) {
      last().reply(created(7, { watchId: -1n, canceled: true, cancelReason: 'etcdserver: invalid auth token' }));
      await timers.advance(10);
    }
    await expect(starting).rejects.toThrow('invalid auth token');
    expect(log.length).toBeLessThan(6);
  });
});
