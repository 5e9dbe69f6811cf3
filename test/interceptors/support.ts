import { RpcClient } from '../../src/client/rpc-client.ts';
import type { ClientOptions } from '../../src/client/client.ts';
import { okStatus } from '../../src/context/status.ts';
import { Metadata, type MetadataInit } from '../../src/context/metadata.ts';
import type { Code } from '../../src/errors/errors.ts';
import type { Interceptor, CallHandler, MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import { json, memoryParts, method, type Parts, serveRaw } from '../../src/testing/internal/parts.ts';
import type { Message, Socket } from '../../src/transport/transport.ts';

export const echo = method('Echo');
export const get = method('Get', 'unary', { idempotent: true });
export const count = method('Count', 'server', { idempotent: true });
export const tick = method('Tick', 'server');
export const sum = method('Sum', 'client', { idempotent: true });
export const chat = method('Chat', 'bidi', { idempotent: true });
export const routes = [echo, get, count, tick, sum, chat];

export function clientOf(parts: Parts, options: ClientOptions = {}): RpcClient {
  const { transport, selector, broker, marshaler, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  return new RpcClient(transport, selector, broker, marshaler, marshalers, clock, random, timers, logger, options);
}

export function serverOf(
  parts: Parts,
  methods: readonly (readonly [MethodDescriptor, CallHandler])[],
  interceptors: readonly Interceptor[] = [],
  id?: string,
): RpcServer {
  const { transport, registry, broker, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  const server = new RpcServer(transport, registry, broker, marshalers, clock, random, timers, logger, {
    name: 'suite',
    interceptors,
    id,
  });
  const invokes = Object.fromEntries(methods.map(([{ method: name }, invoke]) => [name, invoke]));
  server.handle(server.newHandler('suite.Suite', invokes, { descriptors: methods.map(([descriptor]) => descriptor) }));
  return server;
}

/** What a server that follows a script answers: one entry for each call, the last again and again. */
export type Script = readonly (Message | ((socket: Socket) => void))[];

export interface Scripted {
  readonly parts: Parts;
  /** What the calls said. */
  readonly calls: Metadata[];
}

/** A node that answers by a script. */
export async function scripted(script: Script, replaced: Partial<Parts> = {}): Promise<Scripted> {
  const parts = memoryParts(replaced);
  const calls: Metadata[] = [];
  const accept = async (socket: Socket): Promise<void> => {
    const first = await socket.recv();
    const step = script[Math.min(calls.length, script.length - 1)];
    calls.push(first?.headers ?? new Metadata());
    if (typeof step === 'function') step(socket);
    else if (step) void socket.send(step);
  };
  await serveRaw(parts, routes, (socket) => void accept(socket));
  return { parts, calls };
}

export function fails(code: Code, metadata: MetadataInit = {}): Message {
  return { status: { code, message: 'scripted', metadata: new Metadata(metadata) } };
}

export function answers(value: unknown, trailers: MetadataInit = {}): Message {
  return { body: json(value), status: { ...okStatus, metadata: new Metadata(trailers) } };
}

/** Never answers. */
export function silent(): void {}

export async function all(replies: unknown): Promise<unknown[]> {
  const result: unknown[] = [];
  for await (const reply of replies as AsyncIterable<unknown>) result.push(reply);
  return result;
}
