import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterAll, expect, it } from '@jest/globals';
import { build, type BuildOptions } from 'esbuild';

import { RedisRegistry } from '../../src/registry/redis.ts';
import { startNode } from '../support/process.ts';
import { describeWithRedis } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';

const patienceMs = 60_000;
const folder = mkdtempSync(join(tmpdir(), 'tenon-bundled-lease-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const program = `
import { Service, System } from ${JSON.stringify(resolve('dist/index.js'))};

class Leased {}
Service({ name: 'leased', handlers: [] })(Leased);

async function main() {
  const system = await System.start([Leased]);
  process.once('SIGTERM', () => void system.stop());
  setInterval(() => console.log('renewals ' + system.services[0]?.registration.renewals), 100).unref();
}
main();
`;

const formats: Readonly<Record<string, BuildOptions>> = {
  esm: {
    format: 'esm',
    // What libraries in CommonJS need of a bundle that is a module (esbuild.github.io: api/#format).
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
  },
  cjs: { format: 'cjs', logOverride: { 'empty-import-meta': 'silent' } },
  external: { format: 'esm', external: [`${resolve('dist')}/*`] },
};

async function bundled(name: string): Promise<string> {
  const source = join(folder, 'main.ts');
  writeFileSync(source, program);
  const outfile = join(folder, name === 'cjs' ? 'bundle.cjs' : `${name}.mjs`);
  const options = { bundle: true, platform: 'node', target: 'node20', logLevel: 'error' } as const;
  await build({ ...options, ...formats[name], entryPoints: [source], outfile });
  return outfile;
}

describeWithRedis('the lease of a program that was bundled', (redis) => {
  const env = (): Record<string, string> => ({
    TENON_PROFILE: 'dev',
    TENON_REGISTRY: `redis://${redis.address}`,
    TENON_REGISTER_TTL_MS: '1500',
    TENON_LAME_DUCK_MS: '0',
    TENON_LOG_LEVEL: 'debug',
  });

  it.each([
    ['esm', /main thread, and end while it is busy: .* not part of this bundle.*TENON_REGISTER_WORKER=false/],
    ['cjs', /main thread, and end while it is busy: .* not part of this bundle.*TENON_REGISTER_WORKER=false/],
    ['external', /is renewed by a thread of its own/],
  ])(
    'is renewed: %s',
    async (name, line) => {
      const child = startNode(await bundled(name), { cwd: folder, env: env() });
      await child.waitForLog(line, patienceMs);
      await child.waitForLine(/^renewals (?:[4-9]|\d\d+)$/, patienceMs);
      expect(child.stderr.match(/main thread/g) ?? []).toHaveLength(name === 'external' ? 0 : 1);
      const registry = new RedisRegistry({ address: redis.address });
      expect((await registry.getService('leased'))[0]?.nodes).toHaveLength(1);
      child.signal('SIGTERM');
      expect(await child.waitForExit(patienceMs)).toEqual({ code: 0, signal: null });
      await eventually(
        'it is gone',
        () =>
          registry.getService('leased').then(
            () => false,
            () => true,
          ),
        patienceMs,
      );
      await registry.close();
    },
    180_000,
  );
});
