import { describe, expect, it } from '@jest/globals';

import type { Codec, Marshaler, MessageStream } from '../../src/codec/codec.ts';
import { JsonMarshaler } from '../../src/codec/json.ts';
import { MarshalerCodec } from '../../src/codec/marshaler-codec.ts';
import { ProtoMarshaler } from '../../src/codec/proto.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { anySchema, type Schema } from '../../src/pipeline/pipeline.ts';
import { codecCases, type CodecHarness, framedCodecCases, type FramedCodecHarness } from '../../src/testing/codec.ts';
import { jsonOptions, protoOptions, schemaOf } from '../codec/support.ts';
import { failing } from './support.ts';

const protoGarbage = [{ schema: schemaOf('kinds.Scalars'), bytes: Uint8Array.of(0x72, 0x05, 0x61) }];

/** Options whose values no other run has touched. */
function fresh(options: Omit<CodecHarness, 'make'>, make: () => Marshaler): CodecHarness {
  return { ...options, make, samples: options.samples.map((sample) => ({ ...sample, value: clone(sample.value) })) };
}

const json = (make: () => Marshaler) => (): CodecHarness => fresh(jsonOptions, make);
const proto = (make: () => Marshaler) => (): CodecHarness => fresh({ ...protoOptions, garbage: protoGarbage }, make);

