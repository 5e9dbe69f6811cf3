import assert from 'node:assert/strict';

import { Metadata } from '../../context/metadata.ts';
import { okStatus } from '../../context/status.ts';
import { Code } from '../../errors/errors.ts';
import { systemTimers } from '../../runtime/system.ts';
import type { Message, Socket } from '../../transport/transport.ts';
import type { Case } from '../api.ts';
import { gate, settled, within } from '../waiting.ts';
import {
  answerOf,
  bytesOf,
  echo,
  requestsOf,
  routes,
  textOf,
  type TransportHarness,
  withTransport,
} from './transport-fixture.ts';

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

// Far more than any connection and queue on the way may hold.
const floodCount = 2_048;
const floodBody = (index: number): Uint8Array => bytesOf(String(index).padEnd(4_096));

/** Writes many messages, waiting for flow control; `count` is the number written. */
function flood(socket: Socket): { readonly count: () => number; readonly done: Promise<void> } {
  let count = 0;
  const write = async (): Promise<void> => {
    for (; count < floodCount; count += 1) {
      const room = socket.send({ body: floodBody(count) });
      if (room) await room;
    }
  };
  return { count: () => count, done: write() };
}

async function readFlood(next: () => Promise<Message | undefined>): Promise<void> {
  let expected = 0;
  for (let message = await next(); message; message = await next()) {
    if (!message.body) continue;
    assert.equal(textOf(message.body).trim(), String(expected));
    expected += 1;
  }
  assert.equal(expected, floodCount, 'messages were lost');
}

// Messages that are too large for a bound of their number to hold back the writer in time, and how many of them are
// read first.
const largeBytes = 32 * 1024;
const readFirst = 300;
// What windows and queues on the way may hold, and a writer that looks for room after it has written.
const mostUnread = 16;

/** Writes large messages, waiting for flow control, until it is stopped. */
function pour(socket: Socket): { readonly count: () => number; readonly stop: () => void } {
  let count = 0;
  let isOver = false;
  void (async () => {
    // One that nothing holds back comes to an end as well.
    while (!isOver && count < 2 * readFirst) {
      count += 1;
      await socket.send({ body: new Uint8Array(largeBytes) });
    }
  })();
  return { count: () => count, stop: () => (isOver = true) };
}

/** Reads many messages and then none: the writer must get that far, and not much further. */
async function assertHeldBack({ count, stop }: ReturnType<typeof pour>, reader: Socket): Promise<void> {
  try {
    for (let bodies = 0; bodies < readFirst;) {
      const message = await within('a message', reader.recv());
      assert.ok(message, 'the stream has ended');
      if (message.body) bodies += 1;
    }
    const ahead = (await settled(count)) - readFirst;
    assert.ok(ahead <= mostUnread, `the writer is ${ahead} messages ahead of its reader`);
  } finally {
    stop();
  }
}

