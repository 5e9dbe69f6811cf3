import { inject } from 'inversify';
import { Clock, type Context, Handler, Rpc, Service, Timers } from 'tenon';

import {
  type Any,
  conformanceProto,
  type Payload,
  type RequestInfo,
  type Response,
  type StreamRequest,
  type StreamResponseDefinition,
  toAny,
  toHeaders,
  toMetadata,
  toTenonError,
  type UnaryRequest,
  type UnaryResponseDefinition,
} from './conformance-api.ts';

/** Connect's conformance service, by the comments in its `.proto`. */
@Handler('connectrpc.conformance.v1.ConformanceService', {
  proto: conformanceProto,
  unimplemented: ['Unimplemented'],
})
export class ConformanceHandler {
  constructor(
    @inject(Clock) private readonly clock: Clock,
    @inject(Timers) private readonly timers: Timers,
  ) {}

  @Rpc()
  async unary(request: UnaryRequest, ctx: Context): Promise<Response> {
    return this.#answer(request.responseDefinition, [toAny('UnaryRequest', request)], ctx);
  }

  @Rpc()
  async idempotentUnary(request: UnaryRequest, ctx: Context): Promise<Response> {
    return this.#answer(request.responseDefinition, [toAny('IdempotentUnaryRequest', request)], ctx);
  }

  @Rpc({ stream: 'client' })
  async clientStream(requests: AsyncIterable<UnaryRequest>, ctx: Context): Promise<Response> {
    const received: UnaryRequest[] = [];
    for await (const request of requests) received.push(request);
    const anys = received.map((request) => toAny('ClientStreamRequest', request));
    return this.#answer(received[0]?.responseDefinition, anys, ctx);
  }

  @Rpc({ stream: 'server' })
  async *serverStream(request: StreamRequest, ctx: Context): AsyncIterable<Response> {
    const definition = request.responseDefinition;
    if (!definition) return;
    tell(definition, ctx);
    ctx.sendHeaders();
    const info = this.#infoOf([toAny('ServerStreamRequest', request)], ctx);
    yield* this.#replies(definition, 0, () => info, ctx);
  }

  @Rpc({ stream: 'bidi' })
  async *bidiStream(requests: AsyncIterable<StreamRequest>, ctx: Context): AsyncIterable<Response> {
    let definition: StreamResponseDefinition | undefined;
    let isFullDuplex = false;
    let sent = 0;
    let isFirst = true;
    let received: Any[] = [];
    for await (const request of requests) {
      received.push(toAny('BidiStreamRequest', request));
      if (isFirst) {
        isFirst = false;
        definition = request.responseDefinition;
        isFullDuplex = request.fullDuplex === true;
        if (definition) tell(definition, ctx);
        if (isFullDuplex && definition) ctx.sendHeaders();
      }
      if (!isFullDuplex) continue;
      const data = definition?.responseData[sent];
      if (!definition || data === undefined) break;
      const requestInfo = sent === 0 ? this.#infoOf(received, ctx) : { requests: received };
      await this.#wait(definition.responseDelayMs, ctx);
      yield { payload: { data, requestInfo } };
      sent += 1;
      received = [];
    }
    if (definition) yield* this.#replies(definition, sent, () => this.#infoOf(received, ctx), ctx);
  }

  /** The one answer of a call that has one. */
  async #answer(
    definition: UnaryResponseDefinition | undefined,
    requests: readonly Any[],
    ctx: Context,
  ): Promise<Response> {
    const requestInfo = this.#infoOf(requests, ctx);
    if (!definition) return { payload: { requestInfo } };
    tell(definition, ctx);
    await this.#wait(definition.responseDelayMs, ctx);
    const { error, responseData: data } = definition;
    if (error) throw toTenonError(error, [anyOf(requestInfo)]);
    return { payload: { data, requestInfo } };
  }

  /** What is left of the answers after the first `sent`, then the error if there is one. */
  async *#replies(
    { responseData, responseDelayMs, error }: StreamResponseDefinition,
    sent: number,
    info: () => RequestInfo,
    ctx: Context,
  ): AsyncIterable<Response> {
    for (const [index, data] of responseData.entries()) {
      if (index < sent) continue;
      await this.#wait(responseDelayMs, ctx);
      const payload: Payload = index === 0 ? { data, requestInfo: info() } : { data };
      yield { payload };
    }
    if (error) throw toTenonError(error, responseData.length === 0 ? [anyOf(info())] : []);
  }

  async #wait(delayMs: number, ctx: Context): Promise<void> {
    if (delayMs > 0) await this.timers.sleep(delayMs, ctx.signal);
  }

  #infoOf(requests: readonly Any[], ctx: Context): RequestInfo {
    const left =
      ctx.deadline === undefined ? undefined : Math.max(0, Math.trunc(ctx.deadline - this.clock.monotonicMs()));
    return { requestHeaders: toHeaders(ctx.metadata), timeoutMs: left, requests };
  }
}

/** What the runner starts; nobody looks for it in a registry. */
@Service({ name: 'conformance', handlers: [ConformanceHandler] })
export class ConformanceService {}

function tell(
  { responseHeaders, responseTrailers }: Pick<UnaryResponseDefinition, 'responseHeaders' | 'responseTrailers'>,
  ctx: Context,
): void {
  toMetadata(responseHeaders, ctx.headers);
  toMetadata(responseTrailers, ctx.trailers);
}

function anyOf(info: RequestInfo): Any {
  return toAny('ConformancePayload.RequestInfo', info);
}
