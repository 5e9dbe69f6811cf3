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
import { clientStreams, type CallHandler, type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';
import { validated } from '../../pipeline/validation.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import type { Message, Socket } from '../../transport/transport.ts';
import { type MicroCall, microCallOf } from './go-micro.ts';
import { ServerContext } from './server-context.ts';

/** One method with everything that is needed to handle its calls, prepared once at the start. */
export interface MethodBinding {
  readonly method: MethodDescriptor;
  /** The handler inside its interceptors. */
  readonly invoke: CallHandler;
  /** Returns the codec that the headers of a call name. Throws UNIMPLEMENTED for a codec that is not bound. */
  readonly marshalerFor: (headers: Metadata | undefined) => Marshaler;
  readonly logger: Logger;
  /** True if the text of unexpected exceptions is sent to the caller. */
  readonly exposeErrors: boolean;
  /** True if replies are compressed, unless a handler decides otherwise. */
  readonly compress: boolean | undefined;
  /** The dialect's part of a call; absent if Go Micro's dialect is not spoken. */
  readonly goMicro: MicroServing | undefined;
}

/** Dependencies of Go Micro's dialect. */
export interface MicroServing {
  /** Name of the service in the registry. */
  readonly name: string;
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
}

/** Answers one call, whatever happens: never rejects. */
export async function handleCall(binding: MethodBinding, socket: Socket): Promise<void> {
  const { method } = binding;
  let ctx: ServerContext | undefined;
  let timer: Timer | undefined;
  try {
    const first = await socket.recv();
    if (!first) throw noRequest(method);
    const micro = binding.goMicro && microCallOf(first.headers);
    ctx = new ServerContext(
      {
        service: method.service,
        endpoint: method.method,
        peer: socket.remote,
        metadata: micro ? micro.metadata : first.headers,
        deadline: socket.deadline,
        logger: binding.logger,
        connection: socket,
      },
      socket,
    );
    const call = ctx;
    call.compress = binding.compress;
    call.wasCompressed = first.compressed;
    socket.onAbort((error) => call.abort(error));
    if (micro) {
      call.isMicro = true;
      timer = limit(binding, micro, socket, call);
    }
    const marshaler = binding.marshalerFor(first.headers);
    const input = clientStreams(method.kind)
      ? new Requests(binding, marshaler, socket, first, call)
      : await decodeRequest(binding, marshaler, first.body ?? (await socket.recv())?.body);
    if (serverStreams(method.kind)) await sendReplies(binding, marshaler, socket, call, input);
    else await sendReply(binding, marshaler, socket, call, input);
  } catch (error) {
    fail(binding, socket, ctx, error);
  } finally {
    timer?.cancel();
    // Called even if the call broke off before: its handler has ended now.
    void socket.close();
  }
}

/** Ends the call at Go Micro's time-out if that is earlier than the transport's deadline: no transport knows of it. */
function limit(binding: MethodBinding, micro: MicroCall, socket: Socket, ctx: ServerContext): Timer | undefined {
  const { clock, timers } = (binding.goMicro as MicroServing).runtime;
  const { timeoutMs } = micro;
  if (timeoutMs === undefined || (socket.deadline ?? Number.POSITIVE_INFINITY) <= clock.monotonicMs() + timeoutMs)
    return undefined;
  ctx.shorten(clock.monotonicMs() + timeoutMs);
  return timers.after(timeoutMs, () => {
    const error = unthrown({
      code: Code.DeadlineExceeded,
      reason: 'call.deadline_exceeded',
      message: `the deadline of ${binding.method.path} has passed`,
    });
    ctx.abort(error);
    fail(binding, socket, ctx, error);
  });
}

async function sendReply(
  binding: MethodBinding,
  marshaler: Marshaler,
  socket: Socket,
  ctx: ServerContext,
  input: unknown,
): Promise<void> {
  const reply = await binding.invoke(input, ctx);
  const body = marshalReply(binding.method, marshaler, reply);
  void socket.send({ headers: ctx.takeHeaders(), body, compressed: ctx.compress, status: finalStatus(ctx) });
}

async function sendReplies(
  binding: MethodBinding,
  marshaler: Marshaler,
  socket: Socket,
  ctx: ServerContext,
  input: unknown,
): Promise<void> {
  const replies = iteratorOf(binding.invoke(input, ctx) as AsyncIterable<unknown>);
  let forget = (): void => {};
  // Ends the wait for the next reply of a handler when the call ends first.
  const left = new Promise<void>((resolve, reject) => {
    forget = ctx.onAbort((error) => {
      // If an interceptor ended the call, the caller waits for a status, however long the handler takes. If the call
      // broke off, the status is dropped.
      fail(binding, socket, ctx, error);
      leave(replies).then(resolve, reject);
    });
  });
  try {
    await Promise.race([sendEach(binding, marshaler, socket, ctx, replies), left]);
  } finally {
    forget();
  }
}

async function sendEach(
  binding: MethodBinding,
  marshaler: Marshaler,
  socket: Socket,
  ctx: ServerContext,
  replies: AsyncIterator<unknown>,
): Promise<void> {
  for (let result = await replies.next(); !result.done; result = await replies.next()) {
    if (ctx.aborted) return;
    let body: Uint8Array;
    try {
      body = marshalReply(binding.method, marshaler, result.value);
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

/**
 * Iterates over the requests of a streaming call. Ends with the client's half-close, and throws the error of a call
 * that broke off.
 */
class Requests extends SerialIterator<unknown> {
  readonly #binding: MethodBinding;
  readonly #marshaler: Marshaler;
  readonly #socket: Socket;
  readonly #ctx: Context;
  #first: Message | undefined;

  constructor(binding: MethodBinding, marshaler: Marshaler, socket: Socket, first: Message, ctx: Context) {
    super();
    this.#binding = binding;
    this.#marshaler = marshaler;
    this.#socket = socket;
    this.#first = first;
    this.#ctx = ctx;
  }

  /** Leaves the call open: a handler that has read enough requests may still reply. */
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
      return { done: false, value: await decodeRequest(this.#binding, this.#marshaler, message.body) };
    }
  }
}

function decodeRequest(binding: MethodBinding, marshaler: Marshaler, body: Uint8Array | undefined): unknown {
  const { method } = binding;
  if (!body) throw noRequest(method);
  let value: unknown;
  try {
    value = marshaler.unmarshal(method.input, body);
  } catch (error) {
    const { code, reason, message } = TenonError.from(error);
    // A request above a limit is RESOURCE_EXHAUSTED, not INVALID_ARGUMENT.
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

function fail(binding: MethodBinding, socket: Socket, ctx: ServerContext | undefined, error: unknown): void {
  const failure = toStatusError(binding, ctx, error);
  try {
    void socket.send({ headers: ctx?.takeHeaders(), status: sendable(binding, failure, ctx) });
  } catch (unsendable) {
    binding.logger.error(`the error of ${binding.method.path} cannot be sent`, { error: unsendable });
    void socket.send({ status: { code: failure.code, message: `${binding.method.path} failed` } });
  }
}

/**
 * Returns a status with as much of the error as can be sent. A handler may have put anything into the error, and its
 * caller waits for an answer.
 */
function sendable(binding: MethodBinding, failure: TenonError, ctx: ServerContext | undefined): Status {
  const { code, message, reason, details } = failure;
  const trailers = ctx?.hasTrailers ? ctx.trailers : undefined;
  for (const told of [
    failure,
    { code, message, reason, details, metadata: {} },
    { code, message, reason: undefined, details, metadata: {} },
  ]) {
    try {
      return binding.goMicro && ctx?.isMicro
        ? statusOf(toMicroForm(told, binding.goMicro.name), trailers)
        : statusOf(told, trailers);
    } catch (error) {
      binding.logger.error(`the error of ${binding.method.path} cannot be sent whole`, { error });
    }
  }
  return { code, message, metadata: trailers };
}

/**
 * The reasons that tell callers that nothing was processed. Here a handler has run: such an error comes from a call
 * that the handler made itself, and passing it on unchanged would let its own call be repeated.
 */
const refusals: ReadonlySet<string | undefined> = new Set(['server.draining', 'transport.unreachable']);

function unlessRefusal(error: TenonError): TenonError {
  if (!refusals.has(error.reason)) return error;
  const { code, message, details, metadata } = error;
  return unthrown({ code, message, details, metadata, cause: error });
}

/**
 * Matches the reasons of errors about this service's own dependencies. They name addresses and variables that callers
 * have no business with.
 */
const dependencies = /^(?:app|broker|client|config|registry|selector|tls)\./;
/**
 * Reasons of the transport that concern this service's own connections. Its other reasons concern the caller's call.
 */
const ofConnections: ReadonlySet<string> = new Set(
  ['unreachable', 'connection_lost', 'closed', 'invalid_address', 'address_in_use', 'cannot_listen'].map(
    (what) => `transport.${what}`,
  ),
);
/** Codes that tell a caller when to call again. Nothing else of a dependency's failure is passed on. */
const passedOn: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Cancelled,
  Code.ResourceExhausted,
]);

function isOfDependency({ reason }: TenonError): boolean {
  return reason !== undefined && (dependencies.test(reason) || ofConnections.has(reason));
}

/**
 * Returns true if an error has all parts of a status, and of the right types: a handler may throw one with anything in
 * it.
 */
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

/** Returns the part of `error` that the caller may see. What was not meant for callers is logged and hidden. */
function toStatusError(
  binding: Pick<MethodBinding, 'method' | 'logger' | 'exposeErrors'>,
  ctx: Context | undefined,
  error: unknown,
): TenonError {
  if (TenonError.is(error) && isSound(error)) {
    const isOwn = !wasReceived(error) && (binding.exposeErrors || !isOfDependency(error));
    if (error === ctx?.aborted || isOwn) return unlessRefusal(error);
    binding.logger.error(`${binding.method.path} failed`, { error });
    const told = binding.exposeErrors ? `: ${error.message}` : '';
    return unthrown({
      code: passedOn.has(error.code) ? error.code : Code.Internal,
      reason: 'server.dependency_failed',
      message: `something that ${binding.method.path} depends on failed${told}`,
      cause: error,
    });
  }
  if (ctx?.aborted && nameOfError(error) === 'AbortError') return ctx.aborted;
  binding.logger.error(`${binding.method.path} failed`, { error });
  const told = binding.exposeErrors ? `: ${TenonError.from(error).message}` : '';
  return unthrown({
    code: Code.Internal,
    reason: 'server.handler_failed',
    message: `the handler of ${binding.method.path} failed${told}`,
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
