import { isZooKeeperError, type Stat, type WatchEvent, type ZooKeeper } from './zookeeper.ts';

/** The parts of a {@link TreeWatch}. */
export interface TreeWatchInit {
  readonly client: ZooKeeper;
  /** True if somebody watches the path, or what is above it. */
  isWatched(path: string): boolean;
  /** A watched node has changed, or one below a watched path. */
  onChanged(path: string): void;
  /** Something below a watched path has changed: it is read again, which arms its watches again. */
  onStale(path: string): void;
}

/**
 * Watches all below some paths: with recursive watches, or before ZooKeeper 3.6 with watches that reads arm, each of
 * which reports once. What is watched is read through it.
 */
export class TreeWatch {
  readonly #init: TreeWatchInit;
  #isRecursive = true;

  constructor(init: TreeWatchInit) {
    this.#init = init;
  }

  /** Resolves when later changes below the path are reported, if it is read afterwards. */
  async add(path: string, signal: AbortSignal): Promise<void> {
    try {
      if (this.#isRecursive) await this.#init.client.addWatch(path, signal);
    } catch (error) {
      if (!isZooKeeperError(error, 'Unimplemented')) throw error;
      this.#isRecursive = false;
    }
  }

  remove(path: string): void {
    const { client } = this.#init;
    if (this.#isRecursive && client.isConnected) client.removeWatch(path).catch(() => {});
  }

  onEvent({ kind, path }: WatchEvent): void {
    if (!this.#init.isWatched(path)) return;
    if (!this.#isRecursive) this.#init.onStale(path);
    else if (kind !== 'children') this.#init.onChanged(path);
  }

  /** The paths of the children; none of a node that is not there. */
  async children(path: string, signal: AbortSignal): Promise<readonly string[]> {
    const watch = this.#arms(path);
    for (;;) {
      try {
        const { children } = await this.#init.client.getChildren(path, { watch, signal });
        return children.map((name) => `${path}/${name}`);
      } catch (error) {
        if (!isZooKeeperError(error, 'NoNode')) throw error;
        // It may have been made since.
        if (!watch || !(await this.#init.client.exists(path, { watch, signal }))) return [];
      }
    }
  }

  /** A node; `undefined` if it is not there. */
  async node(path: string, signal?: AbortSignal): Promise<{ readonly data: Buffer; readonly stat: Stat } | undefined> {
    try {
      return await this.#init.client.getData(path, { watch: this.#arms(path), signal });
    } catch (error) {
      if (!isZooKeeperError(error, 'NoNode')) throw error;
      return undefined;
    }
  }

  #arms(path: string): boolean {
    return !this.#isRecursive && this.#init.isWatched(path);
  }
}
