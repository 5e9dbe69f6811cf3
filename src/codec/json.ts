import { inject, injectable, optional } from 'inversify';

import type { Schema } from '../pipeline/pipeline.ts';
import { type Marshaler, MessageLimits } from './codec.ts';
import { assertJsonLimits, stringify } from './internal/json-text.ts';
import { assertLimits, deepestJson, defaultMaxElements } from './internal/limits.ts';
import { decodeFailure, encodeFailure, fail } from './internal/codec-errors.ts';

const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Converts messages to JSON in UTF-8. A message with a `.proto` uses protobuf's JSON mapping, any other
 * `JSON.stringify`, but a value that JSON would silently lose is refused (docs/codec.md).
 *
 * `undefined` is written as `null`. An empty body is read as `undefined`, or as an empty message if there is a
 * `.proto`.
 */
@injectable()
export class JsonMarshaler implements Marshaler {
  readonly contentType = 'application/grpc+json';
  readonly #limits: MessageLimits;
  readonly #maxDepth: number;

  constructor(@inject(MessageLimits) @optional() limits: MessageLimits = {}) {
    assertLimits(limits);
    this.#limits = limits;
    this.#maxDepth = limits.maxDepth ?? deepestJson;
  }

  marshal(schema: Schema, value: unknown): Uint8Array {
    const plain = schema.proto ? schema.proto.toJson(value, this.#limits) : value;
    try {
      return Buffer.from(stringify(plain, schema.proto ? deepestJson : this.#maxDepth), 'utf8');
    } catch (error) {
      throw encodeFailure(schema.name, error);
    }
  }

  unmarshal(schema: Schema, bytes: Uint8Array): unknown {
    if (bytes.length === 0) return schema.proto?.fromJson({});
    const json = this.#parse(schema, bytes);
    return schema.proto ? schema.proto.fromJson(json, this.#limits) : json;
  }

  #parse(schema: Schema, bytes: Uint8Array): unknown {
    try {
      // Lists and maps are levels of their own in the JSON of a message; its own depth is counted when it is read.
      const maxDepth = schema.proto ? deepestJson : this.#maxDepth;
      assertJsonLimits(bytes, this.#limits.maxElements ?? defaultMaxElements, maxDepth);
      return JSON.parse(textOf(bytes)) as unknown;
    } catch (error) {
      throw decodeFailure(schema.name, error);
    }
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return fail(`the bytes are not valid UTF-8, at ${firstInvalid(bytes)} of ${bytes.length}`);
  }
}

/** Finds by bisection the offset of the first bytes that are not UTF-8. */
function firstInvalid(bytes: Uint8Array): number {
  let valid = 0;
  let invalid = bytes.length;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >>> 1;
    try {
      // With `stream`, a character that is cut off at the end is no error.
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, middle), { stream: true });
      valid = middle;
    } catch {
      invalid = middle;
    }
  }
  return valid;
}
