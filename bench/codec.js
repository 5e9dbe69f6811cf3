// What a message costs: tenon's mapping against protobufjs, for the same bytes.
//
//   npm run build && node bench/codec.js [milliseconds per slice]
//
// "static" is protobufjs's own generated encode and decode on its own messages: 64-bit integers are Longs, enums are
// numbers, bytes are views of the input, nothing is checked. "plain" is what gives plain values there: fromObject and
// toObject around them. Slices are interleaved; a figure is the median of the slices, a ratio that of tenon's time to
// protobufjs's.
//
// A second table has the same values without their `.proto`: MessagePack and CBOR against their libraries, JSON against
// JSON.parse and JSON.stringify.
import { Decoder, Encoder } from '@msgpack/msgpack';
import * as cborg from 'cborg';
import protobuf from 'protobufjs';

import { CborMarshaler } from '../dist/codec/cbor.js';
import { JsonMarshaler } from '../dist/codec/json.js';
import { MsgpackMarshaler } from '../dist/codec/msgpack.js';
import { loadProto } from '../dist/codec/proto.js';
import { anySchema } from '../dist/pipeline/pipeline.js';

const sliceMs = Number(process.argv[2] ?? 40);
const slices = 15;
const proto = new URL('./codec.proto', import.meta.url);
const file = loadProto(proto);
const root = protobuf.loadSync(proto.pathname);
const plain = { enums: String, longs: BigInt, defaults: true, arrays: true, objects: true, oneofs: true };

const cases = {
  'hello, 32 B': { type: 'bench.Hello', value: { name: 'a name of twenty-seven chars', count: 1234 } },
  'place, 120 B': {
    type: 'bench.Place',
    value: {
      id: 3_038_832n,
      name: 'Vila',
      country: 'AD',
      kind: 'TOWN',
      latitude: 42.53176,
      longitude: 1.56654,
      population: 1418n,
      tags: ['seat', 'mountain', 'river'],
      at: { hour: 12, minute: 30 },
    },
  },
  'places, 50 of them': { type: 'bench.Places', value: { places: [] } },
  'text, 1 KiB': { type: 'bench.Hello', value: { name: 'x'.repeat(1020), count: 1 } },
  'bytes, 1 KiB': { type: 'bench.Blob', value: { data: new Uint8Array(1020).fill(7) } },
  'numbers, 100': {
    type: 'bench.Numbers',
    value: { numbers: Array.from({ length: 100 }, (_, index) => index * index + 1) },
  },
};
cases['places, 50 of them'].value.places = Array.from({ length: 50 }, (_, index) => ({
  ...cases['place, 120 B'].value,
  id: BigInt(index + 1),
}));

function perCall(work) {
  let calls = 0;
  const start = process.hrtime.bigint();
  const end = start + BigInt(sliceMs) * 1_000_000n;
  let now = start;
  while (now < end) {
    for (let i = 0; i < 50; i += 1) work();
    calls += 50;
    now = process.hrtime.bigint();
  }
  return Number(now - start) / calls;
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

function longs(value) {
  if (typeof value === 'bigint') return protobuf.util.Long.fromString(String(value));
  if (Array.isArray(value)) return value.map(longs);
  if (value instanceof Uint8Array || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, content]) => [key, longs(content)]));
}

const nanoseconds = (value) => `${Math.round(value).toString().padStart(7)} ns`;
const ratio = (a, b) => (a / b).toFixed(2).padStart(6);

console.log(
  `${'message'.padEnd(20)} ${'what'.padEnd(7)}  ${'tenon'.padStart(10)} ${'static'.padStart(10)} ${'plain'.padStart(10)}  tenon/static  tenon/plain`,
);
for (const [name, { type, value }] of Object.entries(cases)) {
  const ours = file.type(type);
  const theirs = root.lookupType(type);
  const bytes = ours.encode(value);
  const forPlain = longs(value);
  const message = theirs.fromObject(forPlain);
  if (!Buffer.from(theirs.encode(message).finish()).equals(Buffer.from(bytes)))
    throw new Error(`${name}: the bytes differ`);
  const rows = {
    encode: [
      () => ours.encode(value),
      () => theirs.encode(message).finish(),
      () => theirs.encode(theirs.fromObject(forPlain)).finish(),
    ],
    decode: [() => ours.decode(bytes), () => theirs.decode(bytes), () => theirs.toObject(theirs.decode(bytes), plain)],
  };
  for (const [what, works] of Object.entries(rows)) {
    const [tenon, bare, full] = medians(works);
    console.log(
      `${name.padEnd(20)} ${what.padEnd(7)}  ${nanoseconds(tenon)} ${nanoseconds(bare)} ${nanoseconds(full)}  ${ratio(tenon, bare).padStart(12)}  ${ratio(tenon, full).padStart(11)}`,
    );
  }
}

function medians(works) {
  for (const work of works) perCall(work);
  const times = works.map(() => []);
  for (let slice = 0; slice < slices; slice += 1) works.forEach((work, index) => times[index].push(perCall(work)));
  return times.map(median);
}

const encoder = new Encoder();
const decoder = new Decoder();
const formats = {
  msgpack: [new MsgpackMarshaler(), (value) => encoder.encode(value), (bytes) => decoder.decode(bytes)],
  cbor: [new CborMarshaler(), (value) => cborg.encode(value), (bytes) => cborg.decode(bytes)],
  json: [
    new JsonMarshaler(),
    (value) => Buffer.from(JSON.stringify(value)),
    (bytes) => JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()),
  ],
};

/** The value as all of these formats have it. */
function plainOf(value) {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plainOf);
  if (value instanceof Uint8Array || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, content]) => [key, plainOf(content)]));
}

console.log(
  `\n${'value'.padEnd(20)} ${'format'.padEnd(8)} ${'what'.padEnd(7)}  ${'tenon'.padStart(10)} ${'library'.padStart(10)}  tenon/library`,
);
for (const [name, { value }] of Object.entries(cases)) {
  const plain = plainOf(value);
  for (const [format, [ours, encode, decode]] of Object.entries(formats)) {
    if (format === 'json' && plain.data) continue;
    const bytes = encode(plain);
    const rows = {
      encode: [() => ours.marshal(anySchema, plain), () => encode(plain)],
      decode: [() => ours.unmarshal(anySchema, bytes), () => decode(bytes)],
    };
    for (const [what, works] of Object.entries(rows)) {
      const [tenon, library] = medians(works);
      console.log(
        `${name.padEnd(20)} ${format.padEnd(8)} ${what.padEnd(7)}  ${nanoseconds(tenon)} ${nanoseconds(library)}  ${ratio(tenon, library).padStart(13)}`,
      );
    }
  }
}
