import { createHash } from 'node:crypto';
import { link, lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';

import type { Timers } from '../../runtime/runtime.ts';

/** The identity of a file, which tells it from other files of the same name. */
export interface FileIdentity {
  readonly ino: bigint;
  readonly mtimeNs: bigint;
}

/** The steps of claiming a path. Their errors have Node's codes. */
export interface ClaimSteps {
  /** Gives the file `existing` a further name. Fails with EEXIST where there is a file of that name. */
  link(existing: string, path: string): Promise<void>;
  /** Fails with ENOENT where there is none. */
  stat(path: string): Promise<FileIdentity & { isSocket(): boolean }>;
  unlink(path: string): Promise<void>;
  /** Connects to a socket file, and returns why that failed: ECONNREFUSED if its process is dead. */
  probe(path: string): Promise<string | undefined>;
}

/** The steps on real files. */
export const fileSteps: ClaimSteps = {
  link,
  stat: (path) => lstat(path, { bigint: true }),
  unlink,
  probe: (path) =>
    new Promise((resolve) => {
      const probe = connect({ path });
      probe.once('connect', () => {
        probe.destroy();
        resolve(undefined);
      });
      probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    }),
};

/** Bytes of the names that are made beside a claimed path. */
export const besideBytes = 13;

/** A name for a file beside `path`. */
export function beside(path: string, unique: string): string {
  return join(dirname(path), `.${unique.slice(0, besideBytes - 1)}`);
}

// A claimant removes a file within moments. If the file is still there after so many checks, the path counts as taken.
const maxLooks = 250;
const lookMs = 20;

/**
 * Links the socket file `own` to `path`, and returns true if it could: one claimant has a path at a time. Its process
 * must listen at `own` from before the claim until it releases the path, as others connect to the path to find out if
 * the claimant lives.
 *
 * A file whose process is dead is replaced. Two claimants that find it must not both remove it: the second would remove
 * what the first has put in its place. So each dead file has its own claim path, and the process that claims that path
 * removes the file. If it dies before that, its claim is a dead file in turn.
 */
export async function claimPath(
  own: string,
  path: string,
  timers: Pick<Timers, 'sleep'>,
  steps: ClaimSteps = fileSteps,
): Promise<boolean> {
  for (let looks = 0; looks < maxLooks;) {
    if (await succeeds(steps.link(own, path), 'EEXIST')) return true;
    const file = await fileAt(path, steps);
    if (!file) continue;
    const why = file.isSocket() ? await steps.probe(path) : undefined;
    if (why === 'ENOENT') continue;
    if (why !== 'ECONNREFUSED') return false;
    const removal = beside(path, keyOf(basename(path), file));
    if (await claimPath(own, removal, timers, steps)) {
      try {
        const found = await fileAt(path, steps);
        if (found && isSameFile(found, file)) await steps.unlink(path);
      } finally {
        await steps.unlink(removal);
      }
    } else {
      looks += 1;
      await timers.sleep(lookMs);
    }
  }
  return false;
}

/** Returns true for the same file. Names and file numbers are both used again, but not together. */
export function isSameFile(one: FileIdentity, other: FileIdentity): boolean {
  return one.ino === other.ino && one.mtimeNs === other.mtimeNs;
}

function keyOf(name: string, { ino, mtimeNs }: FileIdentity): string {
  return createHash('sha256').update(`${name}/${ino}/${mtimeNs}`).digest('base64url');
}

async function fileAt(path: string, steps: ClaimSteps): Promise<Awaited<ReturnType<ClaimSteps['stat']>> | undefined> {
  try {
    return await steps.stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Resolves to `false` if the step fails with `code`, else to `true`. */
async function succeeds(step: Promise<void>, code: string): Promise<boolean> {
  try {
    await step;
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return false;
    throw error;
  }
}
