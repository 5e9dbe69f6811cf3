import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

import { describe, expect, test } from '@jest/globals';

import { filesBelow, lineAt, roomOf, type SourceFile, sourceFile, sourcesBelow } from './source.ts';

/** A rule over the code of one file: what must not be there, and what to do instead. */
interface Rule {
  readonly name: string;
  /** Matched against code without comments and the contents of strings. */
  readonly pattern: RegExp;
  readonly remedy: string;
  /** Snippets that the rule must refuse, and some that it must let pass. */
  readonly bad: readonly string[];
  readonly good: readonly string[];
  readonly appliesTo?: (path: string) => boolean;
}

const outsideRuntime = (path: string): boolean => !path.startsWith('src/runtime/');

/** Where a date is shown, comes from outside, or goes there. */
const readersOfDates: ReadonlySet<string> = new Set([
  'src/broker/delivery/dead-letters.ts',
  'src/broker/kit/headers.ts',
  'src/broker/kit/scheduling.ts',
  'src/client/credentials.ts',
  'src/client/internal/cloud-event.ts',
  'src/registry/kit/answered-nodes.ts',
  'src/logger/console.ts',
  'src/transport/grpc-js/client-call.ts',
  'src/transport/grpc-js/server-call.ts',
  'src/tls/material.ts',
]);

