import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** One import, re-export or `import()` of a file. */
export interface Import {
  readonly specifier: string;
  /** Erased by the compiler. */
  readonly typeOnly: boolean;
  /** By `import()`: loaded when it is reached, not with the file. */
  readonly dynamic: boolean;
  /** The names between the braces, without `type` and without what they are renamed to. */
  readonly names: readonly string[];
  readonly line: number;
}

/** A source file as the house rules see it: text, and what of it is code. */
export interface SourceFile {
  /** From the root of the project, with slashes: `src/registry/redis.ts`. */
  readonly path: string;
  readonly text: string;
  /** `text` with comments blanked; same length, same lines. */
  readonly code: string;
  /** `code` with the contents of strings, templates and regular expressions blanked too. */
  readonly bare: string;
  readonly imports: readonly Import[];
}

const beforeRegExp = /(?:^|[=(,:;!&|?{}[+\-*%^~<>\n]|=>|\b(?:return|typeof|case|in|of|do|else|void|await|yield))\s*$/;

/** Blanks what is not code. There is no compiler API to ask, so this is a scanner of just enough of the language. */
export function blank(text: string): { code: string; bare: string } {
  const code = text.split('');
  const bare = [...code];
  // What braces belong to: a template's `${` or a block.
  const braces: ('template' | 'block')[] = [];
  const erase = (from: number, to: number, inCode: boolean): void => {
    for (let i = from; i < to; i++) {
      if (text[i] === '\n') continue;
      if (inCode) code[i] = ' ';
      bare[i] = ' ';
    }
  };
  const template = (from: number): number => {
    let i = from;
    while (i < text.length && text[i] !== '`' && !text.startsWith('${', i)) i += text[i] === '\\' ? 2 : 1;
    erase(from, i, false);
    if (text[i] !== '$') return i + 1;
    braces.push('template');
    return i + 2;
  };
  for (let i = 0; i < text.length;) {
    const char = text[i];
    if (text.startsWith('//', i) || (i === 0 && text.startsWith('#!'))) {
      const end = endOf(text, '\n', i);
      erase(i, end, true);
      i = end;
    } else if (text.startsWith('/*', i)) {
      const end = endOf(text, '*/', i + 2) + 2;
      erase(i, end, true);
      i = end;
    } else if (char === "'" || char === '"') {
      let end = i + 1;
      while (end < text.length && text[end] !== char && text[end] !== '\n') end += text[end] === '\\' ? 2 : 1;
      erase(i + 1, end, false);
      i = end + 1;
    } else if (char === '`') {
      i = template(i + 1);
    } else if (char === '{') {
      braces.push('block');
      i++;
    } else if (char === '}') {
      i = braces.pop() === 'template' ? template(i + 1) : i + 1;
    } else if (char === '/' && beforeRegExp.test(bare.slice(Math.max(0, i - 40), i).join(''))) {
      let end = i + 1;
      for (let inClass = false; end < text.length && text[end] !== '\n'; end++) {
        if (text[end] === '\\') end++;
        else if (text[end] === '[') inClass = true;
        else if (text[end] === ']') inClass = false;
        else if (text[end] === '/' && !inClass) break;
      }
      erase(i + 1, end, false);
      i = end + 1;
    } else {
      i++;
    }
  }
  return { code: code.join(''), bare: bare.join('') };
}

function endOf(text: string, what: string, from: number): number {
  const at = text.indexOf(what, from);
  return at === -1 ? text.length : at;
}

function importsOf(code: string, bare: string): Import[] {
  const imports: Import[] = [];
  const add = (quoteAt: number, startAt: number, clause: string, dynamic: boolean, typeOnly: boolean): void => {
    const quote = code[quoteAt] ?? "'";
    const specifier = code.slice(quoteAt + 1, code.indexOf(quote, quoteAt + 1));
    const inBraces = /\{([^]*)\}/.exec(clause)?.[1] ?? '';
    const names = inBraces
      .split(',')
      .map((name) => name.trim().replace(/^type\s+/, ''))
      .map((name) => name.split(/\s+as\s+/)[0] ?? '')
      .filter((name) => name !== '');
    imports.push({ specifier, typeOnly, dynamic, names, line: lineAt(code, startAt) });
  };
  for (const match of bare.matchAll(/^[ \t]*(?:import|export)\b([^;'"`()=]*?)\bfrom\s*(['"])/gm)) {
    const clause = match[1] ?? '';
    const at = match.index + match[0].search(/\S/);
    add(match.index + match[0].length - 1, at, clause, false, /^\s*type\b(?!\s*(?:,|from\b))/.test(clause));
  }
  for (const match of bare.matchAll(/^[ \t]*import\s*(['"])/gm)) {
    add(match.index + match[0].length - 1, match.index, '', false, false);
  }
  for (const match of bare.matchAll(/(\btypeof\s+)?\bimport\s*\(\s*(['"])/g)) {
    add(match.index + match[0].length - 1, match.index, '', true, match[1] !== undefined);
  }
  return imports.sort((a, b) => a.line - b.line);
}

/** The number of the line at an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

/** A file made of a text: what the rules are tried on. */
export function sourceFile(path: string, text: string): SourceFile {
  const { code, bare } = blank(text);
  return { path, text, code, bare, imports: importsOf(code, bare) };
}

/** Paths of the files below a folder, sorted. Builds and packages are left out. */
export function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      if (['node_modules', 'dist', 'coverage', '.git'].includes(entry.name)) return [];
      const path = posix.join(folder, entry.name);
      return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
    })
    .sort();
}

/** The TypeScript files below a folder. */
export function sourcesBelow(folder: string): SourceFile[] {
  return filesBelow(folder)
    .filter((path) => path.endsWith('.ts'))
    .map((path) => sourceFile(path, readFileSync(path, 'utf8')));
}

/** `registry` for `src/registry/internal/x.ts`, `index` for `src/index.ts`. */
export function roomOf(path: string): string {
  const [, room = '', ...rest] = path.split('/');
  return rest.length === 0 ? room.replace(/\.ts$/, '') : room;
}

/** The path of what a relative import names, from the root of the project; undefined for a package. */
export function resolveImport(from: string, specifier: string): string | undefined {
  return specifier.startsWith('.') ? posix.join(posix.dirname(from), specifier) : undefined;
}

/** `@grpc/grpc-js` for `@grpc/grpc-js/build/x`. */
export function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** A page of the documentation, or an error that says which one has to be written. */
export function page(path: string): string {
  if (!existsSync(path)) throw new Error(`${path} does not exist: this rule compares it with the code`);
  return readFileSync(path, 'utf8');
}

/** The rows of a page's tables, as trimmed cells. */
export function tableRows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => /^\s*\|.*\|\s*$/.test(line))
    .map((line) =>
      line
        .trim()
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

/** `package.json`, as far as the rules read it. */
export interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
}

export function manifest(): Manifest {
  return JSON.parse(readFileSync(join('package.json'), 'utf8')) as Manifest;
}
