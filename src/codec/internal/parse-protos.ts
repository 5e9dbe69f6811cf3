import { readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

import { Code, TenonError, textOf } from '../../errors/errors.ts';
import { ownValue } from '../../internal/own.ts';
import { bundledProtos } from './bundled-protos.ts';
import { bareName, propertyName } from './message-fields.ts';
import { wellKnownProtos } from './well-known-protos.ts';

/** A file that was read. */
export interface SourceFile {
  /** The name under which other files import it. */
  readonly name: string;
  /** The absolute path, or the name of a file that comes with tenon. */
  readonly path: string;
  readonly text: string;
  readonly package: string;
  readonly syntax: string;
  /** Names of the imported files, in order. */
  imports: readonly string[];
  /** The public imports, which files that import this one import too. */
  publicImports: readonly string[];
}

/** The files of one `loadProto`, parsed and with every reference resolved. */
export interface ParsedProto {
  readonly root: protobuf.Root;
  /** The files given to `loadProto`. */
  readonly sources: readonly SourceFile[];
  /** All files, each after those that it imports. */
  readonly files: readonly SourceFile[];
}

/**
 * Reads and parses `paths` and their imports. The parser is protobufjs's, which proto-loader uses too. protobufjs's
 * loader is not used: it does not tell which line has an import that is missing, nor which file a type is from.
 */
export function parseProtos(paths: readonly string[], includeDirs: readonly string[]): ParsedProto {
  const loader = new Loader(includeDirs);
  const sources = paths.map((path) => loader.source(path));
  loader.resolve();
  assertDistinctProperties(loader.root, loader.files.values());
  return { root: loader.root, sources, files: [...loader.files.values()] };
}

/** The URL scheme of the files that come with tenon: `tenon:grpc/health/v1/health.proto`. */
const bundledScheme = 'tenon:';

/** Resolves a source, given as a path or a `file:` URL, to a path. A file that comes with tenon keeps its URL. */
export function sourcePath(source: string | URL): string {
  if (String(source).startsWith(bundledScheme)) return String(source);
  if (typeof source === 'string' && !source.startsWith('file:')) return resolve(source);
  try {
    return fileURLToPath(source);
  } catch (error) {
    throw notFound(`cannot read ${String(source)}: only files can be. Give a path or a file: URL`, error);
  }
}

class Loader {
  readonly root = new protobuf.Root();
  /** Files by path, each after those that it imports. */
  readonly files = new Map<string, SourceFile>();
  readonly #includeDirs: readonly string[];
  readonly #open = new Set<string>();

  constructor(includeDirs: readonly string[]) {
    this.#includeDirs = includeDirs.map((directory) => resolve(directory));
  }

  source(path: string): SourceFile {
    const bundled = path.startsWith(bundledScheme) ? path.slice(bundledScheme.length) : undefined;
    const bundledText = bundled === undefined ? undefined : bundledProtos.get(bundled);
    if (bundled !== undefined && bundledText !== undefined)
      return this.#parse({ name: bundled, path: bundled, text: bundledText });
    const inside = this.#includeDirs
      .map((directory) => relative(directory, path))
      .find((name) => !name.startsWith('..') && !isAbsolute(name));
    const remedy =
      "Give a path from the working directory, or better one from the module: new URL('x.proto', import.meta.url)";
    const text = readText(path);
    if (TenonError.is(text)) throw notFound(`cannot read ${path}: ${textOf(text.cause)}. ${remedy}`, text.cause);
    const root = packageRoot({ path, text });
    const name = inside ?? (root === undefined ? basename(path) : relative(root, path));
    return this.#parse({ name: name.replaceAll('\\', '/'), path, text });
  }

  /** Resolves the types that fields and methods refer to. */
  resolve(): void {
    try {
      this.root.resolveAll();
    } catch (error) {
      const word = /'(?:extend )?([\w.]+)'|type: ([\w.]+)/.exec(textOf(error));
      const name = word?.[1] ?? word?.[2] ?? '';
      const place = [...this.files.values()]
        .map((file) => ({ file, line: lineOf(file.text, name) }))
        .find(({ line }) => line > 0);
      throw invalid(place?.file.path ?? '', place?.line ?? 0, error);
    }
  }

  #parse(found: { readonly name: string; readonly path: string; readonly text: string }): SourceFile {
    const known = this.files.get(found.path);
    if (known) return known;
    this.#open.add(found.path);
    const parsed = parse(found, this.root);
    const names = [...(parsed.imports ?? []), ...(parsed.weakImports ?? [])];
    const isWeak = new Set(parsed.weakImports);
    const imports: string[] = [];
    for (const name of names) {
      const target = this.#find(found, name);
      if (!target) {
        if (isWeak.has(name)) continue;
        throw this.#missingImport(found, name);
      }
      if (this.#open.has(target.path)) {
        throw invalid(
          found.path,
          lineOf(found.text, `"${name}"`),
          new Error(`the import of "${name}" leads back to this file`),
        );
      }
      imports.push(this.#parse(target).name);
    }
    this.#open.delete(found.path);
    const syntax = syntaxOf(found);
    const publicImports = publicImportsOf(found.text).filter((name) => imports.includes(name));
    const file = { ...found, package: parsed.package ?? '', syntax, imports, publicImports };
    this.files.set(found.path, file);
    return file;
  }

  #find(
    from: { readonly path: string; readonly text: string },
    name: string,
  ): { readonly name: string; readonly path: string; readonly text: string } | undefined {
    const text = ownValue(wellKnownProtos, name);
    if (text !== undefined) return { name, path: name, text };
    for (const directory of this.#places(from)) {
      const path = resolve(directory, name);
      const content = readText(path);
      if (typeof content === 'string') return { name, path, text: content };
    }
    const bundled = bundledProtos.get(name);
    return bundled === undefined ? undefined : { name, path: name, text: bundled };
  }

  #places(from: { readonly path: string; readonly text: string }): readonly string[] {
    const root = packageRoot(from);
    return [...this.#includeDirs, dirname(from.path), ...(root === undefined ? [] : [root])];
  }

  #missingImport(file: { readonly path: string; readonly text: string }, name: string): TenonError {
    const line = lineOf(file.text, `"${name}"`) || lineOf(file.text, `'${name}'`);
    const places = this.#places(file).join(', ');
    return notFound(
      `${file.path}, line ${line}: the import "${name}" was not found in ${places}. Name the directory it is in: includeDirs`,
    );
  }
}

