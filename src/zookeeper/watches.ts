import { setWatchesPacket, type WatchKind } from './requests.ts';
import type { WatchEvent } from './zookeeper.ts';

// A server refuses packets of a megabyte.
const maxPathBytes = 100_000;

/** The watches that a session has, by which they are armed again on another connection. */
export class WatchTable {
  readonly #paths: Readonly<Record<WatchKind, Set<string>>> = {
    data: new Set(),
    absence: new Set(),
    children: new Set(),
    recursive: new Set(),
  };

  add(kind: WatchKind, path: string): void {
    this.#paths[kind].add(path);
  }

  remove(path: string): void {
    for (const paths of Object.values(this.#paths)) paths.delete(path);
  }

  clear(): void {
    for (const paths of Object.values(this.#paths)) paths.clear();
  }

  /** Takes away what an event ends. False if there is no watch that it could come from. */
  take({ kind, path }: WatchEvent): boolean {
    const ended: readonly WatchKind[] = endedBy[kind];
    const wasArmed = ended.filter((one) => this.#paths[one].delete(path)).length > 0;
    return wasArmed || this.#isBelowRecursive(path);
  }

  /** The packets that arm them on another connection, with what has changed since `lastZxid`. */
  *packets(lastZxid: bigint): IterableIterator<Buffer> {
    let batch: Record<WatchKind, string[]> = { data: [], absence: [], children: [], recursive: [] };
    let bytes = 0;
    for (const [kind, paths] of Object.entries(this.#paths) as [WatchKind, Set<string>][]) {
      for (const path of paths) {
        batch[kind].push(path);
        bytes += Buffer.byteLength(path);
        if (bytes < maxPathBytes) continue;
        yield setWatchesPacket(lastZxid, batch);
        batch = { data: [], absence: [], children: [], recursive: [] };
        bytes = 0;
      }
    }
    if (bytes > 0) yield setWatchesPacket(lastZxid, batch);
  }

  #isBelowRecursive(path: string): boolean {
    const { recursive } = this.#paths;
    if (recursive.size === 0) return false;
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (recursive.has(path.slice(0, end))) return true;
    }
    return recursive.has('/');
  }
}

/** Watches that report once, by what they report. */
const endedBy: Readonly<Record<WatchEvent['kind'], readonly WatchKind[]>> = {
  created: ['data', 'absence'],
  changed: ['data', 'absence'],
  deleted: ['data', 'absence', 'children'],
  children: ['children'],
};
