// Packs the package as it would be published, and looks at the result: what it contains, whether its manifest is
// sound (publint) and its types resolve from every door (attw). dist/ must be built.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'tenon-pack-'));
const problems = [];

function npx(command, ...args) {
  return spawnSync('npx', ['--no-install', command, ...args], { encoding: 'utf8' });
}

try {
  const packed = spawnSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    encoding: 'utf8',
  });
  if (packed.status !== 0) throw new Error(packed.stderr);
  const report = JSON.parse(packed.stdout);
  const [tarball] = Array.isArray(report) ? report : Object.values(report);
  const paths = new Set(tarball.files.map((file) => file.path));

  for (const path of paths) {
    if (/(^|\/)node_modules\/|^samples\/[^/]+\/dist\/|\.tsbuildinfo$|^src\/|^test\//.test(path)) {
      problems.push(`${path} does not belong into the package`);
    }
  }
  const needed = ['README.md', 'LICENSE', 'CHANGELOG.md', '.env.example', ...Object.values(manifest.bin)];
  for (const target of Object.values(manifest.exports)) {
    if (typeof target === 'object') needed.push(target.default.slice(2), target.types.slice(2));
  }
  for (const path of needed) if (!paths.has(path)) problems.push(`${path} is missing from the package`);
  for (const path of Object.values(manifest.bin)) {
    if (paths.has(path) && !readFileSync(path, 'utf8').startsWith('#!/usr/bin/env node\n')) {
      problems.push(`${path} does not begin with #!/usr/bin/env node`);
    }
  }

  const publint = npx('publint', join(folder, tarball.filename), '--strict');
  if (publint.status !== 0) problems.push(`publint:\n${publint.stdout}${publint.stderr}`);
  const attw = npx('attw', join(folder, tarball.filename), '--profile', 'esm-only', '--format', 'ascii');
  if (attw.status !== 0) problems.push(`attw:\n${attw.stdout}${attw.stderr}`);
  console.log(`${paths.size} files, ${Math.round(tarball.size / 1024)} KiB packed`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
