import { callWith, exchange, type HostileCase, message, paths } from '../support/cases.ts';

const { unary, bidi, json } = paths;

/** Field 5, a message in a message, so many times. */
function nested(depth: number): Buffer {
  const heads: Buffer[] = [];
  let size = 0;
  for (let n = 0; n < depth; n += 1) {
    const head = Buffer.of(0x2a, ...varint(size));
    heads.push(head);
    size += head.length;
  }
  return Buffer.concat(heads.reverse());
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}

const hex = (text: string) => Buffer.from(text, 'hex');
const times = (count: number, bytes: Buffer) => Buffer.concat(Array<Buffer>(count).fill(bytes));

const invalid = /^status 3$/;
const valid = /^status 0$/;
const tooMuch = /^status 8$/;

const protos: readonly (readonly [name: string, sees: RegExp, body: Buffer])[] = [
  ['a tag that is cut off', invalid, hex('8a')],
  ['a varint without end', invalid, hex(`18${'ff'.repeat(11)}`)],
  ['a tag of eleven bytes', invalid, hex(`${'ff'.repeat(10)}01`)],
  ['a field without a value', invalid, hex('18')],
  ['a field number of zero', invalid, hex('0001')],
  ['a wire type of 6', invalid, hex('0e')],
  ['a wire type of 7', invalid, hex('0f')],
  ['a string as a number', /^status [03]$/, hex('0801')],
  ['a number as a string', /^status [03]$/, hex('1a0161')],
  ['a string that ends in its middle', invalid, hex('0a7f61')],
  ['a length of four gigabytes', invalid, hex('0affffffff0f61')],
  ['a length that is negative', invalid, hex('0affffffffffffffffff0161')],
  ['a string that is no UTF-8', invalid, hex('0a02c328')],
  ['a surrogate in UTF-8', invalid, hex('0a03eda080')],
  ['overlong UTF-8', invalid, hex('0a02c080')],
  ['a double that is cut off', invalid, hex('5900000000')],
  ['a fixed64 that is cut off', invalid, hex('6100')],
  ['packed numbers that are cut off', invalid, hex('3203ffffff')],
  ['an entry of a map without a key', valid, hex('3a03120178')],
  ['an entry of a map that is cut off', invalid, hex('3a040a056162')],
  ['a map key named __proto__', valid, hex('3a0e0a095f5f70726f746f5f5f120178')],
  ['both members of a oneof', valid, hex('4201614801')],
  ['a value that the enum has not', valid, hex('5063')],
  ['an end of a group that never began', invalid, hex('fc01')],
  ['a group without an end', invalid, hex('fb01')],
  ['the end of another group', invalid, hex('fb018402')],
  ['groups within groups, ten thousand deep', invalid, times(10_000, hex('fb01'))],
  [
    'groups within groups, that all end',
    invalid,
    Buffer.concat([times(10_000, hex('fb01')), times(10_000, hex('fc01'))]),
  ],
  ['messages within messages, ninety deep', valid, nested(90)],
  ['messages within messages, ten thousand deep', invalid, nested(10_000)],
  ['messages within messages, half a million deep', invalid, nested(500_000)],
  ['a million unknown fields', valid, times(1_000_000, hex('a00601'))],
  ['a million numbers', valid, Buffer.concat([hex('32c0843d'), Buffer.alloc(1_000_000, 1)])],
  ['two million numbers', tooMuch, Buffer.concat([hex('3280897a'), Buffer.alloc(2_000_000, 1)])],
  ['a hundred thousand empty children', valid, times(100_000, hex('2a00'))],
  ['random bytes', /^status [03]$/, Buffer.from(Array.from({ length: 4_000 }, (_, n) => (n * 7919 + 13) % 251))],
];

