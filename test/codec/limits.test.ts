import { describe, expect, it, jest } from '@jest/globals';
import protobuf from 'protobufjs';

import type { Marshaler } from '../../src/codec/codec.ts';
import { CborMarshaler } from '../../src/codec/cbor.ts';
import { JsonMarshaler } from '../../src/codec/json.ts';
import { MsgpackMarshaler } from '../../src/codec/msgpack.ts';
import { ProtoMarshaler } from '../../src/codec/proto.ts';
import { Code } from '../../src/errors/errors.ts';
import { anySchema, type MessageLimits } from '../../src/pipeline/pipeline.ts';
import { thrownBy } from '../../src/testing/failures.ts';
import { schemaOf, typeOf } from './support.ts';

const type = (name: string): ReturnType<typeof typeOf> => typeOf(`kinds.${name}`);
const schema = (name: string): ReturnType<typeof schemaOf> => schemaOf(`kinds.${name}`);

function expectTooMany(work: () => unknown, maxElements: number): void {
  const { code, reason, message } = thrownBy(work);
  expect([code, reason]).toEqual([Code.ResourceExhausted, 'codec.too_many_elements']);
  expect(message).toMatch(new RegExp(`more than ${maxElements} elements, the maxElements of the codec$`));
}

/** A field's tag and content, by hand. */
const part = (number: number, ...parts: (Buffer | string)[]): Buffer => {
  const content = Buffer.concat(parts.map((one) => Buffer.from(one)));
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
};

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

const repeated = (count: number, bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes));

describe('maxElements of a message of a .proto', () => {
  // Tree: itself, its list, and one for its two other fields.
  const emptyTree = 3;

  it.each([
    ['empty messages in a list', 'Lists', repeated(400, part(17)), 400 * emptyTree],
    ['one message again and again', 'Tree', repeated(400, part(3)), 400 * emptyTree],
    ['empty texts in a list', 'Lists', repeated(400, part(14)), 400],
    ['empty bytes in a list', 'Lists', repeated(400, part(15)), 2 * 400],
    ['one field of bytes again and again', 'Scalars', repeated(400, part(15)), 400],
    ['packed numbers', 'Lists', part(4, Buffer.alloc(400)), 400],
    ['numbers that are not packed', 'Lists', repeated(400, Buffer.from([0x90, 1, 0])), 400],
    ['empty entries of a map', 'Maps', repeated(400, part(1)), 2 * 400],
    ['entries of a map of messages', 'Maps', repeated(400, part(8)), (2 + emptyTree) * 400],
    ['empty values of a ListValue', 'WellKnown', part(5, repeated(400, part(1))), 400],
    ['lists within a ListValue', 'WellKnown', part(5, repeated(400, part(1, part(6)))), 2 * 400],
    ['entries of a Struct', 'WellKnown', part(3, repeated(400, part(1))), 400],
    ['empty Timestamps', 'WellKnown', repeated(400, part(19)), 400],
    ['one Timestamp again and again', 'WellKnown', repeated(400, part(1)), 400],
    ['empty wrappers', 'WellKnown', repeated(400, part(21)), 400],
  ])('counts elements while it decodes: %s', (_, name, bytes, least) => {
    expect(() => type(name).decode(bytes)).not.toThrow();
    expectTooMany(() => type(name).decode(bytes, { maxElements: least }), least);
    expect(() => type(name).decode(bytes, { maxElements: least + 100 })).not.toThrow();
    // What one message took is not missing for the next.
    expect(() => type(name).decode(bytes)).not.toThrow();
  });

  it.each([
    ['empty messages in a list', 'Lists', { trees: Array.from({ length: 400 }, () => ({})) }, 400 * emptyTree],
    ['numbers', 'Lists', { int32s: Array.from({ length: 400 }, () => 0) }, 400],
    ['wrappers', 'WellKnown', { strings: Array.from({ length: 400 }, () => '') }, 400],
    ['Timestamps', 'WellKnown', { times: Array.from({ length: 400 }, () => '2006-01-02T15:04:05Z') }, 400],
    ['entries of a map', 'Maps', { texts: Object.fromEntries(Array.from({ length: 400 }, (__, i) => [i, ''])) }, 800],
    ['values of a ListValue', 'WellKnown', { list: Array.from({ length: 400 }, () => null) }, 400],
    ['values of a Struct', 'WellKnown', { struct: { a: Array.from({ length: 400 }, () => ({ b: 1 })) } }, 1200],
    ['paths of a FieldMask', 'WellKnown', { mask: ','.repeat(400) }, 400],
    ['words in paths of a FieldMask', 'WellKnown', { mask: 'A'.repeat(400) }, 400],
  ])('counts elements while it reads JSON: %s', (_, name, json, least) => {
    expect(() => type(name).fromJson(json)).not.toThrow();
    expectTooMany(() => type(name).fromJson(json, { maxElements: least }), least);
    expect(() => type(name).fromJson(json, { maxElements: least + 100 })).not.toThrow();
  });

  it('stops four mebibytes of empty messages at the limit, before all of them are in memory', () => {
    const bytes = Buffer.alloc(4 * 1024 * 1024, Buffer.from([0x8a, 1, 0]));
    const { message } = thrownBy(() => type('Lists').decode(bytes.subarray(0, bytes.length - (bytes.length % 3))));
    const read = Number(/trees\[(\d+)\]/.exec(message)?.[1]);
    expect(read).toBeGreaterThan(300_000);
    expect(read).toBeLessThan(2 ** 20 / emptyTree);
  });
});

