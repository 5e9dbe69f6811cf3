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

/** One method with the codec and the limits of its calls, put together once. */
export interface CallEncoding {
  readonly method: MethodDescriptor;
  readonly contentType: string;
  /** The content type in terms of HTTP; `undefined` for protobuf. */
  readonly subType: string | undefined;
  readonly marshaler: Marshaler;
  readonly maxReceiveBytes: number | undefined;
  readonly maxSendBytes: number | undefined;
  /** The dialect's part of a call; absent if Go Micro's dialect is not spoken. */
  readonly goMicro: MicroCalling | undefined;
}

/** The first message of a call, which has headers. */
export interface InitialMessage extends Message {
  readonly headers: Metadata;
}

/**
 * Returns the content type of gRPC with the codec that `contentType` names; `undefined` for protobuf, which every
 * server assumes.
 */
export function grpcTypeOf(contentType: string): string | undefined {
  const name = codecName(contentType);
  return name === 'proto' ? undefined : `application/grpc+${name}`;
}

/**
 * Returns the headers of a call. A server of tenon assumes the method's own codec; any other is named in the metadata
 * too, since grpc-js shows neither side the content sub-type.
 */
export function headersOf(encoding: CallEncoding, ctx: OutgoingContext): Metadata {
  if (encoding.goMicro) encoding.goMicro.addHeaders(ctx.metadata, encoding.contentType, ctx.deadline);
  else if (encoding.contentType !== encoding.method.defaultContentType)
    ctx.metadata.set(contentTypeKey, encoding.contentType);
  return ctx.metadata;
}

/** Returns the error that `status` stands for. */
export function failureOf(encoding: CallEncoding, status: Status): TenonError {
  const error = errorOf(status);
  return markReceived(encoding.goMicro ? fromMicroForm(error) : error);
}

/**
 * Decodes a reply. Throws INTERNAL (`client.bad_reply`), since a reply that does not decode is no fault of the request.
 */
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

/** Encodes the only request of a call, with its headers. Throws `codec.encode` before anything is sent. */
export function messageOf(encoding: CallEncoding, input: unknown, ctx: OutgoingContext): InitialMessage {
  return {
    headers: headersOf(encoding, ctx),
    body: encoding.marshaler.marshal(encoding.method.input, input),
    compressed: ctx.compress,
  };
}
