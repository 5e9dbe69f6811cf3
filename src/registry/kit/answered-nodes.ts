import type { DriverTools, LeasedNode, Registration } from './driver.ts';
import { LeaseManager, type Renewed, takenElsewhere } from './lease-manager.ts';
import { idOf, nodeKey } from './node-table.ts';

/** Says whose a node is, where several processes announce one of its id. */
export interface Claim {
  /** The instance of a registry; empty for one of others, which name none. */
  readonly owner: string;
  /** When it first announced the node, by its own clock. */
  readonly sinceMs: number;
}

/** A node that somebody announces. */
export interface ClaimedNode extends LeasedNode {
  readonly leaseMs: number;
  readonly claim: Claim;
}

/** True if the claim of `one` is stronger: who announced a node last has it. */
function isStronger(one: Claim, other: Claim): boolean {
  return one.sinceMs > other.sinceMs || (one.sinceMs === other.sinceMs && one.owner > other.owner);
}

/** Collects the nodes of many answers: of those with one id, the one with the strongest claim. */
export class ClaimedNodes {
  readonly #nodes = new Map<string, ClaimedNode>();
  readonly #hasRoom: (count: number) => boolean;

  /** `hasRoom` is true if one more is taken beside so many. */
  constructor(hasRoom: (count: number) => boolean) {
    this.#hasRoom = hasRoom;
  }

