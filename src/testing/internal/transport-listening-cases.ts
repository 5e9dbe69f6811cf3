import assert from 'node:assert/strict';

import { okStatus } from '../../context/status.ts';
import { Code } from '../../errors/errors.ts';
import { maskAddress } from '../../internal/mask.ts';
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
  type TransportFixture,
  routes,
  type TransportHarness,
  withTransport,
} from './transport-fixture.ts';

/** Makes a handler whose calls end when its gate opens. */
function held() {
  const go = gate();
  const sockets: Socket[] = [];
  const handle = async (socket: Socket): Promise<void> => {
    sockets.push(socket);
    await go.opened;
    void socket.send({ body: bytesOf('held'), status: okStatus });
  };
  return { go, sockets, handle };
}

function start(fixture: TransportFixture, text = 'x') {
  const socket = fixture.dial(routes.unary);
  void socket.send({ body: bytesOf(text) });
  socket.end();
  return socket;
}

const asListener = (options: TransportHarness): string => options.address ?? '127.0.0.1:0';

/** Cases of addresses, and of the lifecycle of listeners. */
export const listeningCases: readonly Case<TransportHarness>[] = [
  {
    name: 'a listener tells where it really listens, and the two ends of a call where they are',
    run: (options) => {
      const server = gate<Socket>();
      return withTransport(
        options,
        async (socket, route) => {
          server.open(socket);
          await echo(socket, route);
        },
        async (fixture) => {
          assert.doesNotMatch(fixture.address, /^$|:0$/);
          const other = await fixture.transport.listen(asListener(options), { routes: [] });
          assert.notEqual(other.addr(), fixture.address);
          await other.close();
          const socket = start(fixture);
          assert.equal(await codeOf(socket), Code.Ok);
          const { local, remote } = await server.opened;
          assert.equal(local, fixture.address);
          assert.notEqual(remote, '');
          assert.equal(socket.remote, fixture.address);
        },
      );
    },
  },
  {
    name: 'an address that is none is refused, by dial and by listen',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        for (const address of [
          '',
          'nonsense',
          'host:',
          'host:http',
          'host:70000',
          'http://host:80',
          '::1:80',
          'a b:80',
        ]) {
          assert.throws(
            () => fixture.transport.dial(address, { route: routes.unary }),
            (error: unknown) => {
              assertFailure(error as never, Code.InvalidArgument, 'transport.invalid_address');
              return (error as Error).message.includes(`"${maskAddress(address)}"`);
            },
            address,
          );
          assertFailure(
            await failureOf(fixture.transport.listen(address, { routes: [] })),
            Code.InvalidArgument,
            'transport.invalid_address',
          );
        }
      }),
  },
  {
    name: 'an address in use is refused by name, and the one who has it goes on',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const error = await failureOf(fixture.transport.listen(fixture.address, { routes: [] }));
        assertFailure(error, Code.AlreadyExists, 'transport.address_in_use');
        assert.ok(error.message.includes(fixture.address), error.message);
        assert.equal(await codeOf(start(fixture)), Code.Ok);
      }),
  },
  {
    name: 'a signal that has aborted lets nobody listen',
    run: async (options) => {
      const transport = await options.make();
      const reason = new Error('no more');
      await assert.rejects(
        transport.listen(asListener(options), { routes: [], signal: AbortSignal.abort(reason) }),
        (error) => error === reason,
      );
      await transport.close();
    },
  },
  {
    name: 'calls that came before accept wait for it',
    run: async (options) => {
      const transport = await options.make();
      const listener = await transport.listen(asListener(options), { routes: Object.values(routes) });
      const socket = transport.dial(listener.addr(), { route: routes.unary });
      void socket.send({ body: bytesOf('early') });
      socket.end();
      await systemTimers.sleep(50);
      listener.accept((server, route) => void echo(server, route));
      assert.deepEqual((await answerOf(socket)).bodies, ['early']);
      await listener.close();
      await transport.close();
    },
  },
  {
    name: 'an address where nobody listens is unreachable, by name',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const other = await fixture.transport.listen(asListener(options), { routes: [] });
        const address = other.addr();
        await other.close();
        const socket = fixture.transport.dial(address, { route: routes.unary });
        void socket.send({ body: bytesOf('x') });
        socket.end();
        const error = await failureOf(socket.recv());
        assertFailure(error, Code.Unavailable, 'transport.unreachable');
        assert.ok(error.message.includes(address), error.message);
      }),
  },
  {
    name: 'waiting for ready waits for somebody to listen, until the deadline',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        await fixture.listener.close();
        const call = (ms: number): Socket => {
          const socket = fixture.dial(routes.unary, {
            waitForReady: true,
            ctx: contextWith(systemClock.monotonicMs() + ms),
          });
          void socket.send({ body: bytesOf('patience') });
          socket.end();
          return socket;
        };
        assert.equal(await codeOf(call(150)), Code.DeadlineExceeded);
        const waiting = later(answerOf(call(9_000)));
        await systemTimers.sleep(50);
        const again = await fixture.transport.listen(fixture.address, { routes: Object.values(routes) });
        again.accept((server, route) => void echo(server, route));
        assert.deepEqual((await waiting).bodies, ['patience']);
        await again.close();
      }),
  },
  {
    name: 'a server that refuses a call with UNAVAILABLE was reached all the same',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          await requestsOf(socket);
          void socket.send({ status: { code: Code.Unavailable, message: 'Connection dropped on purpose' } });
        },
        async (fixture) => {
          const { status, error } = await answerOf(start(fixture));
          assert.equal(error, undefined, `rejected: ${error?.message}`);
          assert.equal(status?.code, Code.Unavailable);
        },
      ),
  },
  {
    name: 'a listener that closes ends its calls with UNAVAILABLE, and tells their handlers',
    run: (options) => {
      const { sockets, handle } = held();
      return withTransport(options, handle, async (fixture) => {
        const calls = [start(fixture), start(fixture)].map((socket) => later(codeOf(socket)));
        await eventually('both calls', () => sockets.length === 2);
        const aborted = sockets.map(
          (socket) => new Promise<Code>((resolve) => socket.onAbort(({ code }) => resolve(code))),
        );
        await within('close', fixture.listener.close());
        assert.deepEqual(await Promise.all(calls), [Code.Unavailable, Code.Unavailable]);
        assert.deepEqual(await within('onAbort', Promise.all(aborted)), [Code.Unavailable, Code.Unavailable]);
        assertFailure((await answerOf(start(fixture))).error, Code.Unavailable, 'transport.unreachable');
      });
    },
  },
  {
    name: 'a listener that drains lets its calls finish, and takes no new ones',
    run: (options) => {
      const { go, sockets, handle } = held();
      return withTransport(options, handle, async (fixture) => {
        const call = later(answerOf(start(fixture)));
        await eventually('the call', () => sockets.length === 1);
        let isDrained = false;
        const drained = later(fixture.listener.drain().then(() => (isDrained = true)));
        await systemTimers.sleep(50);
        assert.equal(isDrained, false, 'drained with a call in flight');
        assertFailure((await answerOf(start(fixture))).error, Code.Unavailable, 'transport.unreachable');
        go.open();
        assert.deepEqual((await call).bodies, ['held']);
        await within('drain', drained);
        assert.equal(sockets.length, 1);
      });
    },
  },
  {
    name: 'a listener that drains takes no call that crosses its farewell on the way',
    run: (options) => {
      const { go, sockets, handle } = held();
      return withTransport(options, handle, async (fixture) => {
        const call = later(answerOf(start(fixture)));
        await eventually('the call', () => sockets.length === 1);
        const drained = later(fixture.listener.drain());
        // The connection is there, and the client has not heard that it should go elsewhere.
        const crossing = Array.from({ length: 3 }, () => later(answerOf(start(fixture))));
        for (const { error } of await Promise.all(crossing)) {
          assertFailure(error, Code.Unavailable, 'transport.unreachable');
        }
        go.open();
        assert.deepEqual((await call).bodies, ['held']);
        await within('drain', drained);
        assert.equal(sockets.length, 1);
      });
    },
  },
  {
    name: 'a listener that drains under load loses no call: each is answered, or was not taken',
    run: async (options) => {
      for (let round = 0; round < 3; round += 1) {
        let answered = 0;
        await withTransport(options, echo, async (fixture) => {
          let isOver = false;
          const load = later(
            Promise.all(
              Array.from({ length: 8 }, async () => {
                while (!isOver) {
                  const { error, bodies } = await answerOf(start(fixture, 'load'));
                  if (error) {
                    assertFailure(error, Code.Unavailable, 'transport.unreachable');
                    return;
                  }
                  assert.deepEqual(bodies, ['load']);
                  answered += 1;
                  // In memory nothing else would get a turn.
                  if (answered % 8 === 0) await systemTimers.sleep(0);
                }
              }),
            ),
          );
          await eventually('some load', () => answered > 40);
          await within('drain', fixture.listener.drain());
          isOver = true;
          await within('the load', load);
        });
      }
    },
  },
  {
    name: 'a drain that is given up leaves its calls alone',
    run: (options) => {
      const { go, sockets, handle } = held();
      return withTransport(options, handle, async (fixture) => {
        const call = later(answerOf(start(fixture)));
        await eventually('the call', () => sockets.length === 1);
        const controller = new AbortController();
        const reason = new Error('no time');
        const drained = later(assert.rejects(fixture.listener.drain(controller.signal), (error) => error === reason));
        controller.abort(reason);
        await within('drain', drained);
        go.open();
        assert.deepEqual((await call).bodies, ['held']);
      });
    },
  },
  {
    name: 'a transport that closes ends the calls it made with UNAVAILABLE',
    run: (options) => {
      const { sockets, handle } = held();
      return withTransport(options, handle, async (fixture) => {
        const call = later(codeOf(start(fixture)));
        await eventually('the call', () => sockets.length === 1);
        await within('close', fixture.transport.close());
        assert.equal(await call, Code.Unavailable);
      });
    },
  },
  {
    name: 'a transport that closes ends the calls that wait for somebody to listen with UNAVAILABLE',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const other = await fixture.transport.listen(asListener(options), { routes: [] });
        const address = other.addr();
        await other.close();
        const socket = fixture.transport.dial(address, { route: routes.unary, waitForReady: true });
        void socket.send({ body: bytesOf('x') });
        socket.end();
        const code = later(codeOf(socket));
        // An attempt to connect has failed by then, and the next one is waited for.
        await systemTimers.sleep(50);
        await within('close', fixture.transport.close());
        assert.equal(await code, Code.Unavailable);
      }),
  },
  {
    name: 'a transport that was closed makes no more calls: FAILED_PRECONDITION',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const { address } = fixture;
        assert.equal(await codeOf(start(fixture)), Code.Ok);
        await within('close', fixture.transport.close());
        for (const route of Object.values(routes)) {
          const failure = await failureOf(Promise.resolve().then(() => fixture.transport.dial(address, { route })));
          assertFailure(failure, Code.FailedPrecondition, 'transport.closed');
        }
        if (!fixture.transport.unary) return;
        const failure = await failureOf(
          Promise.resolve().then(() => fixture.transport.unary?.(address, {}, { route: routes.unary })),
        );
        assertFailure(failure, Code.FailedPrecondition, 'transport.closed');
      }),
  },
  {
    name: 'closing again is nothing',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        assert.equal(await codeOf(start(fixture)), Code.Ok);
        await within('drain', fixture.listener.drain());
        await within('drain', fixture.listener.drain());
        await within('close', Promise.all([fixture.listener.close(), fixture.listener.close()]));
        await within('close', fixture.listener.close());
        await within('close', fixture.transport.close());
        await within('close', fixture.transport.close());
      }),
  },
];
