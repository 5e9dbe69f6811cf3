import { inject, injectable, optional } from 'inversify';

import { type Marshaler, MessageLimits } from './codec.ts';
import { BinaryMarshaler } from './internal/binary-marshaler.ts';
import { MsgpackReader } from './msgpack/reader.ts';
import { MsgpackWriter } from './msgpack/writer.ts';

/**
 * Converts messages to MessagePack. A message with a `.proto` is a map by the names of protobuf's JSON mapping, with
 * integers and bytes as they are. Any other value is written as `JsonMarshaler` does, and may hold bytes, integers of
 * 64 bits, NaN and the infinities besides (docs/codec.md).
 *
 * `undefined` is written as nil. An empty body is read as `undefined`, or as an empty message if there is a `.proto`.
 */
@injectable()
export class MsgpackMarshaler extends BinaryMarshaler implements Marshaler {
  override readonly contentType = 'application/grpc+msgpack';

  constructor(@inject(MessageLimits) @optional() limits: MessageLimits = {}) {
    super(limits);
  }

  protected override writer(maxDepth: number): MsgpackWriter {
    return new MsgpackWriter(maxDepth);
  }

  protected override reader(bytes: Uint8Array, maxElements: number, maxDepth: number): MsgpackReader {
    return new MsgpackReader(bytes, maxElements, maxDepth);
  }
}
