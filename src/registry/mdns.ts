import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

import type { Answer, Packet } from 'dns-packet';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { aCount } from '../errors/checked-options.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { Clock, type Timer, Timers } from '../runtime/runtime.ts';
import { MdnsLink } from './internal/mdns-link.ts';
import {
  browsingName,
  type HeardNode,
  isAskable,
  listingFor,
  listingName,
  nodeRecords,
  nodesIn,
  type Realm,
  servicesIn,
  withPointer,
} from './internal/mdns-records.ts';
import { type MdnsReply, MdnsResponder } from './internal/mdns-responder.ts';
import type {
  DriverCall,
  DriverTools,
  HeldNode,
  Registration,
  RegistryDriver,
  Snapshot,
  WatchFeed,
} from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import type { DriverFailure } from './kit/errors.ts';
import { LeaseBook } from './kit/lease-book.ts';
import type { NodeRecord, Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';

/** Configures a {@link MdnsRegistry}. `address` means nothing here. */
export interface MdnsRegistryOptions extends RegistryOptions {
  /** Address of the interface to use: `127.0.0.1` keeps everything on this machine. @default the system's */
  readonly interface?: string | undefined;
  /** UDP port. @default 5353 */
  readonly port?: number | undefined;
  /** @default 'micro', Go Micro's */
  readonly domain?: string | undefined;
  /**
   * How long answers to a question are collected, in milliseconds: nobody knows how many there are.
   * @default 100, as in Go Micro
   */
  readonly queryMs?: number | undefined;
  /**
   * How long a question that nobody answers is asked again and again, in milliseconds, before there is no node.
   * @default 500
   */
  readonly patienceMs?: number | undefined;
  /**
   * Descriptions of endpoints are cut down to fit an answer into so many bytes, as one network packet carries.
   * @default 1_400
   */
  readonly maxPacketBytes?: number | undefined;
  /**
   * One address that asks is sent so many bytes in a second at the most: nobody makes more of a question by asking in
   * the name of another. @default 262_144
   */
  readonly maxAnswerBytesPerSecond?: number | undefined;
  /** So many nodes, and names of services, are believed that others announce. More are passed over. @default 10_000 */
  readonly maxNodes?: number | undefined;
  /** A watcher asks for nodes that were silent no more often than this, in milliseconds. @default 100 */
  readonly minReadMs?: number | undefined;
}
/** Container key of the {@link MdnsRegistryOptions}. */
export const MdnsRegistryOptions: ServiceIdentifier<MdnsRegistryOptions> = token('registry', 'MdnsRegistryOptions');

const defaults = {
  port: 5353,
  domain: 'micro',
  queryMs: 100,
  patienceMs: 500,
  maxPacketBytes: 1_400,
  maxAnswerBytesPerSecond: 262_144,
  maxNodes: 10_000,
  minReadMs: 100,
  timeoutMs: 5_000,
  ttlMs: 30_000,
} as const;
// Go Micro announces what is new three times: datagrams get lost.
const repeatMs = [1_000, 3_000] as const;
// RFC 6762 section 6: a record that did not change is multicast once in a second.
const announceIntervalMs = 1_000;

type Settings = WithDefaults<MdnsRegistryOptions, typeof defaults>;

/** A node of this process, as it is announced. */
interface Own {
  readonly service: string;
  readonly records: readonly Answer[];
  readonly goodBye: readonly Answer[];
  readonly repeats: readonly Timer[];
  announcedAtMs: number;
}

/** A question whose answers are collected. */
interface OpenQuestion {
  readonly name: string;
  hear(packet: Packet, nodes: readonly HeardNode[]): void;
}

/**
 * Nodes that answer for themselves over multicast DNS, in Go Micro's own records: nothing to install, and no server.
 */
@injectable()
export class MdnsRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    ttlGranularityMs: 1_000,
  };

  constructor(
    @inject(MdnsRegistryOptions) @optional() options: MdnsRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'mdns',
      capabilities: MdnsRegistry.capabilities,
      optionsName: 'MdnsRegistryOptions',
      defaults,
      rules: { port: aCount },
      open: (settings: Settings, tools: DriverTools) => new MdnsDriver(settings, tools),
    };
    super(spec, options, { clock, timers, logger });
  }
}

