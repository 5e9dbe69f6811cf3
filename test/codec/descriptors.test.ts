import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { expect, it } from '@jest/globals';

import { loadProto } from '../../src/codec/proto.ts';

// Made by protoc 6 (the PyPI package grpcio-tools 1.85.1) of the files beside it: --descriptor_set_out, each file in
// base64.
const golden = JSON.parse(readFileSync(new URL('protoc/descriptors.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>;
const descriptorProto = createRequire(import.meta.url).resolve('protobufjs/google/protobuf/descriptor.proto');
const fileType = loadProto(descriptorProto).type('google.protobuf.FileDescriptorProto')!;

it.each([
  ['places.proto', '../../samples/places/proto/places.proto'],
  ['nasty.proto', 'protoc/nasty.proto'],
  ['proto2.proto', 'protoc/proto2.proto'],
  ['edition.proto', 'protoc/edition.proto'],
])('the descriptors of %s equal those of protoc', (name, path) => {
  const descriptors = loadProto(new URL(path, import.meta.url)).fileDescriptors.map(
    (bytes) => fileType.decode(bytes) as { name: string },
  );
  const ours = descriptors.filter((one) => one.name in golden);
  expect(ours.map((one) => one.name)).toContain(name);
  for (const one of ours) expect(one).toEqual(fileType.decode(Buffer.from(golden[one.name]!, 'base64')));
});
