import assert from 'node:assert/strict';

import { Metadata } from '../../context/metadata.ts';
import { okStatus } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { systemClock, systemTimers } from '../../runtime/system.ts';
import type { Socket } from '../../transport/transport.ts';
import type { Case } from '../api.ts';
import { failureOf } from '../failures.ts';
import { eventually } from './patience.ts';
import { gate, within } from '../waiting.ts';
import {
  answerOf,
  assertFailure,
  bytesOf,
  codeOf,
  contextWith,
  echo,
  later,
  requestsOf,
  routes,
  textOf,
  type TransportHarness,
  withTransport,
} from './transport-fixture.ts';

/** The events that a server saw of a call that was aborted. */
interface Seen {
  readonly aborted: Promise<TenonError>;
  readonly recv: Promise<TenonError>;
}

/** Makes a handler that never answers, and records what it sees. */
function onlooker(): {
  readonly handle: (socket: Socket) => void;
  readonly seen: Promise<Seen>;
  readonly count: () => number;
} {
  const called = gate<Seen>();
  let count = 0;
  const handle = (socket: Socket): void => {
    count += 1;
    const aborted = new Promise<TenonError>((resolve) => socket.onAbort(resolve));
    const recv = (async () => {
      for (;;) {
        try {
          // A call whose requests have ended hears of its end by onAbort alone.
          if (!(await socket.recv())) return await aborted;
        } catch (error) {
          return error as TenonError;
        }
      }
    })();
    called.open({ aborted, recv });
  };
  return { handle, seen: called.opened, count: () => count };
}

const reason = new TenonError({ code: Code.Aborted, reason: 'suite.stopped', message: 'the suite stops it' });

