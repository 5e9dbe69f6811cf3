import assert from 'node:assert/strict';

import type { Codec, Marshaler, MessageHeader, MessageStream } from '../codec/codec.ts';
import { MessageType } from '../codec/codec.ts';
import { Code, TenonError } from '../errors/errors.ts';
import type { Schema } from '../pipeline/pipeline.ts';
import type { Case, TestApi } from './api.ts';

/** A value that a codec can carry, with its schema. */
export interface CodecSample {
  readonly name: string;
  readonly schema: Schema;
  readonly value: unknown;
  /** The decoded value, if it does not equal `value`. */
  readonly decoded?: unknown;
}

/** The codec under test and its sample values, as codecs differ in the values that they carry. */
export interface CodecHarness {
  readonly make: () => Marshaler;
  readonly samples: readonly CodecSample[];
  /** Values that encoding must refuse with an error that names their schema. At least one. */
  readonly unencodable: readonly { readonly schema: Schema; readonly value: unknown }[];
  /** Bytes that decoding must refuse. At least one, unless the codec takes any bytes. */
  readonly garbage: readonly { readonly schema: Schema; readonly bytes: Uint8Array }[];
  /** Makes a value of about `bytes` bytes. */
  readonly large: (bytes: number) => { readonly schema: Schema; readonly value: unknown };
  /** A schema for which an empty body is a valid message. */
  readonly empty: Schema;
  readonly supports?: {
    /** True if decoded values share no memory with the decoded bytes. @default true */
    readonly copies?: boolean;
    /** True if there are bytes that decoding refuses. @default true */
    readonly refusesBytes?: boolean;
  };
}

