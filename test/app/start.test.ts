import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { backendRows } from '../../src/app/internal/backend-table.ts';
import { type BuiltCopy, builtCopy, type Loaded } from './support.ts';

const hello = `
  import { Handler, Rpc, Service, System } from './dist/index.js';
  import { writeFileSync } from 'node:fs';
  writeFileSync('greeter.proto', \`syntax = "proto3";
    package greeter;
    service Greeter { rpc Hello(Text) returns (Text); }
    message Text { string text = 1; }\`);
  class GreeterHandler {
    async hello({ text }) {
      return { text: 'Hello, ' + text + '!' };
    }
  }
  Rpc()(GreeterHandler.prototype, 'hello', Object.getOwnPropertyDescriptor(GreeterHandler.prototype, 'hello'));
  Handler('greeter.Greeter', { proto: 'greeter.proto' })(GreeterHandler);
  class Greeter {}
  Service({ name: 'greeter', handlers: [GreeterHandler] })(Greeter);
  const system = await System.start([Greeter]);
  await system.client(GreeterHandler).hello({ text: 'Ada' });
  await system.stop();
`;

let copy: BuiltCopy;
beforeAll(() => {
  copy = builtCopy();
});
afterAll(() => copy.remove());

/** The files of `src/` that a file of `dist/` was made of; a door alone has none. */
function sourcesOf(file: string): readonly string[] {
  const map = join(copy.folder, 'dist', `${file}.js.map`);
  if (!existsSync(map)) return [];
  const { sources } = JSON.parse(readFileSync(map, 'utf8')) as { readonly sources: readonly string[] };
  return sources.map((source) => source.replace(/^(?:\.\.\/)+src\//, ''));
}

describe('the modules that a service loads to start, answer a call over gRPC, and stop', () => {
  let loaded: Loaded;
  let sources: readonly string[];
  beforeAll(async () => {
    loaded = await copy.loadedBy(hello, { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'silent' });
    sources = loaded.files.flatMap(sourcesOf);
  });

  test('is these packages', () => {
    expect([...loaded.packages].sort()).toEqual([
      '@inversifyjs/common',
      '@inversifyjs/container',
      '@inversifyjs/core',
      '@inversifyjs/plugin',
      '@inversifyjs/prototype-utils',
      '@inversifyjs/reflect-metadata-utils',
      'inversify',
      'protobufjs',
      'reflect-metadata',
    ]);
  });

  // A file costs a start as much as 20 KB of code in another file: scripts/bundle.js puts together what is loaded so.
  test('is few files', () => {
    expect(loaded.files.length).toBeLessThanOrEqual(16);
    expect(loaded.files).toEqual(expect.arrayContaining(['index', 'chunks/core', 'chunks/app', 'chunks/proto']));
  });

  // Each was looked at. A new one is either needed by every service, or it is to be imported where it is needed.
  test('is made of at most 300 files of src', () => {
    expect(sources.length).toBeGreaterThan(100);
    expect(sources.length).toBeLessThanOrEqual(300);
    expect(new Set(sources).size).toBe(sources.length);
  });

  test('has nothing of the command, of suites, of backends that are not bound, or of what nobody asked', () => {
    const others =
      /^(?:cli|testing)\/|^transport\/(?:internal\/)?(?:memory|tcp|unix|frame|grpc-js)|redis|mdns|grpc-channel|round-robin|^reflection\/internal/;
    expect(sources.filter((source) => others.test(source))).toEqual([]);
  });
});

describe('the doors', () => {
  const { exports: doors } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    readonly exports: Readonly<Record<string, { readonly default: string }>>;
  };
  // What has to do with the container, suites of tests, and what calls the methods of a .proto.
  const withPackages = ['.', './app', './testing', './package.json', './registry/kit/grpc-channel'];
  const backends = Object.entries(backendRows).flatMap(([room, rows]) => rows.map(({ name }) => `./${room}/${name}`));
  // Classes that an application binds to the contract of their room.
  const bound = ['./store/memory', './store/redis'];
  const others = [...withPackages, ...backends, ...bound];
  const names = Object.keys(doors).filter((name) => !others.includes(name));

  test('load no package, but for those of the container', async () => {
    expect(names).toContain('./errors');
    const files = names.map((name) => doors[name]?.default);
    const { packages } = await copy.loadedBy(files.map((file) => `import ${JSON.stringify(file)};`).join('\n'));
    expect(packages).toEqual([]);
  });
});
