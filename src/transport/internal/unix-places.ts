import { connect } from 'node:net';
import { lstat, mkdir, unlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';

import { textOf } from '../../errors/errors.ts';
import type { Random } from '../../runtime/runtime.ts';
import { addressInUse, cannotListen, invalidAddress } from './failures.ts';
import type { Places } from './places.ts';

// sockaddr_un has room for 108 bytes on Linux and 104 on macOS, with the zero at the end.
const longestPath = 103;
const remedy = 'Write the path of a socket file, such as unix:/run/greeter.sock';

/** Paths of socket files. Port 0, of whatever host, is a new file in `folder`. */
export function socketFiles(folder: string, random: Random): Places {
  return {
    async listening(address) {
      const isAny = anyPort.test(address);
      const path = isAny ? join(folder, `tenon-${random.uuid().slice(0, 13)}.sock`) : pathOf(address);
      if (isAny) await mkdir(folder, { recursive: true });
      else await removeStale(path);
      return { path };
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
