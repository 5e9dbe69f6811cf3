import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';

import { bundledProtos } from '../../src/codec/internal/bundled-protos.ts';
import { startNode } from '../support/process.ts';

// Beside no node_modules and no package of tenon: all that the program needs is in its one file.
const folder = mkdtempSync(join(tmpdir(), 'tenon-bundled-'));

const program = `
import { Handler, Rpc, Service, System } from ${JSON.stringify(resolve('dist/index.js'))};
import { healthProto } from ${JSON.stringify(resolve('dist/health/handler.js'))};
import { reflectionName, reflectionProto } from ${JSON.stringify(resolve('dist/reflection/reflection.js'))};

@Handler('greeter.Greeter', { proto: process.env.PROTO })
class GreeterHandler {
  @Rpc()
  async hello({ name }: { name: string }) {
    return { text: 'Hello, ' + name + '!' };
  }
}

@Service({ name: 'greeter', handlers: [GreeterHandler] })
class Greeter {}

async function main() {
  const system = await System.start([Greeter], { env: { TENON_PROFILE: 'local', TENON_LOG_LEVEL: 'warn' } });
  try {
    console.log((await system.client<any>(GreeterHandler).hello({ name: 'Ada' })).text);
    const health = system.client<any>({ proto: healthProto, name: 'grpc.health.v1.Health', service: 'greeter' });
    console.log((await health.check({ service: '' })).status);
    const source = { proto: reflectionProto('v1'), name: reflectionName('v1'), service: 'greeter' };
    async function* questions() {
      yield { fileContainingSymbol: 'greeter.Greeter' };
      yield { fileContainingSymbol: 'google.rpc.BadRequest' };
    }
    for await (const answer of system.client<any>(source).serverReflectionInfo(questions()))
      console.log(answer.fileDescriptorResponse.fileDescriptorProto.length > 0);
  } finally {
    await system.stop();
  }
}
main();
`;

const proto = `syntax = "proto3";
package greeter;
import "google/protobuf/descriptor.proto";
import "buf/validate/validate.proto";
extend google.protobuf.FieldOptions { string shown_as = 50000; }
message Request { string name = 1 [(shown_as) = "Name", (buf.validate.field).string.min_len = 1]; }
message Reply { string text = 1; }
service Greeter { rpc Hello(Request) returns (Reply); }
`;

beforeAll(() => {
  mkdirSync(join(folder, 'src'));
  writeFileSync(join(folder, 'src', 'main.ts'), program);
  writeFileSync(join(folder, 'greeter.proto'), proto);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a program that was bundled into one file', () => {
  test.each(['esm', 'cjs'] as const)(
    'runs as %s, and serves calls, health and reflection',
    async (format) => {
      const outfile = join(folder, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs');
      // What libraries in CommonJS need of a bundle that is a module (esbuild.github.io: api/#format).
      const banner =
        "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);";
      await build({
        entryPoints: [join(folder, 'src', 'main.ts')],
        outfile,
        format,
        bundle: true,
        platform: 'node',
        target: 'node20',
        logLevel: 'error',
        tsconfigRaw: { compilerOptions: { experimentalDecorators: true } },
        banner: format === 'esm' ? { js: banner } : {},
        logOverride: { 'empty-import-meta': 'silent' },
      });
      const env = { PROTO: join(folder, 'greeter.proto') };
      const child = startNode(outfile, { cwd: folder, env });
      const { code } = await child.waitForExit(60_000);
      expect(`${child.stdout}${child.stderr}; ${code}`).toBe('Hello, Ada!\nSERVING\ntrue\ntrue\n; 0');
    },
    120_000,
  );
});

describe('bundledProtos', () => {
  const ours = readdirSync('proto', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.proto'));

  test('equal the files in proto/: npm run protos makes them', () => {
    for (const name of ours) expect(bundledProtos.get(name)).toBe(readFileSync(join('proto', name), 'utf8'));
    expect([...bundledProtos.keys()].filter((name) => !ours.includes(name))).toHaveLength(4);
  });

  test('equal the other files of protobufjs', () => {
    for (const [name, text] of bundledProtos)
      if (!ours.includes(name)) expect(text).toBe(readFileSync(join('node_modules/protobufjs', name), 'utf8'));
  });
});
