import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { afterAll, afterEach, describe, expect, it } from '@jest/globals';

import { RedisRegistry } from '../../src/registry/redis.ts';
import { systemClock, systemTimers } from '../../src/runtime/system.ts';
import { WatchRecorder } from '../../src/testing/recorders.ts';
import { type StartOptions, startNode, type TestProcess } from '../support/process.ts';
import { describeWithRedis, type RedisServer, redisServer } from '../support/servers.ts';
import { eventually } from '../support/waiting.ts';

const program = fileURLToPath(new URL('./programs/leased.mjs', import.meta.url));
const patienceMs = 90_000;
const folder = mkdtempSync(join(tmpdir(), 'tenon-leased-'));
const toClose: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0)) await close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const base = { TENON_PROFILE: 'dev', TENON_REGISTER_TTL_MS: '3000', TENON_LAME_DUCK_MS: '0', TENON_LOG_LEVEL: 'debug' };

function start(env: Readonly<Record<string, string>>, options: StartOptions = {}): TestProcess {
  const child = startNode(program, { ...options, env: { ...base, ...env }, withInput: true });
  toClose.push(() => child.kill('SIGKILL'));
  return child;
}

/** Starts it, and waits until a thread renews the leases of so many services. */
async function startLeased(
  env: Readonly<Record<string, string>>,
  { leases = 1, ...options }: StartOptions & { leases?: number } = {},
): Promise<TestProcess> {
  const child = start(env, options);
  await eventually('its leases are handed over', () => handedOver(child) >= leases || ended(child), patienceMs);
  expect([handedOver(child), child.exit]).toEqual([leases, undefined]);
  return child;
}

const ended = (child: TestProcess): boolean => child.exit !== undefined;
const countOf = (child: TestProcess, pattern: RegExp): number => child.stderr.match(pattern)?.length ?? 0;
const handedOver = (child: TestProcess): number => countOf(child, /is renewed by a thread of its own/g);
/** Lines that tell of a thread that ended, and of leases that the main thread renews. */
const lost = (child: TestProcess): number =>
  countOf(child, /has ended|another is started|no thread could|main thread/g);

/** The services with the number of their renewals, where their lease is valid. */
async function told(child: TestProcess): Promise<ReadonlyMap<string, number>> {
  const from = child.lines.length;
  child.writeLine('tell');
  const [, text = ''] = await child.waitForLine(/^told (.+)$/, patienceMs, from);
  const all = JSON.parse(text) as readonly (readonly [string, boolean, number])[];
  return new Map(all.filter(([, isRegistered]) => isRegistered).map(([name, , renewals]) => [name, renewals]));
}

/** Waits until each of the services was renewed twice more. */
async function renewedOn(child: TestProcess, names: readonly string[]): Promise<void> {
  const before = await told(child);
  expect([...before.keys()].sort()).toEqual([...names].sort());
  await eventually(
    'they are renewed',
    async () => {
      const now = await told(child);
      return names.every((name) => (now.get(name) ?? 0) >= (before.get(name) ?? 0) + 2);
    },
    patienceMs,
  );
}

const addressOf = (redis: RedisServer): string => `redis://${redis.address}`;

async function stopAll(child: TestProcess): Promise<void> {
  child.writeLine('stop');
  expect(await child.waitForExit(patienceMs)).toEqual({ code: 0, signal: null });
}

