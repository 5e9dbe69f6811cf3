import type { RemoteInfo } from 'node:dgram';
import { hostname } from 'node:os';
import { isMainThread } from 'node:worker_threads';

import type { Packet } from 'dns-packet';

import { enumerationName } from '../go-micro/mdns.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Clock, Random, Timers } from '../runtime/runtime.ts';
import { type AnnouncedNode, MdnsAnnouncer } from './announcer.ts';
import { MdnsBrowser, type NodeChange } from './browser.ts';
import type { LinkAddress } from './links.ts';
import { type FoundNode, isValidServiceName, type MdnsNode, servicesIn } from './records.ts';
import { MdnsResponder } from './responder.ts';
import { SelfTest } from './self-test.ts';
import { MdnsSockets } from './sockets.ts';

/** Options of {@link MulticastDns}. `Node` is what its owner makes of a node that was found. */
export interface MulticastDnsOptions<Node> {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  /** Address of the network interface. @default all interfaces */
  readonly interface?: string | undefined;
  readonly port: number;
  /** Domain of the services' names. */
  readonly domain: string;
  /** Time in milliseconds for which answers to a question are collected: their number is not known. */
  readonly queryMs: number;
  /** Time in milliseconds between two probes for a name. */
  readonly probeMs: number;
  /** Size of an answer in bytes above which descriptions of endpoints are left out of it. */
  readonly maxPacketBytes: number;
  /** Most bytes of answers to one address, per second and in one burst. */
  readonly maxAnswerBytesPerSecond: number;
  /** Returns the addresses of this machine. @default those of its network interfaces */
  readonly links?: (() => readonly LinkAddress[]) | undefined;
  /** Checks a node that was found. Undefined skips it. */
  nodeOf(found: FoundNode): Node | undefined;
  /** True if one more node or name is accepted beside `count`. */
  hasRoom(count: number): boolean;
  /** Called when another host has the name of a node, which is announced under another one. */
  onRename(node: MdnsNode, instance: string): void;
  /** Called once if this process does not hear its own question at the interfaces with these addresses. */
  onSilence(addresses: readonly string[]): void;
}

/** A question whose answers are being collected, for all who want them. */
interface PendingQuery {
  done: Promise<void>;
  readonly stop: AbortController;
  /** Time in milliseconds for which the first answer is waited for. */
  maxMs: number;
  waiters: number;
}

/**
 * Announces and finds nodes by multicast DNS (RFC 6762), in the records of Go Micro. It knows no registry: names,
 * records and packets are its subjects, and its owner checks and keeps what it finds.
 */
export class MulticastDns<Node> {
  readonly #options: MulticastDnsOptions<Node>;
  readonly #sockets: MdnsSockets;
  readonly #announcer: MdnsAnnouncer;
  readonly #browser: MdnsBrowser<Node>;
  readonly #selfTest: SelfTest;
  readonly #pending = new Map<string, PendingQuery>();
  readonly #listings = new Set<(packet: Packet) => void>();

