import { encodeAnnouncement, encodeAnswer } from '../../go-micro/nats.ts';
import { type Nats, NatsError, type NatsPublication } from '../../nats/nats.ts';
import type { DriverTools, Registration } from '../kit/driver.ts';
import { LeaseManager, type Renewed, takenElsewhere } from '../kit/lease-manager.ts';
import { nodeKey } from '../kit/node-table.ts';
import { encodeNode } from '../kit/records.ts';
import { type Claim, type ClaimedNode, isStronger, type Told } from './records.ts';
import type { NatsSubjects } from './subjects.ts';

/** The parts of {@link OwnNodes}. */
export interface OwnNodesOptions {
  readonly client: Nats;
  readonly subjects: NatsSubjects;
  readonly tools: Omit<DriverTools, 'security'>;
  /** Subscribes to questions and announcements. Returns the function that ends it. */
  listen(): () => void;
}

/** A node that this process announces, and answers for. */
interface OwnNode {
  readonly sinceMs: number;
  /** The end of its lease by the monotonic clock. */
  endsAtMs: number;
  /** Another process with a node of the same id, which has it until `endsAtMs`. */
  rival: (Claim & { readonly address: string | undefined; readonly endsAtMs: number }) | undefined;
}

// Of two that register within a millisecond in one process, the second is the last.
let lastSinceMs = 0;

/** A node with its lease; without a grant while it is lost. */
interface LeasedNode {
  readonly registration: Registration;
  readonly grant: OwnNode | undefined;
}

/** The nodes that this process announces: it renews their leases and answers questions for them. */
export class OwnNodes {
  readonly #options: OwnNodesOptions;
  readonly #owner: string;
  readonly #leases: LeaseManager<OwnNode>;
  /** Nodes that are being withdrawn, while it is heard whether another process has them. */
  readonly #leaving = new Set<LeasedNode>();
  /**
   * Nodes that another instance goes on with. Their lease has not ended, so they are answered for until the other one
   * announces them.
   */
  readonly #released = new Map<string, LeasedNode>();
  #unlisten: (() => void) | undefined;