/** The cases of the {@link Marshaler} contract. */
export const codecCases: readonly Case<CodecHarness>[] = [
  {
    name: 'the content type is that of gRPC with a sub-type',
    run({ make }) {
      assert.match(make().contentType, /^application\/grpc\+[a-z0-9][a-z0-9.-]*$/);
    },
  },
  {
    name: 'a value survives the round trip',
    run({ make, samples }) {
      const marshaler = make();
      assert.ok(samples.length > 0, 'a suite without samples shows nothing');
      for (const sample of samples) {
        const bytes = marshaler.marshal(sample.schema, sample.value);
        assert.ok(bytes instanceof Uint8Array, `${sample.name}: not bytes`);
        assert.deepStrictEqual(marshaler.unmarshal(sample.schema, bytes), expected(sample), sample.name);
      }
    },
  },
  {
    name: 'bytes without a Buffer around them are read as well',
    run({ make, samples }) {
      const marshaler = make();
      for (const sample of samples) {
        // Not at the start of their memory, as a slice of a received packet is.
        const bytes = marshaler.marshal(sample.schema, sample.value);
        const around = new Uint8Array(bytes.length + 6).fill(0xee);
        around.set(bytes, 3);
        const read = marshaler.unmarshal(sample.schema, around.subarray(3, 3 + bytes.length));
        assert.deepStrictEqual(plain(read), plain(expected(sample)), sample.name);
      }
    },
  },
  {
    name: 'the same value gives the same bytes',
    run({ make, samples }) {
      const [one, other] = [make(), make()];
      for (const sample of samples) {
        const first = hex(one.marshal(sample.schema, sample.value));
        assert.equal(hex(one.marshal(sample.schema, sample.value)), first, sample.name);
        assert.equal(hex(other.marshal(sample.schema, sample.value)), first, `${sample.name}, another instance`);
      }
    },
  },
  {
    name: 'bytes that were handed out stay as they are',
    run({ make, samples }) {
      const marshaler = make();
      const written = samples.map((sample) => marshaler.marshal(sample.schema, sample.value));
      const before = written.map(hex);
      for (let round = 0; round < 20; round += 1) {
        for (const sample of [...samples].reverse())
          marshaler.unmarshal(sample.schema, marshaler.marshal(sample.schema, sample.value));
      }
      assert.deepStrictEqual(written.map(hex), before);
    },
  },
  {
    name: 'marshal does not change its value',
    run({ make, samples }) {
      const marshaler = make();
      for (const sample of samples) {
        const copy = structuredClone(sample.value);
        marshaler.marshal(sample.schema, deepFreeze(sample.value));
        assert.deepStrictEqual(plain(structuredClone(sample.value)), plain(copy), sample.name);
      }
    },
  },
  {
    name: 'unmarshal does not change its bytes',
    run({ make, samples }) {
      const marshaler = make();
      for (const sample of samples) {
        const bytes = marshaler.marshal(sample.schema, sample.value);
        const before = hex(bytes);
        marshaler.unmarshal(sample.schema, bytes);
        assert.equal(hex(bytes), before, sample.name);
      }
    },
  },
  {
    name: 'what was read shares no memory with its bytes',
    requires: 'copies',
    run({ make, samples }) {
      const marshaler = make();
      for (const sample of samples) {
        const bytes = Uint8Array.from(marshaler.marshal(sample.schema, sample.value));
        const value = marshaler.unmarshal(sample.schema, bytes);
        bytes.fill(0xff);
        assert.deepStrictEqual(value, expected(sample), sample.name);
      }
    },
  },
  {
    name: 'what was read belongs to the caller',
    run({ make, samples }) {
      const marshaler = make();
      for (const sample of samples) {
        const bytes = Uint8Array.from(marshaler.marshal(sample.schema, sample.value));
        const value = marshaler.unmarshal(sample.schema, Uint8Array.from(bytes));
        deface(value);
        assert.deepStrictEqual(plain(marshaler.unmarshal(sample.schema, bytes)), plain(expected(sample)), sample.name);
      }
    },
  },
  {
    name: 'one instance serves many calls at once',
    async run({ make, samples }) {
      const marshaler = make();
      const one = async (sample: CodecSample): Promise<void> => {
        for (let round = 0; round < 5; round += 1) {
          const bytes = marshaler.marshal(sample.schema, sample.value);
          await Promise.resolve();
          assert.deepStrictEqual(
            plain(marshaler.unmarshal(sample.schema, bytes)),
            plain(expected(sample)),
            sample.name,
          );
        }
      };
      await Promise.all([...samples, ...samples].map(one));
    },
  },
  {
    name: 'a message of a mebibyte survives',
    run({ make, large }) {
      const marshaler = make();
      const { schema, value } = large(1024 * 1024);
      const bytes = marshaler.marshal(schema, value);
      assert.ok(bytes.length >= 1024 * 1024, `only ${bytes.length} bytes`);
      assert.deepStrictEqual(plain(marshaler.unmarshal(schema, bytes)), plain(value));
    },
  },
  {
    name: 'an empty body is a message',
    run({ make, empty }) {
      make().unmarshal(empty, new Uint8Array(0));
    },
  },
  {
    name: 'a value that does not fit is INVALID_ARGUMENT codec.encode',
    run({ make, unencodable }) {
      const marshaler = make();
      assert.ok(unencodable.length > 0, 'a suite without values that do not fit shows nothing');
      for (const { schema, value } of unencodable) {
        refuses('codec.encode', schema, () => marshaler.marshal(schema, value));
      }
    },
  },
  {
    name: 'a refused value leaves nothing behind',
    run({ make, samples, unencodable }) {
      const marshaler = make();
      const before = samples.map((sample) => hex(marshaler.marshal(sample.schema, sample.value)));
      samples.forEach((sample, index) => {
        for (const { schema, value } of unencodable) ignoreRefusal(() => marshaler.marshal(schema, value));
        assert.equal(hex(marshaler.marshal(sample.schema, sample.value)), before[index], sample.name);
      });
    },
  },
  {
    name: 'bytes that are no message are INVALID_ARGUMENT codec.decode',
    requires: 'refusesBytes',
    run({ make, garbage }) {
      const marshaler = make();
      assert.ok(garbage.length > 0, 'a suite without bytes that are no message shows nothing');
      for (const { schema, bytes } of garbage)
        refuses('codec.decode', schema, () => marshaler.unmarshal(schema, bytes));
    },
  },
  {
    name: 'a message that was cut off is read or refused, nothing else',
    run({ make, samples }) {
      const marshaler = make();
      for (const { schema, value } of samples) {
        const bytes = marshaler.marshal(schema, value);
        const step = Math.max(1, Math.floor(bytes.length / 200));
        for (let length = 0; length < bytes.length; length += step)
          readsOrRefuses(marshaler, schema, bytes.slice(0, length));
      }
    },
  },
  {
    name: 'random bytes are read or refused, nothing else',
    run({ make, samples }) {
      const marshaler = make();
      const random = generator(20_261_123);
      for (let round = 0; round < 2000; round += 1) {
        const { schema, value } = samples[random() % samples.length] as CodecSample;
        const bytes = Uint8Array.from({ length: random() % 48 }, () => random() & 0xff);
        readsOrRefuses(marshaler, schema, bytes);
        const changed = Uint8Array.from(marshaler.marshal(schema, value).subarray(0, 4096));
        if (changed.length > 0) changed[random() % changed.length] = random() & 0xff;
        readsOrRefuses(marshaler, schema, changed);
      }
    },
  },
];