  get all(): readonly ClaimedNode[] {
    return [...this.#nodes.values()];
  }

  add(node: ClaimedNode): void {
    const key = nodeKey(node.service.name, idOf(node.service));
    const known = this.#nodes.get(key);
    if (known ? isStronger(node.claim, known.claim) : this.#hasRoom(this.#nodes.size)) this.#nodes.set(key, node);
  }
}

/** Options of {@link AnsweredNodes}. */
export interface AnsweredNodesOptions extends Omit<DriverTools, 'security'> {
  /** The registry's name, for logs. */
  readonly registry: string;
  /** Listens to the others, and resolves when all was heard that they have announced before. */
  hear(signal: AbortSignal): Promise<void>;
  /** Announces a node, or that it is gone. Resolves when others hear it. */
  deliver(action: AnnouncedAction, node: ClaimedNode, signal: AbortSignal): Promise<void>;
  /** Announces a node without waiting. It may be lost. */
  tell(node: ClaimedNode): void;
}

/** The kind of an announcement. */
export type AnnouncedAction = 'create' | 'delete';

/** The claim of this process to a node. */
interface OwnClaim {
  readonly sinceMs: number;
  /** The end of its lease by the monotonic clock. */
  endsAtMs: number;
  /** Another process with a node of the same id, which has it until `endsAtMs`. */
  rival: (Claim & { readonly address: string | undefined; readonly endsAtMs: number }) | undefined;
}

/** A node with its claim; without one while its lease is lost. */
interface OwnNode {
  readonly registration: Registration;
  readonly grant: OwnClaim | undefined;
}

/** The instance that announces a node that was released. */
interface Successor {
  readonly owner: string;
  readonly address: string | undefined;
}

/** A node that another instance goes on with. */
interface ReleasedNode {
  readonly registration: Registration;
  readonly grant: OwnClaim;
  /** The last that announced it since. Until somebody does, while its lease lasts, it is answered for here. */
  successor: Successor | undefined;
}

// Of two that register within a millisecond in one process, the second is the last.
let lastSinceMs = 0;
// Ids are made anew for each process, so that it releases few.
const maxReleased = 1_024;

/**
 * The nodes of this process where no server stores any: it announces them, answers questions for them, and renews their
 * leases by announcing them again. Of several processes that announce one id the last has the node; the others wait.
 */
export class AnsweredNodes {
  readonly #options: AnsweredNodesOptions;
  readonly #owner: string;
  readonly #leases: LeaseManager<OwnClaim>;
  /** Nodes that are being withdrawn, while it is heard whether another process has them. */
  readonly #leaving = new Set<OwnNode>();
  readonly #released = new Map<string, ReleasedNode>();

  constructor(options: AnsweredNodesOptions) {
    this.#options = options;
    const { clock, random } = options;
    this.#owner = random.uuid();
    this.#leases = new LeaseManager<OwnClaim>(
      {
        grant: async (one, signal) => {
          lastSinceMs = Math.max(lastSinceMs + 1, clock.now());
          const own: OwnClaim = { sinceMs: lastSinceMs, endsAtMs: 0, rival: undefined };
          await this.#announce(own, one, signal);
          return own;
        },
        renew: (own, one, signal) => this.#announce(own, one, signal),
        replace: (own, one, signal) => this.#announce(own, one, signal),
        revoke: async (own, one, signal) => {
          const leaving = { registration: one, grant: own };
          this.#leaving.add(leaving);
          await options.hear(signal).finally(() => this.#leaving.delete(leaving));
          if (!this.#isTaken(own)) await options.deliver('delete', this.#claimed(one, own), signal);
        },
      },
      options,
    );
  }

  announce(registration: Registration, signal: AbortSignal): Promise<void> {
    this.#released.delete(nodeKey(registration.service.name, registration.node.id));
    return this.#leases.announce(registration, signal);
  }

  /** Withdraws a node, also one that was released, unless whoever has it since is somebody else. */
  withdraw(service: string, id: string, signal: AbortSignal): Promise<void> {
    return this.#leases.withdraw(service, id, signal, async () => {
      const key = nodeKey(service, id);
      if (!this.#released.has(key)) return;
      await this.#options.hear(signal);
      const released = this.#released.get(key);
      if (!released) return;
      const { registration, grant, successor } = released;
      // At the same address it is the same node.
      const isOurs = successor === undefined || successor.address === registration.node.address;
      if (isOurs) await this.#options.deliver('delete', this.#claimed(registration, grant), signal);
      this.#released.delete(key);
    });
  }

  /** Lets go of a node that another instance announces from now on. Until it does, the node is answered for here. */
  async release(service: string, id: string): Promise<void> {
    const key = nodeKey(service, id);
    for (const { registration, grant } of this.#leases.entries()) {
      const { service: own, node } = registration;
      if (!grant || own.name !== service || node.id !== id) continue;
      this.#released.set(key, { registration, grant, successor: undefined });
      const [oldest = ''] = this.#released.keys();
      if (this.#released.size > maxReleased) this.#released.delete(oldest);
    }
    await this.#leases.release(service, id);
  }

  /** Announces all nodes again, after messages may have been lost. */
  announceAll(): void {
    for (const { registration, grant } of this.#leases.entries()) if (grant) this.#tell(grant, registration);
  }

  /** The nodes for which this process answers. */
  answers(): readonly ClaimedNode[] {
    const now = this.#options.clock.monotonicMs();
    const released = [...this.#released.values()].filter((one) => !one.successor && one.grant.endsAtMs > now);
    return [...this.#leases.entries(), ...released].flatMap(({ registration, grant }) =>
      grant && !this.#isTaken(grant) ? [this.#claimed(registration, grant)] : [],
    );
  }

  /** Compares an announcement with the nodes of this process. Of two that have one id, one is announced. */
  compare(action: AnnouncedAction, told: ClaimedNode): void {
    const { owner, sinceMs } = told.claim;
    if (owner === this.#owner) return;
    const { name } = told.service;
    const id = idOf(told.service);
    const address = told.service.nodes[0]?.address;
    this.#noteSuccessor(nodeKey(name, id), action, { owner, address });
    for (const entry of [...this.#leases.entries(), ...this.#leaving]) {
      const { registration, grant } = entry;
      if (!grant || registration.service.name !== name || registration.node.id !== id) continue;
      if (action === 'delete') {
        if (grant.rival && grant.rival.owner !== owner) return;
        grant.rival = undefined;
      } else if (isStronger(told.claim, { owner: this.#owner, sinceMs: grant.sinceMs })) {
        const endsAtMs = this.#options.clock.monotonicMs() + told.leaseMs;
        grant.rival = { owner, sinceMs, address, endsAtMs };
      }
      if (!this.#leaving.has(entry)) this.#tell(grant, registration);
    }
  }

  /** Stops announcing and answering. Others keep the nodes until their leases end. */
  close(): void {
    this.#released.clear();
    this.#leases.close();
  }

  #noteSuccessor(key: string, action: AnnouncedAction, successor: Successor): void {
    const released = this.#released.get(key);
    if (!released) return;
    if (action === 'create') released.successor = successor;
    else if (released.successor === undefined || released.successor.owner === successor.owner)
      this.#released.delete(key);
  }

  /** Answers for the node from now on, and tells others. */
  async #announce(own: OwnClaim, one: Registration, signal: AbortSignal): Promise<Renewed<OwnClaim>> {
    await this.#options.hear(signal);
    own.endsAtMs = this.#options.clock.monotonicMs() + one.ttlMs;
    // At the same address it is the same node, which another instance of the registry goes on with.
    if (this.#isTaken(own)) return own.rival?.address === one.node.address ? own : takenElsewhere;
    await this.#options.deliver('create', this.#claimed(one, own), signal);
    return own;
  }

  #tell(own: OwnClaim, one: Registration): void {
    if (!this.#isTaken(own)) this.#options.tell(this.#claimed(one, own));
  }

  #isTaken({ rival }: OwnClaim): boolean {
    return rival !== undefined && rival.endsAtMs > this.#options.clock.monotonicMs();
  }

  #claimed({ service }: Registration, { sinceMs, endsAtMs }: OwnClaim): ClaimedNode {
    const leaseMs = Math.max(0, Math.round(endsAtMs - this.#options.clock.monotonicMs()));
    return { service, leaseMs, claim: { owner: this.#owner, sinceMs } };
  }
}
