import { inject, injectable, optional } from 'inversify';

import { CborReader } from './cbor/reader.ts';
import { CborWriter } from './cbor/writer.ts';
import { type Marshaler, MessageLimits } from './codec.ts';
import { BinaryMarshaler } from './internal/binary-marshaler.ts';

/**
 * Converts messages to CBOR (RFC 8949). A message with a `.proto` is a map by the names of protobuf's JSON mapping,
 * with integers and bytes as they are. Any other value is written as `JsonMarshaler` does, and may hold bytes, integers
 * of 64 bits, NaN and the infinities besides (docs/codec.md).
 *
 * `undefined` is written as null. An empty body is read as `undefined`, or as an empty message if there is a `.proto`.
 */
@injectable()
export class CborMarshaler extends BinaryMarshaler implements Marshaler {
  override readonly contentType = 'application/grpc+cbor';

  constructor(@inject(MessageLimits) @optional() limits: MessageLimits = {}) {
    super(limits);
  }

  protected override writer(maxDepth: number): CborWriter {
    return new CborWriter(maxDepth);
  }

  protected override reader(bytes: Uint8Array, maxElements: number, maxDepth: number): CborReader {
    return new CborReader(bytes, maxElements, maxDepth);
  }
}
