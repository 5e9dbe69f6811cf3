import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** A fenced block of a page, or of a docstring. */
export interface Block {
  /** File within the repository. */
  readonly file: string;
  /** Line of the first line of code, from 1. */
  readonly line: number;
  /** What stands behind the fence: `ts`, `sh`, `text`. */
  readonly info: string;
  readonly code: string;
}

/** Reads a file of the repository. */
export async function text(file: string): Promise<string> {
  return readFile(join(root, file), 'utf8');
}

/** Files below a folder of the repository whose name ends so, without what is installed or built. */
export async function filesBelow(folder: string, ending: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)(node_modules|dist)\//.test(file))
    .sort();
}

/** The pages for readers: the README, the docs, the samples' and the benchmark's READMEs. */
export async function pages(): Promise<string[]> {
  const found = await Promise.all(['docs', 'samples', 'bench'].map((folder) => filesBelow(folder, '.md')));
  return ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...found.flat()];
}

/** The fenced blocks of a text in Markdown. */
export function blocksOf(file: string, markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { readonly fence: string; readonly info: string; readonly line: number } | undefined;
  let code: string[] = [];
  markdown.split('\n').forEach((line, index) => {
    const fence = /^\s*(`{3,})\s*(.*)$/.exec(line);
    if (!open) {
      if (fence) open = { fence: fence[1] as string, info: (fence[2] as string).trim(), line: index + 2 };
      return;
    }
    if (fence?.[1] !== open.fence || fence[2] !== '') {
      code.push(line);
      return;
    }
    blocks.push({ file, line: open.line, info: open.info, code: code.join('\n') });
    open = undefined;
    code = [];
  });
  if (open) throw new Error(`${file}:${open.line - 1}: the fence is not closed`);
  return blocks;
}

/** An `@example` of a docstring, and what it is an example of. */
export interface Example extends Block {
  /** The declaration below the docstring; empty for a member. */
  readonly of: string;
}

/** The blocks of the `@example`s in a source. An `@example` without one is an example with no code. */
export function examplesOf(file: string, source: string): Example[] {
  const examples: Example[] = [];
  for (const match of source.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const at = match[0].indexOf('@example');
    if (at < 0) continue;
    const line = source.slice(0, match.index + at).split('\n').length;
    const markdown = match[0]
      .slice(at)
      .replace(/\*\/$/, '')
      .split('\n')
      .map((one) => one.replace(/^\s*\* ?/, ''))
      .join('\n');
    const below = source.slice(match.index + match[0].length);
    const of =
      /^\s*export (?:declare |abstract |async )*(?:function|class|interface|type|const) (\w+)/.exec(below)?.[1] ?? '';
    const blocks = blocksOf(file, markdown);
    if (blocks.length === 0) examples.push({ file, line, info: '', code: '', of });
    for (const block of blocks) examples.push({ ...block, line: line + block.line - 1, of });
  }
  return examples;
}

/** What a module offers: whether each name is only a type. */
export function exportsOf(source: string): Map<string, { readonly isType: boolean }> {
  const names = new Map<string, { readonly isType: boolean }>();
  const add = (name: string, isType: boolean): void =>
    void names.set(name, { isType: isType && names.get(name)?.isType !== false });
  for (const [, keyword, name] of source.matchAll(
    /^export (?:declare |abstract |async )*(class|function|const|interface|type)\*? (\w+)/gm,
  )) {
    add(name as string, keyword === 'interface' || keyword === 'type');
  }
  for (const [, typeWord, list] of source.matchAll(/^export (type )?\{([^}]*)\}/gm)) {
    for (const item of (list as string).split(',')) {
      const parts = /^\s*(type )?(?:\w+ as )?(\w+)\s*$/.exec(item);
      if (parts) add(parts[2] as string, typeWord !== undefined || parts[1] !== undefined);
    }
  }
  return names;
}

/** The doors of the package, each with its source. */
export async function doors(): Promise<Map<string, string>> {
  const { exports } = JSON.parse(await text('package.json')) as {
    exports: Record<string, string | { default: string }>;
  };
  return new Map(
    Object.entries(exports).flatMap(([door, target]) =>
      typeof target === 'object'
        ? [[`tenon${door.slice(1)}`, target.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')]]
        : [],
    ),
  );
}

/** Something to compile: a module, with imports that are not written in it. */
export interface Unit {
  readonly block: Block;
  /** On one line. */
  readonly prelude?: string | undefined;
}

/**
 * Compiles every unit as a module of its own, as an application would, against the declarations that were built, in one
 * run of the compiler. Gives its complaints about them, each with file and line of the page.
 */
export async function compile(units: readonly Unit[]): Promise<string[]> {
  const cache = join(root, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'tenon-docs-'));
  try {
    const declarations = (source: string): string => source.replace(/^src(.*)\.ts$/, 'dist$1.d.ts');
    const paths = Object.fromEntries(
      [...(await doors())].map(([door, source]) => [door, [join(root, declarations(source))]]),
    );
    await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: join(root, 'tsconfig.json'),
        // An example declares what its reader goes on to use.
        compilerOptions: { paths, skipLibCheck: true, noUnusedLocals: false, noUnusedParameters: false },
        include: ['*.ts'],
      }),
    );
    await Promise.all(
      units.map(({ block, prelude }, index) =>
        writeFile(join(folder, `${index}.ts`), `${prelude ?? ''}\n${block.code}\nexport {};\n`),
      ),
    );
    const output = await tsc(['-p', folder], folder);
    return output.split('\n').flatMap((line) => {
      const found = /(?:^|\/)(\d+)\.ts\((\d+),\d+\): (error TS\d+: .*)$/.exec(line);
      if (!found) return line.startsWith('error TS') ? [line] : [];
      const { block } = units[Number(found[1])] as Unit;
      return [`${block.file}:${block.line + Number(found[2]) - 2}: ${found[3]}`];
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs the compiler and gives what it printed. */
export function tsc(args: readonly string[], cwd: string): Promise<string> {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  return new Promise((done, fail) => {
    execFile(
      process.execPath,
      [compiler, '--pretty', 'false', ...args],
      { cwd, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        // It ends with 1 or 2 when it has something to say, which is what was asked for.
        if (error && typeof error.code !== 'number') fail(error);
        else if (stderr !== '') fail(new Error(stderr));
        else done(stdout);
      },
    );
  });
}