/** Registers the cases of a marshaler with a test runner. */
export function codecConformance(api: TestApi, name: string, options: CodecHarness): void {
  const supports: Readonly<Record<string, boolean | undefined>> = {
    copies: true,
    refusesBytes: true,
    ...options.supports,
  };
  api.describe(`codec conformance: ${name}`, () => {
    for (const one of codecCases) {
      if (one.requires === undefined || supports[one.requires] === true) api.it(one.name, () => one.run(options));
    }
  });
}

/** The {@link Codec} under test, and bodies to test it with. */
export interface FramedCodecHarness {
  readonly make: (stream: MessageStream) => Codec;
  readonly schema: Schema;
  readonly value: unknown;
  /** A body that the codec must refuse. */
  readonly unencodable: unknown;
}

/** The cases of the {@link Codec} contract. */
export const framedCodecCases: readonly Case<FramedCodecHarness>[] = [
  {
    name: 'what is written is read, header and body',
    async run({ make, schema, value }) {
      const codec = make(loop());
      await codec.write(header({ id: '7', header: { 'x-trace': 'abc' } }), value, schema);
      const message = header({ id: '', target: '', endpoint: '', method: '' });
      assert.equal(await codec.readHeader(message, MessageType.Request), true);
      assert.deepStrictEqual(message, header({ id: '7', header: { 'x-trace': 'abc' } }));
      assert.deepStrictEqual(await codec.readBody(schema), value);
    },
  },
  {
    name: 'the end of the messages is false',
    async run({ make }) {
      assert.equal(await make(loop()).readHeader(header(), MessageType.Request), false);
    },
  },
  {
    name: 'a body that was not read is skipped',
    async run({ make, schema, value }) {
      const codec = make(loop());
      await codec.write(header({ id: '1' }), value, schema);
      await codec.write(header({ id: '2' }), value, schema);
      const message = header();
      await codec.readHeader(message, MessageType.Request);
      await codec.readHeader(message, MessageType.Request);
      assert.equal(message.id, '2');
      assert.deepStrictEqual(await codec.readBody(schema), value);
      assert.equal(await codec.readHeader(message, MessageType.Request), false);
    },
  },
  {
    name: 'without a schema the body is skipped',
    async run({ make, schema, value }) {
      const codec = make(loop());
      await codec.write(header({ id: '1' }), value, schema);
      await codec.write(header({ id: '2' }), value, schema);
      const message = header();
      await codec.readHeader(message, MessageType.Request);
      assert.equal(await codec.readBody(), undefined);
      await codec.readHeader(message, MessageType.Request);
      assert.equal(message.id, '2');
    },
  },
  {
    name: 'a body that does not fit rejects and nothing is written',
    async run({ make, schema, unencodable }) {
      const stream = loop();
      await assert.rejects(
        async () => make(stream).write(header(), unencodable, schema),
        isRefusal('codec.encode', schema),
      );
      assert.equal(await stream.read(), undefined);
    },
  },
  {
    name: 'the header that was read is a copy',
    async run({ make, schema, value }) {
      const sent = header({ header: { key: 'before' } });
      const stream = loop();
      const codec = make(stream);
      await codec.write(sent, value, schema);
      const message = header();
      await codec.readHeader(message, MessageType.Request);
      message.header['key'] = 'after';
      assert.equal(sent.header['key'], 'before');
    },
  },
  {
    name: 'close may be called twice and closes the stream once',
    async run({ make }) {
      let closed = 0;
      const codec = make({ ...loop(), close: async () => void (closed += 1) });
      await codec.close();
      await codec.close();
      assert.equal(closed, 1);
    },
  },
  {
    name: 'after close everything is FAILED_PRECONDITION codec.closed',
    async run({ make, schema, value }) {
      const codec = make(loop());
      await codec.close();
      const isClosed = (error: unknown): boolean =>
        TenonError.is(error) && error.code === Code.FailedPrecondition && error.reason === 'codec.closed';
      await assert.rejects(async () => codec.readHeader(header(), MessageType.Request), isClosed);
      await assert.rejects(async () => codec.readBody(schema), isClosed);
      await assert.rejects(async () => codec.write(header(), value, schema), isClosed);
    },
  },
  {
    name: 'its text is the name of the format',
    run({ make }) {
      assert.match(make(loop()).toString(), /^[a-z0-9][a-z0-9.-]*$/);
    },
  },
];