  constructor(options: MulticastDnsOptions<Node>) {
    const { domain, maxPacketBytes } = options;
    this.#options = options;
    const sockets = new MdnsSockets(options, {
      query: (packet, from) => {
        this.#announcer.onQuery(packet);
        responder.answer(packet, from);
      },
      response: (packet, from) => this.#onResponse(packet, from),
      linkAdded: () => {
        this.#announcer.announceAll();
        this.#browser.askAll();
      },
    });
    const responder = new MdnsResponder({
      ...options,
      answers: (to) => this.#announcer.answers(to),
      linkOf: (address) => sockets.linkOf(address)?.address,
      send: (question, records, to, isMulticast) =>
        void sockets.answer(question, records, to, isMulticast).catch(() => {}),
    });
    this.#sockets = sockets;
    this.#browser = new MdnsBrowser({ ...options, sockets });
    this.#announcer = new MdnsAnnouncer({
      ...options,
      sockets,
      context: { domain, maxPacketBytes, host: hostname() },
      onChange: (instance, records) => this.#browser.setOwn(instance, records),
      onRelease: (instance) => this.#browser.disown(instance),
    });
    this.#selfTest = new SelfTest({ ...options, sockets });
  }

  /**
   * Announces a new node, under a name that nobody else has. Throws `UnfitNode` for one that no packet can carry.
   */
  async announce(node: MdnsNode, leaseMs: number, signal: AbortSignal): Promise<AnnouncedNode> {
    await this.#sockets.listen();
    const own = await this.#announcer.announce(node, leaseMs, signal);
    // A thread that takes a node over finds what the main thread has found.
    if (isMainThread) this.#selfTest.start(own.instance);
    return own;
  }

  /** Announces a changed node in place of `own`. */
  replace(own: AnnouncedNode, node: MdnsNode, leaseMs: number): Promise<AnnouncedNode> {
    return this.#announcer.replace(own, node, leaseMs);
  }

  /** Announces an unchanged node again, at most once a second. */
  repeat(own: AnnouncedNode): Promise<AnnouncedNode> {
    return this.#announcer.repeat(own);
  }

  /** Lets go of a node that another thread or process of this machine announces from now on, with the same records. */
  release(own: AnnouncedNode): void {
    this.#announcer.release(own);
  }

  /** Says goodbye for a node. */
  withdraw(own: AnnouncedNode): Promise<void> {
    return this.#announcer.withdraw(own);
  }

  /** Says goodbye for a node that was released, unless it has left since, or somebody else has its name. */
  withdrawFormer(service: string, id: string): Promise<void> {
    return this.#announcer.withdrawFormer(service, id);
  }

  /** Returns the names of services that are announced now, ordered. */
  async names(signal: AbortSignal): Promise<readonly string[]> {
    const { domain } = this.#options;
    const names = new Set<string>();
    const takes = (name: string): boolean => names.has(name) || this.#options.hasRoom(names.size);
    const onResponse = (packet: Packet): void => {
      for (const name of servicesIn(packet, domain)) if (takes(name)) names.add(name);
    };
    await this.#sockets.listen();
    this.#listings.add(onResponse);
    try {
      for (let time = 0; time < 2; time += 1) {
        await this.#ask(enumerationName(domain));
        await this.#options.timers.sleep(this.#halfMs, signal);
      }
    } finally {
      this.#listings.delete(onResponse);
    }
    return [...names].sort();
  }

  /**
   * Returns the nodes of a service, one for each id: those in the cache, if the service was asked for and its nodes
   * have been followed since. Otherwise it asks, once for all who want to know, and waits up to `maxMs` for the first
   * answer.
   */
  async find(service: string, maxMs: number, signal: AbortSignal): Promise<readonly Node[]> {
    const { domain, timers } = this.#options;
    if (!isValidServiceName(service, domain)) return [];
    await this.#sockets.listen();
    if (this.#browser.isKnown(service)) {
      // What has arrived is read first: the current turn of the event loop may have begun before it came.
      for (let turn = 0; turn < 2; turn += 1) await new Promise<void>((resolve) => timers.soon(resolve));
      const known = this.#browser.nodes(service);
      if (known.length > 0) return known;
    }
    await this.#query(service, maxMs, signal);
    return this.#browser.nodes(service);
  }

  /** Reports changes of the nodes of a service, or of all services. Resolves when every later packet is heard. */
  async watch(
    service: string | undefined,
    onChange: (change: NodeChange<Node>) => void,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#sockets.listen();
    if (!signal.aborted) this.#browser.watch(service, onChange, signal);
  }

  /** Closes the sockets. Nodes are not said goodbye for: others keep them until their TTL ends. */
  async close(): Promise<void> {
    this.#announcer.close();
    this.#browser.close();
    this.#selfTest.close();
    for (const { stop } of this.#pending.values()) stop.abort();
    await this.#sockets.close();
  }

  #onResponse(packet: Packet, from: RemoteInfo): void {
    this.#announcer.onResponse(packet);
    this.#selfTest.onResponse(packet, from);
    this.#browser.onResponse(packet, from);
    for (const listing of this.#listings) listing(packet);
  }

  /** Waits for the question that is under way, or asks. The question ends when nobody waits for it any more. */
  async #query(service: string, maxMs: number, signal: AbortSignal): Promise<void> {
    const query = this.#pending.get(service) ?? this.#start(service);
    query.maxMs = Math.max(query.maxMs, maxMs);
    query.waiters += 1;
    try {
      await bounded(query.done, { timers: this.#options.timers, signal });
    } finally {
      query.waiters -= 1;
      if (query.waiters === 0) {
        query.stop.abort();
        if (this.#pending.get(service) === query) this.#pending.delete(service);
      }
    }
  }

  #start(service: string): PendingQuery {
    const query = { stop: new AbortController(), maxMs: 0, waiters: 0, done: Promise.resolve() };
    this.#pending.set(service, query);
    query.done = this.#browser.seek(service, () => this.#collect(service, query));
    return query;
  }

  /**
   * Asks twice within `queryMs`, as datagrams get lost. Without an answer it asks again after pauses that double, until
   * `maxMs` have passed. Nodes that answered are left out of the next question.
   */
  async #collect(service: string, query: PendingQuery): Promise<void> {
    const { queryMs, timers, clock, domain } = this.#options;
    const name = `${service}.${domain}`;
    const startedAtMs = clock.monotonicMs();
    for (let pauseMs = this.#halfMs, asked = 1; ; asked += 1) {
      await this.#ask(name, service);
      await timers.sleep(pauseMs, query.stop.signal);
      const waitedMs = clock.monotonicMs() - startedAtMs;
      const needed = this.#browser.nodes(service).length > 0 ? queryMs : Math.max(queryMs, query.maxMs);
      if (asked > 1 && waitedMs >= needed) return;
      if (asked > 1) pauseMs = Math.min(2 * pauseMs, Math.max(1, needed - waitedMs));
    }
  }

  #ask(name: string, service?: string): Promise<void> {
    const answers = service === undefined ? [] : this.#browser.knownAnswers(service);
    return this.#sockets.query({ questions: [{ name, type: 'PTR', class: 'IN' }], answers });
  }

  get #halfMs(): number {
    return Math.max(1, this.#options.queryMs / 2);
  }
}
