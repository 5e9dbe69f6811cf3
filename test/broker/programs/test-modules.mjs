// Lets a program import packages of the folder that TENON_TEST_MODULES names.
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = pathToFileURL(join(process.env.TENON_TEST_MODULES, 'x.js')).href;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith('@platformatic/')
      ? next(specifier, { ...context, parentURL: folder })
      : next(specifier, context),
});
