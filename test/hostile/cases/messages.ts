import { deflateSync, gzipSync } from 'node:zlib';

import { callWith, exchange, good, type HostileCase, message, paths } from '../support/cases.ts';
import { data, headers, request } from '../support/http2-peer.ts';

const hello = Buffer.from('0a0568656c6c6f', 'hex');
const mebi = 1024 * 1024;
const { unary, server, client, bidi } = paths;

const compressed = (bytes: Uint8Array) => message(bytes, 1);
const unflagged = 'grpc-js takes a message that is flagged as compressed as it is where no encoding was named';
const gzip = { 'grpc-encoding': 'gzip' };

function one(name: string, sees: RegExp, attack: HostileCase['attack'], except?: HostileCase['except']): HostileCase {
  return { name, sees, attack, except };
}

/** gRPC's own frames, told wrongly. */
export const messageCases: readonly HostileCase[] = [
  one('no message for a unary method', /^status 12$/, exchange(...callWith(unary, undefined))),
  one('an empty body for a unary method', /^status 12$/, exchange(...callWith(unary, Buffer.alloc(0)))),
  one('no message for a server stream', /^status 12$/, exchange(...callWith(server, undefined))),
  one('two messages for a unary method', /^status 12$/, exchange(...callWith(unary, Buffer.concat([good, good])))),
  one(
    'two messages for a server stream',
    /^status 12$|^status 0$/,
    exchange(...callWith(server, Buffer.concat([good, good]))),
  ),
  one(
    'a hundred messages for a unary method',
    /^status 12$/,
    exchange(...callWith(unary, Buffer.concat(Array<Buffer>(100).fill(good)))),
  ),
  ...Object.entries({ unary, server, client, bidi }).flatMap(([kind, path]) => [
    one(`half a prefix, ${kind}`, /^status 1[23]$|^status 0$/, exchange(...callWith(path, Buffer.of(0, 0)))),
    one(
      `a message that ends in its middle, ${kind}`,
      /^status 1[23]$|^status 0$/,
      exchange(...callWith(path, message(hello, 0, 100))),
    ),
    one(
      `a length of four gigabytes, ${kind}`,
      /^status 8$/,
      exchange(...callWith(path, message(hello, 0, 0xff_ff_ff_ff))),
    ),
    one(
      `a compressed message without an encoding, ${kind}`,
      /^status 13$/,
      exchange(...callWith(path, compressed(hello))),
      {
        'grpc-js': { sees: /^status 0$/, reason: unflagged },
      },
    ),
    one(`a message that is no gzip, ${kind}`, /^status 13$/, exchange(...callWith(path, compressed(hello), gzip))),
  ]),
  one(
    'a length of one byte beyond the limit',
    /^status 8$/,
    exchange(...callWith(unary, message(hello, 0, 4 * mebi + 1))),
  ),
  one('a length that is short', /^status (3|12|13|8)$/, exchange(...callWith(unary, message(hello, 0, 2)))),
  one(
    'a prefix in five frames, and garbage',
    /^status 8$/,
    exchange(
      headers(1, request(unary)),
      ...[0, 255, 1, 1, 1].map((byte) => data(1, Buffer.of(byte))),
      data(1, hello, true),
    ),
  ),
  one('a flag of 2', /^status 1[23]$/, exchange(...callWith(unary, message(hello, 2))), {
    'grpc-js': { sees: /^status 0$/, reason: 'grpc-js takes every flag but 1 for "not compressed", before it asks us' },
  }),
  one('a flag of 255', /^status 1[23]$/, exchange(...callWith(unary, message(hello, 255))), {
    'grpc-js': { sees: /^status 0$/, reason: 'grpc-js takes every flag but 1 for "not compressed", before it asks us' },
  }),
  one(
    'an encoding that nobody knows',
    /^status 12$/,
    exchange(...callWith(unary, compressed(hello), { 'grpc-encoding': 'zip9' })),
  ),
  one(
    'an encoding that nobody knows, not used',
    /^status (0|12)$/,
    exchange(...callWith(unary, message(hello), { 'grpc-encoding': 'zip9' })),
  ),
  one(
    'an encoding named twice',
    /^status (0|12|13)$|^reset/,
    exchange(...callWith(unary, compressed(gzipSync(hello)), { 'grpc-encoding': 'gzip,gzip' })),
  ),
  one(
    'identity, and a compressed message',
    /^status 13$/,
    exchange(...callWith(unary, compressed(hello), { 'grpc-encoding': 'identity' })),
    {
      'grpc-js': { sees: /^status 0$/, reason: unflagged },
    },
  ),
  one(
    'gzip that is cut off',
    /^status 13$/,
    exchange(...callWith(unary, compressed(gzipSync(hello).subarray(0, -6)), gzip)),
  ),
  one(
    'gzip with a wrong checksum',
    /^status 13$/,
    exchange(...callWith(unary, compressed(spoiled(gzipSync(hello))), gzip)),
  ),
  one(
    'an empty message that is compressed',
    /^status (0|13)$/,
    exchange(...callWith(unary, compressed(Buffer.alloc(0)), gzip)),
  ),
  one('deflate in the name of gzip', /^status 13$/, exchange(...callWith(unary, compressed(deflateSync(hello)), gzip))),
  one(
    'a bomb of gzip',
    /^status 8$/,
    exchange(...callWith(unary, compressed(gzipSync(Buffer.alloc(64 * mebi))), gzip)),
  ),
  one(
    'a bomb of deflate',
    /^status 8$/,
    exchange(...callWith(unary, compressed(deflateSync(Buffer.alloc(64 * mebi))), { 'grpc-encoding': 'deflate' })),
  ),
  {
    name: 'many bombs in one stream',
    sees: /^status 8$/,
    attack: exchange(
      ...callWith(
        bidi,
        Buffer.concat(Array<Buffer>(50).fill(compressed(gzipSync(Buffer.alloc(5 * mebi))))).subarray(0, 60_000),
        gzip,
      ),
    ),
    isHeavy: true,
  },
  one(
    'messages behind an error',
    /^status 8$/,
    exchange(
      headers(1, request(bidi)),
      data(1, message(hello, 0, 0x7f_ff_ff_ff)),
      ...Array<Buffer>(50).fill(data(1, good)),
      data(1, good, true),
    ),
  ),
];

function spoiled(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(copy.length - 6) ^ 255, copy.length - 6);
  return copy;
}