  constructor(options: OwnNodesOptions) {
    const { client, tools } = (this.#options = options);
    this.#owner = tools.random.uuid();
    this.#leases = new LeaseManager<OwnNode>(
      {
        grant: async (one, signal) => {
          lastSinceMs = Math.max(lastSinceMs + 1, tools.clock.now());
          const own: OwnNode = { sinceMs: lastSinceMs, endsAtMs: 0, rival: undefined };
          await this.#announce(own, one, signal);
          return own;
        },
        renew: (own, one, signal) => this.#announce(own, one, signal),
        replace: (own, one, signal) => this.#announce(own, one, signal),
        revoke: async (own, one, signal) => {
          const leaving = { registration: one, grant: own };
          this.#leaving.add(leaving);
          await this.#hear(signal).finally(() => this.#leaving.delete(leaving));
          if (!this.#isTaken(own)) await client.deliver(this.#announcements('delete', one, own), signal);
        },
      },
      { ...tools, registry: 'nats' },
    );
  }

  /** True while there are subscriptions for these nodes. */
  get isListening(): boolean {
    return this.#unlisten !== undefined;
  }

  announce(registration: Registration, signal: AbortSignal): Promise<void> {
    this.#released.delete(nodeKey(registration.service.name, registration.node.id));
    return this.#leases.announce(registration, signal);
  }

  withdraw(service: string, id: string, signal: AbortSignal): Promise<void> {
    return this.#leases.withdraw(service, id, signal);
  }

  async release(service: string, id: string): Promise<void> {
    const key = nodeKey(service, id);
    for (const { registration, grant } of this.#leases.entries()) {
      const { service: own, node } = registration;
      if (grant && own.name === service && node.id === id) this.#released.set(key, { registration, grant });
    }
    await this.#leases.release(service, id);
  }

  /** Tells others that the nodes live, after the connection was lost. */
  announceAll(): void {
    for (const { registration, grant } of this.#leases.entries()) if (grant) this.#tell(grant, registration);
  }

  /** Answers a question. */
  answer({ action, service }: Told, reply: string): void {
    const now = this.#options.tools.clock.monotonicMs();
    for (const [key, { grant }] of this.#released) if (!grant || grant.endsAtMs <= now) this.#released.delete(key);
    for (const { registration, grant } of [...this.#leases.entries(), ...this.#released.values()]) {
      if (!grant || this.#isTaken(grant)) continue;
      const { service: own, node } = registration;
      if (action === 'get' && service['name'] !== own.name) continue;
      const payload = encodeAnswer(encodeNode(own, node), this.#claimOf(grant));
      this.#options.client.publish({ subject: reply, payload });
    }
  }

  /** Compares an announcement with the nodes of this process. Of two that have one id, one is announced. */
  compare(action: Told['action'], told: ClaimedNode): void {
    const { owner, sinceMs } = told.claim;
    if (owner === this.#owner) return;
    const [{ id, address } = {}] = told.service.nodes;
    this.#released.delete(nodeKey(told.service.name, String(id)));
    for (const entry of [...this.#leases.entries(), ...this.#leaving]) {
      const { registration, grant } = entry;
      if (!grant || registration.service.name !== told.service.name || registration.node.id !== id) continue;
      if (action === 'delete') {
        if (grant.rival && grant.rival.owner !== owner) return;
        grant.rival = undefined;
      } else if (isStronger(told.claim, { owner: this.#owner, sinceMs: grant.sinceMs })) {
        const endsAtMs = this.#options.tools.clock.monotonicMs() + told.leaseMs;
        grant.rival = { owner, sinceMs, address, endsAtMs };
      }
      if (!this.#leaving.has(entry)) this.#tell(grant, registration);
    }
  }

  close(): void {
    this.#released.clear();
    this.#leases.close();
  }

  /** Answers for the node from now on, and tells others. */
  async #announce(own: OwnNode, one: Registration, signal: AbortSignal): Promise<Renewed<OwnNode>> {
    await this.#hear(signal);
    own.endsAtMs = this.#options.tools.clock.monotonicMs() + one.ttlMs;
    // At the same address it is the same node, which another instance of the registry goes on with.
    if (this.#isTaken(own)) return own.rival?.address === one.node.address ? own : takenElsewhere;
    await this.#options.client.deliver(this.#announcements('create', one, own), signal);
    return own;
  }

  /** Listens, and resolves when all was heard that others have announced before. */
  async #hear(signal: AbortSignal): Promise<void> {
    const { client, subjects } = this.#options;
    this.#unlisten ??= this.#options.listen();
    try {
      await client.deliver([], signal, [...subjects.queries, ...subjects.watches]);
    } catch (error) {
      if (error instanceof NatsError && error.kind === 'denied') {
        // The next registration tries again.
        const unlisten = this.#unlisten;
        this.#unlisten = undefined;
        unlisten?.();
      }
      throw error;
    }
  }

  #tell(own: OwnNode, one: Registration): void {
    if (this.#isTaken(own)) return;
    for (const message of this.#announcements('create', one, own)) this.#options.client.publish(message);
  }

  #isTaken({ rival }: OwnNode): boolean {
    return rival !== undefined && rival.endsAtMs > this.#options.tools.clock.monotonicMs();
  }

  #announcements(action: 'create' | 'delete', one: Registration, own: OwnNode): readonly NatsPublication[] {
    const { prefixes, watches } = this.#options.subjects;
    const payload = encodeAnnouncement(action, encodeNode(one.service, one.node), { prefixes, ...this.#claimOf(own) });
    return watches.map((subject) => ({ subject, payload }));
  }

  #claimOf({ sinceMs, endsAtMs }: OwnNode): {
    readonly leaseMs: number;
    readonly owner: string;
    readonly sinceMs: number;
  } {
    const leaseMs = Math.max(0, Math.round(endsAtMs - this.#options.tools.clock.monotonicMs()));
    return { leaseMs, owner: this.#owner, sinceMs };
  }
}
