import { afterEach, describe, expect, it } from '@jest/globals';

import type { ClientOptions, MethodCaller } from '../../src/client/client.ts';
import { errorOf } from '../../src/context/status.ts';
import { findDetail } from '../../src/errors/details.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { fromMicroForm } from '../../src/go-micro/errors.ts';
import { MicroError } from '../../src/go-micro/go-micro.ts';
import type { MethodDescriptor } from '../../src/pipeline/pipeline.ts';
import type { RpcServer } from '../../src/server/rpc-server.ts';
import type { ServerOptions } from '../../src/server/server.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import { frame, rawCall, rawSession } from '../transport/support.ts';
import { clientOf, greeter, parts, serverOf, service } from './go-micro/greeter.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function methodOf(name: string): MethodDescriptor {
  return greeter.methods.find(({ method }) => method === name) as MethodDescriptor;
}

async function serving(options: ServerOptions = {}, made = parts()): Promise<{ made: typeof made; server: RpcServer }> {
  const server = serverOf(made, options);
  closing.push(
    () => made.transport.close(),
    () => server.stop(),
  );
  await server.start();
  return { made, server };
}

const transports = {
  grpc: () => parts(),
  memory: () => ({ ...parts(), transport: new MemoryTransport() }),
  tcp: () => ({ ...parts(), transport: new TcpTransport() }),
};

describe.each(Object.entries(transports))("Go Micro's dialect over %s", (_name, make) => {
  async function caller(name: string, options?: ClientOptions, served?: ServerOptions): Promise<MethodCaller> {
    const { made, server } = await serving(served, make());
    const call = clientOf(made, options).method(methodOf(name), service);
    return (input, more) => call(input, { address: server.address!, ...more });
  }

  it('connects a client and a server that both speak it', async () => {
    const hello = await caller('Hello');
    expect(await hello({ name: 'John' })).toEqual({ msg: 'Hello John' });
    expect(await hello({ name: 'John' }, { contentType: 'application/grpc+json' })).toEqual({ msg: 'Hello John' });
  });

  it('reaches the method by any service name that a call gives, even none', async () => {
    const hello = await caller('Hello');
    expect(await hello({ name: 'John' }, { service: 'another.name' })).toEqual({ msg: 'Hello John' });
    expect(await hello({ name: 'John' }, { service: '' })).toEqual({ msg: 'Hello John' });
  });

  it('is not understood by a server of plain gRPC', async () => {
    const hello = await caller('Hello', {}, { dialect: 'grpc' });
    await expect(hello({ name: 'John' })).rejects.toMatchObject({ code: Code.Unimplemented });
  });

  it.each(['application/grpc+proto', 'application/grpc+json'])(
    'changes nothing for a client of plain gRPC that sends %s',
    async (contentType) => {
      const fail = await caller('Fail', { dialect: 'grpc' });
      await expect(fail({ kind: 'code', detail: 'not here' }, { contentType })).rejects.toMatchObject({
        code: Code.NotFound,
        reason: 'greeter.unknown',
        message: 'not here',
      });
    },
  );

  it('carries the details of an error from a server of tenon to a client of tenon', async () => {
    const fail = await caller('Fail');
    const error = await (fail({ kind: 'details', detail: 'three' }) as Promise<never>).catch(TenonError.from);
    expect(error).toMatchObject({ code: Code.InvalidArgument, message: 'three' });
    expect(error.details.map(({ type }) => type)).toEqual(['errors.Error', 'google.rpc.BadRequest']);
  });
});

it('the header timeout of Go Micro alone ends the call with code 408', async () => {
  const { server } = await serving();
  const session = rawSession(server.address!);
  const headers = { 'x-content-type': 'application/grpc+proto', timeout: '50000000' };
  const answer = await rawCall(session, `/${service}.Greeter/Slow`, frame(new Uint8Array()), headers);
  session.close();
  expect(answer.headers['grpc-status']).toBe('4');
  expect(JSON.parse(decodeURIComponent(String(answer.headers['grpc-message'])))).toMatchObject({ code: 408 });
});

it('a header timeout without the headers of Go Micro is ordinary metadata', async () => {
  const { server } = await serving();
  const session = rawSession(server.address!);
  const answer = await rawCall(session, '/tenon.gomicro.Greeter/Meta', frame(new Uint8Array()), { timeout: '1' });
  session.close();
  expect(answer.trailers?.['grpc-status']).toBe('0');
  expect(answer.data.toString()).toContain('timeout');
});

describe("two services with the same path in Go Micro's dialect", () => {
  it('do not start together, and the error names both', async () => {
    const made = parts();
    const server = serverOf(made);
    closing.push(() => made.transport.close());
    server.handle(server.newHandler('other.Greeter', { Hello: async () => ({}) }));
    await expect(server.start()).rejects.toMatchObject({
      code: Code.AlreadyExists,
      reason: 'server.duplicate_method',
      message: expect.stringMatching(/tenon\.gomicro\.Greeter and other\.Greeter/),
    });
  });

  it('start together if one of them is internal, and the other is called by that path', async () => {
    const made = parts();
    const server = serverOf(made);
    server.handle(server.newHandler('other.Greeter', { Hello: async () => ({ msg: 'inside' }) }, { internal: true }));
    closing.push(
      () => made.transport.close(),
      () => server.stop(),
    );
    await server.start();
    const hello = clientOf(made).method(methodOf('Hello'), service);
    expect(await hello({ name: 'John' }, { address: server.address! })).toEqual({ msg: 'Hello John' });
  });
});

it("a client of Go Micro's dialect calls a complete path unchanged", async () => {
  const { made, server } = await serving();
  const client = clientOf(made, { dialect: 'go-micro' });
  const { input, output } = methodOf('Hello');
  const options = { input, output, contentType: 'application/grpc+proto' };
  const request = client.newRequest('nobody', '/tenon.gomicro.Greeter/Hello', { name: 'John' }, options);
  expect(await client.call(request, { address: server.address! })).toEqual({ msg: 'Hello John' });
  await server.stop();
  const plain = await serving({ dialect: 'grpc' }, parts());
  expect(await client.call(request, { address: plain.server.address! })).toEqual({ msg: 'Hello John' });
});

describe('an error as JSON in the message of a status', () => {
  it('becomes an error with the code, text and details of the JSON', () => {
    const error = fromMicroForm(errorOf({ code: Code.Unknown, message: '{"id":"a.b","code":404,"detail":"gone"}' }));
    expect(error).toMatchObject({ code: Code.NotFound, message: 'gone' });
    expect(findDetail(error, MicroError)).toEqual({ id: 'a.b', code: 404, detail: 'gone', status: '' });
  });

  it.each(['{"id":"a.b"}', '{"code":0}', '{"code":"404"}', '{', '[]', 'null', '{"code":1.5}', '{"code":1e12}'])(
    'stays as it is if the JSON is not an error of Go Micro: %s',
    (message) => {
      expect(fromMicroForm(errorOf({ code: Code.Internal, message }))).toMatchObject({
        code: Code.Internal,
        message,
        details: [],
      });
    },
  );
});