describeWithRedis('a process whose leases a thread renews', (redis) => {
  const env = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
    TENON_REGISTRY: addressOf(redis),
    ...more,
  });
  const registered = async (names: readonly string[]): Promise<string[]> => {
    const registry = new RedisRegistry({ address: redis.address });
    try {
      const all = await Promise.all(names.map((name) => registry.getService(name).catch(() => [])));
      return all.flat().map(({ name }) => name);
    } finally {
      await registry.close();
    }
  };

  describe('and that was started with options of Node', () => {
    const preloaded = join(folder, 'preloaded');
    const note = (isModule: boolean): string =>
      isModule
        ? `import { appendFileSync } from 'node:fs'; import { isMainThread } from 'node:worker_threads';`
        : `const { appendFileSync } = require('node:fs'); const { isMainThread } = require('node:worker_threads');`;
    const preload = (name: string): string => {
      const file = join(folder, name);
      const text = `${note(name.endsWith('.mjs'))}\nappendFileSync(${JSON.stringify(preloaded)}, isMainThread ? 'main ' : 'worker ');`;
      writeFileSync(file, text);
      return file;
    };
    const required = preload('preload.cjs');
    const imported = pathToFileURL(preload('preload.mjs')).href;

    it.each([
      ['a preload that is required', `--require ${required}`, 'main '],
      ['a preload that is imported', `--import ${imported}`, 'main '],
      ['both, and conditions', `--require ${required} --import ${imported} --conditions=development`, 'main main '],
      ['an inspector', '--inspect=127.0.0.1:0', ''],
      ['limits of memory', '--max-old-space-size=96 --max-semi-space-size=1', ''],
      ['strict flags', '--unhandled-rejections=strict --throw-deprecation --enable-source-maps', ''],
    ])(
      'has its thread with %s, which is none of the thread',
      async (_what, options, preloads) => {
        for (const how of [{ env: { NODE_OPTIONS: options } }, { nodeArgs: options.split(' ') }]) {
          writeFileSync(preloaded, '');
          const child = await startLeased({ ...env(), ...how.env }, how.nodeArgs ? { nodeArgs: how.nodeArgs } : {});
          await renewedOn(child, ['one']);
          expect([readFileSync(preloaded, 'utf8'), lost(child)]).toEqual([preloads, 0]);
          await stopAll(child);
        }
      },
      180_000,
    );
  });

  describe('and that Node restricts', () => {
    const flags = process.allowedNodeEnvironmentFlags;
    const permission = flags.has('--permission') ? '--permission' : '--experimental-permission';
    const network = flags.has('--allow-net') ? ['--allow-net'] : [];
    const restricted = [permission, '--allow-fs-read=*', '--allow-fs-write=*', ...network];

    it('renews by the main thread where threads are forbidden, and says so once', async () => {
      const child = start(env(), { nodeArgs: restricted });
      await child.waitForLog(/main thread, and end while it is busy: .*\(--allow-worker\)/, patienceMs);
      await renewedOn(child, ['one']);
      expect([handedOver(child), lost(child)]).toEqual([0, 1]);
      expect(child.stderr).toMatch(/"level":"warn"[^\n]*--allow-worker|warn [^\n]*--allow-worker/);
      await stopAll(child);
    }, 180_000);

    it('has its thread where they are allowed', async () => {
      const child = await startLeased(env(), { nodeArgs: [...restricted, '--allow-worker'] });
      await renewedOn(child, ['one']);
      await stopAll(child);
    }, 180_000);
  });

  describe('ends', () => {
    it.each([
      ['exit', 5],
      ['throw', 1],
      ['stop', 0],
    ])(
      'at %s, with the exit code %i',
      async (how, code) => {
        const child = await startLeased(env());
        child.writeLine(how);
        expect(await child.waitForExit(patienceMs)).toEqual({ code, signal: null });
      },
      180_000,
    );

    it.each(['exit', 'stop'])(
      'at %s while its registry hangs',
      async (how) => {
        const own = await redisServer();
        toClose.push(() => own.dispose());
        const child = await startLeased({ TENON_REGISTRY: addressOf(own), SERVICES: 'one,two' }, { leases: 2 });
        own.pause();
        // A renewal is under way, of which no answer comes.
        await systemTimers.sleep(1_500);
        child.writeLine(how);
        expect((await child.waitForExit(patienceMs)).signal).toBeNull();
        own.resume();
      },
      180_000,
    );

    it('before its leases were handed over', async () => {
      const child = start(env());
      await child.waitForLine(/^ready$/, patienceMs);
      await stopAll(child);
    }, 180_000);
  });

  describe('and that has several services', () => {
    const five = ['one', 'two', 'three', 'four', 'five'];
    const others = five.filter((name) => name !== 'three');

    it('goes on with four when the fifth stops', async () => {
      const child = await startLeased(env({ SERVICES: five.join() }), { leases: 5 });
      child.writeLine('stop three');
      await child.waitForLine(/^stopped three$/, patienceMs);
      await renewedOn(child, others);
      expect([handedOver(child), lost(child), await registered(five)]).toEqual([5, 0, others]);
      await stopAll(child);
      expect(await registered(five)).toEqual([]);
    }, 180_000);

    it('goes on with the others, too, when the registry hangs while one stops', async () => {
      const own = await redisServer();
      toClose.push(() => own.dispose());
      const child = await startLeased({ TENON_REGISTRY: addressOf(own), SERVICES: 'one,two' }, { leases: 2 });
      own.pause();
      child.writeLine('stop one');
      await child.waitForLine(/^stopped one$/, patienceMs);
      own.resume();
      await eventually('the other is registered', async () => (await told(child)).has('two'), patienceMs);
      await renewedOn(child, ['two']);
      expect([handedOver(child), lost(child)]).toEqual([2, 0]);
      await stopAll(child);
    }, 180_000);

    it('goes on in one registry when it stops in another that hangs', async () => {
      const own = await redisServer();
      toClose.push(() => own.dispose());
      const both = { SYSTEMS: `${addressOf(own)},${addressOf(redis)}`, SERVICES: 'one,two' };
      const child = await startLeased(both, { leases: 4 });
      own.pause();
      child.writeLine('stop-system 0');
      await child.waitForLine(/^stopped system 0$/, patienceMs);
      await renewedOn(child, ['one', 'two']);
      expect([handedOver(child), lost(child), await registered(['one', 'two'])]).toEqual([4, 0, ['one', 'two']]);
      await stopAll(child);
      own.resume();
    }, 180_000);
  });

  describe('and that does not run', () => {
    const watchOne = async (): Promise<WatchRecorder> => {
      const registry = new RedisRegistry({ address: redis.address });
      toClose.push(() => registry.close());
      return new WatchRecorder(await registry.watch({ service: 'one' }));
    };

    it('leaves for good when its main thread is dead-locked', async () => {
      const child = await startLeased(env({ TENON_REGISTER_BUSY_MS: '4000' }));
      const seen = await watchOne();
      child.writeLine('deadlock');
      await eventually('it leaves', () => seen.texts.at(-1)?.startsWith('delete') === true, patienceMs);
      const events = seen.texts.length;
      // For longer than a lease nothing brings it back.
      await systemTimers.sleep(5_000);
      expect([seen.texts.length, await registered(['one'])]).toEqual([events, []]);
    }, 180_000);

    it('is registered again when it was stopped for ten seconds, which is one line of its log', async () => {
      const child = await startLeased(env());
      await renewedOn(child, ['one']);
      const seen = await watchOne();
      const before = child.stderr.length;
      child.signal('SIGSTOP');
      await eventually('it leaves', () => seen.texts.at(-1)?.startsWith('delete') === true, patienceMs);
      await systemTimers.sleep(7_000);
      child.signal('SIGCONT');
      await eventually('it is back', () => seen.texts.at(-1)?.startsWith('create') === true, patienceMs);
      await eventually('it knows that', async () => (await told(child)).has('one'), patienceMs);
      await renewedOn(child, ['one']);
      const lines = child.stderr
        .slice(before)
        .split('\n')
        .filter((line) => /\b(?:warn|error)\b/.test(line));
      expect(lines).toEqual([expect.stringContaining('is registered again: this process did not run')]);
      await stopAll(child);
    }, 180_000);
  });
});

