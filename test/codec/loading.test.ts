import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import protobuf from 'protobufjs';

import { loadProto } from '../../src/codec/proto.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { thrownBy } from '../../src/testing/failures.ts';
import { kinds } from './support.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-proto-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

function refusal(work: () => unknown): TenonError {
  const error = thrownBy(work);
  expect(error.code).toBe(Code.InvalidArgument);
  return error;
}

describe('loadProto', () => {
  it('describes the services of a file, with their methods and kinds', () => {
    expect(kinds.package).toBe('kinds');
    const service = kinds.service('kinds.Kinds');
    expect(service).toBe(kinds.services[0]);
    expect(
      service?.methods.map(({ path, kind, idempotent, input, output }) => [
        path,
        kind,
        idempotent,
        input.name,
        output.name,
      ]),
    ).toEqual([
      ['/kinds.Kinds/Unary', 'unary', false, 'kinds.Scalars', 'kinds.Optionals'],
      ['/kinds.Kinds/Down', 'server', true, 'kinds.Scalars', 'kinds.Lists'],
      ['/kinds.Kinds/Up', 'client', true, 'kinds.Lists', 'kinds.Maps'],
      ['/kinds.Kinds/Both', 'bidi', false, 'kinds.Tree', 'kinds.Tree'],
      ['/kinds.Kinds/Nothing', 'unary', false, 'google.protobuf.Empty', 'google.protobuf.Empty'],
    ]);
    expect(service?.methods[0]).toMatchObject({
      service: 'kinds.Kinds',
      method: 'Unary',
      aliases: [],
      defaultContentType: 'application/grpc+proto',
    });
    expect(service?.methods[0]?.input.proto).toBe(kinds.type('kinds.Scalars'));
    expect(kinds.service('Kinds')).toBeUndefined();
  });

  it('loads a file once for the same options, by path or by URL', () => {
    const url = new URL('./all-kinds.proto', import.meta.url);
    expect(loadProto(url)).toBe(kinds);
    expect(loadProto(fileURLToPath(url))).toBe(kinds);
    expect(loadProto(url.href)).toBe(kinds);
    expect(loadProto([url], { int64: 'bigint', includeDirs: [] })).toBe(kinds);
    expect(loadProto(url, { int64: 'string' })).not.toBe(kinds);
  });

  it('finds imports beside the file, and in the directories of its options', () => {
    write('beside.proto', 'syntax = "proto3"; package beside; message Beside {}');
    write(
      'root/common/types.proto',
      'syntax = "proto3"; package common; import "common/more.proto"; message Id { More more = 1; } service NotOurs {}',
    );
    write('root/common/more.proto', 'syntax = "proto3"; package common; message More { string id = 1; }');
    const path = write(
      'main.proto',
      `syntax = "proto3"; package main;
       import "beside.proto"; import "common/types.proto"; import public "google/protobuf/descriptor.proto";
       message Main { beside.Beside beside = 1; common.Id id = 2; google.protobuf.FieldOptions options = 3; }
       service Ours { rpc Get(common.Id) returns (Main); }`,
    );
    const file = loadProto(path, { includeDirs: [join(folder, 'root')] });
    expect(file.services.map((service) => service.fullName)).toEqual(['main.Ours']);
    const type = file.type('main.Main');
    expect(type?.decode(type.encode({ id: { more: { id: 'x' } }, beside: {} }))).toEqual({
      beside: {},
      id: { more: { id: 'x' } },
    });
    expect(file.type('common.More')).toBeDefined();
  });

  it('finds the imports of a tree that follows its packages, and names its files as protoc does', () => {
    write('tree/acme/common/v1/id.proto', 'syntax = "proto3"; package acme.common.v1; message Id {}');
    write(
      'tree/acme/shop/v1/more.proto',
      'syntax = "proto3"; package acme.shop.v1; import "acme/common/v1/id.proto"; message More { acme.common.v1.Id id = 1; }',
    );
    const path = write(
      'tree/acme/shop/v1/shop.proto',
      `syntax = "proto3"; package acme.shop.v1; import "acme/shop/v1/more.proto"; service Shop { rpc Get(More) returns (More); }`,
    );
    const file = loadProto(path);
    expect(file.type('acme.common.v1.Id')).toBeDefined();
    const names = file.fileDescriptors.map((bytes) => String(Buffer.from(bytes.slice(2, 2 + (bytes[1] as number)))));
    expect(names).toEqual(['acme/common/v1/id.proto', 'acme/shop/v1/more.proto', 'acme/shop/v1/shop.proto']);
  });

  it('loads several files into one registry', () => {
    const one = write(
      'one.proto',
      'syntax = "proto3"; package one; import "shared.proto"; service One { rpc A(shared.S) returns (shared.S); }',
    );
    const two = write(
      'two.proto',
      'syntax = "proto3"; package two; import "shared.proto"; service Two { rpc B(shared.S) returns (shared.S); }',
    );
    write('shared.proto', 'syntax = "proto3"; package shared; message S {}');
    const file = loadProto([one, pathToFileURL(two)]);
    expect(file.services.map((service) => service.fullName)).toEqual(['one.One', 'two.Two']);
    expect(file.package).toBe('one');
  });

  it('loads a file without a package', () => {
    const file = loadProto(
      write(
        'bare.proto',
        'syntax = "proto3"; message Bare { Bare next = 1; } service S { rpc A(Bare) returns (Bare); }',
      ),
    );
    expect(file.package).toBe('');
    expect(file.services[0]?.methods[0]).toMatchObject({ service: 'S', path: '/S/A', input: { name: 'Bare' } });
    expect(file.type('Bare')?.name).toBe('Bare');
  });

  it('names the file that it cannot read', () => {
    const missing = refusal(() => loadProto(join(folder, 'missing.proto')));
    expect(missing.reason).toBe('codec.proto_not_found');
    expect(missing.message).toMatch(
      /^cannot read .*missing\.proto: .*ENOENT.*new URL\('x\.proto', import\.meta\.url\)$/,
    );
    expect(refusal(() => loadProto(new URL('http://localhost/x.proto'))).message).toBe(
      'cannot read http://localhost/x.proto: only files can be. Give a path or a file: URL',
    );
    expect(refusal(() => loadProto(folder)).reason).toBe('codec.proto_not_found');
  });

  it('names the file and the line of an import that it cannot find', () => {
    const path = write(
      'importing.proto',
      'syntax = "proto3";\npackage p;\n// import "gone.proto";\nimport "gone.proto";\n',
    );
    const error = refusal(() => loadProto(path, { includeDirs: ['/some/where'] }));
    expect(error.reason).toBe('codec.proto_not_found');
    expect(error.message).toBe(
      `${path}, line 4: the import "gone.proto" was not found in /some/where, ${folder}. Name the directory it is in: includeDirs`,
    );
  });

  it.each([
    ['syntax = "proto3";\nmessage A {\n  strin name = 1\n}\n', 4, "illegal token '}', ';' expected"],
    ['syntax = "proto3";\nmessage A {\n  string name = x;\n}\n', 3, "illegal id 'x'"],
    ['syntax = "proto3";\n\nmessage A {\n  Foo name = 1;\n}\n', 4, "no such Type or Enum 'Foo' in Type .A"],
    ['syntax = "proto3";\nmessage A {\n  string a = 1;\n  string b = 1;\n}\n', 4, 'duplicate id 1 in Type A'],
    ['syntax = "proto3";\nmessage A {\n  string a = 1;\n  string a = 2;\n}\n', 4, "duplicate name 'a' in Type A"],
    ['syntax = "proto3";\nmessage A {}\nservice S {\n  rpc Get(A) returns (B);\n}\n', 4, 'B'],
    ['syntax = "proto4";\n', 1, "unknown syntax 'proto4'"],
    ['message A {', 1, ''],
  ])('names the file and the line of a mistake: %j', (text, line, complaint) => {
    const path = write(`wrong-${Buffer.from(text).toString('hex').slice(-40)}.proto`, text);
    const error = refusal(() => loadProto(path));
    expect(error.reason).toBe('codec.proto_invalid');
    expect(error.message).toContain(`${path}, line ${line}: `);
    expect(error.message).toContain(complaint);
    expect(error.cause).toBeInstanceOf(Error);
    // A file that was mended is loaded.
    writeFileSync(path, 'syntax = "proto3";');
    expect(loadProto(path).services).toEqual([]);
  });

  it('refuses imports in a circle', () => {
    const path = write('chicken.proto', 'syntax = "proto3";\nimport "egg.proto";');
    write('egg.proto', 'syntax = "proto3";\n\nimport "chicken.proto";');
    expect(refusal(() => loadProto(path)).message).toContain(
      'egg.proto, line 3: the import of "chicken.proto" leads back to this file',
    );
  });
});

