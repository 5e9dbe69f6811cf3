import type { Marshaler } from '../../codec/codec.ts';
import { codecName } from '../../codec/content-type.ts';
import type { Metadata } from '../../context/metadata.ts';
import { errorOf, type Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { markReceived } from '../../errors/received.ts';
import { contentTypeKey } from '../../go-micro/call-headers.ts';
import { fromMicroForm } from '../../go-micro/errors.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Message } from '../../transport/transport.ts';
import type { MicroCalling } from './go-micro.ts';
import type { OutgoingContext } from './outgoing.ts';

/** A method and what does not change from call to call. */
export interface CallEncoding {
  readonly method: MethodDescriptor;
  readonly contentType: string;
  /** What HTTP is told of it. */
  readonly subType: string | undefined;
  readonly marshaler: Marshaler;
  readonly maxReceiveBytes: number | undefined;
  readonly maxSendBytes: number | undefined;
  /** Set where Go Micro's dialect is spoken. */
  readonly goMicro: MicroCalling | undefined;
}

/** What a call begins with. */
export interface InitialMessage extends Message {
  readonly headers: Metadata;
}

/**
 * The content type of gRPC with the codec that `contentType` names; nothing for protobuf, which every server takes a
 * call without a sub-type for.
 */
export function grpcTypeOf(contentType: string): string | undefined {
  const name = codecName(contentType);
  return name === 'proto' ? undefined : `application/grpc+${name}`;
}

/**
 * A server of tenon assumes the method's own codec; any other is said in the metadata too, since grpc-js shows neither
 * side the content sub-type.
 */
export function headersOf(encoding: CallEncoding, ctx: OutgoingContext): Metadata {
  if (encoding.goMicro) encoding.goMicro.addHeaders(ctx.metadata, encoding.contentType, ctx.deadline);
  else if (encoding.contentType !== encoding.method.defaultContentType)
    ctx.metadata.set(contentTypeKey, encoding.contentType);
  return ctx.metadata;
}

/** What the call ended with that `status` stands for. */
export function failureOf(encoding: CallEncoding, status: Status): TenonError {
  const error = errorOf(status);
  return markReceived(encoding.goMicro ? fromMicroForm(error) : error);
}

/** Throws INTERNAL (`client.bad_reply`): that the server's bytes do not decode is no fault of the request. */
export function decodeReply(encoding: CallEncoding, body: Uint8Array): unknown {
  try {
    return encoding.marshaler.unmarshal(encoding.method.output, body);
  } catch (error) {
    throw new TenonError({
      code: Code.Internal,
      reason: 'client.bad_reply',
      message: `the reply of ${encoding.method.path} does not decode: ${TenonError.from(error).message}`,
      cause: error,
    });
  }
}

/** A call's only request, with the headers. Throws `codec.encode` before anything is sent. */
export function messageOf(encoding: CallEncoding, input: unknown, ctx: OutgoingContext): InitialMessage {
  return {
    headers: headersOf(encoding, ctx),
    body: encoding.marshaler.marshal(encoding.method.input, input),
    compressed: ctx.compress,
  };
}
