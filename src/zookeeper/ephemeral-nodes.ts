import { repeatedly } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { EphemeralNode } from './ephemeral-node.ts';
import type { SessionPool } from './session-pool.ts';
import { type Acl, isZooKeeperError, type Session, type ZooKeeper } from './zookeeper.ts';

/** The parts of {@link EphemeralNodes}. */
export interface EphemeralNodesInit {
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  readonly sessions: SessionPool;
  readonly acl: Acl;
  /** The time-outs of the sessions that are needed, besides those of nodes that are being made. */
  timeoutsInUse(): Iterable<number>;
  /** Nodes are gone, though nobody removed them here. */
  onLost(isLost: (node: EphemeralNode) => boolean): void;
  /** A node belongs to another session now. */
  onForeign(path: string): void;
}

const backoff = { initialMs: 200, maxMs: 2_000 } as const;

/** The ephemeral nodes of a process, in sessions of different time-outs. Nobody is told twice that a node is lost. */
export class EphemeralNodes {
  readonly #init: EphemeralNodesInit;
  /** Time-outs of nodes that are being made. */
  readonly #making: number[] = [];
  /** Paths of nodes that may be there, or come: whoever made them did not wait for the answer, or did not get it. */
  readonly #doubtful = new Set<string>();
  /** Nodes that need their sessions a while longer: their removal was not answered, or others take them over. */
  readonly #leaving = new Set<EphemeralNode>();
  readonly #nodes = new Map<string, EphemeralNode>();
  readonly #foreign = new Set<string>();
  readonly #closing = new AbortController();

  constructor(init: EphemeralNodesInit) {
    this.#init = init;
  }

  /** Makes a node, or takes it over. */
  async make(path: string, data: string, timeoutMs: number, signal: AbortSignal): Promise<EphemeralNode> {
    const { sessions, acl } = this.#init;
    const client = sessions.of(timeoutMs);
    const wasDoubtful = this.#doubtful.delete(path);
    this.#making.push(timeoutMs);
    try {
      const made = await EphemeralNode.make(client, path, Buffer.from(data), acl, signal);
      this.#nodes.set(path, made);
      this.#foreign.delete(path);
      return made;
    } catch (error) {
      if (wasDoubtful || client.session) this.#doubtful.add(path);
      throw error;
    } finally {
      this.#making.splice(this.#making.indexOf(timeoutMs), 1);
    }
  }

  /** Gives the node if it is there, or if another session has replaced it; `undefined` if it has to be made again. */
  async check(node: EphemeralNode, signal?: AbortSignal): Promise<EphemeralNode | undefined> {
    return this.#unlessGone(node, await node.state(signal));
  }

  /** As `check`, with other data or in another session. */
  async write(
    node: EphemeralNode,
    data: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<EphemeralNode | undefined> {
    // The time-out of a session does not change: another session takes the node over.
    if (this.#init.sessions.of(timeoutMs) !== node.client) {
      const moved = await this.make(node.path, data, timeoutMs, signal);
      this.#endUnused();
      return moved;
    }
    return this.#unlessGone(node, await node.write(Buffer.from(data), signal));
  }

  /** Removes a node. If that fails, it is tried until it succeeds: the session would keep the node for ever. */
  async remove(node: EphemeralNode, signal: AbortSignal): Promise<void> {
    this.#nodes.delete(node.path);
    this.#foreign.delete(node.path);
    this.#leaving.add(node);
    try {
      await node.delete(signal);
    } catch (error) {
      this.#removeLater(node);
      throw error;
    } finally {
      this.#leaving.delete(node);
      this.#endUnused();
    }
  }

  /** Removes a node that was made, though its maker was not told. Does nothing if that cannot be. */
  async removeStray(path: string, signal: AbortSignal): Promise<void> {
    if (!this.#doubtful.has(path)) return;
    for (const client of this.#init.sessions.clients) {
      const stray = await EphemeralNode.find(client, path, signal);
      // It may be made again meanwhile.
      if (!this.#doubtful.has(path)) return;
      if (stray) await this.remove(stray, signal);
    }
    this.#doubtful.delete(path);
  }

  /** Removes a node that was forgotten here, whoever has it since, if its data is still that of the same node. */
  async removeFormer(path: string, isSame: (data: string) => boolean, signal: AbortSignal): Promise<void> {
    const [client] = this.#init.sessions.clients;
    try {
      const found = await client?.getData(path, { signal });
      if (found && isSame(String(found.data))) await client?.delete(path, found.stat.version, signal);
    } catch (error) {
      if (!isZooKeeperError(error, 'NoNode', 'BadVersion')) throw error;
    }
  }

  /** Takes no further notice of a node. Its session goes on for as long as another process may need to take it over. */
  forget(path: string): void {
    const node = this.#nodes.get(path);
    this.#nodes.delete(path);
    this.#foreign.delete(path);
    if (!node) return;
    this.#leaving.add(node);
    this.#init.runtime.timers.after(node.client.session?.timeoutMs ?? 0, () => {
      this.#leaving.delete(node);
      if (!this.#closing.signal.aborted) this.#endUnused();
    });
  }

  /** Looks after a node that an event is about, if it is one of these. */
  onEvent(path: string): void {
    const node = this.#nodes.get(path);
    if (node) void this.#verify(node);
  }

  onExpired(client: ZooKeeper, { id }: Session): void {
    const isLost = (node: EphemeralNode): boolean => node.client === client && node.sessionId === id;
    for (const [path, node] of this.#nodes) if (isLost(node)) this.#nodes.delete(path);
    this.#init.onLost(isLost);
  }

  /** Closes all clients. Sessions that have nodes go on until they time out. */
  async close(): Promise<void> {
    this.#closing.abort();
    const used = new Set([...this.#nodes.values()].map(({ client }) => client));
    await this.#init.sessions.close((client) => used.has(client));
  }

  #unlessGone(node: EphemeralNode, state: 'own' | 'foreign' | 'gone'): EphemeralNode | undefined {
    if (state === 'foreign' && !this.#foreign.has(node.path)) {
      this.#foreign.add(node.path);
      this.#init.onForeign(node.path);
    }
    return state === 'gone' ? undefined : node;
  }

  /** Never rejects: what cannot be asked now is asked by the next `check`, which tells of other sessions as well. */
  async #verify(node: EphemeralNode): Promise<void> {
    const state = await node.state().catch(() => undefined);
    if (state !== 'gone' || this.#nodes.get(node.path) !== node) return;
    this.#nodes.delete(node.path);
    this.#init.onLost((one) => one === node);
  }

  #endUnused(): void {
    // A node that is being made is among those in use by then.
    this.#init.runtime.timers.soon(() => {
      const timeouts = new Set([...this.#init.timeoutsInUse(), ...this.#making]);
      const clients = new Set([...this.#leaving].map(({ client }) => client));
      this.#init.sessions.retain(timeouts, clients);
    });
  }

  #removeLater(node: EphemeralNode): void {
    const ended = new AbortController();
    const work = async (): Promise<void> => {
      // It may have been made again.
      if (!this.#nodes.has(node.path)) await node.delete();
      ended.abort();
    };
    const signal = AbortSignal.any([ended.signal, this.#closing.signal]);
    void repeatedly(work, { runtime: this.#init.runtime, backoff, signal });
  }
}
