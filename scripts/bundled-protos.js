// The texts of the .proto files that tenon carries, as a module: a program that was bundled has no files beside it to read them from.
//
//   node scripts/bundled-protos.js   writes src/codec/internal/bundled-protos.ts
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const target = 'src/codec/internal/bundled-protos.ts';
const ours = readdirSync('proto', { recursive: true }).filter((name) => name.endsWith('.proto'));
// As protobufjs carries them: descriptors, and the types of custom options.
const theirs = ['api', 'descriptor', 'source_context', 'type'].map((name) => `google/protobuf/${name}.proto`);
const entries = [
  ...ours.map((name) => [name.replaceAll('\\', '/'), readFileSync(join('proto', name), 'utf8')]),
  ...theirs.map((name) => [name, readFileSync(join('node_modules/protobufjs', name), 'utf8')]),
].sort(([a], [b]) => (a < b ? -1 : 1));
const literal = (text) => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
const rows = entries.map(([name, text]) => `  ['${name}', ${literal(text)}], // prettier-ignore\n`);

writeFileSync(
  target,
  `// Made by \`npm run protos\` from proto/ and protobufjs; do not edit. Where they are from says proto/README.md.

/** The text of each file, by the name it is imported under. */
// prettier-ignore
export const bundledProtos: ReadonlyMap<string, string> = new Map([
${rows.map((row) => row.replace(' // prettier-ignore', '')).join('')}]);
`,
);
