import { afterEach, describe, expect, it } from '@jest/globals';

import type { CallOptions, ClientOptions } from '../../src/client/client.ts';
import type { Context } from '../../src/context/context.ts';
import { Metadata } from '../../src/context/metadata.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { hedge, retry, type ServiceConfig } from '../../src/interceptors/interceptors.ts';
import type { CallHandler, MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import type { RpcServer } from '../../src/server/rpc-server.ts';
import { memoryParts, method, type Parts } from '../../src/testing/internal/parts.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import type { DialOptions, Message, Transport, TransportClient } from '../../src/transport/transport.ts';
import { all, clientOf, serverOf } from './support.ts';

/** Mulberry32: the same calls and faults for the same seed. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function unavailable(reason: string): TenonError {
  return new TenonError({ code: Code.Unavailable, reason, message: 'an injected fault' });
}

const drains: Message = {
  status: {
    code: Code.Unavailable,
    message: 'an injected fault',
    metadata: new Metadata({ 'tenon-reason': 'server.draining' }),
  },
};

type Fault = 'none' | 'unreachable' | 'draining' | 'lost after sending' | 'lost after the answer' | 'reset';
const faults: readonly Fault[] = [
  'none',
  'none',
  'none',
  'unreachable',
  'draining',
  'lost after sending',
  'lost after the answer',
  'reset',
];

/** A network that loses calls before, while and after they are processed. */
class FaultyTransport implements Transport {
  readonly #inner: Transport;
  readonly #random: () => number;
  readonly injected = new Map<Fault, number>();

  constructor(inner: Transport, random: () => number) {
    this.#inner = inner;
    this.#random = random;
  }

  async unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    const fault = this.#fault();
    if (fault === 'unreachable') throw unavailable('transport.unreachable');
    if (fault === 'draining') return drains;
    if (fault === 'reset') {
      const socket = this.#inner.dial(address, options);
      void socket.send(message);
      socket.end();
      const first = socket.recv();
      first.catch(() => {});
      await new Promise((resolve) => setImmediate(resolve));
      socket.abort(Code.Cancelled);
      throw unavailable('transport.connection_lost');
    }
    const answer = this.#inner.unary
      ? this.#inner.unary(address, message, options)
      : Promise.reject(new Error('no unary'));
    if (fault === 'lost after sending') {
      answer.catch(() => {});
      throw unavailable('transport.connection_lost');
    }
    const answered = await answer;
    if (fault === 'lost after the answer') throw unavailable('transport.connection_lost');
    return answered;
  }

  dial(address: string, options: DialOptions): TransportClient {
    const fault = this.#fault();
    const socket = this.#inner.dial(address, options);
    if (fault === 'none') return socket;
    const recv = socket.recv.bind(socket);
    let isSpent = false;
    const isSent = fault !== 'unreachable' && fault !== 'draining';
    return Object.assign(Object.create(socket) as TransportClient, {
      send: (message: Message) => (isSent ? socket.send(message) : undefined),
      end: () => (isSent ? socket.end() : undefined),
      abort: (code: Code, message?: string) => socket.abort(code, message),
      close: () => socket.close(),
      recv: async () => {
        if (!isSpent) {
          isSpent = true;
          if (fault === 'draining') return drains;
          if (fault === 'lost after the answer') await recv();
          else if (isSent) void recv().catch(() => {});
          await new Promise((resolve) => setImmediate(resolve));
          socket.abort(Code.Cancelled);
        }
        throw unavailable(fault === 'unreachable' ? 'transport.unreachable' : 'transport.connection_lost');
      },
    });
  }

  listen(...args: Parameters<Transport['listen']>): ReturnType<Transport['listen']> {
    return this.#inner.listen(...args);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #fault(): Fault {
    const fault = faults[Math.floor(this.#random() * faults.length)] ?? 'none';
    this.injected.set(fault, (this.injected.get(fault) ?? 0) + 1);
    return fault;
  }
}

interface Scene {
  readonly parts: Parts;
  readonly faulty: FaultyTransport;
  /** How often the handlers took each request. */
  readonly taken: Map<string, number>;
  readonly servers: readonly RpcServer[];
}

const scenes: Scene[] = [];

afterEach(async () => {
  for (const { servers, parts } of scenes.splice(0)) {
    for (const server of servers) await server.stop();
    await parts.transport.close();
  }
});

/** Three nodes whose handlers count, dawdle and fail, behind a network that does too. */
async function scene(make: () => Transport, random: () => number): Promise<Scene> {
  const taken = new Map<string, number>();
  const take = async (id: string, ctx: Context): Promise<void> => {
    taken.set(id, (taken.get(id) ?? 0) + 1);
    const chance = random();
    if (chance < 0.2) await new Promise((resolve) => setTimeout(resolve, 1 + chance * 20));
    if (chance > 0.95) throw unavailable('suite.busy');
    // What a handler passes on of a call that it made itself.
    if (chance > 0.9) throw unavailable('server.draining');
    if (chance > 0.85) throw unavailable('transport.unreachable');
    if (chance > 0.8) ctx.trailers.set('grpc-retry-pushback-ms', '1');
    if (chance > 0.78) throw unavailable('suite.later');
  };
  const one: CallHandler = async (input, ctx) => {
    const { id } = input as { id: string };
    await take(id, ctx);
    return { id };
  };
  const replies: CallHandler = async function* stream(input, ctx) {
    const { id } = input as { id: string };
    await take(id, ctx);
    yield { id };
    yield { id };
  };
  const requests: CallHandler = async (input, ctx) => {
    let id = '';
    for await (const request of input as AsyncIterable<{ id: string }>) {
      if (id === '') await take((id = request.id), ctx);
    }
    return { id };
  };
  const faulty = new FaultyTransport(make(), random);
  const parts = memoryParts({ transport: faulty });
  const servers = ['a', 'b', 'c'].map((id) =>
    serverOf(
      parts,
      descriptors.map((descriptor) => [descriptor, invokeOf(descriptor, one, replies, requests)]),
      [],
      id,
    ),
  );
  for (const server of servers) {
    await server.start();
    await server.register();
  }
  const made = { parts, faulty, taken, servers };
  scenes.push(made);
  return made;
}

function invokeOf(
  { kind }: MethodDescriptor,
  one: CallHandler,
  replies: CallHandler,
  requests: CallHandler,
): CallHandler {
  if (kind === 'server') return replies;
  return kind === 'client' ? requests : one;
}

const once = [method('Pay'), method('Watch', 'server'), method('Upload', 'client')];
const often = [
  method('Get', 'unary', { idempotent: true }),
  method('List', 'server', { idempotent: true }),
  method('Put', 'client', { idempotent: true }),
];
const descriptors = [...once, ...often];

const serviceConfig = (policy: object): ServiceConfig => ({ methodConfig: [{ name: [{}], ...policy }] });
const codes = Object.values(Code).filter((code) => code !== Code.Ok);
const clients: Readonly<Record<string, ClientOptions>> = {
  'retry, of every code': {
    interceptors: [retry({ codes, maxAttempts: 5, initialBackoffMs: 0, budget: false })],
  },
  'hedge, at once': { interceptors: [hedge({ nonFatalCodes: codes, maxAttempts: 4, delayMs: 0, budget: false })] },
  'hedge around retry': {
    interceptors: [
      hedge({ maxAttempts: 3, delayMs: 1, budget: false }),
      retry({ codes, maxAttempts: 3, initialBackoffMs: 1, budget: false }),
    ],
  },
  'a service config that retries everything': {
    serviceConfig: serviceConfig({
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: '0.001s',
        maxBackoff: '0.002s',
        backoffMultiplier: 2,
        retryableStatusCodes: codes,
      },
    }),
  },
  'a service config that hedges everything': {
    serviceConfig: serviceConfig({ hedgingPolicy: { maxAttempts: 5, nonFatalStatusCodes: codes } }),
  },
};

/** Makes `calls` calls, 20 at a time; gives the ids of those that were answered. */
async function callMany(
  parts: Parts,
  options: ClientOptions,
  methods: readonly MethodDescriptor[],
  calls: number,
): Promise<Set<string>> {
  const client = clientOf(parts, options);
  const callers = methods.map((descriptor) => ({ descriptor, call: client.method(descriptor, 'suite') }));
  const answered = new Set<string>();
  const told: CallOptions = { timeoutMs: 5_000 };
  const make = async (index: number): Promise<void> => {
    const { descriptor, call } = callers[index % callers.length] as (typeof callers)[number];
    const id = `${descriptor.method}-${index}`;
    try {
      if (descriptor.kind === 'server') await all(call({ id }, told));
      else if (descriptor.kind === 'client') await call([{ id }, { id }], told);
      else await call({ id }, told);
      answered.add(id);
    } catch (error) {
      // That calls fail is what faults are for; that they fail otherwise is a mistake of this test.
      expect(TenonError.from(error).code).toBe(Code.Unavailable);
    }
  };
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < calls) await make(next++);
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  // Handlers whose callers went are still at it.
  await new Promise((resolve) => setTimeout(resolve, 50));
  await client.close();
  return answered;
}

