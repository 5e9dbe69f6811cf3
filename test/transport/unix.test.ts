import { existsSync, linkSync, lstatSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { Code } from '../../src/errors/errors.ts';
import { failureOf } from '../../src/testing/failures.ts';
import { bytesOf, echo, textOf } from '../../src/testing/internal/transport-fixture.ts';
import { UnixTransport } from '../../src/transport/unix.ts';
import { TestProcess } from '../support/process.ts';
import { methods } from './support.ts';

describe('socket files', () => {
  let folder: string;
  let path: string;
  let transport: UnixTransport;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tenon-unix-'));
    path = join(folder, 'greeter.sock');
    transport = new UnixTransport({ folder: join(folder, 'new') });
  });
  afterEach(async () => {
    await transport.close();
    rmSync(folder, { recursive: true });
  });

  const listen = async (address: string) => {
    const listener = await transport.listen(address, { routes: [methods.unary] });
    listener.accept((socket, route) => void echo(socket, route));
    return listener;
  };
  const call = async (address: string): Promise<string> => {
    const { body } = await transport.unary(address, { body: bytesOf('hello') }, { route: methods.unary });
    return textOf(body!);
  };

  it('are listened at and called by their paths, with the scheme and without, and go with the listener', async () => {
    const listener = await listen(path);
    expect(listener.addr()).toBe(`unix:${path}`);
    for (const address of [path, `unix:${path}`, `unix://${path}`]) expect(await call(address)).toBe('hello');
    await listener.close();
    expect(existsSync(path)).toBe(false);
  });

  it('are made in a folder of their own for port 0, each anew', async () => {
    const listeners = [await listen('127.0.0.1:0'), await listen('0.0.0.0:0'), await listen(':0')];
    const paths = listeners.map((listener) => listener.addr().slice('unix:'.length));
    expect(new Set(paths).size).toBe(3);
    for (const one of paths) {
      expect(one.startsWith(join(folder, 'new'))).toBe(true);
      expect(lstatSync(one).isSocket()).toBe(true);
    }
    await Promise.all(listeners.map((listener) => listener.close()));
  });

  it('that a dead process left behind are replaced', async () => {
    const dead = new TestProcess(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    await dead.exited;
    expect(existsSync(path)).toBe(true);
    const listener = await listen(path);
    expect(await call(path)).toBe('hello');
    await listener.close();
  });

  it('that a dead process left behind are taken over by one of many that find them at once', async () => {
    const leftBehind = new TestProcess(process.execPath, [
      '-e',
      `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    await leftBehind.exited;
    const dead = join(folder, 'dead.sock');
    renameSync(path, dead);
    for (let round = 0; round < 10; round += 1) {
      linkSync(dead, path);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 8 }, async (_, index) => {
          for (let turn = 0; turn < index * (round % 10); turn += 1) await new Promise(setImmediate);
          return listen(path);
        }),
      );
      const listeners = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
      expect(listeners).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ reason: 'transport.address_in_use' });
      }
      expect(readdirSync(folder)).toEqual(['dead.sock', 'greeter.sock']);
      await listeners[0]!.close();
      expect(readdirSync(folder)).toEqual(['dead.sock']);
    }
  });

  it('that were dead when they were looked at are not removed when somebody listens there meanwhile', () => {
    // In a program of its own, since what it changes are Node's own functions: the second to remove the file is slow,
    // and the first one listens by then.
    const program = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      import { spawnSync } from 'node:child_process';
      const { unlink } = fs.promises;
      let removals = 0;
      fs.promises.unlink = async (file) => {
        if (file === ${JSON.stringify(path)} && ++removals === 2) await new Promise((resolve) => setTimeout(resolve, 200));
        return unlink(file);
      };
      syncBuiltinESMExports();
      const { UnixTransport } = await import('./dist/transport/unix.js');
      spawnSync(process.execPath, ['-e', "require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))", ${JSON.stringify(path)}]);
      const transport = new UnixTransport();
      const outcomes = await Promise.allSettled([1, 2].map(() => transport.listen(${JSON.stringify(path)}, { routes: [] })));
      process.stdout.write(outcomes.map(({ status, reason }) => reason?.reason ?? status).sort().join(' '), () => process.exit());
    `;
    const told = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    expect(told).toBe('fulfilled transport.address_in_use');
  });

  it('are listened at although a process died while it replaced one of a dead process', async () => {
    const program = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      import { spawnSync } from 'node:child_process';
      fs.promises.unlink = (file) => process.kill(process.pid, 'SIGKILL');
      syncBuiltinESMExports();
      const { UnixTransport } = await import('./dist/transport/unix.js');
      spawnSync(process.execPath, ['-e', "require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))", ${JSON.stringify(path)}]);
      await new UnixTransport().listen(${JSON.stringify(path)}, { routes: [] });
    `;
    const { exited } = new TestProcess(process.execPath, ['--input-type=module', '-e', program]);
    expect(await exited).toEqual({ code: null, signal: 'SIGKILL' });
    // The dead file, what the process listened at, and its claim to remove the dead file.
    const left = readdirSync(folder);
    expect(left).toHaveLength(3);
    const listener = await listen(path);
    expect(await call(path)).toBe('hello');
    const [own] = readdirSync(folder).filter((name) => name !== 'greeter.sock');
    expect(readdirSync(folder)).toEqual([own, 'greeter.sock']);
    await listener.close();
  });

  it('that somebody listens at are left to them', async () => {
    const other = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => other.listen(path, resolve));
    expect(await failureOf(listen(path))).toMatchObject({
      code: Code.AlreadyExists,
      reason: 'transport.address_in_use',
      message: expect.stringContaining(path) as unknown,
    });
    await new Promise((resolve) => other.close(resolve));
  });

  it('are not made over other files', async () => {
    writeFileSync(path, 'precious');
    expect(await failureOf(listen(path))).toMatchObject({ code: Code.AlreadyExists });
    expect(lstatSync(path).size).toBe(8);
  });

  it.each([
    ['greeter.sock', 'it is not an absolute path'],
    ['unix:greeter.sock', 'it is not an absolute path'],
    ['127.0.0.1:80', 'it is not an absolute path'],
    ['/', 'it is not the path of a file'],
    [`/${'x'.repeat(110)}`, 'its path has 111 bytes, and no more than 103 fit'],
  ])('at %s cannot be: %s', async (address, why) => {
    const failure = { code: Code.InvalidArgument, reason: 'transport.invalid_address' };
    expect(await failureOf(listen(address))).toMatchObject({
      ...failure,
      message: expect.stringContaining(why) as unknown,
    });
    expect(() => transport.dial(address, { route: methods.unary })).toThrow(why);
  });

  it('in a folder that is not there cannot be, and the folder is named', async () => {
    expect(await failureOf(listen(join(folder, 'none', 'x.sock')))).toMatchObject({
      code: Code.Unavailable,
      reason: 'transport.cannot_listen',
      message: expect.stringContaining(join(folder, 'none')) as unknown,
    });
  });

  it('where nobody is are unreachable', async () => {
    expect(await failureOf(call(path))).toMatchObject({ code: Code.Unavailable, reason: 'transport.unreachable' });
  });
});