class MdnsDriver implements RegistryDriver {
  readonly where: string;
  readonly bounds: { readonly minReadMs: number; readonly maxReadMs: number };
  readonly listsNames = true;
  readonly #settings: Settings;
  readonly #tools: DriverTools;
  readonly #link: MdnsLink;
  readonly #book: LeaseBook<Own>;
  readonly #questions = new Set<OpenQuestion>();
  readonly #feeds = new Set<WatchFeed>();
  #isFull = false;

  constructor(settings: Settings, tools: DriverTools) {
    const { port, interface: at, minReadMs, maxAnswerBytesPerSecond } = settings;
    this.where = `multicast DNS on UDP port ${port}${at === undefined ? '' : ` at the interface ${at}`}`;
    // Nodes say when they come, change and go: only those that are silent are asked for.
    this.bounds = { minReadMs, maxReadMs: Number.POSITIVE_INFINITY };
    this.#settings = settings;
    this.#tools = tools;
    const responder = new MdnsResponder({
      clock: tools.clock,
      port,
      maxAnswerBytesPerSecond,
      replies: () => this.#replies(),
      send: (question, records, to) => void this.#link.answer(question, records, to).catch(() => {}),
    });
    const listener = {
      query: responder.answer.bind(responder),
      response: (packet: Packet) => this.#hear(packet),
    };
    this.#link = new MdnsLink({ ...settings, clock: tools.clock }, listener);
    const keeper = {
      grant: (registration: Registration) => this.#introduce(registration),
      renew: (own: Own) => this.#repeat(own),
      replace: (own: Own, registration: Registration) => {
        silence(own);
        return this.#introduce(registration);
      },
      revoke: (own: Own) => {
        silence(own);
        return this.#link.announce(own.goodBye);
      },
    };
    this.#book = new LeaseBook(keeper, { registry: 'mdns', ...tools });
  }

