import { hostname } from 'node:os';

import type { Packet } from 'dns-packet';

import { enumerationName } from '../go-micro/mdns.ts';
import type { Clock, Timers } from '../runtime/runtime.ts';
import { type AnnouncedNode, MdnsAnnouncer } from './announcer.ts';
import { type FoundNode, isValidServiceName, type MdnsNode, nodesIn, servicesIn } from './records.ts';
import { MdnsResponder } from './responder.ts';
import { MdnsSockets } from './sockets.ts';

/** Options of {@link MulticastDns}. `Node` is what its owner makes of a node that it found. */
export interface MulticastDnsOptions<Node> {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Address of the network interface. @default the system's */
  readonly interface?: string | undefined;
  readonly port: number;
  /** Domain of the services' names. */
  readonly domain: string;
  /** Time in milliseconds for which answers to a query are collected: their number is not known. */
  readonly queryMs: number;
  /** Size of an answer in bytes above which descriptions of endpoints are left out of it. */
  readonly maxPacketBytes: number;
  /** Most bytes of answers to one address, per second and in one burst. */
  readonly maxAnswerBytesPerSecond: number;
  /** Checks a node that was found. Undefined skips it. */
  nodeOf(found: FoundNode): Node | undefined;
  /** True if one more node or name is accepted beside `count`. */
  hasRoom(count: number): boolean;
}

/** A node that was found, as its owner has it. */
export interface Found<Node> {
  readonly node: Node;
  /** The name of its records. */
  readonly instance: string;
  /** The name of its service. */
  readonly service: string;
  /** The TTL of its records; 0 is a goodbye (RFC 6762 section 10.1). */
  readonly ttlS: number;
}

/** A query whose answers are being collected. */
interface PendingQuery<Node> {
  readonly name: string;
  onResponse(packet: Packet, nodes: readonly Found<Node>[]): void;
}

/** A reader of the nodes that come, change and go. */
interface Watch<Node> {
  readonly service: string | undefined;
  onNode(found: Found<Node>): void;
}

/**
 * Announces and finds nodes by multicast DNS (RFC 6762), in the records of Go Micro. It knows no registry: names,
 * records and packets are its subjects, and its owner checks and keeps what it finds.
 */
export class MulticastDns<Node> {
  readonly #options: MulticastDnsOptions<Node>;
  readonly #sockets: MdnsSockets;
  readonly #announcer: MdnsAnnouncer;
  readonly #queries = new Set<PendingQuery<Node>>();
  readonly #watches = new Set<Watch<Node>>();

  constructor(options: MulticastDnsOptions<Node>) {
    const { clock, timers, port, domain, maxPacketBytes, maxAnswerBytesPerSecond } = options;
    this.#options = options;
    const responder = new MdnsResponder({
      clock,
      port,
      maxAnswerBytesPerSecond,
      answers: () => this.#announcer.answers(),
      send: (question, records, to) => void this.#sockets.answer(question, records, to).catch(() => {}),
    });
    this.#sockets = new MdnsSockets(
      { interface: options.interface, port, clock },
      { query: responder.answer.bind(responder), response: (packet) => this.#onResponse(packet) },
    );
    const context = { domain, maxPacketBytes, host: hostname() };
    this.#announcer = new MdnsAnnouncer({ clock, timers, sockets: this.#sockets, context });
  }

  /** Announces a new node. Throws `UnfitNode` for one that no packet can carry. */
  async announce(node: MdnsNode, leaseMs: number): Promise<AnnouncedNode> {
    await this.#sockets.listen();
    return this.#announcer.announce(node, leaseMs);
  }

  /** Announces a changed node in place of `own`. */
  replace(own: AnnouncedNode, node: MdnsNode, leaseMs: number): Promise<AnnouncedNode> {
    return this.#announcer.replace(own, node, leaseMs);
  }

  /** Announces an unchanged node again, at most once a second. */
  repeat(own: AnnouncedNode): Promise<AnnouncedNode> {
    return this.#announcer.repeat(own);
  }

  /** Says goodbye for a node. */
  withdraw(own: AnnouncedNode): Promise<void> {
    return this.#announcer.withdraw(own);
  }

