import { type Acl, isZooKeeperError, type ZooKeeper } from './zookeeper.ts';

// Others with the same path may come and go between two requests.
const maxAttempts = 5;
const none = Buffer.alloc(0);

/**
 * A node of a client's session. It is there as long as the session, unless somebody deletes it: a watch of its path is
 * armed by every method that looks at it. It is never written or deleted while it belongs to another session.
 */
export class EphemeralNode {
  readonly path: string;
  readonly client: ZooKeeper;
  readonly sessionId: bigint;

  private constructor(client: ZooKeeper, path: string, sessionId: bigint) {
    this.client = client;
    this.path = path;
    this.sessionId = sessionId;
  }

  /**
   * Makes a node, and its parents. One of another session is replaced in one step: that of a process that died vanishes
   * otherwise when its session times out, and one without a session never does.
   */
  static async make(
    client: ZooKeeper,
    path: string,
    data: Buffer,
    acl: Acl,
    signal: AbortSignal,
  ): Promise<EphemeralNode> {
    let failure = new Error(`${path} is registered by others again and again`);
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      try {
        const stat = await client.exists(path, { signal });
        if (!stat) await client.create(path, data, 'ephemeral', acl, signal);
        else if (stat.ephemeralOwner === client.session?.id) await client.setData(path, data, -1, signal);
        else {
          const old = { kind: 'delete', path, version: stat.version } as const;
          await client.multi([old, { kind: 'create', path, data, mode: 'ephemeral', acl }], signal);
        }
        // Armed last, so that it reports what others do.
        const made = await client.exists(path, { watch: true, signal });
        const session = client.session?.id;
        if (made && made.ephemeralOwner === session) return new EphemeralNode(client, path, session);
      } catch (error) {
        if (!isZooKeeperError(error, 'NoNode', 'NodeExists', 'BadVersion')) throw error;
        failure = error as Error;
        if (isZooKeeperError(error, 'NoNode')) await makeParents(client, path, acl, signal);
      }
    }
    throw failure;
  }

  /** The node at a path, if it is one of the client's session. */
  static async find(client: ZooKeeper, path: string, signal: AbortSignal): Promise<EphemeralNode | undefined> {
    const session = client.session?.id;
    if (session === undefined) return undefined;
    const stat = await client.exists(path, { signal });
    return stat?.ephemeralOwner === session ? new EphemeralNode(client, path, session) : undefined;
  }

  /** Says whose node is at the path, if there is one. */
  async state(signal?: AbortSignal): Promise<'own' | 'foreign' | 'gone'> {
    if (this.client.session?.id !== this.sessionId) return 'gone';
    const stat = await this.client.exists(this.path, { watch: true, signal });
    if (!stat) return 'gone';
    return stat.ephemeralOwner === this.sessionId ? 'own' : 'foreign';
  }

  /** Replaces the data if it is its own. */
  async write(data: Buffer, signal: AbortSignal): Promise<'own' | 'foreign' | 'gone'> {
    const state = await this.state(signal);
    if (state !== 'own') return state;
    try {
      await this.client.setData(this.path, data, -1, signal);
      return 'own';
    } catch (error) {
      if (isZooKeeperError(error, 'NoNode')) return 'gone';
      throw error;
    }
  }

  /** Deletes it if it is its own, and the parent if that has no other child. */
  async delete(signal?: AbortSignal): Promise<void> {
    if ((await this.state(signal)) !== 'own') return;
    try {
      await this.client.delete(this.path, -1, signal);
      await this.client.delete(this.path.slice(0, this.path.lastIndexOf('/')), -1, signal);
    } catch (error) {
      if (!isZooKeeperError(error, 'NoNode', 'NotEmpty', 'NoAuth')) throw error;
    }
  }
}

/** The last parent is a container, which ZooKeeper removes some time after its last child. */
async function makeParents(client: ZooKeeper, path: string, acl: Acl, signal: AbortSignal): Promise<void> {
  const ends = [...path.matchAll(/(?<!^)\//g)].map(({ index }) => index);
  for (const end of ends) {
    const mode = end === ends.at(-1) ? 'container' : 'persistent';
    await makeUnlessThere(client, path.slice(0, end), mode, acl, signal);
  }
}

async function makeUnlessThere(
  client: ZooKeeper,
  path: string,
  mode: 'persistent' | 'container',
  acl: Acl,
  signal: AbortSignal,
): Promise<void> {
  try {
    await client.create(path, none, mode, acl, signal);
  } catch (error) {
    if (!isZooKeeperError(error, 'NodeExists')) throw error;
  }
}