function parse(file: { readonly path: string; readonly text: string }, root: protobuf.Root): protobuf.IParserResult {
  const parser = protobuf.parse as typeof protobuf.parse & { filename: string | null };
  parser.filename = file.path;
  try {
    return protobuf.parse(withoutGroupOptions(withPlainTexts(file.text)), root, { keepCase: true });
  } catch (error) {
    const inherited = /^duplicate name '(\w+)' in Enum (\w+)/.exec(textOf(error));
    if (inherited?.[1] !== undefined && inherited[1] in Object.prototype)
      throw unusableName(file, inherited[1], String(inherited[2]));
    const said = /\(.*line (\d+)\)/.exec(textOf(error))?.[1];
    throw invalid(file.path, said === undefined ? lineOfComplaint(file.text, textOf(error)) : Number(said), error);
  } finally {
    parser.filename = null;
  }
}

/** Removes options of groups, which the parser cannot read. Values have no groups. */
function withoutGroupOptions(source: string): string {
  return source.replace(/(\bgroup\s+\w+\s*=\s*\w+\s*)(\[[^\]{}]*\])(?=\s*\{)/g, (_, start: string, options: string) => {
    return start + options.replace(/[^\n]/g, '');
  });
}

/** Refuses two fields that would be one property of a value. */
function assertDistinctProperties(namespace: protobuf.NamespaceBase, files: Iterable<SourceFile>): void {
  for (const nested of namespace.nestedArray) {
    if (nested instanceof protobuf.Type) {
      const names = new Map<string, string>();
      for (const { name } of nested.fieldsArray) {
        const property = propertyName(name);
        const first = names.get(property);
        if (first !== undefined) throw oneProperty(nested, [first, name], property, files);
        names.set(property, name);
      }
    }
    if (nested instanceof protobuf.Namespace) assertDistinctProperties(nested, files);
  }
}

function oneProperty(
  type: protobuf.Type,
  [first, second]: readonly [string, string],
  property: string,
  files: Iterable<SourceFile>,
): TenonError {
  const file = [...files].find(({ path }) => path === type.filename);
  const place = file ? `${file.path}, line ${lineOf(file.text, second)}: ` : '';
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'codec.proto_invalid',
    message:
      `${place}the fields "${first}" and "${second}" of ${bareName(type)} would both be the property "${property}" of a value. ` +
      'The file is valid, but such a message has no value here: rename one of them',
  });
}

function unusableName(file: { readonly path: string; readonly text: string }, name: string, owner: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'codec.proto_invalid',
    message:
      `${file.path}, line ${lineOf(file.text, name)}: the parser cannot take the value "${name}" of the enum ${owner}, as every object of ` +
      'JavaScript has a property of that name. The file is valid: rename the value, its number alone is on the wire',
  });
}