describe('the suite of codecs', () => {
  it('finds nothing in those that keep their promises', async () => {
    expect(
      await failing(
        codecCases,
        json(() => new JsonMarshaler()),
      ),
    ).toEqual([]);
    expect(
      await failing(
        codecCases,
        proto(() => new ProtoMarshaler()),
      ),
    ).toEqual([]);
  });

  it.each<[string, () => CodecHarness, string[]]>([
    [
      'one with a content type of its own',
      json(
        () =>
          new (class extends JsonMarshaler {
            override readonly contentType = 'application/json' as 'application/grpc+json';
          })(),
      ),
      ['the content type is that of gRPC with a sub-type'],
    ],
    [
      'one that writes every message into the same memory',
      json(() => {
        const memory = new Uint8Array(2 * 1024 * 1024);
        return over(new JsonMarshaler(), {
          marshal: (inner, schema, value) => {
            const bytes = inner.marshal(schema, value);
            memory.set(bytes);
            return memory.subarray(0, bytes.length);
          },
        });
      }),
      ['bytes that were handed out stay as they are', 'one instance serves many calls at once'],
    ],
    [
      'one that ignores where in their memory bytes begin',
      json(() =>
        over(new JsonMarshaler(), {
          unmarshal: (inner, schema, bytes) =>
            inner.unmarshal(schema, Buffer.isBuffer(bytes) ? bytes : new Uint8Array(bytes.buffer, 0, bytes.length)),
        }),
      ),
      ['bytes without a Buffer around them are read as well'],
    ],
    [
      'one that tidies up the value it was given',
      json(() =>
        over(new JsonMarshaler(), {
          marshal: (inner, schema, value) => {
            if (typeof value === 'object' && value !== null && 'a' in value && value.a === undefined) delete value.a;
            return inner.marshal(schema, value);
          },
        }),
      ),
      ['marshal does not change its value'],
    ],
    [
      'one that clears the bytes it has read',
      proto(() =>
        over(new ProtoMarshaler(), {
          unmarshal: (inner, schema, bytes) => {
            const value = inner.unmarshal(schema, bytes);
            bytes.fill(0);
            return value;
          },
        }),
      ),
      ['unmarshal does not change its bytes'],
    ],
    [
      'one that hands out views of the bytes it has read',
      proto(() =>
        over(new ProtoMarshaler(), {
          unmarshal: (inner, schema, bytes) => {
            const value = inner.unmarshal(schema, bytes) as { someBytes?: Uint8Array };
            const at = value.someBytes?.length ? Buffer.from(bytes).indexOf(value.someBytes) : -1;
            if (value.someBytes && at >= 0)
              value.someBytes = new Uint8Array(bytes.buffer, bytes.byteOffset + at, value.someBytes.length);
            return value;
          },
        }),
      ),
      ['what was read shares no memory with its bytes'],
    ],
    [
      'one that hands out the same value again for the same bytes',
      proto(() => {
        const known = new Map<string, unknown>();
        return over(new ProtoMarshaler(), {
          unmarshal: (inner, schema, bytes) => {
            const key = schema.name + Buffer.from(bytes).toString('hex');
            if (!known.has(key)) known.set(key, inner.unmarshal(schema, bytes));
            return known.get(key);
          },
        });
      }),
      ['what was read belongs to the caller'],
    ],
    [
      'one that counts its messages in them',
      json(() => {
        let count = 0;
        return over(new JsonMarshaler(), {
          marshal: (inner, schema, value) =>
            Buffer.concat([inner.marshal(schema, value), Buffer.from(' '.repeat((count += 1) % 7))]),
        });
      }),
      ['the same value gives the same bytes', 'a refused value leaves nothing behind'],
    ],
    [
      'one that cuts texts off at 64 KiB',
      json(() =>
        over(new JsonMarshaler(), {
          unmarshal: (inner, schema, bytes) => {
            const value = inner.unmarshal(schema, bytes) as { text?: string } | null;
            if (typeof value?.text === 'string') value.text = value.text.slice(0, 65_536);
            return value;
          },
        }),
      ),
      ['a message of a mebibyte survives'],
    ],
    [
      'one that does not know what an empty body is',
      json(() =>
        over(new JsonMarshaler(), {
          unmarshal: (inner, schema, bytes) => {
            if (bytes.length === 0) throw refusal(schema, 'nothing to read');
            return inner.unmarshal(schema, bytes);
          },
        }),
      ),
      ['an empty body is a message'],
    ],
    [
      'one that writes null for what it cannot write',
      json(() =>
        over(new JsonMarshaler(), {
          marshal: (inner, schema, value) => {
            try {
              return inner.marshal(schema, value);
            } catch {
              return Buffer.from('null');
            }
          },
        }),
      ),
      ['a value that does not fit is INVALID_ARGUMENT codec.encode'],
    ],
    [
      'one that still has half of a refused value in its buffer',
      json(() => {
        let left = '';
        return over(new JsonMarshaler(), {
          marshal: (inner, schema, value) => {
            const bytes = Buffer.concat([Buffer.from(left), refusing(inner, schema, value, () => (left = ' '))]);
            left = '';
            return bytes;
          },
        });
      }),
      ['a refused value leaves nothing behind'],
    ],
    [
      'one that throws what its library throws',
      json(() =>
        over(new JsonMarshaler(), {
          unmarshal: (_, __, bytes) =>
            bytes.length === 0 ? undefined : JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)),
        }),
      ),
      [
        'bytes that are no message are INVALID_ARGUMENT codec.decode',
        'a message that was cut off is read or refused, nothing else',
        'random bytes are read or refused, nothing else',
      ],
    ],
    [
      'one that trusts a length in the bytes',
      proto(() =>
        over(new ProtoMarshaler(), {
          unmarshal: (inner, schema, bytes) => {
            if (bytes.length > 3 && (bytes[0] as number) > 0xf0) throw new RangeError('Invalid typed array length');
            return inner.unmarshal(schema, bytes);
          },
        }),
      ),
      ['random bytes are read or refused, nothing else'],
    ],
  ])('catches %s', async (_, options, names) => {
    expect(await failing(codecCases, options)).toEqual(names);
  });

  it('catches one that loses part of a value', async () => {
    const lossy = proto(() =>
      over(new ProtoMarshaler(), {
        unmarshal: (inner, schema, bytes) => {
          const value = inner.unmarshal(schema, bytes) as { anInt64?: unknown };
          if (typeof value.anInt64 === 'bigint') value.anInt64 = BigInt(Number(value.anInt64) + 1025);
          return value;
        },
      }),
    );
    expect(await failing(codecCases, lossy)).toContain('a value survives the round trip');
  });
});

