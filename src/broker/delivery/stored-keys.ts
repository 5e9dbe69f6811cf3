import type { Runtime } from '../../runtime/runtime.ts';
import type { Store } from '../../store/store.ts';

/** The right to work on a key, which others respect until it is over. */
export interface KeyLease {
  /** Notes that the work is done. Resolves with false if the lease was lost: somebody else may have done it too. */
  done(): Promise<boolean>;
  /** Gives the key to others: the work failed. */
  release(): Promise<void>;
}

/** The parts of {@link StoredKeys}. */
export interface StoredKeysInit {
  readonly store: Store;
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  /** Begins each key: what shares the work. */
  readonly scope: string;
  /** A lease that was not renewed is over after this time. */
  readonly leaseMs: number;
  /** A key that is done is remembered for this time. */
  readonly keepMs: number;
}

const done = 'done';

/**
 * Keys of events in a store. A key is started, for as long as its lease is renewed, then done: only what is done is
 * skipped. If the process dies between the two, the key can be started again when the lease is over.
 */
export class StoredKeys {
  readonly #init: StoredKeysInit;

  constructor(init: StoredKeysInit) {
    this.#init = init;
  }

  /** Starts work on a key: gives its lease, or says that it is done, or that somebody works on it. */
  async start(key: string): Promise<KeyLease | 'done' | 'busy'> {
    const { store, runtime, scope, leaseMs, keepMs } = this.#init;
    const name = scope + key;
    const started = `started ${runtime.random.uuid()}`;
    const { isSet, value } = await store.compareAndSet(name, undefined, started, leaseMs);
    if (!isSet) return value === done ? 'done' : 'busy';
    let isReleased = false;
    /** Writes over our own lease, or over none: one that has lapsed is ours as long as nobody else has the key. */
    const write = async (text: string, ttlMs: number): Promise<boolean> => {
      const swap = await store.compareAndSet(name, started, text, ttlMs);
      if (swap.isSet || swap.value !== undefined || isReleased) return swap.isSet;
      return (await store.compareAndSet(name, undefined, text, ttlMs)).isSet;
    };
    const renew = (): void => void write(started, leaseMs).catch(() => undefined);
    const renewal = runtime.timers.every(Math.max(1, leaseMs / 3), renew);
    return {
      done() {
        renewal.cancel();
        return write(done, keepMs);
      },
      async release() {
        isReleased = true;
        renewal.cancel();
        await store.compareAndSet(name, started, undefined, leaseMs);
      },
    };
  }
}