describe('file descriptors', () => {
  const root = new protobuf.Root();
  protobuf.parse(
    readFileSync(fileURLToPath(import.meta.resolve('protobufjs/google/protobuf/descriptor.proto')), 'utf8'),
    root,
  );
  const type = root.resolveAll().lookupType('google.protobuf.FileDescriptorProto');
  const plain = (bytes: Uint8Array): Record<string, unknown> => type.toObject(type.decode(bytes), { enums: String });
  interface Message {
    readonly name: string;
    readonly field: readonly Record<string, unknown>[];
    readonly nestedType: readonly Message[];
    readonly oneofDecl: readonly unknown[];
    readonly options?: unknown;
  }

  it('list one descriptor per file, imports first', () => {
    const files = kinds.fileDescriptors.map(plain);
    expect(files.map((file) => file['name'])).toEqual([
      'google/protobuf/any.proto',
      'google/protobuf/duration.proto',
      'google/protobuf/empty.proto',
      'google/protobuf/field_mask.proto',
      'google/protobuf/struct.proto',
      'google/protobuf/timestamp.proto',
      'google/protobuf/wrappers.proto',
      'all-kinds.proto',
    ]);
    expect(files.at(-1)).toMatchObject({
      package: 'kinds',
      syntax: 'proto3',
      dependency: files.slice(0, -1).map((file) => file['name']),
    });
    expect(kinds.fileDescriptors).toBe(kinds.fileDescriptors);
  });

  it('describe fields, oneofs, maps and methods as protoc does', () => {
    const file = plain(kinds.fileDescriptors.at(-1) as Uint8Array);
    const message = (name: string): Message =>
      (file['messageType'] as Message[]).find((one) => one.name === name) as Message;
    expect(message('Scalars').field[3]).toEqual({
      name: 'an_int64',
      number: 4,
      label: 'LABEL_OPTIONAL',
      type: 'TYPE_INT64',
      jsonName: 'anInt64',
    });
    expect(message('Scalars').field[15]).toMatchObject({ type: 'TYPE_ENUM', typeName: '.kinds.Color' });
    expect(message('Optionals').field[0]).toMatchObject({ proto3Optional: true, oneofIndex: 0 });
    expect(message('Optionals').oneofDecl).toHaveLength(16);
    expect(message('Optionals').field[16]).not.toHaveProperty('oneofIndex');
    expect(message('Choice').oneofDecl).toEqual([{ name: 'kind_of_choice' }, { name: 'second' }]);
    expect(message('Choice').field[8]).toMatchObject({ name: 'yes', oneofIndex: 1 });
    expect(message('Lists').field[17]).toMatchObject({ label: 'LABEL_REPEATED', options: { packed: false } });
    expect(message('Maps').field[7]).toMatchObject({
      label: 'LABEL_REPEATED',
      type: 'TYPE_MESSAGE',
      typeName: '.kinds.Maps.Fixed32sEntry',
    });
    expect(message('Maps').nestedType[7]).toMatchObject({
      name: 'Fixed32sEntry',
      options: { mapEntry: true },
      field: [
        { name: 'key', number: 1, type: 'TYPE_FIXED32' },
        { name: 'value', number: 2, type: 'TYPE_MESSAGE', typeName: '.kinds.Tree' },
      ],
    });
    expect(message('Awkward').field[3]).toMatchObject({ jsonName: 'clazz' });
    expect(file['enumType']).toMatchObject([
      {
        name: 'Color',
        options: { allowAlias: true },
        value: [{ number: 0 }, { number: 1 }, { number: 2 }, { number: 2 }, { number: -1 }],
      },
    ]);
    expect(file['service']).toMatchObject([
      {
        name: 'Kinds',
        method: [
          { name: 'Unary', inputType: '.kinds.Scalars', outputType: '.kinds.Optionals' },
          { name: 'Down', serverStreaming: true, options: { idempotencyLevel: 'NO_SIDE_EFFECTS' } },
          { name: 'Up', clientStreaming: true, options: { idempotencyLevel: 'IDEMPOTENT' } },
          { name: 'Both', clientStreaming: true, serverStreaming: true },
          { name: 'Nothing', inputType: '.google.protobuf.Empty' },
        ],
      },
    ]);
  });

  it('describe required fields, groups, extensions and defaults of proto2', () => {
    const [file] = loadProto(new URL('./old.proto', import.meta.url)).fileDescriptors.map(plain);
    expect(file).not.toHaveProperty('syntax');
    expect(file).toMatchObject({
      extension: [{ name: 'more', extendee: '.old.Old', number: 100 }],
      messageType: [
        {
          name: 'Old',
          field: [
            { label: 'LABEL_REQUIRED' },
            {},
            { options: { packed: true } },
            { type: 'TYPE_GROUP', typeName: '.old.Old.Group' },
            { defaultValue: 'a name' },
          ],
          nestedType: [{ name: 'Group' }],
          extensionRange: [{ start: 100, end: 200 }],
        },
      ],
    });
  });
});

describe('modules of the codecs without a .proto', () => {
  it.each(['codec.ts', 'json.ts', 'bytes.ts', 'marshaler-codec.ts'])('import no protobufjs: %s', (name) => {
    const seen = new Set<string>();
    const libraries = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      const text = readFileSync(path, 'utf8');
      for (const [, target = ''] of text.matchAll(/^(?:import|export) (?!type)[^;]*? from '([^']+)';/gm)) {
        if (target.startsWith('.')) visit(resolve(dirname(path), target));
        else libraries.add(target);
      }
    };
    visit(resolve('src/codec', name));
    expect(seen.size).toBeGreaterThan(1);
    expect([...libraries].filter((library) => library !== 'inversify')).toEqual([]);
  });
});
