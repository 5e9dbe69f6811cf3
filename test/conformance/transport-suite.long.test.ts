import { describe, expect, it } from '@jest/globals';

import { Context } from '../../src/context/context.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import type { TransportHarness } from '../../src/testing/internal/transport-fixture.ts';
import { transportCasesFor } from '../../src/testing/transport.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import type {
  DialOptions,
  Listener,
  ListenOptions,
  Message,
  Socket,
  Transport,
} from '../../src/transport/transport.ts';
import { failing } from './support.ts';

/** A memory transport of which some part is done otherwise. */
interface Defect {
  dialOptions?(options: DialOptions): DialOptions;
  listenAddress?(address: string): string;
  listenOptions?(options: ListenOptions): ListenOptions;
  client?(socket: Socket): Partial<Socket>;
  server?(socket: Socket): Partial<Socket>;
  listener?(listener: Listener): Partial<Listener>;
  unary?(answer: Promise<Message>): Promise<Message>;
}

class DefectiveTransport implements Transport {
  readonly #inner = new MemoryTransport();
  readonly #defect: Defect;

  constructor(defect: Defect) {
    this.#defect = defect;
  }

  dial(address: string, options: DialOptions): Socket {
    const socket = this.#inner.dial(address, this.#defect.dialOptions?.(options) ?? options);
    return altered(socket, this.#defect.client?.(socket));
  }

  unary(address: string, message: Message, options: DialOptions): Promise<Message> {
    const answer = this.#inner.unary(address, message, this.#defect.dialOptions?.(options) ?? options);
    return this.#defect.unary?.(answer) ?? answer;
  }

  async listen(address: string, options: ListenOptions): Promise<Listener> {
    const listener = await this.#inner.listen(
      this.#defect.listenAddress?.(address) ?? address,
      this.#defect.listenOptions?.(options) ?? options,
    );
    return altered(listener, {
      accept: (accept) =>
        listener.accept((socket, { path }) =>
          accept(
            altered(socket, this.#defect.server?.(socket)),
            options.routes.find((route) => route.path === path) ?? (options.routes[0] as never),
          ),
        ),
      ...this.#defect.listener?.(listener),
    });
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** The same object, with some of its members replaced. */
function altered<T extends object>(inner: T, members: Partial<T> | undefined): T {
  return new Proxy(inner, {
    get: (_, key) => {
      const value: unknown =
        members && Reflect.has(members, key) ? Reflect.get(members, key) : Reflect.get(inner, key, inner);
      return typeof value === 'function' ? value.bind(inner) : value;
    },
  });
}

/** Waits for room with so many messages, and with no more. */
function waitingFor(messages: number): (socket: Socket) => Partial<Socket> {
  return (socket) => {
    let left = messages;
    return {
      send: (message) => {
        left -= 1;
        return left >= 0 ? socket.send(message) : void socket.send(message);
      },
    };
  };
}

/** Each case has a transport of its own, and gives up by itself. */
async function failingOf(make: () => Transport, patienceMs = 2_000): Promise<string[]> {
  const options: TransportHarness = { make, patienceMs, supports: { suggest: true } };
  const cases = transportCasesFor(options, true);
  const failed = await failing(cases, () => options, 60_000, cases.length);
  // Those that fail are tried again: a busy machine may have had no time for all at once.
  const again = cases.filter(({ name }) => failed.includes(name));
  return failing(again, () => options, 60_000);
}

describe('the suite of transports', () => {
  it('finds nothing in one that keeps its promises', async () => {
    expect(await failingOf(() => new MemoryTransport(), 60_000)).toEqual([]);
    expect(await failingOf(() => new DefectiveTransport({}), 60_000)).toEqual([]);
  }, 120_000);

  it.each<[string, Defect, string[]]>([
    [
      'one whose server never waits for room',
      { server: (socket) => ({ send: (message) => void socket.send(message) }) },
      [
        'a slow client holds back a server that writes',
        'a server that has long been read is held back as soon as it is not',
      ],
    ],
    [
      'one whose client never waits for room',
      { client: (socket) => ({ send: (message) => void socket.send(message) }) },
      [
        'a slow server holds back a client that writes',
        'a client that has long been read is held back as soon as it is not',
      ],
    ],
    [
      'one whose server waits for room no more when much was read',
      { server: waitingFor(250) },
      ['a server that has long been read is held back as soon as it is not'],
    ],
    [
      'one whose client waits for room no more when much was read',
      { client: waitingFor(250) },
      ['a client that has long been read is held back as soon as it is not'],
    ],
    [
      'one whose error status overtakes what was sent before it',
      {
        server: (socket) => {
          let turn = Promise.resolve();
          return {
            send: (message) => {
              if (message.status?.code === Code.DataLoss) return socket.send(message);
              turn = turn.then(async () => socket.send(message));
              return turn;
            },
          };
        },
      },
      ['what was sent before an error status is read before it, however late the reader'],
    ],
    [
      'one that loses trailers of errors',
      {
        server: (socket) => ({
          send: (message) =>
            socket.send(
              message.status?.code ? { ...message, status: { ...message.status, metadata: undefined } } : message,
            ),
        }),
      },
      [
        'an error status comes with its trailers, with headers and without',
        'a call in one go answers as one by messages does',
      ],
    ],
    [
      'one that writes status messages in ASCII',
      {
        server: (socket) => ({
          send: ({ status, ...rest }) =>
            socket.send({
              ...rest,
              status: status && { ...status, message: status.message.replace(/[^\x20-\x7e]/g, '?') },
            }),
        }),
      },
      ['a status message arrives whatever it is made of'],
    ],
    [
      'one that takes any number of messages for a unary method',
      {
        listenOptions: (options) => ({
          ...options,
          routes: options.routes.map((route) => (route.kind === 'unary' ? { ...route, kind: 'client' } : route)),
        }),
      },
      ['a unary method takes one message, neither none nor two'],
    ],
    [
      'one that knows no limits',
      {
        dialOptions: (options) => ({ ...options, maxReceiveBytes: Number.MAX_SAFE_INTEGER, maxSendBytes: undefined }),
        listenOptions: (options) => ({ ...options, maxReceiveBytes: Number.MAX_SAFE_INTEGER, maxSendBytes: undefined }),
      },
      [
        'a message over the limit is refused, of the sender and of the receiver, and the next call goes well',
        'a call in one go fails as one by messages does',
      ],
    ],
    [
      'one that does not look at the deadline',
      {
        dialOptions: ({ ctx, ...options }) => {
          if (!ctx) return options;
          const follower = new Context({ service: ctx.service, endpoint: ctx.endpoint });
          const unfollow = ctx.onAbort((reason) => follower.abort(reason));
          const follow = follower.onAbort.bind(follower);
          follower.onAbort = (listener) => {
            const stop = follow(listener);
            return () => {
              stop();
              unfollow();
            };
          };
          return { ...options, ctx: follower };
        },
      },
      [
        // The context that is followed in its place is not let go of.
        'a context lets go of a call that is over',
        'the deadline reaches the server, and none does where there is none',
        'a deadline that passes ends the call on both sides',
        'a deadline that passes ends a call in one go',
        'a deadline that has passed before lets no call begin',
        'waiting for ready waits for somebody to listen, until the deadline',
      ],
    ],
    [
      'one that does not hear an abort of the context',
      {
        dialOptions: ({ ctx, ...options }) =>
          ctx
            ? { ...options, ctx: new Context({ service: ctx.service, endpoint: ctx.endpoint, deadline: ctx.deadline }) }
            : options,
      },
      [
        'an aborted context ends its call, with its error here and a cancellation there',
        'an aborted context ends a call in one go',
        'a context that was aborted before lets no call begin',
      ],
    ],
    [
      'one that takes a cancellation for the end of the requests',
      { server: (socket) => ({ recv: () => socket.recv().catch(() => undefined) }) },
      [
        "a server's abort reaches the client with its code",
        'a caller that cancels is not taken for one that has sent all its requests',
      ],
    ],
    [
      'one that drops what was not read when a call breaks off',
      {
        server: (socket) => {
          let broken: TenonError | undefined;
          socket.onAbort((error) => (broken = error));
          return { recv: () => (broken ? Promise.reject(broken) : socket.recv()), onAbort: () => {} };
        },
      },
      [
        'what arrived before the call broke off is read first',
        // It must listen itself to know, and the last listener counts.
        'a server hears that its caller cancelled',
        'close lets go of a call as a cancellation, and may be called again',
        'an aborted context ends its call, with its error here and a cancellation there',
        'an aborted context ends a call in one go',
        'a deadline that passes ends the call on both sides',
        'onAbort speaks at once where the call has broken off already, and the last listener counts',
        'a listener that closes ends its calls with UNAVAILABLE, and tells their handlers',
      ],
    ],
    [
      'one that reports every end as an abort',
      {
        server: (socket) => {
          let heard: ((error: TenonError) => void) | undefined;
          return {
            onAbort: (listener) => socket.onAbort((heard = listener)),
            send: (message) => {
              const room = socket.send(message);
              if (message.status) heard?.(new TenonError({ code: Code.Cancelled, message: 'over' }));
              return room;
            },
          };
        },
      },
      ['a call that ended by its status is not aborted'],
    ],
    [
      'one that does not know an unreachable address from a lost connection',
      {
        client: (socket) => ({ recv: () => socket.recv().catch((error: unknown) => Promise.reject(lost(error))) }),
        unary: (answer) => answer.catch((error: unknown) => Promise.reject(lost(error))),
      },
      [
        'an address where nobody listens is unreachable, by name',
        'a call in one go fails as one by messages does',
        'a listener that closes ends its calls with UNAVAILABLE, and tells their handlers',
        'a listener that drains lets its calls finish, and takes no new ones',
        'a listener that drains takes no call that crosses its farewell on the way',
      ],
    ],
    [
      'one that drains by closing',
      { listener: (listener) => ({ drain: () => listener.close() }) },
      [
        'a listener that drains lets its calls finish, and takes no new ones',
        'a listener that drains takes no call that crosses its farewell on the way',
        'a drain that is given up leaves its calls alone',
      ],
    ],
    [
      'one that drains by waiting for nothing',
      { listener: () => ({ drain: async () => {} }) },
      [
        'a listener that drains lets its calls finish, and takes no new ones',
        'a listener that drains takes no call that crosses its farewell on the way',
        'a drain that is given up leaves its calls alone',
      ],
    ],
    [
      'one whose listener cannot be closed again',
      {
        listener: (listener) => {
          let isClosed = false;
          return {
            close: async () => {
              if (isClosed) throw new Error('closed already');
              isClosed = true;
              await listener.close();
            },
          };
        },
      },
      [
        'closing again is nothing',
        // These close what the suite closes afterwards.
        'a call in one go fails as one by messages does',
        'waiting for ready waits for somebody to listen, until the deadline',
        'a listener that closes ends its calls with UNAVAILABLE, and tells their handlers',
      ],
    ],
    [
      'one that listens where it pleases',
      { listenAddress: () => '127.0.0.1:0' },
      [
        'an address that is none is refused, by dial and by listen',
        'an address in use is refused by name, and the one who has it goes on',
        'waiting for ready waits for somebody to listen, until the deadline',
      ],
    ],
    [
      'one whose call in one go forgets the headers',
      { unary: (answer) => answer.then(({ body, status }) => ({ body, status })) },
      ['a call in one go answers as one by messages does'],
    ],
  ])(
    'catches %s',
    async (_, defect, expected) => {
      expect((await failingOf(() => new DefectiveTransport(defect))).toSorted()).toEqual(expected.toSorted());
    },
    120_000,
  );
});

function lost(error: unknown): unknown {
  const { code, reason, message } = TenonError.from(error);
  return reason === 'transport.unreachable'
    ? new TenonError({ code, reason: 'transport.connection_lost', message })
    : error;
}