const comment = String.raw`\/\/[^\n]*|\/\*[^]*?\*\/`;
const quoted = String.raw`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'`;
const commentOrText = new RegExp(`${comment}|${quoted}`, 'g');
const escape = /\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([^]))/g;
const letters: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', v: '\v' };

/**
 * Replaces escapes in strings by their characters: the parser drops all but those of line ends, tabs and backslashes,
 * and the expressions of validation rules contain quotes.
 */
function withPlainTexts(source: string): string {
  if (!/\\[^\\nrt]/.test(source)) return source;
  return source.replace(commentOrText, (found) => {
    if (!/^["']/.test(found) || !found.includes('\\')) return found;
    const quote = found.charAt(0);
    const other = quote === '"' ? "'" : '"';
    return found.replace(escape, (whole, hex?: string, octal?: string, unit?: string, point?: string, one?: string) => {
      if (one !== undefined && 'nrt\\'.includes(one)) return whole;
      const text =
        one === undefined
          ? String.fromCodePoint(
              octal === undefined ? Number.parseInt(hex ?? unit ?? point ?? '', 16) : Number.parseInt(octal, 8),
            )
          : (letters[one] ?? one);
      // Adjacent strings are one string: a quote goes into a string with the other kind of quotes.
      return text === quote ? `${quote} ${other}${quote}${other} ${quote}` : text === '\\' ? '\\\\' : text;
    });
  });
}

const knownSyntaxes: ReadonlySet<string> = new Set(['proto2', 'proto3', '2023']);

/** Lists the public imports, which the parser does not mark. */
function publicImportsOf(text: string): string[] {
  return [...text.matchAll(/^\s*import\s+public\s+["']([^"']+)["']/gm)].map((match) => match[1] as string);
}

/** Reads the syntax, which the parser does not give. It would take an unknown one for proto2. */
function syntaxOf(file: { readonly path: string; readonly text: string }): string {
  const syntax = /^\s*(?:syntax|edition)\s*=\s*["'](\w+)["']/m.exec(file.text)?.[1] ?? 'proto2';
  if (!knownSyntaxes.has(syntax))
    throw invalid(file.path, lineOf(file.text, syntax), new Error(`unknown syntax '${syntax}'`));
  return syntax;
}

/** Finds the line of a parser error that has no line number, by the name or the field number in it. */
function lineOfComplaint(text: string, complaint: string): number {
  const id = /\bid (\d+)/.exec(complaint)?.[1];
  const name = /name '([^']+)'/.exec(complaint)?.[1];
  const pattern =
    id === undefined
      ? name === undefined
        ? undefined
        : new RegExp(`\\b${name}\\s*=`)
      : new RegExp(`=\\s*${id}\\s*[;[]`);
  if (!pattern) return 0;
  // Of two definitions, the second is the duplicate.
  return lines(text).findLastIndex((line) => pattern.test(line)) + 1;
}

function lineOf(text: string, word: string): number {
  if (word === '') return 0;
  const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const pattern = new RegExp(`(?<![\\w.])${escaped}(?!\\w)`);
  return lines(text).findIndex((line) => pattern.test(line)) + 1;
}

/** Splits a text into lines without their trailing comments. */
function lines(text: string): string[] {
  return text.split('\n').map((line) => line.replace(/\/\/.*/, ''));
}

/**
 * Gives the root directory of a file of `package a.b` in `a/b/`: the imports of files that are laid out by package, as
 * for protoc and buf, are relative to it.
 */
function packageRoot({ path, text }: { readonly path: string; readonly text: string }): string | undefined {
  const name = /(?:^|;)\s*package\s+([\w.]+)\s*;/m.exec(text)?.[1];
  if (name === undefined) return undefined;
  const directory = dirname(path);
  const tail = `${sep}${name.replaceAll('.', sep)}`;
  return directory.endsWith(tail) ? directory.slice(0, -tail.length) : undefined;
}

function readText(path: string): string | TenonError {
  try {
    return readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    return notFound(textOf(error), error);
  }
}

function notFound(message: string, cause?: unknown): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'codec.proto_not_found', message, cause });
}

function invalid(path: string, line: number, cause: unknown): TenonError {
  const complaint = textOf(cause).replace(/ \((?:[^()]*, )?line \d+\)$/, '');
  const place = line > 0 ? `${path}, line ${line}` : path;
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'codec.proto_invalid',
    message: `${place}: ${complaint}. Correct the .proto there; "protoc" or "buf lint" says more`,
    cause,
  });
}