describe('an Any within an Any', () => {
  const url = (name: string): string => `type.googleapis.com/${name}`;
  const nestedJson = (depth: number, leaf: object): object => {
    let json: object = { '@type': url('kinds.Tree'), ...leaf };
    for (let level = 0; level < depth; level += 1) json = { '@type': url('google.protobuf.Any'), value: json };
    return { any: json };
  };
  const nestedValue = (depth: number, leaf: object): object => {
    let any = { typeUrl: url('kinds.Tree'), value: type('Tree').encode(leaf) };
    for (let level = 0; level < depth; level += 1) {
      any = { typeUrl: url('google.protobuf.Any'), value: typeOf('google.protobuf.Any').encode(any) };
    }
    return { any };
  };

  it('counts as a level of nesting, both ways', () => {
    const json = nestedJson(20, { name: 'leaf' });
    const value = type('WellKnown').fromJson(json);
    expect(type('WellKnown').toJson(value)).toEqual(json);
    for (const work of [
      () => type('WellKnown').fromJson(nestedJson(200, {})),
      () => type('WellKnown').toJson(nestedValue(200, {})),
    ]) {
      const { code, message } = thrownBy(work);
      expect(code).toBe(Code.InvalidArgument);
      expect(message).toMatch(/nested deeper than 100 levels, the maxDepth of the codec$/);
    }
  });

  it('counts its bytes as elements at each level, each time that they are read or written', () => {
    const leaf = { name: 'x'.repeat(64_000) };
    const limits = { maxElements: 20_000 };
    expect(() => type('WellKnown').fromJson(nestedJson(5, leaf), limits)).not.toThrow();
    expectTooMany(() => type('WellKnown').fromJson(nestedJson(50, leaf), limits), 20_000);
    expect(() => type('WellKnown').toJson(nestedValue(5, leaf), limits)).not.toThrow();
    expectTooMany(() => type('WellKnown').toJson(nestedValue(50, leaf), limits), 20_000);
  });

  it('is not searched for in every namespace if its type is unknown, and its name is not cached', () => {
    const lookup = jest.spyOn(protobuf.Namespace.prototype, 'lookup');
    for (const name of ['no.such.Type', 'constructor', '__proto__', 'kinds.constructor', 'x.'.repeat(100_000)]) {
      const json = { any: { '@type': url(name), value: 'AA==' } };
      expect(type('WellKnown').toJson(type('WellKnown').fromJson(json))).toEqual(json);
    }
    expect(lookup).not.toHaveBeenCalled();
    lookup.mockRestore();
  });
});

describe('maxElements of JSON without a .proto', () => {
  const read = (text: string, limits: MessageLimits): unknown =>
    new JsonMarshaler(limits).unmarshal(anySchema, Buffer.from(text));

  it.each([
    ['numbers', `[${'1,'.repeat(399)}1]`, 400],
    ['empty lists', `[${'[],'.repeat(399)}[]]`, 400],
    ['empty objects', `[${'{},'.repeat(399)}{}]`, 400],
    ['keys', `{${'"a":1,'.repeat(399)}"a":1}`, 800],
  ])('counts elements before it parses: %s', (_, text, least) => {
    const parse = jest.spyOn(JSON, 'parse');
    expectTooMany(() => read(text, { maxElements: least }), least);
    expect(parse).not.toHaveBeenCalled();
    parse.mockRestore();
    expect(() => read(text, { maxElements: 2 * least + 2 })).not.toThrow();
    expect(() => read(text, {})).not.toThrow();
  });

  it('does not count commas and brackets within strings', () => {
    const text = `[${JSON.stringify('[{,:'.repeat(1_000))},"\\",,,,,,"]`;
    expect(read(text, { maxElements: 3 })).toHaveLength(2);
  });
});

