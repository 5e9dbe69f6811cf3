import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

import type { Answer, Packet } from 'dns-packet';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { aCount, checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError, textOf } from '../errors/errors.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger, silentLogger } from '../logger/logger.ts';
import { Clock, type Timer, Timers } from '../runtime/runtime.ts';
import { systemClock, systemTimers } from '../runtime/system.ts';
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
import { MdnsWatch } from './internal/mdns-watch.ts';
import { boundedCall } from './internal/bounded-call.ts';
import {
  assertRegistrable,
  assertWanted,
  byVersion,
  encodeNode,
  leaseOf,
  registryClosed,
  registryStarted,
} from './internal/records.ts';
import {
  type NodeRecord,
  type RegisterOptions,
  type Registry,
  type RegistryCallOptions,
  type RegistryCapabilities,
  type RegistryOptions,
  serviceNotFound,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from './registry.ts';

/** How a {@link MdnsRegistry} works. `address` means nothing here. */
export interface MdnsRegistryOptions extends RegistryOptions {
  /** Address of the interface to use: `127.0.0.1` keeps everything on this machine. @default the system's */
  readonly interface?: string | undefined;
  /** UDP port. @default 5353 */
  readonly port?: number | undefined;
  /** @default 'micro', Go Micro's */
  readonly domain?: string | undefined;
  /** How long answers to a question are collected, in milliseconds: nobody knows how many there are. @default 100, as in Go Micro */
  readonly queryMs?: number | undefined;
  /** How long a question that nobody answers is asked again and again, in milliseconds, before there is no node. @default 500 */
  readonly patienceMs?: number | undefined;
  /** Descriptions of endpoints are cut down to fit an answer into so many bytes, as one network packet carries. @default 1_400 */
  readonly maxPacketBytes?: number | undefined;
  /** What one address that asks is sent in a second at the most, in bytes: nobody makes more of a question by asking in the name of another. @default 262_144 */
  readonly maxAnswerBytesPerSecond?: number | undefined;
  /** So many nodes, and names of services, are believed that others announce; more are passed over. @default 10_000 */
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

/** A node of this process. */
interface Own {
  readonly service: string;
  readonly text: string;
  readonly records: readonly Answer[];
  readonly goodBye: readonly Answer[];
  lapse: Timer;
  announcedAtMs: number;
  readonly repeats: readonly Timer[];
}

/** A question whose answers are collected. */
interface OpenQuestion {
  readonly name: string;
  hear(packet: Packet, nodes: readonly HeardNode[]): void;
}

/** Nodes that answer for themselves over multicast DNS, in Go Micro's own records: nothing to install, and no server. */
@injectable()
export class MdnsRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #own = new Map<string, Own>();
  readonly #watches = new Set<MdnsWatch>();
  readonly #logger: Logger;
  readonly #questions = new Set<OpenQuestion>();
  #isFull = false;
  #options: WithDefaults<MdnsRegistryOptions, typeof defaults>;
  #link: MdnsLink | undefined;
  #isClosed = false;

  constructor(
    @inject(MdnsRegistryOptions) @optional() options: MdnsRegistryOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Timers) @optional() timers: Timers = systemTimers,
    @inject(Logger) @optional() logger: Logger = silentLogger,
  ) {
    this.#options = withDefaults(defaults, checkedOptions('MdnsRegistryOptions', options, { port: aCount }));
    this.#clock = clock;
    this.#timers = timers;
    this.#logger = logger;
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#link || this.#isClosed) throw registryStarted('mdns');
    const given: MdnsRegistryOptions = options;
    this.#options = withDefaults(this.#options, checkedOptions('RegistryOptions', given));
  }

  register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    return this.#call('register', options, async (link) => {
      assertRegistrable(service);
      const ttlMs = leaseOf(options.ttlMs ?? this.#options.ttlMs);
      await link.listen();
      await Promise.all(service.nodes.map((node) => this.#announce(link, service, node, ttlMs)));
    });
  }

  deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    return this.#call('deregister', options, async (link) => {
      await Promise.all(service.nodes.map((node) => this.#withdraw(link, keyOf(service.name, node))));
    });
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const nodes = await this.#call('getService', options, (link, signal) => this.#nodesOf(link, name, true, signal));
    if (nodes.length === 0) throw serviceNotFound('mdns', name);
    return byVersion(nodes.map(({ service }) => service));
  }

  async listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const names = await this.#call('listServices', options, (link, signal) => this.#names(link, signal));
    return names.map((name) => ({ name, version: '', metadata: {}, endpoints: [], nodes: [] }));
  }

  watch(options: WatchOptions = {}): Promise<Watcher> {
    return this.#call('watch', { signal: options.signal }, async (link, signal) => {
      await link.listen();
      const tools = {
        clock: this.#clock,
        timers: this.#timers,
        minReadMs: this.#options.minReadMs,
        hasRoom: (count: number) => this.#hasRoom(count),
        names: () => this.#names(link, signal),
        ask: (name: string, isPatient: boolean) => this.#nodesOf(link, name, isPatient, signal),
      };
      const watch = new MdnsWatch(options, tools, (stopped) => this.#watches.delete(stopped));
      this.#watches.add(watch);
      try {
        await watch.start();
      } catch (error) {
        watch.watcher.stop();
        throw error;
      }
      return watch.watcher;
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { watcher } of this.#watches) watcher.stop();
    for (const { lapse, repeats } of this.#own.values()) for (const timer of [lapse, ...repeats]) timer.cancel();
    this.#own.clear();
    await this.#link?.close();
  }

  toString(): string {
    return 'mdns';
  }

  #call<T>(
    what: string,
    options: RegistryCallOptions,
    work: (link: MdnsLink, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { port, timeoutMs } = this.#options;
    const where = `multicast DNS on UDP port ${port}`;
    return boundedCall(
      { registry: 'mdns', what, where, timers: this.#timers, ...options, timeoutMs: options.timeoutMs ?? timeoutMs },
      async (signal) => {
        if (this.#isClosed) throw registryClosed('mdns');
        assertWanted('mdns', options);
        this.#link ??= this.#open();
        try {
          return await work(this.#link, signal);
        } catch (error) {
          if (this.#isClosed) throw registryClosed('mdns');
          throw TenonError.is(error) ? error : unreachable(what, where, this.#options.interface, error);
        }
      },
    );
  }

  async #announce(link: MdnsLink, service: ServiceRecord, node: NodeRecord, leaseMs: number): Promise<void> {
    const key = keyOf(service.name, node);
    const text = `${leaseMs} ${encodeNode(service, node)}`;
    let own = this.#own.get(key);
    const isNew = own?.text !== text;
    own?.lapse.cancel();
    if (!own || isNew) {
      const realm = this.#realm();
      const announcement = { service, node, leaseMs, ...(await located(node)) };
      const records = nodeRecords(announcement, realm);
      const goodBye = nodeRecords(announcement, realm, true);
      // Someone may have announced or taken back the node while its address was looked up.
      this.#forget(key);
      if (this.#isClosed) return;
      const again = (): void => void link.announce(records).catch(() => {});
      const repeats = repeatMs.map((delayMs) => this.#timers.after(delayMs, again));
      own = {
        service: service.name,
        text,
        records,
        goodBye,
        repeats,
        lapse: noTimer,
        announcedAtMs: Number.NEGATIVE_INFINITY,
      };
      this.#own.set(key, own);
    }
    own.lapse = this.#timers.after(leaseMs, () => void this.#withdraw(link, key).catch(() => {}));
    // What is known already is said once more, so that watchers go on believing it.
    const now = this.#clock.monotonicMs();
    if (now - own.announcedAtMs < announceIntervalMs) return;
    own.announcedAtMs = now;
    await link.announce(own.records);
  }

  #forget(key: string): Own | undefined {
    const own = this.#own.get(key);
    if (!own) return undefined;
    this.#own.delete(key);
    for (const timer of [own.lapse, ...own.repeats]) timer.cancel();
    return own;
  }

  async #withdraw(link: MdnsLink, key: string): Promise<void> {
    const own = this.#forget(key);
    if (own) await link.announce(own.goodBye);
  }

  #open(): MdnsLink {
    const responder = new MdnsResponder({
      clock: this.#clock,
      port: this.#options.port,
      maxAnswerBytesPerSecond: this.#options.maxAnswerBytesPerSecond,
      replies: () => this.#replies(),
      send: (question, records, to) => void this.#link?.answer(question, records, to).catch(() => {}),
    });
    return new MdnsLink(
      { ...this.#options, clock: this.#clock },
      {
        query: (packet, from) => responder.answer(packet, from),
        response: (packet) => this.#hear(packet),
      },
    );
  }

  #replies(): MdnsReply[] {
    const realm = this.#realm();
    const { domain } = realm;
    const own = [...this.#own.values()];
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
    const { domain } = this.#options;
    const watched = [...this.#watches].map(({ watcher }) => watcher.service);
    const asked = new Set([...this.#questions].map(({ name }) => name.toLowerCase()));
    for (const service of watched) if (service !== undefined) asked.add(`${service}.${domain}`.toLowerCase());
    const isForAll = watched.includes(undefined);
    const nodes = nodesIn(packet, domain, (name) => isForAll || isBelow(name.toLowerCase(), asked));
    for (const question of this.#questions) question.hear(packet, nodes);
    for (const node of nodes) for (const watch of this.#watches) watch.hear(node);
  }

  async #names(link: MdnsLink, signal: AbortSignal): Promise<readonly string[]> {
    const { domain } = this.#options;
    const names = new Set<string>();
    await this.#ask(link, listingName(domain), signal, 0, (packet) => {
      for (const name of servicesIn(packet, domain)) if (names.has(name) || this.#hasRoom(names.size)) names.add(name);
      return names.size;
    });
    return [...names].sort();
  }

  async #nodesOf(link: MdnsLink, name: string, isPatient: boolean, signal: AbortSignal): Promise<readonly HeardNode[]> {
    const { domain, patienceMs } = this.#options;
    if (!isAskable(name, domain)) return [];
    const found = new Map<string, HeardNode>();
    await this.#ask(link, `${name}.${domain}`, signal, isPatient ? patienceMs : 0, (_packet, nodes) => {
      for (const node of nodes) {
        const { service, ttlS } = node;
        if (service.name !== name) continue;
        const { id } = service.nodes[0] as NodeRecord;
        // It said good-bye while we asked.
        if (ttlS === 0) found.delete(id);
        else if (found.has(id) || this.#hasRoom(found.size)) found.set(id, node);
      }
      return found.size;
    });
    return [...found.values()];
  }

  /** Whether one more is believed, of those that anyone on the link may announce. */
  #hasRoom(count: number): boolean {
    const { maxNodes } = this.#options;
    if (count < maxNodes) return true;
    if (!this.#isFull) {
      this.#logger.warn(`multicast DNS tells of more than ${maxNodes} nodes or services: the others are passed over`);
    }
    this.#isFull = true;
    return false;
  }

  /** Asks, and once more as datagrams get lost, until the time is up; while nothing has come, until patience is. */
  async #ask(
    link: MdnsLink,
    name: string,
    signal: AbortSignal,
    patienceMs: number,
    onResponse: (packet: Packet, nodes: readonly HeardNode[]) => number,
  ): Promise<void> {
    let count = 0;
    const question: OpenQuestion = { name, hear: (packet, nodes) => void (count = onResponse(packet, nodes)) };
    this.#questions.add(question);
    try {
      const halfMs = Math.max(1, this.#options.queryMs / 2);
      for (let waitedMs = 0; ;) {
        for (let half = 0; half < 2; half += 1) {
          await link.ask(name);
          await this.#timers.sleep(halfMs, signal);
          waitedMs += halfMs;
        }
        if (count > 0 || waitedMs >= patienceMs) return;
      }
    } finally {
      this.#questions.delete(question);
    }
  }

  #realm(): Realm {
    const { domain, maxPacketBytes } = this.#options;
    return { domain, maxPacketBytes, host: hostname() };
  }
}

const noTimer: Timer = { cancel: () => {} };

/** Whether a name lies below one of the others. */
function isBelow(name: string, others: ReadonlySet<string>): boolean {
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    if (others.has(name.slice(dot + 1))) return true;
  }
  return false;
}

function keyOf(service: string, { id }: NodeRecord): string {
  return `${service}\n${id}`;
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

function unreachable(what: string, where: string, at: string | undefined, error: unknown): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'registry.unreachable',
    message: `${what}: ${where} does not work${at === undefined ? ' on this machine' : ` at the interface ${at}`} (${textOf(error)}). Set TENON_MDNS_INTERFACE to the address of an interface that is up and TENON_MDNS_PORT to a free port, or use another registry`,
    cause: error,
  });
}
