// The published types of every room, one file each under docs/api/, so that a change to them is seen in review.
// Doc comments are left out: they are read, and reviewed, in the sources.
//
//   node scripts/api-report.js           writes the reports from dist/
//   node scripts/api-report.js --check   says which of them are not current
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = join('docs', 'api');
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const problems = [];

/** The doors under one key of `exports`: [door, path below src/ without its ending]. */
function doorsOf(key, types) {
  const path = types.replace('./dist/', '').replace('.d.ts', '');
  if (key.endsWith('/kit')) return [[key, path], ...partsOf(key, path)];
  if (!key.endsWith('/*')) return [[key, path]];
  const room = key.slice(2, -2);
  // What is in the sources counts; dist/ may hold files of earlier builds.
  return readdirSync(join('src', room))
    .filter((name) => name.endsWith('.ts') && name !== `${room}.ts`)
    .sort()
    .map((name) => name.slice(0, -3))
    .map((name) => [`./${room}/${name}`, `${room}/${name}`]);
}

/** The files that a kit gives out by name: its door holds no declarations of its own. */
function partsOf(key, path) {
  const text = readFileSync(join('src', `${path}.ts`), 'utf8');
  const names = [...text.matchAll(/ from '\.\/(.+)\.ts'/g)].map((match) => match[1]).sort();
  return names.map((name) => [`${key} (${name})`, path.replace(/[^/]+$/, name)]);
}

function withoutComments(text) {
  return text.replace(/^[ \t]*\/\*[^]*?\*\/[ \t]*\n/gm, '').trim();
}

const reports = new Map();
for (const [key, target] of Object.entries(manifest.exports)) {
  if (target === null || typeof target !== 'object') continue;
  const room = key === '.' ? 'index' : key.split('/')[1];
  if (key.endsWith('/*') && !existsSync(join('src', room))) continue;
  for (const [door, path] of doorsOf(key, target.types)) {
    const built = join('dist', `${path}.d.ts`);
    if (!existsSync(built)) {
      problems.push(`${door}: ${built} is not there: npm run build:src`);
      continue;
    }
    const name = door === '.' ? manifest.name : manifest.name + door.slice(1);
    const text = `// ${name}\n\n${withoutComments(readFileSync(built, 'utf8'))}\n`;
    const file = `${room}.d.ts`;
    reports.set(file, reports.has(file) ? `${reports.get(file)}\n${text}` : text);
  }
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
