import { afterEach } from '@jest/globals';

/** Steps that end what a test has opened. They run after the test, the last one first. */
export const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
