/** @jest-config-loader esbuild-register */
import { availableParallelism } from 'node:os';

import type { Config } from 'jest';

const config: Config = {
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  roots: ['<rootDir>/test', '<rootDir>/src'],
  testEnvironment: 'node',
  // Half of the time a test waits for others: three at once keep two cores at work.
  maxWorkers: Math.max(3, availableParallelism() - 1),
  reporters: ['default', '<rootDir>/test/support/skipped-reporter.js'],
  // Some tests start processes and servers, on machines that do other things at the same time.
  testTimeout: 60_000,
  extensionsToTreatAsEsm: ['.ts'],
  // Packages that not every Node takes are installed apart, for the tests that need them.
  modulePaths: process.env['TENON_TEST_MODULES'] === undefined ? [] : [process.env['TENON_TEST_MODULES']],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: false },
          keepClassNames: true,
        },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  coverageProvider: 'v8',
  collectCoverageFrom: ['src/**/*.ts'],
};

export default config;