const transports = {
  memory: () => new MemoryTransport(),
  grpc: () => new GrpcTransport(),
  tcp: () => new TcpTransport(),
};
const cases = Object.entries(transports).flatMap(([name, make]) =>
  Object.keys(clients).map((client, index) => ({ name, make, client, seed: 100 + index })),
);

describe('a call that is not declared idempotent', () => {
  it.each(cases)(
    'is never taken twice, over $name with $client',
    async ({ name, make, client, seed }) => {
      const { parts, faulty, taken } = await scene(make, seeded(seed));
      const calls = name === 'memory' ? 3_000 : 1_200;
      const options = clients[client] ?? {};
      const answered = await callMany(parts, options, descriptors, calls);

      const twice = [...taken].filter(([, times]) => times > 1).map(([id]) => id);
      const names = new Set(twice.map((id) => id.slice(0, id.indexOf('-'))));
      for (const { method: never } of once) expect(names).not.toContain(never);
      // And the test is worth something: idempotent ones were, every fault came, and repetitions have saved calls of
      // either kind.
      expect(names).toContain('Get');
      expect(names).toContain('List');
      expect([...faulty.injected.keys()].sort()).toEqual([...new Set(faults)].sort());
      for (const descriptor of [...once, ...often]) {
        if (descriptor.kind === 'client') continue;
        const share =
          [...answered].filter((id) => id.startsWith(descriptor.method)).length / (calls / descriptors.length);
        // Without repetitions but those of what nobody took, two of five are answered.
        expect(share).toBeGreaterThan(descriptor.idempotent ? 0.6 : 0.25);
      }
    },
    120_000,
  );

  it('is executed twice in the same cases when it is declared idempotent', async () => {
    const { parts, taken } = await scene(() => new MemoryTransport(), seeded(7));
    const lying = once.map((descriptor) => ({ ...descriptor, idempotent: true }));
    await callMany(parts, clients['retry, of every code'] ?? {}, lying, 600);
    const twice = [...taken].filter(([, times]) => times > 1).map(([id]) => id.slice(0, id.indexOf('-')));
    expect(new Set(twice)).toEqual(new Set(['Pay', 'Watch']));
  });
});