const rules: readonly Rule[] = [
  {
    name: 'raw time',
    pattern:
      /\bDate\.now\b|\bnew Date\b(?!\s*\()|\bnew Date\(\s*\)|(?<!new |\.)\bDate\(|\bperformance\b\s*\.|\bprocess\.(?:hrtime|uptime)\b/g,
    remedy: 'take the time from the bound Clock',
    bad: [
      'const t = Date.now();',
      'const t = new Date();',
      'const t = new Date;',
      'const t = Date();',
      'performance.now()',
      'process.hrtime.bigint()',
    ],
    good: ['const t = new Date(clock.now());', 'const t: Date = x;', "const t = 'Date.now()';", '// new Date()'],
    appliesTo: outsideRuntime,
  },
  {
    name: 'wall time',
    pattern: /\bclock\.now\b|\bsystemClock\.now\b/gi,
    remedy: 'measure durations with monotonicMs(); dates are made in the files that this rule names',
    bad: ['const end = clock.now() + timeoutMs;', 'this.#clock.now()', 'systemClock.now()'],
    good: ['const end = clock.monotonicMs() + timeoutMs;'],
    appliesTo: (path) => path.startsWith('src/') && !readersOfDates.has(path),
  },
  {
    name: 'raw randomness',
    pattern: /\bMath\.random\b|\brandom(?:UUID|Bytes|Int|FillSync|Fill)\b|\bgetRandomValues\b/g,
    remedy: 'take it from the bound Random',
    bad: ['Math.random()', 'randomUUID()', 'crypto.randomBytes(8)', 'crypto.getRandomValues(x)'],
    good: ['random.next()', 'random.uuid()'],
    appliesTo: outsideRuntime,
  },
  {
    name: 'raw timers',
    pattern:
      /(?<![.\w#]|function )(?:globalThis\.)?\bset(?:Timeout|Interval|Immediate)\b|\bAbortSignal\s*\.\s*timeout\b|\bscheduler\.(?:wait|yield)\b/g,
    remedy: 'wait with the bound Timers',
    bad: [
      'setTimeout(f, 1)',
      'const wait = promisify(setTimeout);',
      'globalThis.setInterval(f)',
      'AbortSignal.timeout(5)',
    ],
    good: ['timers.after(1, f)', 'socket.setTimeout(5)', 'clearTimeout(x)'],
    appliesTo: outsideRuntime,
  },
  {
    name: 'export *',
    pattern: /^[ \t]*export\s*(?:type\s*)?\*/gm,
    remedy: 'list the names',
    bad: ["export * from './x.ts';", "export type * from './x.ts';", "export * as x from './x.ts';"],
    good: ["export { x } from './x.ts';", 'export function* steps(): Iterable<number> {}'],
  },
  {
    name: 'default export',
    pattern: /^[ \t]*export\s+default\b|\bas\s+default\b/gm,
    remedy: 'export it by its name',
    bad: ['export default class {}', 'export { x as default };'],
    good: ['export const defaults = {};'],
  },
  {
    name: 'enum',
    pattern: /(?:^|[;}]|\bexport|\bdeclare|\bconst)\s*\benum\s+\w+\s*\{/gm,
    remedy: 'use a const object and a union of its values',
    bad: ['enum Color { Red }', 'export const enum Color { Red }', 'export enum Color {}'],
    good: ['const x = { enum: 1 };', 'field.enum = y;'],
  },
  {
    name: 'namespace',
    pattern: /^[ \t]*(?:export\s+|declare\s+)*(?:namespace|module)\s+[\w.'"]+[^\n=]*\{/gm,
    remedy: 'a file is a module',
    bad: ['namespace Codes {', 'export namespace Codes {', "declare module 'x' {"],
    good: ['const namespace = { a: 1 };', 'module.register(x);'],
  },
];

function problemsOf(rule: Rule, file: SourceFile): string[] {
  if (rule.appliesTo && !rule.appliesTo(file.path)) return [];
  return [...file.bare.matchAll(rule.pattern)].map(
    (match) => `${file.path}:${lineAt(file.bare, match.index)}: ${match[0].trim()}: ${rule.remedy}`,
  );
}

const seamModules = /^(node:)?(timers(\/promises)?|perf_hooks)$/;

function seamImports(file: SourceFile): string[] {
  if (!outsideRuntime(file.path)) return [];
  return file.imports
    .filter((found) => seamModules.test(found.specifier))
    .map((found) => `${file.path}:${found.line}: ${found.specifier}: wait with the bound Timers`);
}

function relativeImports(file: SourceFile): string[] {
  return file.imports
    .filter((found) => found.specifier.startsWith('.') && !found.specifier.endsWith('.ts'))
    .map((found) => `${file.path}:${found.line}: ${found.specifier} does not end in .ts`);
}

/** `await` outside of every function: it would keep CommonJS projects from `require()`-ing the package. */
function topLevelAwaits(file: SourceFile): string[] {
  const problems: string[] = [];
  let depth = 0;
  let statement = 0;
  for (const match of file.bare.matchAll(/[{};]|\bawait\b/g)) {
    const sign = match[0];
    if (sign === '{') depth++;
    else if (sign === '}') depth--;
    else if (sign === 'await' && depth === 0 && !/\basync\b/.test(file.bare.slice(statement, match.index))) {
      problems.push(`${file.path}:${lineAt(file.bare, match.index)}: await at the top level of a module`);
    }
    if (depth === 0 && sign !== 'await') statement = match.index;
  }
  return problems;
}

const exported =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|const|let|type(?!\s*[{*]))\s+(\w+)/gm;

/** Exports without a doc comment. Decorators may stand between; overloads share the first one's comment. */
function undocumented(file: SourceFile): string[] {
  const problems: string[] = [];
  let last = '';
  for (const match of file.bare.matchAll(exported)) {
    const name = match[1] ?? '';
    const before = file.text
      .slice(0, match.index)
      .replace(/(?:@\w+(?:\((?:[^()]|\([^()]*\))*\))?\s*)*$/, '')
      .trimEnd();
    const comment = before.endsWith('*/') ? before.slice(before.lastIndexOf('/*')) : '';
    const isOverload = /\bfunction\b/.test(match[0]) && last === `function ${name}`;
    if (!comment.startsWith('/**') && !isOverload) {
      problems.push(`${file.path}:${lineAt(file.text, match.index)}: ${name} has no doc comment`);
    }
    last = `${/\bfunction\b/.test(match[0]) ? 'function' : 'other'} ${name}`;
  }
  return problems;
}

const isPublic = (path: string): boolean => roomOf(path) !== 'internal' && !path.includes('/internal/');
const lineLimit = 600;

function tooLong(file: SourceFile): string[] {
  const lines = file.text.trimEnd().split('\n').length;
  return lines > lineLimit ? [`${file.path} has ${lines} lines: split it by idea`] : [];
}

function badName(path: string): string[] {
  return /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.types|(?:\.long)?\.test)?\.(?:ts|js)$/.test(basename(path))
    ? []
    : [`${path} is not named in kebab case`];
}

const sources = sourcesBelow('src');

describe('sources', () => {
  test.each(rules)('no $name', (rule) => {
    expect(sources.length).toBeGreaterThan(0);
    expect(sources.flatMap((file) => problemsOf(rule, file))).toEqual([]);
  });

  test.each(rules.flatMap((rule) => rule.bad.map((text) => ({ rule, name: rule.name, text }))))(
    '$name: "$text" is refused',
    ({ rule, text }) => {
      expect(problemsOf(rule, sourceFile('src/app/x.ts', text))).toHaveLength(1);
    },
  );

  test.each(rules.flatMap((rule) => rule.good.map((text) => ({ rule, name: rule.name, text }))))(
    '$name: "$text" is let pass',
    ({ rule, text }) => {
      expect(problemsOf(rule, sourceFile('src/app/x.ts', text))).toEqual([]);
    },
  );

  test("no module of Node's timers is imported outside runtime", () => {
    expect(sources.flatMap(seamImports)).toEqual([]);
    expect(seamImports(sourceFile('src/app/x.ts', "import { x } from 'node:timers/promises';"))).toHaveLength(1);
  });

  test('relative imports end in .ts', () => {
    expect(sources.flatMap(relativeImports)).toEqual([]);
    expect(relativeImports(sourceFile('src/app/x.ts', "import { x } from './y.js';"))).toHaveLength(1);
  });

  test('no await at the top level', () => {
    expect(sources.flatMap(topLevelAwaits)).toEqual([]);
    const refused = ['const x = await f();', 'for await (const x of y) f();', "await import('x');"];
    for (const text of refused) expect(topLevelAwaits(sourceFile('src/app/x.ts', text))).toHaveLength(1);
    const passed = ['const f = async () => await g();', 'async function f() { await g(); }', '// await'];
    for (const text of passed) expect(topLevelAwaits(sourceFile('src/app/x.ts', text))).toEqual([]);
  });

  test('every export that can be imported has a doc comment', () => {
    expect(sources.filter((file) => isPublic(file.path)).flatMap(undocumented)).toEqual([]);
    const good = "/** A. */\nexport interface A {}\n/** B. */\n@injectable('Singleton')\nexport class B {}\n";
    const overloads = '/** F. */\nexport function f(): void;\nexport function f(x?: 1): void {}\n';
    expect(undocumented(sourceFile('src/app/x.ts', good + overloads))).toEqual([]);
    const bad = '/** A. */\nexport interface A {}\nexport const A = 1;\n// B\n@injectable()\nexport class B {}\n';
    expect(undocumented(sourceFile('src/app/x.ts', bad))).toHaveLength(2);
  });

  test(`no file is longer than ${lineLimit} lines`, () => {
    expect(sources.flatMap(tooLong)).toEqual([]);
    expect(tooLong(sourceFile('src/app/x.ts', '\n'.repeat(lineLimit) + 'x'))).toHaveLength(1);
  });

  test('files are named in kebab case', () => {
    const named = ['src', 'test', 'scripts', 'bench'].flatMap(filesBelow).filter((path) => /\.[jt]s$/.test(path));
    expect(named.flatMap(badName)).toEqual([]);
    expect(badName('src/app/roundRobin.ts')).toHaveLength(1);
    expect(badName('src/app/round_robin.ts')).toHaveLength(1);
  });
});

// Written in pieces, so that this file does not break its own rules.
const unfinished = new RegExp(`\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'].join('|')})\\b`);
const machinePath = new RegExp(
  `(?<![\\w.:/$~-])/(?:${['ho' + 'me', 'ro' + 'ot', 'wo' + 'rk', 'Us' + 'ers'].join('|')})/\\w`,
);
const focused = /\b(?:it|test|describe)(?:\.each)?\.(?:only|skip|todo|failing)\b|\b[fx](?:it|describe|test)\s*[(.]/g;

const folders = ['src', 'test', 'docs', 'samples', 'bench', 'scripts', 'proto', '.ci'];
const topLevel = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  '.env.example',
  'package.json',
  '.npmrc',
  'jest.config.ts',
];

function textFiles(): { path: string; text: string }[] {
  const top = filesBelow('.').filter((path) => topLevel.includes(path));
  return [...top, ...folders.flatMap(filesBelow)].map((path) => ({ path, text: readFileSync(path, 'utf8') }));
}

function linesWith(pattern: RegExp, { path, text }: { path: string; text: string }): string[] {
  return text.split('\n').flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []));
}

function focusedTests(file: SourceFile): string[] {
  // The helper that skips a suite, and says why, is the only one that may.
  if (file.path === 'test/support/require.ts') return [];
  return [...file.bare.matchAll(focused)].map(
    (match) => `${file.path}:${lineAt(file.bare, match.index)}: ${match[0]}: use test/support/require.ts`,
  );
}

describe('everything that is committed', () => {
  test('leaves nothing marked as unfinished', () => {
    // What others wrote is kept as it is.
    const ours = textFiles().filter(({ path }) => !/^samples\/interop\/proto\/.*\.proto$/.test(path));
    expect(ours.flatMap((file) => linesWith(unfinished, file))).toEqual([]);
    expect(linesWith(unfinished, { path: 'x', text: `// ${'TO' + 'DO'}: later` })).toHaveLength(1);
  });

  test('names no path of a machine', () => {
    expect(textFiles().flatMap((file) => linesWith(machinePath, file))).toEqual([]);
    expect(linesWith(machinePath, { path: 'x', text: `cd ${'/ho' + 'me'}/ann/tenon` })).toHaveLength(1);
    expect(linesWith(machinePath, { path: 'x', text: 'https://example.org/work/shop' })).toEqual([]);
  });

  test('no test is singled out or skipped', () => {
    expect(sourcesBelow('test').flatMap(focusedTests)).toEqual([]);
    expect(focusedTests(sourceFile('test/x.test.ts', 'test.only("x", f);\nxit("y", f);'))).toHaveLength(2);
    expect(focusedTests(sourceFile('test/x.test.ts', 'test("no test.skip", () => exit(1));'))).toEqual([]);
  });
});
