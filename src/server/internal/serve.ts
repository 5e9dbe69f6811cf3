import type { Marshaler } from '../../codec/codec.ts';
import type { Context } from '../../context/context.ts';
import type { Metadata } from '../../context/metadata.ts';
import { okStatus, type Status, statusOf } from '../../context/status.ts';
import { wasReceived } from '../../errors/received.ts';
import { unthrown } from '../../errors/unthrown.ts';
import { Code, nameOfError, TenonError } from '../../errors/errors.ts';
import { toMicroForm } from '../../go-micro/errors.ts';
import { iteratorOf, over, SerialIterator } from '../../internal/iterators.ts';
import type { Logger } from '../../logger/logger.ts';
import { clientStreams, type Invoke, type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';
import { validated } from '../../pipeline/validation.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import type { Message, Socket } from '../../transport/transport.ts';
import { type MicroCall, microCallOf } from './go-micro.ts';
import { ServerContext } from './server-context.ts';

/** What serving one method takes, put together once. */
export interface Served {
  readonly method: MethodDescriptor;
  /** The handler inside its interceptors. */
  readonly invoke: Invoke;
  /** The codec of a call by its headers. Throws UNIMPLEMENTED for one that is not bound. */
  readonly marshalerFor: (headers: Metadata | undefined) => Marshaler;
  readonly logger: Logger;
  /** Send the text of unexpected exceptions. */
  readonly exposeErrors: boolean;
  /** Compress replies, unless a handler says otherwise. */
  readonly compress: boolean | undefined;
  /** Set where Go Micro's dialect is spoken. */
  readonly goMicro: MicroServing | undefined;
}

/** What speaking Go Micro's dialect takes. */
export interface MicroServing {
  /** Name of the service in the registry. */
  readonly name: string;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
}

/** Answers one call, whatever happens: never rejects. */
export async function serve(served: Served, socket: Socket): Promise<void> {
  const { method } = served;
  let ctx: ServerContext | undefined;
  let timer: Timer | undefined;
  try {
    const first = await socket.recv();
    if (!first) throw noRequest(method);
    const micro = served.goMicro && microCallOf(first.headers);
    ctx = new ServerContext(
      {
        service: method.service,
        endpoint: method.method,
        peer: socket.remote,
        metadata: micro ? micro.metadata : first.headers,
        deadline: socket.deadline,
        logger: served.logger,
        connection: socket,
      },
      socket,
    );
    const call = ctx;
    call.compress = served.compress;
    call.wasCompressed = first.compressed;
    socket.onAbort((error) => call.abort(error));
    if (micro) {
      call.isMicro = true;
      timer = limit(served, micro, socket, call);
    }
    const marshaler = served.marshalerFor(first.headers);
    const input = clientStreams(method.kind)
      ? new Requests(served, marshaler, socket, first, call)
      : await decodeRequest(served, marshaler, first.body ?? (await socket.recv())?.body);
    if (serverStreams(method.kind)) await sendReplies(served, marshaler, socket, call, input);
    else await sendReply(served, marshaler, socket, call, input);
  } catch (error) {
    fail(served, socket, ctx, error);
  } finally {
    timer?.cancel();
    // Also of a call that broke off long ago: from now on nothing runs for it.
    void socket.close();
  }
}

/** Where Go Micro's own time-out is the nearer one, no transport knows of it. */
function limit(served: Served, micro: MicroCall, socket: Socket, ctx: ServerContext): Timer | undefined {
  const { clock, timers } = (served.goMicro as MicroServing).runtime;
  const { timeoutMs } = micro;
  if (timeoutMs === undefined || (socket.deadline ?? Number.POSITIVE_INFINITY) <= clock.monotonicMs() + timeoutMs)
    return undefined;
  ctx.shorten(clock.monotonicMs() + timeoutMs);
  return timers.after(timeoutMs, () => {
    const error = unthrown({
      code: Code.DeadlineExceeded,
      reason: 'call.deadline_exceeded',
      message: `the deadline of ${served.method.path} has passed`,
    });
    ctx.abort(error);
    fail(served, socket, ctx, error);
  });
}

async function sendReply(
  served: Served,
  marshaler: Marshaler,
  socket: Socket,
  ctx: ServerContext,
  input: unknown,
): Promise<void> {
  const reply = await served.invoke(input, ctx);
  const body = marshalReply(served.method, marshaler, reply);
  void socket.send({ headers: ctx.takeHeaders(), body, compressed: ctx.compress, status: finalStatus(ctx) });
}

async function sendReplies(
  served: Served,
  marshaler: Marshaler,
  socket: Socket,
  ctx: ServerContext,
  input: unknown,
): Promise<void> {
  const replies = iteratorOf(served.invoke(input, ctx) as AsyncIterable<unknown>);
  let forget = (): void => {};
  // A handler may wait long for its next reply, and whoever it waits for should be let go of when nobody wants it any
  // more.
  const left = new Promise<void>((resolve, reject) => {
    forget = ctx.onAbort((error) => {
      // Where the call broke off nobody hears it; where an interceptor ended it the caller waits for a status, however
      // long the handler takes to end.
      fail(served, socket, ctx, error);
      leave(replies).then(resolve, reject);
    });
  });
  try {
    await Promise.race([sendEach(served, marshaler, socket, ctx, replies), left]);
  } finally {
    forget();
  }
}

async function sendEach(
  served: Served,
  marshaler: Marshaler,
  socket: Socket,
  ctx: ServerContext,
  replies: AsyncIterator<unknown>,
): Promise<void> {
  for (let result = await replies.next(); !result.done; result = await replies.next()) {
    if (ctx.aborted) return;
    let body: Uint8Array;
    try {
      body = marshalReply(served.method, marshaler, result.value);
    } catch (error) {
      await leave(replies);
      throw error;
    }
    const room = socket.send({ headers: ctx.takeHeaders(), body, compressed: ctx.compress });
    if (room) await room;
  }
  void socket.send({ headers: ctx.takeHeaders(), status: finalStatus(ctx) });
}

/** Ends the iteration, so that a generator's `finally` blocks run. */
async function leave(replies: AsyncIterator<unknown>): Promise<void> {
  await replies.return?.();
}

/** The requests of a streaming call. Ends with the client's half-close; throws what broke the call off. */
class Requests extends SerialIterator<unknown> {
  readonly #served: Served;
  readonly #marshaler: Marshaler;
  readonly #socket: Socket;
  readonly #ctx: Context;
  #first: Message | undefined;

  constructor(served: Served, marshaler: Marshaler, socket: Socket, first: Message, ctx: Context) {
    super();
    this.#served = served;
    this.#marshaler = marshaler;
    this.#socket = socket;
    this.#first = first;
    this.#ctx = ctx;
  }

  /** A handler that has read enough may still reply: leaving the loop does not end the call. */
  override async return(): Promise<IteratorResult<unknown, undefined>> {
    return over;
  }

  protected override async read(): Promise<IteratorResult<unknown, undefined>> {
    for (;;) {
      const message = this.#first ?? (await this.#socket.recv());
      this.#first = undefined;
      if (!message) return over;
      if (!message.body) continue;
      this.#ctx.wasCompressed = message.compressed;
      return { done: false, value: await decodeRequest(this.#served, this.#marshaler, message.body) };
    }
  }
}

function decodeRequest(served: Served, marshaler: Marshaler, body: Uint8Array | undefined): unknown {
  const { method } = served;
  if (!body) throw noRequest(method);
  let value: unknown;
  try {
    value = marshaler.unmarshal(method.input, body);
  } catch (error) {
    const { code, reason, message } = TenonError.from(error);
    // A request that is too much for a limit is not a wrong one.
    const isTooMuch = code === Code.ResourceExhausted;
    throw new TenonError({
      code: isTooMuch ? code : Code.InvalidArgument,
      reason: isTooMuch ? reason : 'codec.decode',
      message: `the request of ${method.path} does not decode: ${message}`,
      cause: error,
    });
  }
  return method.input.validate ? validated(method.input.validate, method.path, value) : value;
}

function marshalReply(method: MethodDescriptor, marshaler: Marshaler, reply: unknown): Uint8Array {
  try {
    return marshaler.marshal(method.output, reply);
  } catch (error) {
    // The handler's mistake, not the caller's: INVALID_ARGUMENT would put the blame on the request.
    throw new TenonError({
      code: Code.Internal,
      reason: 'server.bad_reply',
      message: `the reply of ${method.path} cannot be encoded: ${TenonError.from(error).message}`,
      cause: error,
    });
  }
}

function fail(served: Served, socket: Socket, ctx: ServerContext | undefined, error: unknown): void {
  const failure = toStatusError(served, ctx, error);
  try {
    void socket.send({ headers: ctx?.takeHeaders(), status: sendable(served, failure, ctx) });
  } catch (unsendable) {
    served.logger.error(`the error of ${served.method.path} cannot be sent`, { error: unsendable });
    void socket.send({ status: { code: failure.code, message: `${served.method.path} failed` } });
  }
}

/**
 * The status with as much of the error as can be sent: a handler may have put anything into it, and its caller waits
 * for an answer.
 */
function sendable(served: Served, failure: TenonError, ctx: ServerContext | undefined): Status {
  const { code, message, reason, details } = failure;
  const trailers = ctx?.hasTrailers ? ctx.trailers : undefined;
  for (const told of [
    failure,
    { code, message, reason, details, metadata: {} },
    { code, message, reason: undefined, details, metadata: {} },
  ]) {
    try {
      return served.goMicro && ctx?.isMicro
        ? statusOf(toMicroForm(told, served.goMicro.name), trailers)
        : statusOf(told, trailers);
    } catch (error) {
      served.logger.error(`the error of ${served.method.path} cannot be sent whole`, { error });
    }
  }
  return { code, message, metadata: trailers };
}

/**
 * The reasons by which callers know that nothing was processed. A handler has run: if one comes from it, it was told of
 * a call that it made itself, and passing it on would let its own call be repeated.
 */
const refusals: ReadonlySet<string | undefined> = new Set(['server.draining', 'transport.unreachable']);

function unlessRefusal(error: TenonError): TenonError {
  if (!refusals.has(error.reason)) return error;
  const { code, message, details, metadata } = error;
  return unthrown({ code, message, details, metadata, cause: error });
}

/**
 * Rooms whose errors are about what this service works with: they name addresses and variables that are no business of
 * its callers.
 */
const dependencies = /^(?:app|broker|client|config|registry|selector|tls)\./;
/** Those of the transport that are about connections of its own; the others tell a caller about its call. */
const ofConnections: ReadonlySet<string> = new Set(
  ['unreachable', 'connection_lost', 'closed', 'invalid_address', 'address_in_use', 'cannot_listen'].map(
    (what) => `transport.${what}`,
  ),
);
/** Codes by which a caller decides when to call again; of a dependency's failure nothing else is passed on. */
const passedOn: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Cancelled,
  Code.ResourceExhausted,
]);

function isOfDependency({ reason }: TenonError): boolean {
  return reason !== undefined && (dependencies.test(reason) || ofConnections.has(reason));
}

/** Whether an error has the parts that a status is made of: a handler may throw one with anything in it. */
function isSound(error: TenonError): boolean {
  try {
    const { code, message, reason, details, metadata } = error;
    return (
      Number.isInteger(code) &&
      code > 0 &&
      code <= 16 &&
      typeof message === 'string' &&
      (reason === undefined || typeof reason === 'string') &&
      Array.isArray(details) &&
      typeof metadata === 'object'
    );
  } catch {
    return false;
  }
}

/** What the caller may know of `error`. What was not meant for callers is logged, and hidden. */
function toStatusError(
  served: Pick<Served, 'method' | 'logger' | 'exposeErrors'>,
  ctx: Context | undefined,
  error: unknown,
): TenonError {
  if (TenonError.is(error) && isSound(error)) {
    const isOwn = !wasReceived(error) && (served.exposeErrors || !isOfDependency(error));
    if (error === ctx?.aborted || isOwn) return unlessRefusal(error);
    served.logger.error(`${served.method.path} failed`, { error });
    const told = served.exposeErrors ? `: ${error.message}` : '';
    return unthrown({
      code: passedOn.has(error.code) ? error.code : Code.Internal,
      reason: 'server.dependency_failed',
      message: `something that ${served.method.path} depends on failed${told}`,
      cause: error,
    });
  }
  if (ctx?.aborted && nameOfError(error) === 'AbortError') return ctx.aborted;
  served.logger.error(`${served.method.path} failed`, { error });
  const told = served.exposeErrors ? `: ${TenonError.from(error).message}` : '';
  return unthrown({
    code: Code.Internal,
    reason: 'server.handler_failed',
    message: `the handler of ${served.method.path} failed${told}`,
    cause: error,
  });
}

function finalStatus(ctx: Context): Status {
  return ctx.hasTrailers ? { code: Code.Ok, message: '', metadata: ctx.trailers } : okStatus;
}

function noRequest(method: MethodDescriptor): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'server.no_request',
    message: `${method.path} takes one request, and none came`,
  });
}
