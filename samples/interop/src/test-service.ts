import { inject } from 'inversify';
import { Code, type Context, Handler, Rpc, Service, TenonError, Timers } from 'tenon';

import {
  type BoolValue,
  echoInitialKey,
  type EchoStatus,
  echoTrailingKey,
  type Payload,
  type ResponseParameters,
  type SimpleRequest,
  type SimpleResponse,
  type StreamingInputCallRequest,
  type StreamingInputCallResponse,
  type StreamingOutputCallRequest,
  type StreamingOutputCallResponse,
  testProto,
} from './testing-api.ts';

/** Container key of what `server_id` is. */
export const ServerId = Symbol.for('interop.ServerId');

/**
 * gRPC's test service, by its public descriptions. What is left out is answered by the framework, as is the whole of
 * `UnimplementedService`.
 */
@Handler('grpc.testing.TestService', { proto: testProto, unimplemented: ['CacheableUnaryCall', 'UnimplementedCall'] })
export class TestServiceHandler {
  constructor(
    @inject(Timers) private readonly timers: Timers,
    @inject(ServerId) private readonly serverId: string,
  ) {}

  @Rpc()
  async emptyCall(): Promise<object> {
    return {};
  }

  @Rpc()
  async unaryCall(request: SimpleRequest, ctx: Context): Promise<SimpleResponse> {
    echoMetadata(ctx);
    checkCompression(request.expectCompressed, ctx);
    throwIfAsked(request.responseStatus);
    ctx.compress = request.responseCompressed?.value;
    const payload = request.responseSize ? zeros(request.responseSize) : undefined;
    return { payload, serverId: request.fillServerId === true ? this.serverId : '' };
  }

  @Rpc({ stream: 'server' })
  async *streamingOutputCall(
    request: StreamingOutputCallRequest,
    ctx: Context,
  ): AsyncIterable<StreamingOutputCallResponse> {
    yield* this.#replies(request, ctx);
    throwIfAsked(request.responseStatus);
  }

  @Rpc({ stream: 'client' })
  async streamingInputCall(
    requests: AsyncIterable<StreamingInputCallRequest>,
    ctx: Context,
  ): Promise<StreamingInputCallResponse> {
    let aggregatedPayloadSize = 0;
    for await (const { payload, expectCompressed } of requests) {
      checkCompression(expectCompressed, ctx);
      aggregatedPayloadSize += payload?.body.length ?? 0;
    }
    return { aggregatedPayloadSize };
  }

  @Rpc({ stream: 'bidi' })
  async *fullDuplexCall(
    requests: AsyncIterable<StreamingOutputCallRequest>,
    ctx: Context,
  ): AsyncIterable<StreamingOutputCallResponse> {
    echoMetadata(ctx);
    for await (const request of requests) {
      throwIfAsked(request.responseStatus);
      yield* this.#replies(request, ctx);
    }
  }

  @Rpc({ stream: 'bidi' })
  async *halfDuplexCall(
    requests: AsyncIterable<StreamingOutputCallRequest>,
    ctx: Context,
  ): AsyncIterable<StreamingOutputCallResponse> {
    const kept: StreamingOutputCallRequest[] = [];
    for await (const request of requests) kept.push(request);
    for (const request of kept) yield* this.#replies(request, ctx);
  }

  async *#replies(
    { responseParameters = [] }: StreamingOutputCallRequest,
    ctx: Context,
  ): AsyncIterable<StreamingOutputCallResponse> {
    ctx.compress ??= mayCompress(responseParameters);
    for (const { size = 0, intervalUs = 0, compressed } of responseParameters) {
      if (intervalUs > 0) await this.timers.sleep(intervalUs / 1_000, ctx.signal);
      if (compressed) ctx.compress = compressed.value;
      yield { payload: zeros(size) };
    }
  }
}

/** Found in the registry as `interop.echo`, or what `SERVICE_NAME` says. */
@Service({ name: 'interop.echo', handlers: [TestServiceHandler] })
export class TestService {}

/** A stream's headers say whether any of its messages may be compressed: once one may, the first has to tell. */
function mayCompress(parameters: readonly ResponseParameters[]): boolean | undefined {
  return parameters.some(({ compressed }) => compressed) ? false : undefined;
}

function zeros(size: number): Payload {
  if (size < 0) throw invalid(`a response of ${size} bytes was asked for`);
  return { body: new Uint8Array(size) };
}

function echoMetadata(ctx: Context): void {
  const initial = ctx.metadata.get(echoInitialKey);
  if (initial !== undefined) ctx.headers.set(echoInitialKey, initial);
  const trailing = ctx.metadata.get(echoTrailingKey);
  if (trailing !== undefined) ctx.trailers.set(echoTrailingKey, trailing);
}

function throwIfAsked(status: EchoStatus | undefined): void {
  if (status === undefined || status.code === 0) return;
  throw new TenonError({ code: status.code as Code, message: status.message });
}

function checkCompression(expected: BoolValue | undefined, ctx: Context): void {
  if (!expected || ctx.wasCompressed === undefined || ctx.wasCompressed === expected.value) return;
  throw invalid(
    `the request came ${ctx.wasCompressed ? 'compressed' : 'uncompressed'}, the other way round was expected`,
  );
}

function invalid(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, message });
}
