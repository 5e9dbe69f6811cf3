// Makes the JavaScript of dist/ from src/; tsc writes the declarations beside it. What every service loads is three
// files of chunks/, as half of a start would be the loading of two hundred small modules (docs/design.md, "What every
// service loads stands in three files"). A door is a file that names what it has of them.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';

import { rolldown } from 'rolldown';

/** Whatever is bound, a service loads these, and what they import. */
const loadedByAll = ['index', 'codec/proto', 'codec/json', 'codec/bytes', 'registry/cache'];

const { bin, exports: doors } = JSON.parse(readFileSync('package.json', 'utf8'));

/** The path of a file of dist/ below it, without its ending; of all files of a room for `dist/room/*.js`. */
function entriesOf(file) {
  const path = file.replace(/^(?:\.\/)?dist\/|\.js$/g, '');
  if (!path.endsWith('/*')) return [path];
  const room = path.slice(0, -2);
  const names = readdirSync(join('src', room)).filter((name) => name.endsWith('.ts'));
  return names.map((name) => `${room}/${name.slice(0, -3)}`);
}

/** The modules and packages that are loaded with `ids`. */
function loadedWith(ids, context) {
  const loaded = new Set();
  const add = (id) => {
    if (loaded.has(id)) return;
    loaded.add(id);
    for (const imported of context.getModuleInfo(id)?.importedIds ?? []) add(imported);
  };
  for (const id of ids) add(id);
  return loaded;
}

/** The files of what every service loads. The first is for those that load no package. */
const shared = ['core', 'proto', 'app'];

/**
 * The file that a module of every service is in. Who imports a door is not to load a package that the door has no use
 * for: what needs none is apart, and what needs the parser of `.proto` files.
 */
function chunkOf(id, context) {
  loadedAlways ??= loadedWith(
    loadedByAll.map((path) => resolve('src', `${path}.ts`)),
    context,
  );
  if (!loadedAlways.has(id)) return null;
  const packages = [...loadedWith([id], context)].filter((one) => /^[\w@]/.test(one) && !one.startsWith('node:'));
  if (packages.length === 0) return 'core';
  return packages.includes('protobufjs') ? 'proto' : 'app';
}
let loadedAlways;

/** `transport-lines` for what `src/transport/internal/lines.ts` gives its name. */
function chunkFileName({ name, moduleIds }) {
  if (shared.includes(name)) return 'chunks/[name].js';
  const file = moduleIds.findLast((id) => basename(id, '.ts') === name);
  return file === undefined ? 'chunks/[name].js' : `chunks/${relative('src', file).split(sep)[0]}-[name].js`;
}

const files = [...Object.values(bin), ...Object.values(doors).flatMap((target) => target?.default ?? [])];
const entries = files.flatMap(entriesOf).map((path) => [path, join('src', `${path}.ts`)]);
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
    groups: shared.map((name, index) => ({
      debugName: name,
      priority: shared.length - index,
      name: (id, context) => (chunkOf(id, context) === name ? name : null),
    })),
  },
});
