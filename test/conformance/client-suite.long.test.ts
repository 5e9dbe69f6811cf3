import { describe, expect, it } from '@jest/globals';

import type { CallOptions, Client, MethodCaller } from '../../src/client/client.ts';
import { RpcClient } from '../../src/client/rpc-client.ts';
import type { Context } from '../../src/context/context.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { clientCases } from '../../src/testing/client.ts';
import type { ClientHarness } from '../../src/testing/internal/client-harness.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { failing, saneLimitMs, unkept } from './support.ts';

type Make = ClientHarness['make'];
type Parts = Parameters<Make>[0];

const sane: Make = ({ transport, selector, broker, marshaler, marshalers, runtime, logger }, options) =>
  new RpcClient(
    transport,
    selector,
    broker,
    marshaler,
    marshalers,
    runtime.clock,
    runtime.random,
    unkept(runtime.timers),
    logger,
    options,
  );

/** A client whose callers see their options through `change`. */
function calling(change: (options: CallOptions) => CallOptions): Make {
  return but((client) => {
    const method = client.method.bind(client);
    return {
      method: (descriptor, service) => {
        const call = method(descriptor, service);
        return (input, options) => call(input, change(options ?? {}));
      },
    };
  });
}

function but(change: (client: Client) => Partial<Client>): Make {
  return (parts, options) => {
    const client = sane(parts, options);
    return Object.assign(client, change(client));
  };
}

/** A client over a transport in which unary calls pass through `wrap`. */
function sending(wrap: (unary: NonNullable<Transport['unary']>) => NonNullable<Transport['unary']>): Make {
  return (parts: Parts, options) => {
    const unary = wrap((parts.transport.unary as NonNullable<Transport['unary']>).bind(parts.transport));
    const { transport: inner } = parts;
    const transport: Transport = {
      unary,
      dial: (address, given) => inner.dial(address, given),
      listen: (address, given) => inner.listen(address, given),
      close: () => inner.close(),
    };
    return sane({ ...parts, transport }, options);
  };
}

