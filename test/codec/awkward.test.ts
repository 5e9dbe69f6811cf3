import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from '@jest/globals';

import { loadProto, type ProtoFile } from '../../src/codec/proto.ts';

const folder = mkdtempSync(join(tmpdir(), 'tenon-awkward-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(name: string, text: string): ProtoFile {
  const path = join(folder, `${name}.proto`);
  writeFileSync(path, text);
  return loadProto(path);
}

describe('loadProto with a valid .proto that protobufjs cannot parse', () => {
  it('loads a group with options, and reports later errors at the right line', () => {
    const group = 'optional group Inner = 1 [deprecated = true,\n lazy = true] { optional int32 a = 1; }';
    const file = load('group', `syntax = "proto2";\nmessage M { ${group} optional int32 b = 2; }`);
    expect(file.type('M')?.decode(Uint8Array.of(0x0b, 0x08, 1, 0x0c, 0x10, 5))).toEqual({ b: 5 });
    expect(file.fileDescriptors).toHaveLength(1);
    expect(() => load('broken', `syntax = "proto2";\nmessage M { ${group}\n Missing b = 2; }`)).toThrow(/line 4/);
  });

  it.each(['constructor', 'toString', 'hasOwnProperty'])(
    'reports the parser, not the file, for an enum with the value %s',
    (name) => {
      expect(() => load(`enum-${name}`, `syntax = "proto2";\nenum Kind {\n ${name} = 1;\n}`)).toThrow(
        new RegExp(`line 3: the parser cannot take the value "${name}" of the enum Kind.* The file is valid: rename`),
      );
    },
  );

  it('reports two fields that would be one property, and names both', () => {
    const text = 'syntax = "proto3";\npackage a;\nmessage M {\n string foo_bar = 1;\n string fooBar = 2;\n}';
    expect(() => load('fields', text)).toThrow(
      /line 5: the fields "foo_bar" and "fooBar" of a\.M would both be the property "fooBar".* The file is valid/,
    );
  });
});
