import { readFileSync } from 'node:fs';

const { bin, exports: doors } = JSON.parse(readFileSync('package.json', 'utf8'));

/** The sources of the command, and of what the package exports. */
const published = [...Object.values(bin), ...Object.values(doors).map((target) => target.default ?? '')]
  .filter((file) => file.endsWith('.js'))
  .map((file) => file.replace(/^(?:\.\/)?dist\//, 'src/').replace(/\.js$/, '.ts'));

export default {
  workspaces: {
    '.': {
      entry: [
        ...published,
        'src/app/lease-worker.ts',
        'test/**/*.test.ts',
        'test/types/*.ts',
        'test/support/*.ts',
        'scripts/*.js',
        'bench/**/*.{js,mjs,ts}',
      ],
      project: ['src/**/*.ts', 'test/**/*.ts', 'scripts/*.js', 'bench/**/*.{js,mjs,ts}'],
      ignore: ['bench/peers/**'],
      ignoreBinaries: ['mkfifo', 'openssl', 'redis-server', 'unshare'],
      ignoreDependencies: [
        'esbuild-register',
        'publint',
        '@arethetypeswrong/cli',
        // Loaded by name, as their types do not pass a strict compiler.
        '@nats-io/jetstream',
        '@nats-io/transport-node',
        'mqtt',
      ],
    },
    'samples/interop': {
      entry: ['src/{main,service,interop-client,caller,conformance-server,conformance-client}.ts', 'src/*.test.ts'],
      project: ['src/**/*.ts'],
    },
    'samples/*': {
      entry: ['src/main.ts', 'src/*.test.ts'],
      project: ['src/**/*.ts'],
    },
  },
  ignoreExportsUsedInFile: true,
};
