// Completes package-lock.json after npm wrote it, and says with --check whether that is needed.
//
// Compilers and linters come as one optional package per platform. A registry that does not have those of every
// platform makes npm leave them out of the lock file, and then `npm ci` refuses the lock file everywhere. What is
// missing is added by name, version and platform; npm fetches it on that platform only.
import { readFileSync, writeFileSync } from 'node:fs';

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const systems = /(?:^|[-/])(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)(?=-|$)/;
const processors = /-(arm64|arm|ia32|loong64|mips64el|ppc64|riscv64|s390x|wasm32|x64)(?=-|$)/;
const missing = [];

for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const here = [`node_modules/${name}`, `${path}/node_modules/${name}`];
    // An exact version is how the packages of a platform are named; ranges are for other things.
    if (!/^\d/.test(version) || here.some((one) => lock.packages[one])) continue;
    const [, system] = systems.exec(name) ?? [];
    const [, processor] = processors.exec(name) ?? [];
    if (!system && !processor) continue;
    missing.push([
      here[0],
      {
        version,
        ...(processor && { cpu: [processor] }),
        ...(entry.dev && { dev: true }),
        ...(/-musl/.test(name) ? { libc: ['musl'] } : /-(?:gnu|glibc)/.test(name) ? { libc: ['glibc'] } : {}),
        optional: true,
        ...(system && { os: [system] }),
      },
    ]);
  }
}

if (process.argv.includes('--check')) {
  for (const [path] of missing) console.error(`${path} is not in package-lock.json: node scripts/complete-lock.js`);
  if (missing.length > 0) process.exitCode = 1;
} else if (missing.length > 0) {
  const entries = [...Object.entries(lock.packages), ...missing].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  lock.packages = Object.fromEntries(entries);
  writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`${missing.length} packages of other platforms added`);
}