describe('a process with a registry of its own', () => {
  const startIn = (
    name: string,
    more: Readonly<Record<string, string>> = {},
  ): { child: TestProcess; where: string } => {
    const where = mkdtempSync(join(folder, 'registry-'));
    return { child: start({ TENON_REGISTRY: `${name}://${where}`, ...more }), where };
  };
  interface Written {
    readonly endsAtMs: number;
    readonly thread: string;
    readonly isBusy: boolean;
  }
  const written = (where: string): Written[] =>
    readdirSync(where)
      .filter((name) => name.endsWith('.node'))
      .map((name) => {
        const [first = '', record = ''] = readFileSync(join(where, name), 'utf8').split('\n');
        const [endsAtMs, thread = ''] = first.split(' ');
        return { endsAtMs: Number(endsAtMs), thread, isBusy: record.includes('tenon-busy') };
      });

  it('has its leases renewed by a thread if the class names its module, also while it is busy', async () => {
    const { child, where } = startIn('folder');
    await eventually('the thread renews', () => written(where)[0]?.thread === 'worker', patienceMs);
    child.writeLine('block 9000');
    await eventually('it is announced as busy', () => written(where)[0]?.isBusy === true, patienceMs);
    const late: Written[] = [];
    await eventually(
      'it is back',
      () => {
        late.push(...written(where).filter(({ endsAtMs }) => endsAtMs < systemClock.now()));
        return child.lines.includes('unblocked');
      },
      patienceMs,
    );
    expect(late).toEqual([]);
    await eventually('it is as before', () => written(where)[0]?.isBusy === false, patienceMs);
    await stopAll(child);
    expect([written(where), lost(child)]).toEqual([[], 0]);
  }, 180_000);

  it.each([
    ['unnamed', 'names no module of its class'],
    ['misnamed', 'exports no class FolderRegistry'],
    ['program', 'is the program itself'],
  ])(
    'has them renewed by the main thread if the class is %s, and says why once',
    async (name, why) => {
      const { child, where } = startIn(name);
      await child.waitForLog(new RegExp(`renewed by the main thread, and end while it is busy: .*${why}`), patienceMs);
      await renewedOn(child, ['one']);
      expect(written(where).map(({ thread }) => thread)).toEqual(['main']);
      expect([lost(child), child.lines.filter((line) => line === 'ready')]).toEqual([1, ['ready']]);
      await stopAll(child);
    },
    180_000,
  );
});
