import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { EtcdClient, type EtcdChannel, type KeyEvent } from '../../src/etcd/etcd.ts';
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
  const parts = { canceled: false, cancelReason: '', compactRevision: 0n, fragment: false };
  return { header: headerAt(revision), events, ...parts, ...more };
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
    exchange: async () => undefined,
    stream: async (_method, request, { metadata }) => {
      await metadata();
      const stream = new ScriptedStream((request as { createRequest: object }).createRequest);
      streams.push(stream);
      return stream;
    },
  };
  const security = { hasCredentials, username: 'u', password: 'p' } as unknown as ConnectionSecurity;
  const tools = { ...runtime, security };
  const client = new EtcdClient({ channel, addressCount: 1, tools, timeoutMs: 4_000, progressMs: 10_000 });
  const ended = new AbortController();
  const watch = (): Promise<void> =>
    client.watch(
      {
        key: Buffer.from('a'),
        rangeEnd: Buffer.from('b'),
        onEvent: ({ type, kv }) => void log.push(`${type} ${Buffer.from(kv.key).toString()}`),
        onGap: () => void log.push('gap'),
        onResumed: () => void log.push('resumed'),
        onLost: (why) => void log.push(`lost ${why}`),
      },
      ended.signal,
    );
  const { timers } = runtime;
  const last = (): ScriptedStream => streams.at(-1) as ScriptedStream;
  /** Starts the watch; etcd is at revision 7. */
  const established = async (): Promise<void> => {
    const starting = watch();
    await timers.settle();
    last().reply(reply(7));
    await starting;
  };
  /** Breaks the stream, and waits for the next. */
  const resumed = async (first: object = reply(7)): Promise<void> => {
    last().fail(new Error('broken'));
    await timers.advance(1_500);
    last().reply(first);
    await timers.settle();
  };
  const startRevisions = (): bigint[] =>
    streams.map(({ request }) => (request as { readonly startRevision: bigint }).startRevision);
  return { timers, streams, last, log, server, client, ended, watch, established, resumed, startRevisions };
}

describe('a watch of etcd', () => {
  it('asks for what comes, with the former values, in fragments, and with signs of progress', async () => {
    const { established, last, timers } = scene();
    await established();
    expect(last().request).toEqual({
      key: Buffer.from('a'),
      rangeEnd: Buffer.from('b'),
      startRevision: 0n,
      progressNotify: true,
      prevKv: true,
      fragment: true,
    });
    await timers.advance(10_000);
    expect(last().sent).toEqual([{ progressRequest: {} }]);
  });

  it('resumes after the last event, and says that it was resumed before what comes then', async () => {
    const { established, resumed, last, log, timers, startRevisions } = scene();
    await established();
    last().reply(reply(9, [event('a1', 8), event('a2', 9)]));
    await timers.settle();
    await resumed(reply(9));
    last().reply(reply(10, [event('a3', 10, 'DELETE')]));
    await timers.settle();
    expect(log).toEqual(['PUT a1', 'PUT a2', 'resumed', 'DELETE a3']);
    expect(startRevisions()).toEqual([0n, 10n]);
  });

  it('resumes after the revision at which it was established, if nothing has happened', async () => {
    const { established, resumed, startRevisions } = scene();
    await established();
    await resumed();
    expect(startRevisions()).toEqual([0n, 8n]);
  });

  it('resumes after the last sign of progress', async () => {
    const { established, resumed, last, timers, startRevisions } = scene();
    await established();
    last().reply(reply(5_000));
    await timers.settle();
    await resumed(reply(5_000));
    expect(startRevisions()).toEqual([0n, 5_001n]);
  });

  it('resumes at a revision of which it has only a fragment', async () => {
    const { established, resumed, last, log, timers, startRevisions } = scene();
    await established();
    last().reply(reply(9, [event('a1', 9)], { fragment: true }));
    await timers.settle();
    await resumed(reply(9));
    last().reply(reply(9, [event('a1', 9)], { fragment: true }), reply(9, [event('a2', 9)]));
    await timers.settle();
    await resumed(reply(9));
    expect(startRevisions()).toEqual([0n, 9n, 10n]);
    expect(log.filter((text) => text.startsWith('PUT'))).toEqual(['PUT a1', 'PUT a1', 'PUT a2']);
  });

  it.each([
    ['with the first reply', true],
    ['later', false],
  ])(
    'goes on with what comes after changes that were compacted, and says so, if that is told %s',
    async (_when, first) => {
      const { established, resumed, last, log, timers, startRevisions } = scene();
      await established();
      const compacted = reply(40, [], { canceled: true, compactRevision: 30n, cancelReason: 'compacted' });
      if (first) await resumed(compacted);
      else last().reply(compacted);
      await timers.advance(1_500);
      last().reply(reply(40));
      await timers.settle();
      expect(log).toEqual(['resumed', 'gap']);
      last().reply(reply(41, [event('a1', 41)]));
      await timers.settle();
      await resumed(reply(41));
      expect(log).toEqual(['resumed', 'gap', 'PUT a1', 'resumed']);
      expect(startRevisions().at(-1)).toBe(42n);
      expect(startRevisions().filter((revision) => revision === 0n)).toHaveLength(2);
    },
  );

  it('is lost when etcd cancels it, with the reason', async () => {
    const { established, last, log, timers, streams } = scene();
    await established();
    last().reply(reply(8, [], { canceled: true, cancelReason: 'the key range is not allowed' }));
    await timers.advance(30_000);
    expect(log).toEqual(['lost as etcd refused it (the key range is not allowed)']);
    expect(streams).toHaveLength(1);
  });

  it('fetches another token when etcd cancels it for its token', async () => {
    const { established, last, log, timers } = scene(true);
    await established();
    last().reply(reply(8, [], { canceled: true, cancelReason: 'etcdserver: invalid auth token' }));
    await timers.advance(1_500);
    last().reply(reply(8));
    await timers.settle();
    expect(log).toEqual(['Auth/Authenticate', 'Auth/Authenticate', 'resumed']);
  });

  it('goes on at a member that lags, as it will catch up', async () => {
    const { established, resumed, last, log, server, timers, startRevisions } = scene();
    await established();
    last().reply(reply(9, [event('a1', 9)]));
    await timers.settle();
    server.header = headerAt(12);
    await resumed(reply(8));
    last().reply(reply(10, [event('a2', 10)]));
    await timers.settle();
    expect(log).toEqual(['PUT a1', 'KV/Range', 'resumed', 'PUT a2']);
    expect(startRevisions()).toEqual([0n, 10n]);
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
    last().reply(reply(3, [], { header }));
    await timers.advance(30_000);
    expect(log).toEqual(['KV/Range', 'lost as etcd has lost its data']);
  });

  it.each([
    ['is no message', undefined],
    ['has no header', { events: [] }],
    ['has no list of events', { header: headerAt(8), canceled: false }],
    ['has an event without a key', { ...reply(8), events: [{ type: 'PUT' }] }],
    ['has an event that is nothing', { ...reply(8), events: [null] }],
  ])('is resumed, at a bounded rate, by a server whose reply %s', async (_what, nonsense) => {
    const { established, last, log, streams, timers } = scene();
    await established();
    let opened = streams.length;
    // Each stream begins well: a watch whose streams never do is lost.
    const pass = async (): Promise<void> => {
      await timers.advance(50);
      if (streams.length > opened) last().reply(reply(8));
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
