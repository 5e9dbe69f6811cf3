import { describe, expect, it } from '@jest/globals';

import { statusOf } from '../../src/context/status.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { HandlerFunction, CallHandler } from '../../src/pipeline/pipeline.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import type { Server, ServerOptions } from '../../src/server/server.ts';
import { serverCases, type ServerHarness } from '../../src/testing/server.ts';
import type { Accept, Transport } from '../../src/transport/transport.ts';
import { failing, saneLimitMs } from './support.ts';

type Make = ServerHarness['make'];
type Parts = Parameters<Make>[0];

const sane: Make = ({ transport, registry, broker, marshalers, runtime, logger }, options) =>
  new RpcServer(
    transport,
    registry,
    broker,
    marshalers,
    runtime.clock,
    runtime.random,
    runtime.timers,
    logger,
    options,
  );

/** A server that is right but for what `change` replaces. */
function but(change: (server: Server, parts: Parts, options: ServerOptions | undefined) => Partial<Server>): Make {
  return (parts, options) => {
    const server = sane(parts, options);
    return Object.assign(server, change(server, parts, options));
  };
}

/** A server whose handlers are wrapped. */
function handling(wrap: (invoke: HandlerFunction) => HandlerFunction): Make {
  return but((server) => {
    const handle = server.handle.bind(server);
    return {
      handle: (handler) => {
        handle({ ...handler, methods: handler.methods.map((method) => ({ ...method, invoke: wrap(method.invoke) })) });
      },
    };
  });
}

/** A server over a transport whose calls pass through `accept`. */
function accepting(wrap: (accept: Accept) => Accept): Make {
  return (parts, options) => {
    const { transport: inner } = parts;
    const transport: Transport = {
      dial: (address, given) => inner.dial(address, given),
      listen: async (address, given) => {
        const listener = await inner.listen(address, given);
        const accept = listener.accept.bind(listener);
        listener.accept = (taken) => accept(wrap(taken));
        return listener;
      },
      close: () => inner.close(),
    };
    return sane({ ...parts, transport }, options);
  };
}

describe('the suite of servers', () => {
  it('finds nothing in one that keeps its promises', async () => {
    expect(await failing(serverCases, () => ({ make: sane }), saneLimitMs)).toEqual([]);
  }, 60_000);

  it.each<[string, Make, string]>([
    [
      'one that tells strangers what was thrown',
      (parts, options) => sane(parts, { ...options, exposeErrors: true }),
      'whatever else is thrown is INTERNAL, and its text stays here',
    ],
    [
      'one that keeps headers until there is a reply',
      handling((invoke) => (input, ctx) => invoke(input, Object.assign(ctx, { sendHeaders: () => {} }))),
      'a handler can send its headers before it has a reply',
    ],
    [
      'one that swallows what handlers throw',
      handling((invoke) => async (input, ctx) => {
        try {
          return await invoke(input, ctx);
        } catch {
          return {};
        }
      }),
      'a thrown TenonError is the status',
    ],
    [
      'one that loses the trailers of an error',
      accepting((accept) => (socket, route) => {
        const send = socket.send.bind(socket);
        socket.send = ({ status, ...message }) =>
          send(status ? { ...message, status: { code: status.code, message: status.message } } : message);
        accept(socket, route);
      }),
      'a thrown TenonError is the status',
    ],
    [
      'one that lets two handlers answer one method',
      but((server) => {
        const handle = server.handle.bind(server);
        return {
          handle: (handler) => {
            try {
              handle(handler);
            } catch {
              // The first one wins, silently.
            }
          },
        };
      }),
      'two handlers for one method are refused',
    ],
    [
      'one that does not wait for calls in flight',
      but(() => ({ drain: async () => undefined })),
      'a drain waits for calls in flight, and takes no new ones',
    ],
    [
      'one that never stops draining',
      but((server) => {
        const drain = server.drain.bind(server);
        return { drain: () => drain() };
      }),
      'a drain that takes too long rejects with the reason of its signal',
    ],
    [
      'one that answers after the first call only',
      (() => {
        const seen = new WeakSet<object>();
        return accepting((accept) => (socket, route) => {
          if (seen.has(accept)) {
            void socket.send({ status: statusOf(new TenonError({ code: Code.Internal, message: 'broken' })) });
            return;
          }
          seen.add(accept);
          accept(socket, route);
        });
      })(),
      'after a call that failed the next one is answered',
    ],
    [
      'one whose node hides that it drains',
      but((server) => {
        const register = server.register.bind(server);
        return { register: (options = {}) => register({ ...options, state: 'serving' }) };
      }),
      'the registry is told of the node, its endpoints and its state',
    ],
    [
      'one that acknowledges events it failed to handle',
      but((server) => {
        const subscribe = server.subscribe.bind(server);
        return {
          subscribe: (handler) => {
            const invoke: CallHandler = async (event, ctx) => {
              try {
                await handler.invoke(event, ctx);
              } catch {
                // As if it had been handled.
              }
            };
            subscribe({ ...handler, invoke });
          },
        };
      }),
      'an event whose handler throws is handed out again, then kept as a dead letter',
    ],
    [
      'one that keeps from its handlers that the caller has gone',
      accepting((accept) => (socket, route) => {
        socket.onAbort = () => {};
        accept(socket, route);
      }),
      'a handler sees that its caller has gone',
    ],
  ])(
    'catches %s',
    async (_what, make, expected) => {
      expect(await failing(serverCases, () => ({ make }))).toContain(expected);
    },
    90_000,
  );
});
