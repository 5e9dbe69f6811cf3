import type { ClientOptions } from '../../../src/client/client.ts';
import { RpcClient } from '../../../src/client/rpc-client.ts';
import { JsonMarshaler } from '../../../src/codec/json.ts';
import { loadProto, ProtoMarshaler } from '../../../src/codec/proto.ts';
import { badRequest } from '../../../src/errors/details.ts';
import { Code, TenonError } from '../../../src/errors/errors.ts';
import { microError } from '../../../src/go-micro/go-micro.ts';
import type { CallHandler } from '../../../src/pipeline/pipeline.ts';
import type { ServerOptions } from '../../../src/server/server.ts';
import { RpcServer } from '../../../src/server/rpc-server.ts';
import { memoryParts, type Parts } from '../../../src/testing/internal/parts.ts';
import { GrpcTransport } from '../../../src/transport/grpc.ts';
import type { Transport } from '../../../src/transport/transport.ts';

/** The name in the registry. */
export const service = 'go.micro.srv.greeter';
/** The service, as its .proto says. */
export const greeter = loadProto(new URL('./greeter.proto', import.meta.url)).service('tenon.gomicro.Greeter')!;

/** A message with every kind of field. */
export const allTypes = {
  fDouble: 1.5,
  fFloat: -0.25,
  fInt32: -3,
  fInt64: 9_007_199_254_740_993n,
  fUint64: 2n ** 64n - 1n,
  fSint64: -9_007_199_254_740_993n,
  fFixed32: 2 ** 32 - 1,
  fBool: true,
  fString: 'héllo, 世界 "q" <tag>&',
  fBytes: Uint8Array.of(0, 1, 0xfe, 0xff),
  fColour: 'COLOUR_BLUE',
  rInt32: [1, -2, 300],
  rString: ['', 'a', 'ß'],
  mCounts: { one: 1n, big: 2n ** 60n },
  nested: { name: 'inner' },
  choice: 'cNumber',
  cNumber: 5,
  oInt32: -7,
};

/** What Go's handlers do as well. */
const methods: Record<string, CallHandler> = {
  Hello: async (input) => ({ msg: `Hello ${(input as { name: string }).name}` }),
  Echo: async (input) => input,
  Meta: async (_input, ctx) => ({
    headers: {
      ...Object.fromEntries([...ctx.metadata].map(([key, value]) => [key, String(value)])),
      ...(ctx.deadline === undefined ? {} : { 'remaining-ms': String(ctx.deadline - performance.now()) }),
    },
  }),
  Fail: async (input) => {
    const { kind, id, code, detail: text } = input as { kind: string; id: string; code: number; detail: string };
    if (kind === 'micro') throw microError({ id, code, detail: text });
    if (kind === 'code') throw new TenonError({ code: Code.NotFound, reason: 'greeter.unknown', message: text });
    if (kind === 'details') {
      const details = [badRequest({ fieldViolations: [{ field: 'name', description: 'is empty' }] })];
      throw new TenonError({ code: Code.InvalidArgument, message: text, details });
    }
    throw new Error(text);
  },
  Slow: async (_input, ctx) => {
    await new Promise((resolve) => ctx.onAbort(resolve));
    return {};
  },
  Count: async function* (input) {
    for (let n = 1n; n <= (input as { to: bigint }).to; n += 1n) yield { n };
  },
  Chat: async function* (input) {
    for await (const { text } of input as AsyncIterable<{ text: string }>) {
      if (text === 'bye') return;
      if (text === 'fail') throw microError({ id: 'greeter.chat', code: 409, detail: 'chat failed' });
      yield { text: text.toUpperCase() };
    }
  },
};

/** gRPC, protobuf and JSON; the rest in memory. */
export function parts(transport: Transport = new GrpcTransport()): Parts {
  const marshalers = [new ProtoMarshaler(), new JsonMarshaler()];
  return memoryParts({ transport, marshaler: marshalers[0]!, marshalers });
}

/** A server of Greeter. */
export function serverOf(parts: Parts, options: ServerOptions = {}): RpcServer {
  const { transport, registry, broker, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  const server = new RpcServer(transport, registry, broker, marshalers, clock, random, timers, logger, {
    name: service,
    dialect: 'go-micro',
    ...options,
  });
  server.handle(server.newHandler(greeter.fullName, methods, { descriptors: greeter.methods }));
  return server;
}

/** A client of Go Micro's dialect. */
export function clientOf(parts: Parts, options: ClientOptions = {}): RpcClient {
  const { transport, selector, broker, marshaler, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  return new RpcClient(transport, selector, broker, marshaler, marshalers, clock, random, timers, logger, {
    dialect: 'go-micro',
    ...options,
  });
}