/** Cases of streams. */
export const streamCases: readonly Case<TransportHarness>[] = [
  {
    name: 'a server stream keeps its order and its end',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          assert.deepEqual(await requestsOf(socket), ['go']);
          for (const text of numbers(500)) {
            const room = socket.send({ body: bytesOf(text) });
            if (room) await room;
          }
          void socket.send({ status: { code: Code.Ok, message: '', metadata: new Metadata({ sum: '500' }) } });
        },
        async (fixture) => {
          const socket = fixture.dial(routes.server);
          void socket.send({ headers: new Metadata({ a: '1' }), body: bytesOf('go') });
          socket.end();
          const answer = await answerOf(socket);
          assert.deepEqual(answer.bodies, numbers(500));
          assert.equal(answer.status?.metadata?.get('sum'), '500');
        },
      ),
  },
  {
    // Go Micro's clients do, and never end their requests.
    name: 'a server stream whose caller names a codec begins with its first message, without waiting for the end of requests',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const socket = fixture.dial(routes.server);
        void socket.send({
          headers: new Metadata({ 'x-content-type': 'application/grpc+bytes' }),
          body: bytesOf('go'),
        });
        assert.deepEqual((await answerOf(socket)).bodies, ['go']);
      }),
  },
  {
    name: 'a server stream takes one message, neither none nor two',
    run: (options) =>
      withTransport(
        options,
        (socket) => void requestsOf(socket).catch(() => {}),
        async (fixture) => {
          const none = fixture.dial(routes.server);
          void none.send({ headers: new Metadata({ a: '1' }) });
          none.end();
          const two = fixture.dial(routes.server);
          void two.send({ body: bytesOf('1') });
          void two.send({ body: bytesOf('2') });
          two.end();
          for (const [what, socket] of Object.entries({ none, two })) {
            const { status, error } = await answerOf(socket);
            assert.equal(error?.code ?? status?.code, Code.Unimplemented, what);
          }
        },
      ),
  },
  {
    name: 'a client stream keeps its order and its end',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const socket = fixture.dial(routes.client);
        for (const text of numbers(500)) {
          const room = socket.send({ body: bytesOf(text) });
          if (room) await room;
        }
        socket.end();
        assert.deepEqual((await answerOf(socket)).bodies, [numbers(500).join(',')]);
      }),
  },
  {
    name: 'messages sent at once, without waiting, arrive in order and before the end',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const socket = fixture.dial(routes.client);
        for (const text of numbers(30)) void socket.send({ body: bytesOf(text) });
        socket.end();
        assert.deepEqual((await answerOf(socket)).bodies, [numbers(30).join(',')]);
      }),
  },
  {
    name: 'a client may end without a message',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const first = await socket.recv();
          assert.equal(first?.headers?.get('a'), '1');
          assert.equal(first.body, undefined);
          assert.equal(await socket.recv(), undefined);
          void socket.send({ body: bytesOf('none'), status: okStatus });
        },
        async (fixture) => {
          const socket = fixture.dial(routes.client);
          void socket.send({ headers: new Metadata({ a: '1' }) });
          socket.end();
          assert.deepEqual((await answerOf(socket)).bodies, ['none']);
        },
      ),
  },
  {
    name: 'both sides of a bidi call speak in turns',
    run: (options) =>
      withTransport(options, echo, async (fixture) => {
        const socket = fixture.dial(routes.bidi);
        for (const text of numbers(50)) {
          void socket.send({ body: bytesOf(text) });
          let message = await within('the echo', socket.recv());
          if (message && !message.body) message = await within('the echo', socket.recv());
          assert.equal(message?.body && textOf(message.body), text);
        }
        socket.end();
        assert.equal((await answerOf(socket)).status?.code, Code.Ok);
      }),
  },
  {
    name: 'a bidi call begins with its headers, and its server may speak first',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          const first = await socket.recv();
          void socket.send({
            headers: new Metadata({ hello: String(first?.headers?.get('name')) }),
            body: bytesOf('welcome'),
          });
          assert.deepEqual(await requestsOf(socket), ['thanks']);
          void socket.send({ status: okStatus });
        },
        async (fixture) => {
          const socket = fixture.dial(routes.bidi);
          void socket.send({ headers: new Metadata({ name: 'ada' }) });
          let headers: Metadata | undefined;
          let body: Uint8Array | undefined;
          while (!body) {
            const message = await within('the welcome', socket.recv());
            headers ??= message?.headers;
            body = message?.body;
          }
          assert.equal(headers?.get('hello'), 'ada');
          assert.equal(textOf(body), 'welcome');
          void socket.send({ body: bytesOf('thanks') });
          socket.end();
          assert.equal((await answerOf(socket)).status?.code, Code.Ok);
        },
      ),
  },
  {
    name: 'headers arrive before the first message is sent',
    run: (options) => {
      const seen = gate();
      return withTransport(
        options,
        async (socket) => {
          void socket.send({ headers: new Metadata({ early: '1' }) });
          await seen.opened;
          void socket.send({ status: okStatus });
        },
        async (fixture) => {
          const socket = fixture.dial(routes.bidi);
          void socket.send({ headers: new Metadata({ a: '1' }) });
          const first = await within('the headers', socket.recv());
          assert.equal(first?.headers?.get('early'), '1');
          seen.open();
          socket.end();
          assert.equal((await answerOf(socket)).status?.code, Code.Ok);
        },
      );
    },
  },
  {
    name: 'a server may answer before the client has ended',
    run: (options) =>
      withTransport(
        options,
        async (socket) => {
          await socket.recv();
          void socket.send({ body: bytesOf('enough'), status: okStatus });
        },
        async (fixture) => {
          const socket = fixture.dial(routes.client);
          void socket.send({ body: bytesOf('1') });
          const answer = await answerOf(socket);
          assert.deepEqual([answer.bodies, answer.status?.code], [['enough'], Code.Ok]);
          void socket.send({ body: bytesOf('2') });
          socket.end();
        },
      ),
  },
  {
    name: 'what was sent before an error status is read before it, however late the reader',
    run: (options) => {
      const sent = gate();
      return withTransport(
        options,
        async (socket) => {
          await socket.recv();
          for (const text of numbers(40)) void socket.send({ body: bytesOf(text) });
          void socket.send({ status: { code: Code.DataLoss, message: 'the rest is gone' } });
          sent.open();
        },
        async (fixture) => {
          const socket = fixture.dial(routes.server);
          void socket.send({ body: bytesOf('go') });
          socket.end();
          await sent.opened;
          // So that all of it has arrived, and the reader has read nothing.
          await systemTimers.sleep(100);
          const answer = await answerOf(socket);
          assert.deepEqual(answer.bodies, numbers(40));
          assert.deepEqual([answer.status?.code, answer.status?.message], [Code.DataLoss, 'the rest is gone']);
        },
      );
    },
  },
  {
    name: 'a slow client holds back a server that writes',
    run: (options) => {
      const started = gate<ReturnType<typeof flood>>();
      return withTransport(
        options,
        async (socket) => {
          await socket.recv();
          const writing = flood(socket);
          started.open(writing);
          await writing.done;
          void socket.send({ status: okStatus });
        },
        async (fixture) => {
          const socket = fixture.dial(routes.server);
          void socket.send({ body: bytesOf('go') });
          socket.end();
          const { count } = await within('the call', started.opened);
          assert.ok((await settled(count)) < floodCount, 'the writer was not held back');
          await readFlood(() => within('the next', socket.recv()));
        },
      );
    },
  },
  {
    name: 'a slow server holds back a client that writes',
    run: (options) => {
      const go = gate();
      return withTransport(
        options,
        async (socket) => {
          await go.opened;
          await readFlood(() => socket.recv());
          void socket.send({ body: bytesOf('all'), status: okStatus });
        },
        async (fixture) => {
          const socket = fixture.dial(routes.client);
          const { count, done } = flood(socket);
          assert.ok((await settled(count)) < floodCount, 'the writer was not held back');
          go.open();
          await within('the writer', done);
          socket.end();
          assert.deepEqual((await answerOf(socket)).bodies, ['all']);
        },
      );
    },
  },
  {
    name: 'a server that has long been read is held back as soon as it is not',
    run: (options) =>
      withWritingServer(options, pour, async (writing, reader) => {
        await assertHeldBack(writing, reader);
        reader.abort(Code.Cancelled);
      }),
  },
  {
    name: 'a client that has long been read is held back as soon as it is not',
    run: (options) => {
      const called = gate<Socket>();
      return withTransport(
        options,
        (socket) => called.open(socket),
        async (fixture) => {
          const socket = fixture.dial(routes.client);
          const writing = pour(socket);
          await assertHeldBack(writing, await within('the call', called.opened));
          socket.abort(Code.Cancelled);
        },
      );
    },
  },
  {
    name: 'a writer that is held back is let go when the call ends',
    run: (options) =>
      withWritingServer(options, flood, async ({ count, done }, reader) => {
        await settled(count);
        reader.abort(Code.Cancelled);
        await within('the writer', done);
      }),
  },
];

/** Calls a server that writes as soon as it is called, and uses the writing and the reading end. */
function withWritingServer<Writing>(
  options: TransportHarness,
  write: (socket: Socket) => Writing,
  use: (writing: Writing, reader: Socket) => Promise<void>,
): Promise<void> {
  const started = gate<Writing>();
  return withTransport(
    options,
    async (socket) => {
      await socket.recv();
      started.open(write(socket));
    },
    async (fixture) => {
      const reader = fixture.dial(routes.server);
      void reader.send({ body: bytesOf('go') });
      reader.end();
      await use(await within('the call', started.opened), reader);
    },
  );
}
