import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startNode, type TestProcess } from '../support/process.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** tenon, as it was built, in a folder of its own. */
export interface BuiltCopy {
  readonly folder: string;
  /** Runs a module that finds tenon as `./dist/index.js`. */
  run(code: string, options?: { readonly env?: Readonly<Record<string, string | undefined>> }): TestProcess;
  /** What such a module loads. */
  loadedBy(code: string, env?: Readonly<Record<string, string>>): Promise<Loaded>;
  remove(): void;
}

/** What a program loaded. */
export interface Loaded {
  /** Files of tenon below `dist/`, without their ending, in order. */
  readonly files: readonly string[];
  /** Packages, in the order of their first file. */
  readonly packages: readonly string[];
}

// The hooks run in a thread of their own, so they leave what they saw in a file.
const hooks = `
  import { appendFileSync } from 'node:fs';
  export async function load(url, context, next) {
    appendFileSync(process.env.LOADED, url + '\\n');
    return next(url, context);
  }`;

/** The files of `dist`, beside the packages that are installed, except those named. */
export function builtCopy(without: readonly string[] = []): BuiltCopy {
  const folder = mkdtempSync(join(tmpdir(), 'tenon-app-'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'tenon', type: 'module' }));
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  linkPackages(join(root, 'node_modules'), join(folder, 'node_modules'), without);
  let count = 0;
  const run: BuiltCopy['run'] = (code, options = {}) => {
    const script = join(folder, `run-${(count += 1)}.mjs`);
    writeFileSync(script, code);
    return startNode(script, { cwd: folder, env: { TENON_PROFILE: undefined, ...options.env } });
  };
  return {
    folder,
    run,
    async loadedBy(code, env = {}) {
      const log = join(folder, `loaded-${(count += 1)}.txt`);
      const name = `loading-${count}.mjs`;
      writeFileSync(join(folder, name), code);
      const child = run(
        `import { register } from 'node:module';
         register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}));
         await import('./${name}');`,
        { env: { LOADED: log, ...env } },
      );
      const exit = await child.waitForExit();
      if (exit.code !== 0) throw new Error(child.stderr);
      const urls = readFileSync(log, 'utf8').split('\n');
      const all = (pattern: RegExp): string[] => urls.flatMap((url) => pattern.exec(url)?.[1] ?? []);
      return {
        files: all(/^file:\/\/(?!.*\/node_modules\/).*\/dist\/(.+)\.js$/),
        packages: [...new Set(all(/.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//))],
      };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
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
