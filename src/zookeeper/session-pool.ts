import type { ZooKeeper } from './zookeeper.ts';

/** Clients by the time-outs of their sessions. */
export class SessionPool {
  readonly #clients = new Map<number, ZooKeeper>();
  readonly #open: (timeoutMs: number) => ZooKeeper;

  constructor(open: (timeoutMs: number) => ZooKeeper) {
    this.#open = open;
  }

  /** All that are open. */
  get clients(): readonly ZooKeeper[] {
    return [...this.#clients.values()];
  }

  /** The client whose session has this time-out. */
  of(timeoutMs: number): ZooKeeper {
    let client = this.#clients.get(timeoutMs);
    if (!client) {
      client = this.#open(timeoutMs);
      this.#clients.set(timeoutMs, client);
    }
    return client;
  }

  /** Ends the sessions with other time-outs, and of other clients. */
  retain(timeouts: ReadonlySet<number>, clients: ReadonlySet<ZooKeeper>): void {
    for (const [timeoutMs, client] of this.#clients) {
      if (timeouts.has(timeoutMs) || clients.has(client)) continue;
      this.#clients.delete(timeoutMs);
      void client.close({ endSession: true });
    }
  }

  /** Closes all clients; the sessions of those that `isKept` names stay until they time out. */
  async close(isKept: (client: ZooKeeper) => boolean): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.close({ endSession: !isKept(client) })));
  }
}
