// The published types of every room, one file each under docs/api/, so that a change to them is seen in review: what
// each entry of `exports` declares, and what the files declare whose names it gives out or builds on.
// Doc comments are left out: they are read, and reviewed, in the sources.
//
//   node scripts/api-report.js           writes the reports from dist/
//   node scripts/api-report.js --check   says which of them are not current
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';

const folder = join('docs', 'api');
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const problems = [];

/** The statements of a declaration file: the text of each, what it declares if it exports that, and what it speaks of. */
function statementsOf(text) {
  const parts = text.split(/^(?=(?:export|declare|import|interface|type|class|abstract)\b)/m);
  return parts.map((part) => {
    const [, kind, name] =
      /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(class|function|const|interface|type|enum)\*? (\w+)/.exec(
        part,
      ) ?? [];
    // Classes are built on parts that are nobody else's.
    const isFollowed = kind !== undefined && kind !== 'class';
    return { text: part, name, mentions: isFollowed ? [...part.matchAll(/\b[A-Z]\w*/g)].map(([type]) => type) : [] };
  });
}

/** The names that a statement takes from another file, each with its name there. */
function takenBy(keyword, text) {
  const pattern = new RegExp(`^${keyword} (?:type )?\\{([^}]*)\\} from '(\\.[^']+)\\.ts';`, 'gm');
  return [...text.matchAll(pattern)].flatMap(([, list, specifier]) =>
    list
      .split(',')
      .map((name) => name.trim().replace(/^type /, ''))
      .filter((name) => name !== '')
      .map((name) => name.split(' as '))
      .map(([name, alias = name]) => ({ name, alias, specifier })),
  );
}

const texts = new Map();
/** The declarations of a file of dist/, without comments. */
function declarationsOf(path) {
  const known = texts.get(path);
  if (known !== undefined) return known;
  const built = join('dist', `${path}.d.ts`);
  const text = existsSync(built)
    ? readFileSync(built, 'utf8')
        .replace(/^[ \t]*\/\*[^]*?\*\/[ \t]*\n/gm, '')
        .trim()
    : undefined;
  if (text === undefined) problems.push(`${built} is not there: npm run build:src`);
  texts.set(path, text ?? '');
  return text ?? '';
}

/** The file that declares what `path` gives out as `name`. */
function homeOf(path, name) {
  const found = takenBy('export', declarationsOf(path)).find(({ alias }) => alias === name);
  if (!found) return { path, name };
  return homeOf(posix.join(posix.dirname(path), found.specifier), found.name);
}

const doors = new Map(
  Object.entries(manifest.exports)
    .filter(([, target]) => typeof target === 'object')
    .map(([key, { types }]) => [types.replace('./dist/', '').replace('.d.ts', ''), manifest.name + key.slice(1)]),
);
/** By file that is no door: the names that doors give out of it, with the doors. */
const given = new Map();

function give({ path, name }, door) {
  if (doors.has(path)) return;
  if (!given.has(path)) given.set(path, new Map());
  const names = given.get(path);
  if (names.get(name)?.has(door)) return;
  if (!names.has(name)) names.set(name, new Set());
  names.get(name).add(door);
  follow(path, (statement) => statement.name === name, door);
}

/** Gives the types that interfaces, types and functions of a file speak of. */
function follow(path, isShown, door) {
  const text = declarationsOf(path);
  const imported = takenBy('import', text);
  for (const statement of statementsOf(text).filter(isShown)) {
    for (const mentioned of statement.mentions) {
      const found = imported.find(({ alias }) => alias === mentioned);
      if (found) give(homeOf(posix.join(posix.dirname(path), found.specifier), found.name), door);
      else if (statementsOf(text).some(({ name }) => name === mentioned)) give({ path, name: mentioned }, door);
    }
  }
}

for (const [path, door] of doors) {
  for (const { alias } of takenBy('export', declarationsOf(path))) give(homeOf(path, alias), door);
  follow(path, () => true, door);
}

const sections = [
  ...[...doors].map(([path, door]) => ({ path, title: door, text: declarationsOf(path) })),
  ...[...given]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, names]) => ({
      path,
      title: `${path}.ts, by ${[...new Set([...names.values()].flatMap((by) => [...by]))].join(', ')}`,
      text: statementsOf(declarationsOf(path))
        .filter(({ text, name }) => (name === undefined ? !text.startsWith('export') : names.has(name)))
        .map(({ text }) => text)
        .join('')
        .trim(),
    })),
];
const reports = new Map();
for (const { path, title, text } of sections) {
  const file = `${path.split('/')[0]}.d.ts`;
  const section = `// ${title}\n\n${text}\n`;
  reports.set(file, reports.has(file) ? `${reports.get(file)}\n${section}` : section);
}

const header = '// Written by `npm run api`; a test says when it is not current.\n\n';
const kept = existsSync(folder) ? readdirSync(folder) : [];
if (process.argv.includes('--check')) {
  for (const [file, text] of reports) {
    const path = join(folder, file);
    if (!existsSync(path)) problems.push(`${path} is missing: npm run api`);
    else if (readFileSync(path, 'utf8') !== header + text) {
      problems.push(`${path} is not what the sources say: npm run api, and look at the difference`);
    }
  }
  for (const file of kept) {
    if (!reports.has(file)) problems.push(`${join(folder, file)} belongs to no door: npm run api`);
  }
} else {
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of reports) writeFileSync(join(folder, file), header + text);
  for (const file of kept) if (!reports.has(file)) rmSync(join(folder, file));
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