/** Cases of calls that end early. */
export const endingCases: readonly Case<TransportHarness>[] = [
  {
    name: 'a server hears that its caller cancelled',
    run: async (options) => {
      for (const route of [routes.server, routes.bidi]) {
        const { handle, seen } = onlooker();
        await withTransport(options, handle, async (fixture) => {
          const socket = fixture.dial(route);
          void socket.send({
            headers: new Metadata({ 'x-content-type': 'application/grpc+bytes' }),
            body: bytesOf('1'),
          });
          const { aborted, recv } = await within('the call', seen);
          socket.abort(Code.Cancelled, 'enough');
          assertFailure(await within('onAbort', aborted), Code.Cancelled);
          assertFailure(await within('recv of the server', recv), Code.Cancelled);
        });
      }
    },
  },
  {
    name: 'abort ends the call at its own side with its code, for the read that waits and those to come',
    run: (options) =>
      withTransport(options, onlooker().handle, async (fixture) => {
        const socket = fixture.dial(routes.bidi);
        void socket.send({ body: bytesOf('1') });
        const waiting = later(failureOf(socket.recv()));
        socket.abort(Code.OutOfRange, 'enough');
        const error = await waiting;
        assertFailure(error, Code.OutOfRange);
        assert.equal(error.message, 'enough');
        assertFailure(await failureOf(socket.recv()), Code.OutOfRange);
      }),
  },
  {
    name: 'close lets go of a call as a cancellation, and may be called again',
    run: (options) => {
      const { handle, seen } = onlooker();
      return withTransport(options, handle, async (fixture) => {
        const socket = fixture.dial(routes.bidi);
        void socket.send({ body: bytesOf('1') });
        const { aborted } = await within('the call', seen);
        await socket.close();
        await socket.close();
        assertFailure(await failureOf(socket.recv()), Code.Cancelled);
        assertFailure(await within('onAbort', aborted), Code.Cancelled);
      });
    },
  },
  {
    name: "a server's abort reaches the client with its code",
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          await socket.recv();
          socket.abort(Code.PermissionDenied, 'not you');
          assertFailure(await failureOf(socket.recv()), Code.PermissionDenied);
        },
        async (fixture) => {
          const socket = fixture.dial(routes.bidi);
          void socket.send({ body: bytesOf('1') });
          const { error, status } = await answerOf(socket);
          assert.equal(error?.code ?? status?.code, Code.PermissionDenied);
          assert.equal(error?.message ?? status?.message, 'not you');
        },
      ),
  },
  {
    name: 'an aborted context ends its call, with its error here and a cancellation there',
    run: async (options) => {
      const { handle, seen } = onlooker();
      await withTransport(options, handle, async (fixture) => {
        const ctx = contextWith();
        const socket = fixture.dial(routes.bidi, { ctx });
        void socket.send({ body: bytesOf('1') });
        const { aborted } = await within('the call', seen);
        const waiting = later(failureOf(socket.recv()));
        ctx.abort(reason);
        assert.equal(await waiting, reason);
        assertFailure(await within('onAbort', aborted), Code.Cancelled);
      });
    },
  },
  {
    name: 'an aborted context ends a call in one go',
    requires: 'unary',
    run: async (options) => {
      const { handle, seen } = onlooker();
      await withTransport(options, handle, async (fixture) => {
        const ctx = contextWith();
        const call = later(failureOf(fixture.unary({ ctx })));
        const { aborted } = await within('the call', seen);
        ctx.abort(reason);
        assert.equal(await call, reason);
        assertFailure(await within('onAbort', aborted), Code.Cancelled);
      });
    },
  },
  {
    name: 'a context that was aborted before lets no call begin',
    run: (options) => {
      const { handle, count } = onlooker();
      return withTransport(options, handle, async (fixture) => {
        const ctx = contextWith();
        ctx.abort(reason);
        const socket = fixture.dial(routes.bidi, { ctx });
        void socket.send({ body: bytesOf('1') });
        assert.equal(await failureOf(socket.recv()), reason);
        if (fixture.transport.unary) assert.equal(await failureOf(fixture.unary({ ctx })), reason);
        await systemTimers.sleep(50);
        assert.equal(count(), 0);
      });
    },
  },
  {
    name: 'a context lets go of a call that is over',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const ctx = contextWith(systemClock.monotonicMs() + 3_600_000);
        const follow = ctx.onAbort.bind(ctx);
        let following = 0;
        ctx.onAbort = (listener) => {
          const unfollow = follow(listener);
          following += 1;
          return () => {
            following -= 1;
            unfollow();
          };
        };
        for (let call = 0; call < 3; call += 1) {
          const socket = fixture.dial(routes.unary, { ctx });
          void socket.send({ body: bytesOf('x') });
          socket.end();
          await answerOf(socket);
          if (fixture.transport.unary) await fixture.unary({ ctx });
        }
        assert.equal(following, 0);
      }),
  },
  {
    name: 'the deadline reaches the server, and none does where there is none',
    run: (options) => {
      const seen: (number | undefined)[] = [];
      return withTransport(
        options,
        async (socket) => {
          seen.push(socket.deadline);
          await requestsOf(socket);
          void socket.send({ body: bytesOf(''), status: okStatus });
        },
        async (fixture) => {
          const deadline = systemClock.monotonicMs() + 3_600_000;
          for (const ctx of [contextWith(deadline), contextWith(), undefined]) {
            const socket = fixture.dial(routes.unary, { ctx });
            void socket.send({ body: bytesOf('') });
            socket.end();
            assert.equal(await codeOf(socket), Code.Ok);
          }
          assert.ok(Math.abs((seen[0] ?? 0) - deadline) < 60_000, `${seen[0]} is not near ${deadline}`);
          assert.deepEqual(seen.slice(1), [undefined, undefined]);
        },
      );
    },
  },
  {
    name: 'a deadline far away is no deadline that has passed',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        // Beyond what timers of Node count to, and what some gRPC servers do.
        const socket = fixture.dial(routes.unary, { ctx: contextWith(systemClock.monotonicMs() + 2 ** 40) });
        void socket.send({ body: bytesOf('far') });
        socket.end();
        assert.deepEqual((await answerOf(socket)).bodies, ['far']);
      }),
  },
  {
    name: 'a deadline that passes ends the call on both sides',
    run: async (options) => {
      const { handle, seen, count } = onlooker();
      await withTransport(options, handle, async (fixture) => {
        // A call whose time is up before it has arrived is made again with more.
        for (let timeoutMs = 100; count() === 0; timeoutMs *= 4) {
          assert.ok(timeoutMs < 30_000, 'no call arrives in its time');
          const socket = fixture.dial(routes.bidi, { ctx: contextWith(systemClock.monotonicMs() + timeoutMs) });
          void socket.send({ body: bytesOf('1') });
          assert.equal(await codeOf(socket), Code.DeadlineExceeded);
        }
        const { aborted } = await within('the call', seen);
        // Over a network the cancellation of the caller may be faster than the server's own clock.
        const { code } = await within('onAbort', aborted);
        assert.ok(code === Code.DeadlineExceeded || code === Code.Cancelled, `the server was told ${code}`);
      });
    },
  },
  {
    name: 'a deadline that passes ends a call in one go',
    requires: 'unary',
    run: (options) =>
      withTransport(options, onlooker().handle, async (fixture) => {
        assert.equal(
          await codeOf(fixture.unary({ ctx: contextWith(systemClock.monotonicMs() + 100) })),
          Code.DeadlineExceeded,
        );
      }),
  },
  {
    name: 'a deadline that has passed before lets no call begin',
    run: (options) => {
      const { handle, count } = onlooker();
      return withTransport(options, handle, async (fixture) => {
        const ctx = contextWith(systemClock.monotonicMs() - 1);
        const socket = fixture.dial(routes.bidi, { ctx });
        void socket.send({ body: bytesOf('1') });
        assertFailure(await failureOf(socket.recv()), Code.DeadlineExceeded);
        if (fixture.transport.unary) assertFailure(await failureOf(fixture.unary({ ctx })), Code.DeadlineExceeded);
        await systemTimers.sleep(50);
        assert.equal(count(), 0);
      });
    },
  },
  {
    name: 'what arrived before the call broke off is read first',
    run: async (options) => {
      const read = await readAfterCancel(options);
      assert.deepEqual(read.slice(0, 3), ['a', 'b', 'c']);
    },
  },
  {
    name: 'a caller that cancels is not taken for one that has sent all its requests',
    requires: 'resets',
    run: async (options) => {
      const read = await readAfterCancel(options);
      assert.equal(read.at(-1), 'broken');
    },
  },
  {
    name: 'onAbort speaks at once where the call has broken off already, and the last listener counts',
    run: (options) => {
      const heard: string[] = [];
      const late = gate<Socket>();
      return withTransport(
        options,
        (socket) => {
          socket.onAbort(() => heard.push('first'));
          socket.onAbort(() => heard.push('second'));
          late.open(socket);
        },
        async (fixture) => {
          const socket = fixture.dial(routes.bidi);
          void socket.send({ body: bytesOf('1') });
          const server = await within('the call', late.opened);
          socket.abort(Code.Cancelled);
          await eventually('onAbort', () => heard.length > 0);
          server.onAbort((error) => heard.push(`late ${error.code}`));
          assert.deepEqual(heard, ['second', `late ${Code.Cancelled}`]);
        },
      );
    },
  },
  {
    name: 'a call that ended by its status is not aborted',
    run: (options) => {
      let aborts = 0;
      return withTransport(
        options,
        async (socket) => {
          socket.onAbort(() => (aborts += 1));
          await requestsOf(socket);
          void socket.send({ body: bytesOf(''), status: okStatus });
        },
        async (fixture) => {
          for (const route of [routes.unary, routes.client]) {
            const socket = fixture.dial(route);
            void socket.send({ body: bytesOf('1') });
            socket.end();
            assert.equal(await codeOf(socket), Code.Ok);
            await socket.close();
          }
          await systemTimers.sleep(50);
          assert.equal(aborts, 0);
        },
      );
    },
  },
  {
    name: 'after the end recv gives nothing, and sending, ending and aborting are harmless on both sides',
    run: (options) => {
      const over = gate<Socket>();
      return withTransport(
        options,
        async (socket) => {
          await requestsOf(socket);
          void socket.send({ body: bytesOf('done'), status: okStatus });
          over.open(socket);
        },
        async (fixture) => {
          const client = fixture.dial(routes.unary);
          void client.send({ body: bytesOf('1') });
          client.end();
          assert.equal((await answerOf(client)).status?.code, Code.Ok);
          const server = await over.opened;
          for (const socket of [client, server]) {
            await socket.send({ body: bytesOf('more') });
            await socket.send({ status: okStatus });
            socket.end();
            socket.abort(Code.Internal, 'late');
            await socket.close();
            assert.equal(await within('recv', socket.recv()), undefined);
            assert.equal(await within('recv', socket.recv()), undefined);
          }
        },
      );
    },
  },
];

/** Resolves with what a server reads of a stream of three messages that was cancelled before it reads. */
async function readAfterCancel(options: TransportHarness): Promise<string[]> {
  const accepted = gate();
  const cancelled = gate();
  const read = gate<string[]>();
  let result: string[] = [];
  await withTransport(
    options,
    async (socket) => {
      accepted.open();
      await cancelled.opened;
      const bodies: string[] = [];
      try {
        for (let message = await socket.recv(); message; message = await socket.recv()) {
          if (message.body) bodies.push(textOf(message.body));
        }
        bodies.push('ended');
      } catch {
        bodies.push('broken');
      }
      read.open(bodies);
    },
    async (fixture) => {
      const socket = fixture.dial(routes.bidi);
      for (const text of ['a', 'b', 'c']) void socket.send({ body: bytesOf(text) });
      await within('the call', accepted.opened);
      await systemTimers.sleep(100);
      socket.abort(Code.Cancelled);
      await systemTimers.sleep(50);
      cancelled.open();
      result = await within('reading', read.opened);
    },
  );
  return result;
}
