import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

import type { Answer, Packet } from 'dns-packet';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { Code, TenonError, textOf } from '../errors/errors.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
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

import type { RemoteInfo } from 'node:dgram';

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
}
/** Container key of the {@link MdnsRegistryOptions}. */
export const MdnsRegistryOptions: ServiceIdentifier<MdnsRegistryOptions> = token('registry', 'MdnsRegistryOptions');

const defaults = {
  port: 5353,
  domain: 'micro',
  queryMs: 100,
  patienceMs: 500,
  maxPacketBytes: 1_400,
  timeoutMs: 5_000,
  ttlMs: 30_000,
} as const;
// Go Micro announces what is new three times: datagrams get lost.
const repeatMs = [1_000, 3_000] as const;

/** A node of this process. */
interface Own {
  readonly service: string;
  readonly text: string;
  readonly records: readonly Answer[];
  readonly goodBye: readonly Answer[];
  lapse: Timer;
  readonly repeats: readonly Timer[];
}

/** Nodes that answer for themselves over multicast DNS, in Go Micro's own records: nothing to install, and no server. */
@injectable()
export class MdnsRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #own = new Map<string, Own>();
  readonly #watches = new Set<MdnsWatch>();
  readonly #onResponse = new Set<(packet: Packet) => void>();
  #options: WithDefaults<MdnsRegistryOptions, typeof defaults>;
  #link: MdnsLink | undefined;
  #isClosed = false;

  constructor(
    @inject(MdnsRegistryOptions) @optional() options: MdnsRegistryOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
    @inject(Timers) @optional() timers: Timers = systemTimers,
  ) {
    this.#options = withDefaults(defaults, options);
    this.#clock = clock;
    this.#timers = timers;
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#link || this.#isClosed) throw registryStarted('mdns');
    const given: MdnsRegistryOptions = options;
    this.#options = withDefaults(this.#options, given);
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
        this.#link ??= new MdnsLink(this.#options, {
          query: (packet, from) => this.#answer(packet, from),
          response: (packet) => this.#hear(packet),
        });
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
      own = { service: service.name, text, records, goodBye, repeats, lapse: noTimer };
      this.#own.set(key, own);
    }
    own.lapse = this.#timers.after(leaseMs, () => void this.#withdraw(link, key).catch(() => {}));
    // What is known already is said once more, so that watchers go on believing it.
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

  #answer(packet: Packet, from: RemoteInfo): void {
    const realm = this.#realm();
    for (const question of packet.questions ?? []) {
      const name = question.name.toLowerCase();
      const answer = (records: readonly Answer[]): void =>
        void this.#link?.answer(question, records, from).catch(() => {});
      const services = new Set([...this.#own.values()].map(({ service }) => service));
      for (const service of services) {
        if (name === listingName(realm.domain).toLowerCase()) answer(listingFor(service, realm));
        if (name === browsingName(realm.domain).toLowerCase())
          answer([{ type: 'PTR', name: question.name, ttl: 120, data: `${service}.${realm.domain}` }]);
      }
      // A packet for each node: together they might not fit one.
      for (const { service, records } of this.#own.values()) {
        if (name === `${service}.${realm.domain}`.toLowerCase()) answer(withPointer(records, service, realm));
      }
    }
  }

  #hear(packet: Packet): void {
    for (const listener of this.#onResponse) listener(packet);
    if (this.#watches.size === 0) return;
    for (const node of nodesIn(packet, this.#options.domain, () => true)) {
      for (const watch of this.#watches) watch.hear(node);
    }
  }

  async #names(link: MdnsLink, signal: AbortSignal): Promise<readonly string[]> {
    const { domain } = this.#options;
    const names = new Set<string>();
    await this.#ask(link, listingName(domain), signal, 0, (packet) => {
      for (const name of servicesIn(packet, domain)) names.add(name);
      return names.size;
    });
    return [...names].sort();
  }

  async #nodesOf(link: MdnsLink, name: string, isPatient: boolean, signal: AbortSignal): Promise<readonly HeardNode[]> {
    const { domain, patienceMs } = this.#options;
    if (!isAskable(name, domain)) return [];
    const found = new Map<string, HeardNode>();
    await this.#ask(link, `${name}.${domain}`, signal, isPatient ? patienceMs : 0, (packet) => {
      for (const node of nodesIn(packet, domain, () => true)) {
        const { service, ttlS } = node;
        const key = keyOf(service.name, service.nodes[0] as NodeRecord);
        if (service.name === name && ttlS > 0) found.set(key, node);
        // It said good-bye while we asked.
        else found.delete(key);
      }
      return found.size;
    });
    return [...found.values()];
  }

  /** Asks, and once more as datagrams get lost, until the time is up; while nothing has come, until patience is. */
  async #ask(
    link: MdnsLink,
    question: string,
    signal: AbortSignal,
    patienceMs: number,
    onResponse: (packet: Packet) => number,
  ): Promise<void> {
    let count = 0;
    const listener = (packet: Packet): void => void (count = onResponse(packet));
    this.#onResponse.add(listener);
    try {
      const halfMs = this.#options.queryMs / 2;
      for (let waitedMs = 0; ;) {
        for (let half = 0; half < 2; half += 1) {
          await link.ask(question);
          await this.#timers.sleep(halfMs, signal);
          waitedMs += halfMs;
        }
        if (count > 0 || waitedMs >= patienceMs) return;
      }
    } finally {
      this.#onResponse.delete(listener);
    }
  }

  #realm(): Realm {
    const { domain, maxPacketBytes } = this.#options;
    return { domain, maxPacketBytes, host: hostname() };
  }
}

const noTimer: Timer = { cancel: () => {} };

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