describe('MessageLimits of the codecs', () => {
  it.each<[string, new (limits?: MessageLimits) => Marshaler]>([
    ['proto', ProtoMarshaler],
    ['json', JsonMarshaler],
    ['msgpack', MsgpackMarshaler],
    ['cbor', CborMarshaler],
  ])('hold for the codec %s that was made with them', (_, Codec) => {
    const small = new Codec({ maxElements: 50, maxDepth: 3 });
    const usual = new Codec();
    const list = { trees: Array.from({ length: 50 }, () => ({ name: 'x', children: [] })) };
    const deep = { parent: { parent: { parent: { parent: { name: 'x' } } } } };
    expectTooMany(() => small.unmarshal(schema('Lists'), usual.marshal(schema('Lists'), list)), 50);
    const tooDeep = /nested deeper than 3 levels, the maxDepth of the codec$/;
    const bytes = usual.marshal(schema('Tree'), deep);
    expect(thrownBy(() => small.unmarshal(schema('Tree'), bytes)).message).toMatch(tooDeep);
    expect(thrownBy(() => small.marshal(schema('Tree'), deep)).message).toMatch(tooDeep);
    expect(() => usual.unmarshal(schema('Tree'), bytes)).not.toThrow();
  });

  it('may allow messages nested two hundred and fifty levels deep', () => {
    let value: object = { name: 'leaf' };
    for (let level = 0; level < 250; level += 1) value = { children: [value] };
    for (const Codec of [ProtoMarshaler, JsonMarshaler, MsgpackMarshaler, CborMarshaler]) {
      const codec = new Codec({ maxDepth: 1_000 });
      const bytes = codec.marshal(schema('Tree'), value);
      expect(codec.marshal(schema('Tree'), codec.unmarshal(schema('Tree'), bytes))).toEqual(bytes);
    }
  });

  it('hold for JSON without a .proto as well', () => {
    const codec = new JsonMarshaler({ maxDepth: 2 });
    expect(codec.unmarshal(anySchema, Buffer.from('[[1, 2, 3]]'))).toEqual([[1, 2, 3]]);
    const tooDeep = /at most 2 levels of nesting, the maxDepth of the codec/;
    expect(thrownBy(() => codec.unmarshal(anySchema, Buffer.from('[[[1]]]'))).message).toMatch(tooDeep);
    expect(thrownBy(() => codec.marshal(anySchema, [[[1]]])).message).toMatch(tooDeep);
  });

  it.each([{ maxElements: 0 }, { maxElements: NaN }, { maxElements: 1.5 }, { maxDepth: 0 }, { maxDepth: 1_001 }])(
    'are refused if they are not positive integers in range: %j',
    (limits) => {
      for (const Codec of [ProtoMarshaler, JsonMarshaler, MsgpackMarshaler, CborMarshaler]) {
        const { code, reason, message } = thrownBy(() => new Codec(limits));
        expect([code, reason]).toEqual([Code.InvalidArgument, 'codec.invalid_option']);
        expect(message).toContain(Object.keys(limits)[0]);
      }
    },
  );
});

describe('the error of a message that was refused', () => {
  it('is short, even if a key of the message is long', () => {
    const key = 'k'.repeat(1_000_000);
    const messages = [
      thrownBy(() => type('Maps').fromJson({ texts: { [key]: 1 } })).message,
      thrownBy(() => type('Tree').fromJson({ [key]: 1 })).message,
      thrownBy(() => type('Scalars').fromJson({ aColor: key })).message,
      thrownBy(() => new JsonMarshaler().marshal(anySchema, { [key]: 1n })).message,
      thrownBy(() => new JsonMarshaler().unmarshal(schema('Tree'), Buffer.from(JSON.stringify({ [key]: 1 })))).message,
    ];
    for (const message of messages) expect(message.length).toBeLessThan(300);
  });
});
