import { connect } from 'node:net';
import { lstat, mkdir, open, unlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';

import { textOf } from '../../errors/errors.ts';
import type { Random, Timers } from '../../runtime/runtime.ts';
import { addressInUse, cannotListen, invalidAddress } from './failures.ts';
import type { Places } from './places.ts';

// sockaddr_un has room for 108 bytes on Linux and 104 on macOS, with the zero at the end.
const longestPath = 103;
const remedy = 'Write the path of a socket file, such as unix:/run/greeter.sock';

// A process holds the lock of a path for moments; one that is there for this long was left behind.
const lockLooks = 100;
const lockLookMs = 20;

/** Paths of socket files. Port 0, of whatever host, is a new file in `folder`. */
export function socketFiles(folder: string, { random, timers }: { random: Random; timers: Timers }): Places {
  const locked = new Set<string>();
  return {
    async listening(address) {
      const isAny = anyPort.test(address);
      const path = isAny ? join(folder, `tenon-${random.uuid().slice(0, 13)}.sock`) : pathOf(address);
      if (isAny) await mkdir(folder, { recursive: true });
      else {
        // Until this one listens: another that finds the file meanwhile would take it for a dead one, or remove it.
        if (await lock(path, timers)) locked.add(path);
        await removeStale(path);
      }
      return { path };
    },
    async settled({ path }) {
      if (path !== undefined && locked.delete(path)) await unlink(lockOf(path)).catch(() => {});
    },
    bound: (_server, { path }) => `unix:${path}`,
    listenError(address, error) {
      const { code } = error as { readonly code?: unknown };
      if (code === 'EADDRINUSE') return addressInUse(`unix:${pathOf(address)}`, error, 'another path');
      if (code === 'EACCES') return cannotListen(address, 'this process may not write there', error);
      if (code === 'ENOENT') return cannotListen(address, `there is no folder ${dirname(pathOf(address))}`, error);
      return cannotListen(address, textOf(error), error);
    },
    assertCallable: (address) => void pathOf(address),
    connecting: (address) => ({ path: pathOf(address) }),
    hostOf: () => 'localhost',
    localOf: () => '',
    remoteOf: () => 'unix:',
  };
}

const anyPort = /^[^/:]*:0$/;

function pathOf(address: string): string {
  const path = address.startsWith('unix:') ? address.slice('unix:'.length).replace(/^\/\/(?=\/)/, '') : address;
  if (!isAbsolute(path)) throw invalidAddress(address, 'it is not an absolute path', remedy);
  if (path.endsWith('/') || path.includes('\0')) throw invalidAddress(address, 'it is not the path of a file', remedy);
  const bytes = Buffer.byteLength(path);
  if (bytes > longestPath) {
    throw invalidAddress(
      address,
      `its path has ${bytes} bytes, and no more than ${longestPath} fit into the address of a socket`,
      remedy,
    );
  }
  return path;
}

const lockOf = (path: string): string => `${path}.lock`;

/** Takes the lock of a path, when whoever has it is done. `false` where there can be none: listening will say why. */
async function lock(path: string, timers: Timers): Promise<boolean> {
  const file = lockOf(path);
  let seen: number | undefined;
  for (let looks = 0; ; looks += 1) {
    try {
      await (await open(file, 'wx')).close();
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return false;
    }
    const made = await lstat(file).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    );
    if (made !== seen) looks = 0;
    seen = made;
    if (looks >= lockLooks) await unlink(file).catch(() => {});
    else await timers.sleep(lockLookMs);
  }
}

/** The file of a process that died stays behind. It is removed if it is a socket that nobody listens at; anything else is left alone. */
async function removeStale(path: string): Promise<void> {
  const isSocket = await lstat(path).then(
    (file) => file.isSocket(),
    () => false,
  );
  if (isSocket && (await isDead(path))) await unlink(path).catch(() => {});
}

function isDead(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}
