import { describe, expect, it } from '@jest/globals';

import { BytesMarshaler } from '../../src/codec/bytes.ts';
import { Code } from '../../src/errors/errors.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { thrownBy } from '../../src/testing/failures.ts';

describe('the codec of bytes', () => {
  const marshaler = new BytesMarshaler();

  it('passes on the same memory both ways, without a copy', () => {
    const bytes = Uint8Array.of(1, 2, 3);
    expect(marshaler.marshal(anySchema, bytes)).toBe(bytes);
    expect(marshaler.unmarshal(anySchema, bytes)).toBe(bytes);
  });

  it('refuses a value that is not bytes, and names a codec that takes it', () => {
    const error = thrownBy(() => marshaler.marshal(anySchema, { item: 'tea' }));
    expect(error).toMatchObject({ code: Code.InvalidArgument, reason: 'codec.encode' });
    expect(error.message).toMatch(/expected bytes \(a Uint8Array\).*use application\/grpc\+json/);
  });
});