  async announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    await this.#link.listen();
    await this.#book.hold(registration, signal);
  }

  withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    return this.#book.release(service, id, signal);
  }

  async names({ signal }: DriverCall): Promise<readonly string[]> {
    const { domain } = this.#settings;
    const names = new Set<string>();
    await this.#ask(listingName(domain), signal, 0, (packet) => {
      for (const name of servicesIn(packet, domain)) if (names.has(name) || this.hasRoom(names.size)) names.add(name);
      return names.size;
    });
    return [...names].sort();
  }

  /** The nodes that answer now. A node that is silent may have lost the question. */
  async read(name = '', { signal, isFirstLook }: DriverCall): Promise<Snapshot> {
    const { domain, patienceMs } = this.#settings;
    if (!isAskable(name, domain)) return { nodes: [] };
    const found = new Map<string, HeardNode>();
    await this.#ask(`${name}.${domain}`, signal, isFirstLook ? 0 : patienceMs, (_packet, nodes) => {
      for (const node of nodes) {
        const { service, ttlS } = node;
        if (service.name !== name) continue;
        const { id } = service.nodes[0] as NodeRecord;
        // It said good-bye while we asked.
        if (ttlS === 0) found.delete(id);
        else if (found.has(id) || this.hasRoom(found.size)) found.set(id, node);
      }
      return found.size;
    });
    return { nodes: [...found.values()].map(heldNode), isComplete: false };
  }

  async watch(feed: WatchFeed, signal: AbortSignal): Promise<void> {
    await this.#link.listen();
    if (signal.aborted) return;
    this.#feeds.add(feed);
    signal.addEventListener('abort', () => this.#feeds.delete(feed), { once: true });
  }

  /** Bounds what is believed of those that anyone on the link may announce. */
  hasRoom(count: number): boolean {
    const { maxNodes } = this.#settings;
    if (count < maxNodes) return true;
    if (!this.#isFull) {
      const message = `multicast DNS tells of more than ${maxNodes} nodes or services: the others are passed over`;
      this.#tools.logger.warn(message);
    }
    this.#isFull = true;
    return false;
  }

  failure(): DriverFailure {
    const remedy =
      'Set TENON_MDNS_INTERFACE to the address of an interface that is up and TENON_MDNS_PORT to a free port, or use another registry';
    return { kind: 'unreachable', remedy };
  }

  async close(): Promise<void> {
    for (const { grant } of this.#book.entries()) if (grant) silence(grant);
    this.#book.close();
    await this.#link.close();
  }

  /** Announces a node that is new, or that changed. */
  async #introduce({ service, node, ttlMs: leaseMs }: Registration): Promise<Own> {
    const announcement = { service, node, leaseMs, ...(await located(node)) };
    const records = nodeRecords(announcement, this.#realm());
    const goodBye = nodeRecords(announcement, this.#realm(), true);
    const announcedAtMs = this.#tools.clock.monotonicMs();
    await this.#link.announce(records);
    const again = (): void => void this.#link.announce(records).catch(() => {});
    const repeats = repeatMs.map((delayMs) => this.#tools.timers.after(delayMs, again));
    return { service: service.name, records, goodBye, repeats, announcedAtMs };
  }

  /** Says once more what is known already, so that watchers go on believing it. */
  async #repeat(own: Own): Promise<Own> {
    const now = this.#tools.clock.monotonicMs();
    if (now - own.announcedAtMs < announceIntervalMs) return own;
    own.announcedAtMs = now;
    await this.#link.announce(own.records);
    return own;
  }

  #replies(): MdnsReply[] {
    const realm = this.#realm();
    const { domain } = realm;
    const own = [...this.#book.entries()].flatMap(({ grant }) => grant ?? []);
    const browsing = browsingName(domain);
    const lists = [...new Set(own.map(({ service }) => service))].flatMap((service): MdnsReply[] => [
      { name: listingName(domain), records: listingFor(service, realm) },
      { name: browsing, records: [{ type: 'PTR', name: browsing, ttl: 120, data: `${service}.${domain}` }] },
    ]);
    // A packet for each node: together they might not fit one.
    const nodes = own.map(({ service, records }): MdnsReply => {
      return { name: `${service}.${domain}`, records: withPointer(records, service, realm) };
    });
    return [...lists, ...nodes];
  }

  #hear(packet: Packet): void {
    const { domain } = this.#settings;
    const asked = new Set([...this.#questions].map(({ name }) => name.toLowerCase()));
    let isForAll = false;
    for (const { service } of this.#feeds) {
      if (service === undefined) isForAll = true;
      else asked.add(`${service}.${domain}`.toLowerCase());
    }
    const nodes = nodesIn(packet, domain, (name) => isForAll || isBelow(name.toLowerCase(), asked));
    for (const question of this.#questions) question.hear(packet, nodes);
    for (const node of nodes) {
      const change = { ...heldNode(node), action: node.ttlS === 0 ? ('delete' as const) : ('update' as const) };
      for (const feed of this.#feeds) feed.change(change);
    }
  }

  /** Asks, and once more as datagrams get lost, until the time is up; while nothing has come, until patience is. */
  async #ask(
    name: string,
    signal: AbortSignal,
    patienceMs: number,
    onResponse: (packet: Packet, nodes: readonly HeardNode[]) => number,
  ): Promise<void> {
    let count = 0;
    const question: OpenQuestion = { name, hear: (packet, nodes) => void (count = onResponse(packet, nodes)) };
    this.#questions.add(question);
    try {
      const halfMs = Math.max(1, this.#settings.queryMs / 2);
      for (let waitedMs = 0; ;) {
        for (let half = 0; half < 2; half += 1) {
          await this.#link.ask(name);
          await this.#tools.timers.sleep(halfMs, signal);
          waitedMs += halfMs;
        }
        if (count > 0 || waitedMs >= patienceMs) return;
      }
    } finally {
      this.#questions.delete(question);
    }
  }

  #realm(): Realm {
    const { domain, maxPacketBytes } = this.#settings;
    return { domain, maxPacketBytes, host: hostname() };
  }
}

function heldNode({ service, ttlS }: HeardNode): HeldNode {
  return { service, leaseMs: ttlS * 1_000 };
}

function silence({ repeats }: Own): void {
  for (const timer of repeats) timer.cancel();
}

/** Whether a name lies below one of the others. */
function isBelow(name: string, others: ReadonlySet<string>): boolean {
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    if (others.has(name.slice(dot + 1))) return true;
  }
  return false;
}

/** Records of DNS carry an address of IP, so that a name has to be looked up; one that has none travels as it is. */
async function located({ address }: NodeRecord): Promise<{ readonly ip: string | undefined; readonly port: number }> {
  const [, v6, host = '', port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined || Number(port) > 65_535) return { ip: undefined, port: 0 };
  const name = v6 ?? host;
  if (isIP(name) !== 0) return { ip: name, port: Number(port) };
  const found = await lookup(name, { family: 4 }).catch(() => undefined);
  return { ip: found?.address, port: Number(port) };
}
