import type { Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { unthrown } from '../../errors/unthrown.ts';
import { over, SerialIterator } from '../../internal/iterators.ts';
import type { Message, Socket } from '../../transport/transport.ts';
import type { CallOnNode } from './call-on-node.ts';
import type { OutgoingContext } from './outgoing.ts';

/** The call whose replies a {@link ReplyStream} reads. */
export interface ReplySource {
  readonly ctx: OutgoingContext;
  readonly decode: (body: Uint8Array) => unknown;
  readonly failureOf: (status: Status) => TenonError;
  /** Opens the call; called with the first `next`. */
  readonly open: () => Promise<OpenCall>;
  /** Called when the call is over. */
  readonly onEnd: () => void;
}

/** An open call, with its first message if opening had to wait for it. */
export interface OpenCall {
  readonly socket: Socket;
  readonly first?: Message | undefined;
  /** Ends the source of requests, if there is one. */
  readonly stop?: (() => void) | undefined;
  /** Reports the end of the call to the selector; absent for a call to an address. */
  onNode?: CallOnNode | undefined;
}

/** Iterates over the replies of a call. Nothing is sent before the first `next`; leaving early cancels the call. */
export class ReplyStream extends SerialIterator<unknown> {
  readonly #source: ReplySource;
  #socket: Socket | undefined;
  #stop: (() => void) | undefined;
  #onNode: CallOnNode | undefined;
  #status: Status | undefined;
  #isOver = false;
  #isLeft = false;
  #sawHeaders = false;

  constructor(source: ReplySource) {
    super();
    this.#source = source;
  }

  override return(): Promise<IteratorResult<unknown, undefined>> {
    if (!this.#isOver) {
      this.#isLeft = true;
      const left = stoppedReading();
      // Aborts through the context, which also ends a call that is still being opened.
      this.#source.ctx.abort(left);
      this.#socket?.abort(Code.Cancelled, left.message);
      this.#end(left);
    }
    return Promise.resolve(over);
  }

  protected override async read(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return over;
    try {
      if (!this.#socket) {
        const { socket, first, stop, onNode } = await this.#source.open();
        this.#socket = socket;
        this.#stop = stop;
        this.#onNode = onNode;
        if (this.#isOver) {
          stop?.();
          onNode?.end(stoppedReading());
          return over;
        }
        const reply = first && this.#take(first);
        if (reply) return reply;
      }
      if (this.#status) return this.#finish(this.#status);
      for (;;) {
        const message = await this.#socket.recv();
        if (this.#isOver) return over;
        if (!message) throw noStatus();
        const reply = this.#take(message);
        if (reply) return reply;
      }
    } catch (error) {
      // The reader has left: that the call was cancelled is no failure.
      if (this.#isLeft) return over;
      const failure = TenonError.from(error);
      this.#socket?.abort(failure.code === Code.Internal ? Code.Cancelled : failure.code, failure.message);
      this.#end(failure);
      throw failure;
    }
  }

  #take(message: Message): IteratorResult<unknown, undefined> | undefined {
    // Headers may come long before the first reply.
    if (!message.status || message.body) this.#onNode?.firstReply();
    if (message.headers || (message.body && !this.#sawHeaders)) this.#headers(message);
    if (message.body) {
      this.#source.ctx.wasCompressed = message.compressed;
      // The status may share the last reply's message; it is handed out with the next read.
      this.#status = message.status;
      return { done: false, value: this.#source.decode(message.body) };
    }
    return message.status ? this.#finish(message.status) : undefined;
  }

  #finish(status: Status): IteratorResult<unknown, undefined> {
    this.#source.ctx.takeTrailers(status.metadata);
    if (status.code === Code.Ok) {
      this.#end(undefined, status);
      return over;
    }
    const error = this.#source.failureOf(status);
    // Any answer of the server is no failure of its node: only a call that broke off, or was not taken, is one.
    this.#end(error.reason === 'server.draining' ? error : undefined, status);
    throw error;
  }

  #headers(message: Message): void {
    this.#sawHeaders = true;
    this.#source.ctx.takeHeaders(message.headers);
  }

  #end(error: TenonError | undefined, status?: Status): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop?.();
    this.#onNode?.end(error, status);
    this.#source.onEnd();
  }
}

function stoppedReading(): TenonError {
  return unthrown({ code: Code.Cancelled, reason: 'call.cancelled', message: 'the caller stopped reading' });
}

/** The failure of a peer that closed the call without saying how it ended. */
export function noStatus(): TenonError {
  return new TenonError({
    code: Code.Internal,
    reason: 'client.bad_reply',
    message: 'the server ended the call without a status',
  });
}
