import assert from 'node:assert/strict';

import { Context } from '../../context/context.ts';
import type { Metadata } from '../../context/metadata.ts';
import { okStatus, type Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { anySchema, type MethodDescriptor, type MethodKind } from '../../pipeline/pipeline.ts';
import type {
  DialOptions,
  Listener,
  ListenOptions,
  Message,
  Socket,
  Transport,
  TransportClient,
} from '../../transport/transport.ts';
import { failureOf } from '../failures.ts';
import { within } from '../waiting.ts';

/** Makes the transport under test, and describes its features. */
export interface TransportHarness {
  /** Makes a transport that can listen, and call its own listener. */
  make(): Transport | Promise<Transport>;
  /**
   * Address to listen at, which gives each listener a port of its own.
   * @default '127.0.0.1:0'
   */
  readonly address?: string | undefined;
  /**
   * Time limit of a case, in milliseconds.
   * @default 30_000
   */
  readonly patienceMs?: number | undefined;
  readonly supports?: {
    /**
     * True if the transport passes unknown paths on: it suggests similar methods, and resolves paths.
     * @default false
     */
    readonly suggest?: boolean;
    /**
     * True if a server can tell a cancelled call from one whose requests have ended.
     * @default true
     */
    readonly resets?: boolean;
  };
}

/** A method of each kind. `Unary` has an alias. */
export const routes = {
  unary: route('Unary', 'unary', ['/suite.Old/Unary']),
  server: route('Server', 'server'),
  client: route('Client', 'client'),
  bidi: route('Bidi', 'bidi'),
} as const satisfies Record<string, MethodDescriptor>;

/** Makes a method of the service `suite.Transport`. */
export function route(method: string, kind: MethodKind, aliases: readonly string[] = []): MethodDescriptor {
  return {
    service: 'suite.Transport',
    method,
    path: `/suite.Transport/${method}`,
    aliases,
    kind,
    input: anySchema,
    output: anySchema,
    idempotent: false,
    defaultContentType: 'application/grpc+json',
  };
}

/** Handles a call on the server. Its errors fail the case. */
export type Handle = (socket: Socket, route: MethodDescriptor) => Promise<void> | void;

/** A transport with a listener, and helpers that call it. */
export interface TransportFixture {
  readonly transport: Transport;
  readonly listener: Listener;
  readonly address: string;
  /** Opens a call to the listener. */
  dial(route: MethodDescriptor, options?: Partial<DialOptions>): TransportClient;
  /** Makes a unary call by the transport's `unary`. */
  unary(options?: Partial<DialOptions>, message?: Message): Promise<Message>;
}

/**
 * Runs `body` with a listener whose calls go to `handle`, and closes everything at the end. Fails if `handle` failed.
 */
export async function withTransport(
  options: TransportHarness,
  handle: Handle,
  body: (fixture: TransportFixture) => Promise<void>,
  listening: Partial<ListenOptions> = {},
): Promise<void> {
  const transport = await options.make();
  const failures: unknown[] = [];
  const listener = await transport.listen(options.address ?? '127.0.0.1:0', {
    routes: Object.values(routes),
    ...listening,
  });
  listener.accept((socket, called) => {
    void (async () => handle(socket, called))().catch((error: unknown) => failures.push(error));
  });
  const address = listener.addr();
  try {
    await within(
      'the case',
      body({
        transport,
        listener,
        address,
        dial: (called, more) => transport.dial(address, { route: called, ...more }),
        unary: async (more, message = { body: bytesOf('x') }) => {
          const answer = transport.unary?.(address, message, { route: routes.unary, ...more });
          assert.ok(answer, 'the transport makes no calls in one go');
          return answer;
        },
      }),
      {
        limitMs: options.patienceMs,
        keepAlive: true,
      },
    );
  } finally {
    await within('closing', Promise.all([listener.close(), transport.close()]), { keepAlive: true });
  }
  if (failures.length > 0) throw failures[0];
}

/** Marks a promise as handled, so that a case that fails before awaiting it causes no unhandled rejection. */
export function later<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** The answer of a call. */
export interface Answer {
  readonly headers: Metadata | undefined;
  readonly bodies: readonly string[];
  readonly status: Status | undefined;
  readonly error: TenonError | undefined;
}

/** Reads a call to its end. */
export async function answerOf(socket: Socket): Promise<Answer> {
  const bodies: string[] = [];
  let headers: Metadata | undefined;
  let status: Status | undefined;
  try {
    for (;;) {
      const message = await within('recv', socket.recv());
      if (!message) return { headers, bodies, status, error: undefined };
      headers ??= message.headers;
      if (message.body) bodies.push(textOf(message.body));
      status ??= message.status;
    }
  } catch (error) {
    assert.ok(TenonError.is(error), `recv rejected with ${String(error)}, which is no TenonError`);
    return { headers, bodies, status, error };
  }
}

/** The status code that a call ended with, from the server or from the transport. */
export async function codeOf(ended: Socket | Promise<Message | undefined>): Promise<Code | undefined> {
  if ('recv' in ended) {
    const { status, error } = await answerOf(ended);
    return error?.code ?? status?.code;
  }
  try {
    return (await within('the call', ended))?.status?.code;
  } catch (error) {
    return (await failureOf(Promise.reject(error))).code;
  }
}

/** Reads all request bodies of a call. */
export async function requestsOf(socket: Socket): Promise<string[]> {
  const bodies: string[] = [];
  for (;;) {
    const message = await socket.recv();
    if (!message) return bodies;
    if (message.body) bodies.push(textOf(message.body));
  }
}

/** A handler that answers with the bodies of the requests, in one reply or in as many. */
export const echo: Handle = async (socket, { kind }) => {
  if (kind === 'unary' || kind === 'client') {
    const bodies = await requestsOf(socket);
    void socket.send({ body: bytesOf(bodies.join(',')), status: okStatus });
    return;
  }
  for (;;) {
    const message = await socket.recv();
    if (!message) break;
    if (message.body) await socket.send({ body: message.body });
    if (kind === 'server') break;
  }
  void socket.send({ status: okStatus });
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Encodes text. */
export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Decodes text. */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Makes a context, with a deadline if one is given. */
export function contextWith(deadline?: number): Context {
  return new Context({ service: 'suite.Transport', endpoint: 'Unary', deadline });
}

/** Asserts the code of an error, and its reason if one is given. */
export function assertFailure(error: TenonError | undefined, code: Code, reason?: string): void {
  assert.ok(error, 'the call did not break off');
  assert.equal(error.code, code, `code of: ${error.message}`);
  if (reason !== undefined) assert.equal(error.reason, reason);
}