/** Registers the cases of a {@link Codec} with a test runner. */
export function framedCodecConformance(api: TestApi, name: string, options: FramedCodecHarness): void {
  api.describe(`framed codec conformance: ${name}`, () => {
    for (const one of framedCodecCases) api.it(one.name, () => one.run(options));
  });
}

function header(over: Partial<MessageHeader> = {}): MessageHeader {
  return {
    id: '1',
    type: MessageType.Request,
    target: 'greeter',
    method: 'Greeter.Hello',
    endpoint: 'Greeter.Hello',
    error: '',
    header: {},
    ...over,
  };
}

/** A message stream that returns the messages written to it. */
function loop(): MessageStream {
  const messages: { readonly header: MessageHeader; readonly body: Uint8Array }[] = [];
  return {
    read: async () => messages.shift(),
    write: async (message) => void messages.push(message),
    close: async () => undefined,
  };
}

function expected(sample: CodecSample): unknown {
  return 'decoded' in sample ? sample.decoded : sample.value;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Turns bytes into plain arrays, so that a Buffer equals a Uint8Array with the same content. */
function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? hex(value) : value;
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}

/** Overwrites everything in a value that can be changed. */
function deface(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (ArrayBuffer.isView(value)) {
    new Uint8Array(value.buffer, value.byteOffset, value.byteLength).fill(0xaa);
    return;
  }
  if (value instanceof Date) value.setTime(0);
  for (const key of Object.keys(value)) {
    deface((value as Record<string, unknown>)[key]);
    Object.defineProperty(value, key, { value: 'defaced', configurable: true, enumerable: true, writable: true });
  }
  if (Array.isArray(value)) value.push('defaced');
}

function isRefusal(reason: string, schema: Schema): (error: unknown) => boolean {
  return (error) => {
    assert.ok(TenonError.is(error), `not a TenonError: ${String(error)}`);
    assert.equal(error.reason, reason, error.message);
    assert.equal(error.code, Code.InvalidArgument, error.message);
    assert.ok(error.message.includes(schema.name), `the message does not name ${schema.name}: ${error.message}`);
    return true;
  };
}

function refuses(reason: string, schema: Schema, work: () => unknown): void {
  assert.throws(work, isRefusal(reason, schema));
}

function ignoreRefusal(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    assert.ok(TenonError.is(error), `not a TenonError: ${String(error)}`);
  }
}

function readsOrRefuses(marshaler: Marshaler, schema: Schema, bytes: Uint8Array): void {
  try {
    marshaler.unmarshal(schema, bytes);
  } catch (error) {
    isRefusal('codec.decode', schema)(error);
  }
}

/**
 * A generator of random numbers (Mulberry32) that repeats the same sequence for a seed, so that failures can be
 * reproduced.
 */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}