  /** Returns the names of services that are announced now, ordered. */
  async names(signal: AbortSignal): Promise<readonly string[]> {
    const { domain } = this.#options;
    const names = new Set<string>();
    const takes = (name: string): boolean => names.has(name) || this.#options.hasRoom(names.size);
    await this.#query(enumerationName(domain), signal, 0, (packet) => {
      for (const name of servicesIn(packet, domain)) if (takes(name)) names.add(name);
      return names.size;
    });
    return [...names].sort();
  }

  /** Returns the nodes of a service that answer now. Waits up to `maxMs` for the first of them. */
  async find(service: string, maxMs: number, signal: AbortSignal): Promise<readonly Found<Node>[]> {
    const { domain } = this.#options;
    if (!isValidServiceName(service, domain)) return [];
    const found = new Map<string, Found<Node>>();
    await this.#query(`${service}.${domain}`, signal, maxMs, (_packet, nodes) => {
      for (const node of nodes) {
        if (node.service !== service) continue;
        const key = node.instance.toLowerCase();
        // A goodbye that arrived during the query.
        if (node.ttlS === 0) found.delete(key);
        else if (found.has(key) || this.#options.hasRoom(found.size)) found.set(key, node);
      }
      return found.size;
    });
    return [...found.values()];
  }

  /**
   * Reports each node of a service, or of all services, that is announced or says goodbye, until `signal` aborts.
   * Resolves when every later packet is heard.
   */
  async watch(service: string | undefined, onNode: (found: Found<Node>) => void, signal: AbortSignal): Promise<void> {
    await this.#sockets.listen();
    if (signal.aborted) return;
    const watch = { service, onNode };
    this.#watches.add(watch);
    signal.addEventListener('abort', () => this.#watches.delete(watch), { once: true });
  }

  /** Closes the sockets. Nodes are not said goodbye for: others keep them until their TTL ends. */
  async close(): Promise<void> {
    this.#announcer.close();
    await this.#sockets.close();
  }

  #onResponse(packet: Packet): void {
    const nodes = this.#nodesIn(packet);
    for (const query of this.#queries) query.onResponse(packet, nodes);
    for (const node of nodes) {
      for (const watch of this.#watches) {
        if (watch.service === undefined || watch.service === node.service) watch.onNode(node);
      }
    }
  }

  /** Returns the nodes in a packet that somebody waits for. */
  #nodesIn(packet: Packet): Found<Node>[] {
    const { domain } = this.#options;
    const names = new Set([...this.#queries].map(({ name }) => name.toLowerCase()));
    let acceptsAll = false;
    for (const { service } of this.#watches) {
      if (service === undefined) acceptsAll = true;
      else names.add(`${service}.${domain}`.toLowerCase());
    }
    const all = nodesIn(packet, domain, (name) => acceptsAll || isSubdomain(name.toLowerCase(), names));
    return all.flatMap((found) => {
      const { instance, service, ttlS } = found;
      const node = this.#options.nodeOf(found);
      return node === undefined ? [] : [{ node, instance, service, ttlS }];
    });
  }

  /**
   * Queries twice within `queryMs`, as datagrams get lost. Without an answer it goes on until `maxMs` have passed.
   * `onResponse` returns the number of answers so far.
   */
  async #query(
    name: string,
    signal: AbortSignal,
    maxMs: number,
    onResponse: (packet: Packet, nodes: readonly Found<Node>[]) => number,
  ): Promise<void> {
    let count = 0;
    const query = {
      name,
      onResponse: (packet: Packet, nodes: readonly Found<Node>[]) => void (count = onResponse(packet, nodes)),
    };
    this.#queries.add(query);
    try {
      const { queryMs, timers } = this.#options;
      const halfMs = Math.max(1, queryMs / 2);
      for (let waitedMs = 0; ;) {
        for (let half = 0; half < 2; half += 1) {
          await this.#sockets.query(name);
          await timers.sleep(halfMs, signal);
          waitedMs += halfMs;
        }
        if (count > 0 || waitedMs >= maxMs) return;
      }
    } finally {
      this.#queries.delete(query);
    }
  }
}

/** True if a name is a subdomain of one of the others. */
function isSubdomain(name: string, others: ReadonlySet<string>): boolean {
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    if (others.has(name.slice(dot + 1))) return true;
  }
  return false;
}
