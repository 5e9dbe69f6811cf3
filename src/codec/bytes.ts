import { injectable } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import type { Schema } from '../pipeline/pipeline.ts';
import type { Marshaler } from './codec.ts';
import { describeValue } from './internal/codec-errors.ts';

/**
 * Passes messages that are bytes already through unchanged: without a copy, in both directions. Copy bytes whose memory
 * is reused afterwards.
 */
@injectable()
export class BytesMarshaler implements Marshaler {
  readonly contentType = 'application/grpc+bytes';

  marshal(schema: Schema, value: unknown): Uint8Array {
    if (value instanceof Uint8Array) return value;
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'codec.encode',
      message: `${schema.name}: expected bytes (a Uint8Array), got ${describeValue(value)}. ${this.contentType} carries nothing else: use application/grpc+json`,
    });
  }

  unmarshal(_schema: Schema, bytes: Uint8Array): unknown {
    return bytes;
  }
}
