import { lstatSync, unlinkSync } from 'node:fs';
import { lstat, mkdir, unlink } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';

import { textOf } from '../../errors/errors.ts';
import type { Random, Timers } from '../../runtime/runtime.ts';
import { addressInUse, cannotListen, notAnAddress } from '../call/failures.ts';
import type { ListenTarget, AddressScheme } from './address-scheme.ts';
import { beside, besideBytes, claimPath, type FileIdentity, isSameFile } from './unix-claim.ts';

// sockaddr_un has room for 108 bytes on Linux and 104 on macOS, with the zero at the end.
const longestPath = 103;
const remedy = 'Write the path of a socket file, such as unix:/run/greeter.sock';

/** The addresses of socket files, by their paths. Port 0, of whatever host, is a new file in `folder`. */
export function unixAddresses(folder: string, seams: { random: Random; timers: Timers }): AddressScheme {
  return {
    async listening(address) {
      const isAny = anyPort.test(address);
      if (isAny) await mkdir(folder, { recursive: true });
      const path = isAny ? join(folder, `tenon-${seams.random.uuid().slice(0, 13)}.sock`) : pathOf(address);
      assertFits(address, dirname(path), longestPath - 1 - besideBytes, 'its folder');
      return new SocketFile(path, seams);
    },
    assertCallable: (address) => void pathOf(address),
    connecting: (address) => ({ path: pathOf(address) }),
    hostOf: () => 'localhost',
    localOf: () => '',
    remoteOf: () => 'unix:',
  };
}

/**
 * A path that a listener is about to use. The listener listens under another name first, so that a file at the path
 * has a listener, or is that of a dead process.
 */
class SocketFile implements ListenTarget {
  readonly options: { readonly path: string };
  readonly #path: string;
  readonly #timers: Timers;
  /** The identity of the file, once it has the path. */
  #file: FileIdentity | undefined;

  constructor(path: string, { random, timers }: { random: Random; timers: Timers }) {
    this.#path = path;
    this.#timers = timers;
    this.options = { path: beside(path, random.uuid().replaceAll('-', '')) };
  }

  bound(): string {
    return `unix:${this.#path}`;
  }

  async publish(): Promise<void> {
    const own = this.options.path;
    const file = await lstat(own, { bigint: true });
    if (!(await claimPath(own, this.#path, this.#timers)))
      throw Object.assign(new Error('somebody listens there'), { code: 'EADDRINUSE' });
    this.#file = file;
    await unlink(own);
  }

  release(): void {
    // Other listeners do not remove the file of a living one, but a person may have done so.
    try {
      if (this.#file && isSameFile(lstatSync(this.#path, { bigint: true }), this.#file)) unlinkSync(this.#path);
    } catch {
      // The file does not exist any more.
    }
  }

  failure(error: unknown): unknown {
    const { code } = error as { readonly code?: unknown };
    const path = this.#path;
    if (code === 'EADDRINUSE') return addressInUse(`unix:${path}`, error, 'another path');
    if (code === 'EACCES') return cannotListen(path, 'this process may not write there', error);
    if (code === 'ENOENT') return cannotListen(path, `there is no folder ${dirname(path)}`, error);
    return cannotListen(path, textOf(error), error);
  }
}

const anyPort = /^[^/:]*:0$/;

function pathOf(address: string): string {
  const path = address.startsWith('unix:') ? address.slice('unix:'.length).replace(/^\/\/(?=\/)/, '') : address;
  if (!isAbsolute(path)) throw notAnAddress(address, 'it is not an absolute path', remedy);
  if (path.endsWith('/') || path.includes('\0')) throw notAnAddress(address, 'it is not the path of a file', remedy);
  assertFits(address, path, longestPath, 'its path');
  return path;
}

function assertFits(address: string, path: string, most: number, what: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= most) return;
  throw notAnAddress(
    address,
    `${what} has ${bytes} bytes, and no more than ${most} fit into the address of a socket`,
    remedy,
  );
}
