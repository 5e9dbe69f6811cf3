import { expect, test } from '@jest/globals';

import { libraryFor } from '../../src/kafka/library.ts';

test.each([
  ['20.19.0', 'kafkajs'],
  ['22.21.1', 'kafkajs'],
  ['22.22.0', '@platformatic/kafka'],
  ['22.23.3', '@platformatic/kafka'],
  ['24.5.0', 'kafkajs'],
  ['24.6.0', '@platformatic/kafka'],
  ['26.0.0', '@platformatic/kafka'],
])('on Node %s the library is %s', (version, library) => {
  expect(libraryFor(version)).toBe(library);
});
