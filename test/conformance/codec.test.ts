import { describe, it } from '@jest/globals';

import { BytesMarshaler } from '../../src/codec/bytes.ts';
import { CborMarshaler } from '../../src/codec/cbor.ts';
import { JsonMarshaler } from '../../src/codec/json.ts';
import { MarshalerCodec } from '../../src/codec/marshaler-codec.ts';
import { MsgpackMarshaler } from '../../src/codec/msgpack.ts';
import { ProtoMarshaler } from '../../src/codec/proto.ts';
import { anySchema } from '../../src/pipeline/pipeline.ts';
import { codecConformance, framedCodecConformance } from '../../src/testing/codec.ts';
import { binaryOptions, bytesOf, jsonOptions, protoOptions, scalars, schemaOf } from '../codec/support.ts';

const api = { describe, it };
const scalarsSchema = schemaOf('kinds.Scalars');

codecConformance(api, 'proto', {
  ...protoOptions,
  make: () => new ProtoMarshaler(),
  garbage: [
    { schema: scalarsSchema, bytes: Uint8Array.of(0x72, 0x05, 0x61) },
    { schema: scalarsSchema, bytes: Uint8Array.of(0x72, 0x02, 0xc3, 0x28) },
    { schema: scalarsSchema, bytes: Uint8Array.of(0x00, 0x01) },
    { schema: scalarsSchema, bytes: Uint8Array.of(0x7a, 0xff, 0xff, 0xff, 0xff, 0x0f) },
    { schema: scalarsSchema, bytes: Uint8Array.of(0x18, 0x80) },
  ],
});
codecConformance(api, 'json', { ...jsonOptions, make: () => new JsonMarshaler() });
codecConformance(api, 'json, of messages with a .proto', {
  ...protoOptions,
  make: () => new JsonMarshaler(),
  garbage: [
    { schema: scalarsSchema, bytes: Buffer.from('{"anInt32": "x"}') },
    { schema: scalarsSchema, bytes: Buffer.from('{"anInt": 1}') },
    { schema: scalarsSchema, bytes: Buffer.from('[]') },
    { schema: scalarsSchema, bytes: Buffer.from('{') },
  ],
});
codecConformance(api, 'msgpack', {
  ...binaryOptions,
  make: () => new MsgpackMarshaler(),
  garbage: ['c1', '91', '81a161', 'a2c328', 'd9', '00 00', '81 01 02', 'd6ff 00000000'].map((text) => ({
    schema: anySchema,
    bytes: bytesOf(text),
  })),
});
codecConformance(api, 'msgpack, of messages with a .proto', {
  ...protoOptions,
  make: () => new MsgpackMarshaler(),
  garbage: ['81 a7616e496e743332 a178', '81 a5616e496e74 01', '90', '80 80'].map((text) => ({
    schema: scalarsSchema,
    bytes: bytesOf(text),
  })),
});
codecConformance(api, 'cbor', {
  ...binaryOptions,
  make: () => new CborMarshaler(),
  garbage: ['1c', '81', 'a16161', '62c328', '78', '00 00', 'a1 01 02', 'c1 00', 'ff', '9f', '3bffffffffffffffff'].map(
    (text) => ({ schema: anySchema, bytes: bytesOf(text) }),
  ),
});
codecConformance(api, 'cbor, of messages with a .proto', {
  ...protoOptions,
  make: () => new CborMarshaler(),
  garbage: ['a1 67616e496e743332 6178', 'a1 65616e496e74 01', '80', 'a0 a0'].map((text) => ({
    schema: scalarsSchema,
    bytes: bytesOf(text),
  })),
});
codecConformance(api, 'bytes', {
  make: () => new BytesMarshaler(),
  samples: [
    { name: 'some', schema: anySchema, value: Uint8Array.of(1, 2, 3) },
    { name: 'none', schema: anySchema, value: new Uint8Array(0) },
    { name: 'a Buffer', schema: anySchema, value: Buffer.from('text') },
  ],
  unencodable: [undefined, null, 'text', { a: 1 }, [1, 2]].map((value) => ({ schema: anySchema, value })),
  garbage: [],
  large: (bytes) => ({ schema: anySchema, value: new Uint8Array(bytes).fill(7) }),
  empty: anySchema,
  supports: { copies: false, refusesBytes: false },
});

framedCodecConformance(api, 'proto', {
  make: (stream) => new MarshalerCodec(new ProtoMarshaler(), stream),
  schema: scalarsSchema,
  value: scalars,
  unencodable: { aBool: 1 },
});
framedCodecConformance(api, 'json', {
  make: (stream) => new MarshalerCodec(new JsonMarshaler(), stream),
  schema: anySchema,
  value: { a: 1 },
  unencodable: 1n,
});
framedCodecConformance(api, 'msgpack', {
  make: (stream) => new MarshalerCodec(new MsgpackMarshaler(), stream),
  schema: anySchema,
  value: { a: 1 },
  unencodable: () => 1,
});
framedCodecConformance(api, 'cbor', {
  make: (stream) => new MarshalerCodec(new CborMarshaler(), stream),
  schema: anySchema,
  value: { a: 1 },
  unencodable: () => 1,
});
