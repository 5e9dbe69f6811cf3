import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { transformSync } from '@swc/core';

import { startNode, type TestProcess } from '../support/process.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** tenon, compiled, in a folder of its own. */
export interface CompiledCopy {
  readonly folder: string;
  /** Runs a module that finds tenon as `./dist/index.js`. */
  run(code: string, options?: { readonly env?: Readonly<Record<string, string | undefined>> }): TestProcess;
  remove(): void;
}

/** Compiles `src` as it is now, beside the packages that are installed, except those named. */
export function compiledCopy(without: readonly string[] = []): CompiledCopy {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-app-'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'copy', type: 'module' }));
  for (const file of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (file.endsWith('.ts')) compile(join(root, 'src', file), join(folder, 'dist', file.replace(/\.ts$/, '.js')));
  }
  linkPackages(join(root, 'node_modules'), join(folder, 'node_modules'), without);
  let count = 0;
  return {
    folder,
    run(code, options = {}) {
      const script = join(folder, `run-${(count += 1)}.mjs`);
      writeFileSync(script, code);
      return startNode(script, { cwd: folder, env: { TENON_PROFILE: undefined, ...options.env } });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function compile(source: string, target: string): void {
  const { code } = transformSync(readFileSync(source, 'utf8'), {
    filename: source,
    configFile: false,
    swcrc: false,
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: false },
      keepClassNames: true,
    },
    module: { type: 'es6' },
  });
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, code.replace(/((?:from|import)\s*\(?\s*['"]\.[^'"]*)\.ts(['"])/g, '$1.js$2'));
}

function linkPackages(from: string, to: string, without: readonly string[], scope = ''): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from)) {
    const name = `${scope}${entry}`;
    if (entry.startsWith('.') || without.includes(name)) continue;
    if (entry.startsWith('@')) linkPackages(join(from, entry), join(to, entry), without, `${entry}/`);
    else symlinkSync(join(from, entry), join(to, entry));
  }
}
