// Makes the JavaScript of dist/ from src/; tsc writes the declarations beside it. What every service loads is three
// files of chunks/, as half of a start would be the loading of two hundred small modules (docs/design.md, "What every
// service loads stands in three files"). A door is a file that names what it has of them.
import { readFileSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';

import { rolldown } from 'rolldown';

const { bin, exports: doors } = JSON.parse(readFileSync('package.json', 'utf8'));

/** Gives the modules and packages that are loaded with a module. */
function loadedWith(start, context) {
  const known = loads.get(start);
  if (known) return known;
  const loaded = new Set();
  const add = (id) => {
    if (loaded.has(id)) return;
    loaded.add(id);
    for (const imported of context.getModuleInfo(id)?.importedIds ?? []) add(imported);
  };
  add(start);
  loads.set(start, loaded);
  return loaded;
}
const loads = new Map();

/** The files of chunks/ that are made on purpose. The others hold what a few files happen to share. */
const chunks = ['core', 'proto', 'app', 'sockets', 'in-memory'];

/** A service loads these, and what all backends of a room load. */
const codecs = ['proto', 'json', 'msgpack', 'cbor', 'bytes'].map((name) => `codec/${name}`);
const loadedByAll = ['index', ...codecs, 'selector/peak-ewma'];
const backends = [
  ['transport/grpc', 'transport/tcp', 'transport/memory'],
  ['registry/memory', 'registry/redis'],
  ['broker/memory', 'broker/redis'],
];

/**
 * The file of {@link chunks} that a module is in, if any. Who imports a door is not to load a package that the door has
 * no use for, and a service nothing of backends that are not bound.
 */
function chunkOf(id, context) {
  const isWith = (path) => {
    const start = resolve('src', `${path}.ts`);
    if (!context.getModuleInfo(start)) throw new Error(`scripts/bundle.js names src/${path}.ts, which is not there`);
    return loadedWith(start, context).has(id);
  };
  if (loadedByAll.some(isWith) || backends.some((paths) => paths.every(isWith))) {
    const packages = [...loadedWith(id, context)].filter((one) => /^[\w@]/.test(one) && !one.startsWith('node:'));
    return packages.length === 0 ? 'core' : packages.includes('protobufjs') ? 'proto' : 'app';
  }
  if (['transport/grpc', 'transport/tcp'].every(isWith)) return 'sockets';
  return ['registry/memory', 'broker/memory'].some(isWith) ? 'in-memory' : null;
}

/** `transport-grpc-grpc-defaults` for what `src/transport/grpc/grpc-defaults.ts` gives its name. */
function chunkFileName({ name, moduleIds }) {
  const file = chunks.includes(name) ? undefined : moduleIds.findLast((id) => basename(id, '.ts') === name);
  return file === undefined
    ? 'chunks/[name].js'
    : `chunks/${relative('src', file).slice(0, -3).split(sep).join('-')}.js`;
}

// A worker thread is started from a file of its own, which nobody imports.
const workers = ['dist/app/lease-worker.js'];
const files = [...workers, ...Object.values(bin), ...Object.values(doors).flatMap((target) => target?.default ?? [])];
const entries = files
  .filter((file) => file.endsWith('.js'))
  .map((file) => file.replace(/^(?:\.\/)?dist\/|\.js$/g, ''))
  .map((path) => [path, join('src', `${path}.ts`)]);
const bundle = await rolldown({
  input: Object.fromEntries(entries),
  // Packages stay what they are. The helpers that decorators are compiled to are no package of ours.
  external: /^(?!@oxc-project\/runtime\/)[\w@]/,
  platform: 'neutral',
  tsconfig: 'tsconfig.build.json',
  treeshake: false,
  // Tests load implementations at once that an application loads when they are chosen.
  checks: { ineffectiveDynamicImport: false },
});
await bundle.write({
  dir: 'dist',
  entryFileNames: '[name].js',
  chunkFileNames: chunkFileName,
  minifyInternalExports: false,
  comments: { legal: true, annotation: false, jsdoc: false },
  sourcemap: true,
  codeSplitting: {
    // What the first groups take the others leave.
    groups: chunks.map((name, index) => ({
      debugName: name,
      priority: chunks.length - index,
      name: (id, context) => (chunkOf(id, context) === name ? name : null),
    })),
  },
});
