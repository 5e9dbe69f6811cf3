/** Where gRPC's test service is described. */
export const testProto = new URL('../proto/grpc/testing/test.proto', import.meta.url);

export interface Payload {
  readonly type?: string | undefined;
  readonly body: Uint8Array;
}

/** A boolean that may be absent. */
export interface BoolValue {
  readonly value: boolean;
}

export interface EchoStatus {
  readonly code: number;
  readonly message: string;
}

export interface SimpleRequest {
  readonly responseSize?: number | undefined;
  readonly payload?: Payload | undefined;
  readonly responseCompressed?: BoolValue | undefined;
  readonly responseStatus?: EchoStatus | undefined;
  readonly expectCompressed?: BoolValue | undefined;
  readonly fillServerId?: boolean | undefined;
}

export interface SimpleResponse {
  readonly payload?: Payload | undefined;
  readonly serverId?: string | undefined;
}

export interface StreamingInputCallRequest {
  readonly payload?: Payload | undefined;
  readonly expectCompressed?: BoolValue | undefined;
}

export interface StreamingInputCallResponse {
  readonly aggregatedPayloadSize: number;
}

export interface ResponseParameters {
  readonly size?: number | undefined;
  readonly intervalUs?: number | undefined;
  readonly compressed?: BoolValue | undefined;
}

export interface StreamingOutputCallRequest {
  readonly responseParameters?: readonly ResponseParameters[] | undefined;
  readonly payload?: Payload | undefined;
  readonly responseStatus?: EchoStatus | undefined;
}

export interface StreamingOutputCallResponse {
  readonly payload?: Payload | undefined;
}

/** `grpc.testing.TestService`, as its callers see it. */
export interface TestApi {
  emptyCall(request: object): Promise<object>;
  unaryCall(request: SimpleRequest): Promise<SimpleResponse>;
  streamingOutputCall(request: StreamingOutputCallRequest): AsyncIterable<StreamingOutputCallResponse>;
  streamingInputCall(requests: AsyncIterable<StreamingInputCallRequest>): Promise<StreamingInputCallResponse>;
  fullDuplexCall(requests: AsyncIterable<StreamingOutputCallRequest>): AsyncIterable<StreamingOutputCallResponse>;
  halfDuplexCall(requests: AsyncIterable<StreamingOutputCallRequest>): AsyncIterable<StreamingOutputCallResponse>;
  unimplementedCall(request: object): Promise<object>;
}

/** `grpc.testing.UnimplementedService`, which nobody implements. */
export interface UnimplementedApi {
  unimplementedCall(request: object): Promise<object>;
}

/** What a client of each is made of. */
export const testSource = { proto: testProto, name: 'grpc.testing.TestService' };
export const unimplementedSource = { proto: testProto, name: 'grpc.testing.UnimplementedService' };

/** Comes back in the headers. */
export const echoInitialKey = 'x-grpc-test-echo-initial';
/** Comes back in the trailers. */
export const echoTrailingKey = 'x-grpc-test-echo-trailing-bin';
