import { setTimeout as sleep } from 'node:timers/promises';

import { type CallOptions, type ClientOf, type Metadata, TenonError } from 'tenon';

import {
  type Any,
  type ConformanceApi,
  fromAny,
  type Header,
  type Payload,
  type ProtoError,
  type Response,
  toHeaders,
  toMetadata,
  toProtoError,
} from './conformance-api.ts';
import { Pushed } from './pushed.ts';

/** A call to make, and when to cancel it. */
export interface ClientCompatRequest {
  readonly testName: string;
  readonly compression: string;
  readonly host: string;
  readonly port: number;
  readonly serverTlsCert: Uint8Array;
  readonly clientTlsCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
  readonly messageReceiveLimit: number;
  readonly service?: string;
  readonly method?: string;
  readonly streamType: string;
  readonly requestHeaders: readonly Header[];
  readonly requestMessages: readonly Any[];
  readonly timeoutMs?: number;
  readonly requestDelayMs: number;
  readonly cancel?: {
    readonly beforeCloseSend?: object;
    readonly afterCloseSendMs?: number;
    readonly afterNumResponses?: number;
  };
}

/** What a call came to. */
export interface ClientResponseResult {
  responseHeaders: readonly Header[];
  readonly payloads: Payload[];
  error?: ProtoError;
  responseTrailers: readonly Header[];
  numUnsentRequests: number;
}

/** Makes a call as it is described. Rejects only for a description that makes no sense. */
export async function call(
  client: ClientOf<ConformanceApi>,
  request: ClientCompatRequest,
): Promise<ClientResponseResult> {
  const { service, method = '' } = request;
  if (service !== undefined && service !== 'connectrpc.conformance.v1.ConformanceService')
    throw new Error(`there is no service ${service}`);
  const making = new Making(client, request);
  switch (method) {
    case 'Unary':
    case 'IdempotentUnary':
    case 'Unimplemented':
      await making.unary(method);
      break;
    case 'ServerStream':
      await making.serverStream();
      break;
    case 'ClientStream':
      await making.clientStream();
      break;
    case 'BidiStream':
      await making.bidiStream();
      break;
    default:
      throw new Error(`there is no method ${method}`);
  }
  return making.result;
}

const unaryMethods = {
  Unary: 'unary',
  IdempotentUnary: 'idempotentUnary',
  Unimplemented: 'unimplemented',
} as const;

/** One call. */
class Making {
  readonly result: ClientResponseResult = {
    responseHeaders: [],
    payloads: [],
    responseTrailers: [],
    numUnsentRequests: 0,
  };
  readonly #client: ClientOf<ConformanceApi>;
  readonly #request: ClientCompatRequest;
  readonly #abort = new AbortController();
  readonly #options: CallOptions;

  constructor(client: ClientOf<ConformanceApi>, request: ClientCompatRequest) {
    this.#client = client;
    this.#request = request;
    this.#options = {
      address: `${request.host}:${request.port}`,
      metadata: toMetadata(request.requestHeaders),
      // Where none is said there is none, also not the client's own.
      timeoutMs: request.timeoutMs ?? 0,
      compress: request.compression === 'COMPRESSION_GZIP' ? true : undefined,
      signal: this.#abort.signal,
      onHeaders: (headers: Metadata) => (this.result.responseHeaders = toHeaders(headers)),
      onTrailers: (trailers: Metadata) => (this.result.responseTrailers = toHeaders(trailers)),
    };
  }

  async unary(method: keyof typeof unaryMethods): Promise<void> {
    const [message] = this.#messages(`${method}Request`);
    if (!message) throw new Error(`${method} takes one request`);
    await this.#receiving(async () => {
      const reply: Promise<Response> = this.#client[unaryMethods[method]](message, this.#options);
      this.#wasClosed();
      this.#take(await reply);
    });
  }

  async clientStream(): Promise<void> {
    const messages = this.#messages('ClientStreamRequest');
    await this.#receiving(async () => {
      this.#take(await this.#client.clientStream(this.#sending(messages), this.#options));
    });
  }

  async serverStream(): Promise<void> {
    const [message] = this.#messages('ServerStreamRequest');
    if (!message) throw new Error('ServerStream takes one request');
    await this.#receiving(async () => {
      const replies = this.#client.serverStream(message, this.#options)[Symbol.asyncIterator]();
      const first = replies.next();
      this.#wasClosed();
      for (let reply = await first; reply.done !== true; reply = await replies.next()) this.#take(reply.value);
    });
  }

  async bidiStream(): Promise<void> {
    const messages = this.#messages('BidiStreamRequest');
    const isFullDuplex = this.#request.streamType === 'STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM';
    await this.#receiving(async () => {
      const requests = isFullDuplex ? new Pushed<object>() : undefined;
      const replies = this.#client
        .bidiStream(requests ?? this.#sending(messages), this.#options)
        [Symbol.asyncIterator]();
      if (requests && (await this.#inTurns(messages, requests, replies))) return;
      for (let reply = await replies.next(); reply.done !== true; reply = await replies.next()) this.#take(reply.value);
    });
  }

  /** A request, then its reply, and so on. Resolves to whether the call is over. */
  async #inTurns(
    messages: readonly object[],
    requests: Pushed<object>,
    replies: AsyncIterator<Response>,
  ): Promise<boolean> {
    for (const [index, message] of messages.entries()) {
      await this.#pause();
      this.result.numUnsentRequests = messages.length - index;
      requests.push(message);
      const pending = replies.next();
      this.result.numUnsentRequests -= 1;
      const reply = await pending;
      if (reply.done === true) return true;
      this.#take(reply.value);
    }
    if (this.#request.cancel?.beforeCloseSend) this.#abort.abort();
    else requests.end();
    this.#wasClosed();
    return false;
  }

  /** The requests, each when its time has come. */
  async *#sending(messages: readonly object[]): AsyncGenerator<object> {
    this.result.numUnsentRequests = messages.length;
    for (const message of messages) {
      await this.#pause();
      if (this.#abort.signal.aborted) return;
      this.result.numUnsentRequests -= 1;
      yield message;
    }
    if (this.#request.cancel?.beforeCloseSend) {
      // Not in this turn: what was sent last has to leave first.
      await sleep(1);
      this.#abort.abort();
    }
    this.#wasClosed();
  }

  /** The requests are all sent, and this side of the call is closed. */
  #wasClosed(): void {
    const { cancel } = this.#request;
    if (cancel?.beforeCloseSend || cancel?.afterNumResponses || !cancel) return;
    setTimeout(() => this.#abort.abort(), cancel.afterCloseSendMs ?? 0);
  }

  async #receiving(receive: () => Promise<void>): Promise<void> {
    try {
      await receive();
    } catch (error) {
      this.result.error = toProtoError(TenonError.from(error));
    }
  }

  #take({ payload = {} }: Response): void {
    const { payloads } = this.result;
    payloads.push(payload);
    if (payloads.length === this.#request.cancel?.afterNumResponses) this.#abort.abort();
  }

  #messages(name: string): object[] {
    return this.#request.requestMessages.map((any) => fromAny<object>(name, any));
  }

  async #pause(): Promise<void> {
    if (this.#request.requestDelayMs > 0) await sleep(this.#request.requestDelayMs);
  }
}
