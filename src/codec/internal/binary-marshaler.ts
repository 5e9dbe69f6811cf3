import type { Schema } from '../../pipeline/pipeline.ts';
import type { Marshaler, MessageLimits } from '../codec.ts';
import type { BinaryReader } from './binary-reader.ts';
import type { BinaryWriter } from './binary-writer.ts';
import { decodeFailure, encodeFailure } from './codec-errors.ts';
import { assertLimits, deepestJson, defaultMaxElements } from './limits.ts';

/** A marshaler of a binary format that describes itself. A message with a `.proto` is a map of its fields. */
export abstract class BinaryMarshaler implements Marshaler {
  abstract readonly contentType: string;
  readonly #limits: MessageLimits;
  readonly #maxDepth: number;

  constructor(limits: MessageLimits) {
    assertLimits(limits);
    this.#limits = limits;
    this.#maxDepth = limits.maxDepth ?? deepestJson;
  }

  protected abstract writer(maxDepth: number): BinaryWriter;
  protected abstract reader(bytes: Uint8Array, maxElements: number, maxDepth: number): BinaryReader;

  marshal(schema: Schema, value: unknown): Uint8Array {
    const plain = schema.proto ? schema.proto.toJson(value, this.#limits, 'binary') : value;
    try {
      return this.writer(this.#depthOf(schema)).write(plain);
    } catch (error) {
      throw encodeFailure(schema.name, error);
    }
  }

  unmarshal(schema: Schema, bytes: Uint8Array): unknown {
    if (bytes.length === 0) return schema.proto?.fromJson({}, this.#limits, 'binary');
    const plain = this.#read(schema, bytes);
    return schema.proto ? schema.proto.fromJson(plain, this.#limits, 'binary') : plain;
  }

  #read(schema: Schema, bytes: Uint8Array): unknown {
    try {
      const { maxElements = defaultMaxElements } = this.#limits;
      return this.reader(bytes, maxElements, this.#depthOf(schema)).read();
    } catch (error) {
      throw decodeFailure(schema.name, error);
    }
  }

  /** Lists and maps are levels of their own; those of a message are counted when its fields are converted. */
  #depthOf(schema: Schema): number {
    return schema.proto ? deepestJson : this.#maxDepth;
  }
}