describe('the suite of framed codecs', () => {
  const options = (make: (stream: MessageStream) => Codec) => (): FramedCodecHarness => ({
    make,
    schema: anySchema,
    value: { a: 1 },
    unencodable: 1n,
  });
  const sane = (stream: MessageStream): MarshalerCodec => new MarshalerCodec(new JsonMarshaler(), stream);

  it('finds nothing in one that keeps its promises', async () => {
    expect(await failing(framedCodecCases, options(sane))).toEqual([]);
  });

  it.each<[string, (stream: MessageStream) => Codec, string[]]>([
    [
      'one that never ends',
      (stream) =>
        changed(sane(stream), (codec) => ({
          readHeader: async (message, type) => (await codec.readHeader(message, type)) || true,
        })),
      ['the end of the messages is false', 'a body that was not read is skipped'],
    ],
    [
      'one that keeps a body it should skip',
      (stream) => {
        let unread: unknown;
        return changed(sane(stream), (codec) => ({
          readHeader: async (message, type) => {
            unread ??= await codec.readBody(anySchema).catch(() => undefined);
            return codec.readHeader(message, type);
          },
          readBody: async (schema) => (unread === undefined ? codec.readBody(schema) : 'the body before'),
        }));
      },
      ['a body that was not read is skipped'],
    ],
    [
      'one that reads a body without a schema',
      (stream) => changed(sane(stream), (codec) => ({ readBody: (schema) => codec.readBody(schema ?? anySchema) })),
      ['without a schema the body is skipped'],
    ],
    [
      'one that writes the header of what it refuses',
      (stream) =>
        changed(sane(stream), (codec) => ({
          write: async (message, body, schema) => {
            if (typeof body === 'bigint') await stream.write({ header: message, body: new Uint8Array(0) });
            await codec.write(message, body, schema);
          },
        })),
      ['a body that does not fit rejects and nothing is written'],
    ],
    [
      'one that hands out the header it was given',
      (stream) =>
        changed(sane(stream), () => {
          let body: Uint8Array = new Uint8Array(0);
          let isClosed = false;
          const closed = (): void => {
            if (isClosed)
              throw new TenonError({ code: Code.FailedPrecondition, reason: 'codec.closed', message: 'closed' });
          };
          return {
            readHeader: async (message) => {
              closed();
              const next = await stream.read();
              if (!next) return false;
              Object.assign(message, next.header);
              body = next.body;
              return true;
            },
            readBody: async (schema) => {
              closed();
              return schema && new JsonMarshaler().unmarshal(schema, body);
            },
            close: async () => {
              if (!isClosed) await stream.close();
              isClosed = true;
            },
            write: async (message, content, schema = anySchema) => {
              closed();
              await stream.write({ header: message, body: new JsonMarshaler().marshal(schema, content) });
            },
          };
        }),
      ['the header that was read is a copy'],
    ],
    [
      'one that closes its stream at every close',
      (stream) =>
        changed(sane(stream), (codec) => ({
          close: async () => {
            await codec.close();
            await stream.close();
          },
        })),
      ['close may be called twice and closes the stream once'],
    ],
    [
      'one that works on after close',
      (stream) => changed(sane(stream), () => ({ close: once(() => stream.close()) })),
      ['after close everything is FAILED_PRECONDITION codec.closed'],
    ],
    [
      'one without a name',
      (stream) => changed(sane(stream), () => ({ toString: () => '[object Object]' })),
      ['its text is the name of the format'],
    ],
  ])('catches %s', async (_, make, names) => {
    expect(await failing(framedCodecCases, options(make))).toEqual(names);
  });
});

/** structuredClone of Node makes objects of another realm than the test's. */
function clone(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (value instanceof Date) return new Date(value);
  if (Array.isArray(value)) return value.map(clone);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, clone(part)]));
}

/** A marshaler with one of its methods replaced. */
function over(
  inner: Marshaler,
  change: {
    marshal?: (inner: Marshaler, schema: Schema, value: unknown) => Uint8Array;
    unmarshal?: (inner: Marshaler, schema: Schema, bytes: Uint8Array) => unknown;
  },
): Marshaler {
  return {
    contentType: inner.contentType,
    marshal: (schema, value) => (change.marshal ?? ((one) => one.marshal(schema, value)))(inner, schema, value),
    unmarshal: (schema, bytes) => (change.unmarshal ?? ((one) => one.unmarshal(schema, bytes)))(inner, schema, bytes),
  };
}

function changed(codec: Codec, change: (codec: Codec) => Partial<Codec>): Codec {
  return {
    readHeader: (message, type) => codec.readHeader(message, type),
    readBody: (schema) => codec.readBody(schema),
    write: (message, body, schema) => codec.write(message, body, schema),
    close: () => codec.close(),
    toString: () => codec.toString(),
    ...change(codec),
  };
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= work());
}

function refusal(schema: Schema, message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'codec.decode', message: `${schema.name}: ${message}` });
}

function refusing(inner: Marshaler, schema: Schema, value: unknown, onRefusal: () => void): Uint8Array {
  try {
    return inner.marshal(schema, value);
  } catch (error) {
    onRefusal();
    throw error;
  }
}