const inJson: readonly (readonly [name: string, sees: RegExp, body: Buffer | string])[] = [
  ['nothing', /^status [03]$|^status 13$/, ''],
  ['what is no JSON', invalid, '{"a":'],
  ['what is no UTF-8', invalid, hex('22c32822')],
  ['a byte order mark', /^status [03]$/, '\uFEFF{}'],
  ['arrays within arrays, a hundred thousand deep', invalid, `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ['arrays within arrays, a million deep, and no end', invalid, '['.repeat(1_000_000)],
  ['arrays within arrays, a thousand deep', valid, `${'['.repeat(1_000)}${']'.repeat(1_000)}`],
  ['objects within objects, a hundred thousand deep', invalid, `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
  ['a key named __proto__', valid, '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'],
  ['a number of a thousand digits', /^status [03]$|^status 13$/, `{"n":${'9'.repeat(1_000)}}`],
  ['a number beyond all', /^status [03]$|^status 13$/, '{"n":1e999}'],
  ['a lone surrogate', /^status [03]$|^status 13$/, '{"a":"\\ud800"}'],
  ['a hundred thousand keys', valid, `{${Array.from({ length: 100_000 }, (_, n) => `"k${n}":0`).join()}}`],
  ['a NUL', valid, '{"a":"\\u0000"}'],
];

const inBinary: readonly (readonly [format: 'msgpack' | 'cbor', name: string, sees: RegExp, body: Buffer])[] = [
  ['msgpack', 'a list of four thousand million values', invalid, hex('ddffffffff')],
  ['msgpack', 'a map of four thousand million entries', invalid, hex('dfffffffff')],
  ['msgpack', 'a text of four gigabytes', invalid, hex('dbffffffff61')],
  ['msgpack', 'bytes of four gigabytes', invalid, hex('c6ffffffff61')],
  ['msgpack', 'lists within lists, a million deep', invalid, Buffer.alloc(1_000_000, 0x91)],
  ['msgpack', 'maps within keys of maps, a million deep', invalid, Buffer.alloc(1_000_000, 0x81)],
  ['msgpack', 'two million values', tooMuch, Buffer.concat([hex('dd001e8480'), Buffer.alloc(2_000_000, 0x80)])],
  ['msgpack', 'a key that is there twice', invalid, hex('82a16101a16102')],
  ['msgpack', 'a key named __proto__', valid, hex('81a95f5f70726f746f5f5f81a8706f6c6c75746564c3')],
  ['msgpack', 'a timestamp', invalid, hex('d6ff00000000')],
  ['cbor', 'a list of as many values as there are numbers', invalid, hex('9bffffffffffffffff')],
  ['cbor', 'a text of four gigabytes', invalid, hex('7affffffff61')],
  ['cbor', 'lists within lists, a million deep', invalid, Buffer.alloc(1_000_000, 0x81)],
  ['cbor', 'lists without an end, a million deep', invalid, Buffer.alloc(1_000_000, 0x9f)],
  ['cbor', 'tags of tags, a million deep', invalid, Buffer.alloc(1_000_000, 0xc1)],
  ['cbor', 'two million values', tooMuch, Buffer.concat([hex('9f'), Buffer.alloc(2_000_000, 0xa0), hex('ff')])],
  ['cbor', 'a key that is there twice', invalid, hex('a2616101616102')],
  ['cbor', 'a key named __proto__', valid, hex('a1695f5f70726f746f5f5fa168706f6c6c75746564f5')],
  ['cbor', 'a number of a thousand bits', invalid, Buffer.concat([hex('c2587d'), Buffer.alloc(125, 255)])],
];

const inProtoJson: readonly (readonly [name: string, sees: RegExp, body: string])[] = [
  ['a child of itself, ten thousand deep', invalid, `${'{"child":'.repeat(10_000)}{}${'}'.repeat(10_000)}`],
  ['a field named __proto__', /^status [03]$/, '{"__proto__":{"text":"x"}}'],
  ['an unknown field', /^status [03]$/, '{"nothing":1}'],
  ['a number that is none', invalid, '{"number":"1e400"}'],
  ['an integer beyond 64 bits', invalid, `{"big":"${'9'.repeat(40)}"}`],
  ['an integer of a million digits', invalid, `{"big":"${'9'.repeat(1_000_000)}"}`],
  ['bytes that are no base64', /^status [03]$/, '{"body":"!!!"}'],
  ['both members of a oneof', /^status [03]$/, '{"left":"a","right":1}'],
  ['an array in the place of an object', invalid, '{"child":[]}'],
  ['an enum that is not there', invalid, '{"colour":"GREEN"}'],
];

const large = 50_000;

/** Bodies that are no message of the method, or one that hurts. */
export const bodyCases: readonly HostileCase[] = [
  ...protos.map(([name, sees, body]) => ({
    name: `protobuf: ${name}`,
    sees,
    isHeavy: body.length > large,
    attack: exchange(...callWith(unary, message(body))),
  })),
  {
    name: 'protobuf: a bad message amid good ones',
    sees: invalid,
    attack: exchange(
      ...callWith(bidi, Buffer.concat([message(hex('0a0161')), message(hex('0a7f61')), message(hex('0a0161'))])),
    ),
  },
  ...inJson.map(([name, sees, body]) => ({
    name: `JSON: ${name}`,
    sees,
    isHeavy: body.length > large,
    attack: exchange(...callWith(json, message(Buffer.from(body)), { 'content-type': 'application/grpc+json' })),
  })),
  ...inBinary.map(([format, name, sees, body]) => ({
    name: `${format}: ${name}`,
    sees,
    isHeavy: body.length > large,
    attack: exchange(
      ...callWith(json, message(body), {
        'content-type': `application/grpc+${format}`,
        'x-content-type': `application/grpc+${format}`,
      }),
    ),
  })),
  ...inProtoJson.map(([name, sees, body]) => ({
    name: `JSON of a protobuf message: ${name}`,
    sees,
    isHeavy: body.length > large,
    attack: exchange(
      ...callWith(unary, message(Buffer.from(body)), {
        'content-type': 'application/grpc+json',
        'x-content-type': 'application/grpc+json',
      }),
    ),
  })),
];
