import assert from 'node:assert/strict';
import { test } from 'node:test';

import { System } from 'tenon';

import { Hello, HelloHandler } from './hello.ts';

void test('greets by name', async () => {
  const system = await System.start([Hello], { profile: 'test' });
  try {
    assert.deepEqual(await system.client(HelloHandler).greet({ name: 'Grace' }), { text: 'Hello, Grace!' });
  } finally {
    await system.stop();
  }
});