describe('the suite of clients', () => {
  it('finds nothing in one that keeps its promises', async () => {
    expect(await failing(clientCases, () => ({ make: sane }), saneLimitMs)).toEqual([]);
  }, 60_000);

  it.each<[string, Make, string]>([
    [
      'one that repeats whatever failed',
      sending(
        (unary) => (address, message, options) =>
          unary(address, message, options).catch(() => unary(address, message, options)),
      ),
      'a call that may have been processed is not repeated',
    ],
    [
      'one that tries one node only',
      (parts, options) => sane(parts, { ...options, maxAttempts: 1 }),
      'a node that cannot be reached is marked, and another one is tried',
    ],
    [
      'one that sends everything on',
      (parts, options) => sane(parts, { ...options, forward: ['x-allowed', 'x-secret'] }),
      'metadata reaches the server, and of the call being handled only what may travel on',
    ],
    [
      'one that does not listen to signals',
      calling(({ signal: _signal, ...options }) => options),
      'a signal cancels the call, and the server sees it',
    ],
    [
      'one that knows nothing of the call being handled',
      calling(({ ctx: _ctx, ...options }) => options),
      'the end of the call being handled cancels the call',
    ],
    [
      'one that forgets the deadline',
      calling(({ timeoutMs: _timeoutMs, ...options }) => options),
      'the deadline travels, and never outlives that of the call being handled',
    ],
    [
      'one that asks the selector although it has an address',
      calling(({ address: _address, ...options }) => options),
      'an address bypasses registry and selector',
    ],
    [
      'one that keeps headers and trailers to itself',
      calling(({ onHeaders: _onHeaders, onTrailers: _onTrailers, ...options }) => options),
      'headers and trailers reach the caller',
    ],
    [
      'one that takes an error for a reply',
      sending((unary) => async (address, message, options) => {
        const reply = await unary(address, message, options);
        return reply.status?.code === Code.Ok
          ? reply
          : { ...reply, body: new TextEncoder().encode('{}'), status: { code: Code.Ok, message: '' } };
      }),
      'the status of the server is the error of the call',
    ],
    [
      'one that hides which service is missing',
      but((client) => {
        const method = client.method.bind(client);
        return {
          method: (descriptor, service): MethodCaller => {
            const call = method(descriptor, service);
            if (descriptor.kind !== 'unary') return call;
            return async (input, options) => {
              try {
                return await call(input, options);
              } catch (error) {
                if (TenonError.from(error).reason !== 'client.no_node') throw error;
                throw new TenonError({ code: Code.Unavailable, reason: 'client.no_node', message: 'no node' });
              }
            };
          },
        };
      }),
      'a service without nodes is UNAVAILABLE, and the message names it',
    ],
    [
      'one that composes its interceptors for every call',
      but((client) => {
        const method = client.method.bind(client);
        return { method: (descriptor, service) => (input, options) => method(descriptor, service)(input, options) };
      }),
      'interceptors are composed once per method, the first outermost',
    ],
    [
      'one that forgets what the server said',
      sending((unary) => async (address, message, options) => {
        const reply = await unary(address, message, options);
        const { status } = reply;
        if (!status || status.code === Code.Ok) return reply;
        return { ...reply, status: { ...status, code: status.code === Code.DataLoss ? Code.Unknown : status.code } };
      }),
      'every code arrives as it is, whatever the shape of the call',
    ],
    [
      'one whose streams know no time',
      calling(({ timeoutMs: _timeoutMs, ...options }) => options),
      'a deadline ends a stream while nothing comes',
    ],
    [
      'one that forgets the deadline of the call being handled',
      calling(({ ctx: _ctx, ...options }) => options),
      'a call whose time is up is not made',
    ],
    [
      'one whose streams cannot be cancelled',
      calling(({ signal: _signal, ...options }) => options),
      'cancelling reaches the server of a stream, by the signal and by the call being handled',
    ],
    [
      'one that waits for a node whatever happens',
      calling(({ timeoutMs: _timeoutMs, ...options }) => options),
      'who waits for a node is let go of by the deadline and by the signal',
    ],
    [
      'one that waits for the node it chose first',
      sending((unary) => (address, message, options) => unary(address, message, { ...options, waitForReady: true })),
      'waitForReady waits for a node that can be reached',
    ],
    [
      'one that marks a node when it is chosen',
      (parts, options) => {
        const { selector } = parts;
        const select: typeof selector.select = async (service, given) => {
          const next = await selector.select(service, given);
          return () => {
            const node = next();
            selector.mark(service, node);
            return node;
          };
        };
        const marking: typeof selector = {
          options: {},
          init: () => {},
          select,
          mark: (...args) => selector.mark(...args),
          reset: () => {},
          close: () => Promise.resolve(),
        };
        return sane({ ...parts, selector: marking }, options);
      },
      'a stream is marked once, by its end',
    ],
    [
      'one whose interceptors make the same attempt again',
      (parts, options) =>
        sane(parts, {
          ...options,
          interceptors: options?.interceptors?.map((interceptor) => (next, method) => {
            let first: Context | undefined;
            return interceptor((input, ctx) => next(input, (first ??= ctx)), method);
          }),
        }),
      'attempts have contexts of their own, and the caller sees the one that is chosen',
    ],
    [
      'one that has no time for policies',
      (parts, options) => sane(parts, { ...options, serviceConfig: undefined }),
      'a service config is obeyed, and repeats only what may be',
    ],
    [
      'one that can be closed and goes on',
      but(() => ({ close: async () => undefined })),
      'closing cancels what is under way and refuses what comes',
    ],
  ])(
    'catches %s',
    async (_what, make, expected) => {
      expect(await failing(clientCases, () => ({ make }))).toContain(expected);
    },
    120_000,
  );
});
