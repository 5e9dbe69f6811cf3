import { describe, expect, test } from '@jest/globals';

import { startNode, TestProcess } from '../support/process.ts';
import { BackendServer, describeWithRedis, RedisServer } from '../support/servers.ts';

describe('TestProcess', () => {
  const start = (code: string): TestProcess => startNode('-e', { args: [code] });

  test('waits for a line, and for the exit', async () => {
    const child = start('console.log("listening on 17"); process.exitCode = 3');
    expect((await child.waitForLine(/listening on (\d+)/))[1]).toBe('17');
    expect(await child.waitForExit()).toEqual({ code: 3, signal: null });
  });

  test('rejects with the output if the process exits without the line', async () => {
    const child = start('console.log("one"); console.error("two")');
    await expect(child.waitForLine(/three/)).rejects.toThrow(/ended before anything matched[^]*one[^]*two/);
  });

  test('rejects if the line does not come in time', async () => {
    const child = start('setTimeout(() => {}, 60_000)');
    await expect(child.waitForLine(/never/, 50)).rejects.toThrow('within 50 ms');
    expect(await child.kill()).toEqual({ code: null, signal: 'SIGKILL' });
  });

  test('exits and reports the error for a program that does not exist', async () => {
    const child = new TestProcess('no-such-program-of-tenon', []);
    expect(await child.exited).toEqual({ code: -1, signal: null });
    expect(child.stderr).toContain('ENOENT');
  });
});

describeWithRedis('a redis-server that cannot start', () => {
  test('fails with its log, and leaves nothing behind', async () => {
    const server = new RedisServer({ args: ['--no-such-option', 'x'] });
    await expect(server.start()).rejects.toThrow(/redis did not start on port \d+\n[^]*no-such-option/);
    expect(() => server.pid).toThrow('redis is not running');
    await server.dispose();
  });
});

test('a server of an unknown name is refused, with the names there are', () => {
  expect(() => new BackendServer('rediss')).toThrow(/there is no server "rediss": redis, etcd/);
});
