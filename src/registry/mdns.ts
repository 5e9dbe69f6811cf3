import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';

import type { Packet } from 'dns-packet';
import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { Code, TenonError, textOf } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import { type Timer, Timers } from '../runtime/runtime.ts';
import { systemTimers } from '../runtime/system.ts';
import { MdnsQuestion, MdnsResponder } from './internal/mdns-link.ts';
import { type Announcement, answersFor, listingFor, nodeRecords, nodesIn, servicesIn } from './internal/mdns-records.ts';
import { assertRegistrable, assertWanted, byVersion, callCancelled, encodeNode, registryClosed, registryStarted } from './internal/records.ts';
import { WatchQueue } from './internal/watch-queue.ts';
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

/** How a {@link MdnsRegistry} works. */
export interface MdnsRegistryOptions extends RegistryOptions {
  /** Address of the interface to use: `127.0.0.1` keeps everything on this machine. @default the system's */
  readonly interface?: string | undefined;
  /** UDP port. @default 5353 */
  readonly port?: number | undefined;
  /** @default 'micro', Go Micro's */
  readonly domain?: string | undefined;
  /** How long answers to a question are waited for, in milliseconds. @default 100, as Go Micro waits */
  readonly queryMs?: number | undefined;
  /** While there are watchers, the nodes they know are asked for again this often, so that those who died without a word are missed. @default 5_000 */
  readonly refreshMs?: number | undefined;
}
/** Container key of the {@link MdnsRegistryOptions}. */
export const MdnsRegistryOptions: ServiceIdentifier<MdnsRegistryOptions> = token('registry', 'MdnsRegistryOptions');

const defaults = { port: 5353, domain: 'micro', queryMs: 100, refreshMs: 5_000, ttlMs: 30_000 } as const;
// Go Micro announces three times: datagrams get lost.
const repeatMs = [1_000, 3_000] as const;

interface Own extends Announcement {
  readonly text: string;
  lapse: Timer;
  readonly repeats: readonly Timer[];
}

interface Known {
  readonly record: ServiceRecord;
  missed: number;
}

/** Nodes that answer for themselves over multicast DNS, in Go Micro's own records: nothing to install, and no server. */
@injectable()
export class MdnsRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

  readonly #timers: Timers;
  readonly #own = new Map<string, Own>();
  readonly #known = new Map<string, Known>();
  readonly #watchers = new Set<WatchQueue>();
  readonly #questions = new Set<MdnsQuestion>();
  readonly #host = hostname();
  #options: MdnsRegistryOptions & typeof defaults;
  #responder: MdnsResponder | undefined;
  #refresh: Timer | undefined;
  #isClosed = false;

  constructor(
    @inject(MdnsRegistryOptions) @optional() options: MdnsRegistryOptions = {},
    @inject(Timers) @optional() timers: Timers = systemTimers,
  ) {
    this.#options = withDefaults(defaults, options);
    this.#timers = timers;
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#responder) throw registryStarted('mdns');
    this.#options = withDefaults(this.#options, options);
  }

  async register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    assertRegistrable(service);
    const responder = await this.#begin(options);
    const ttlMs = options.ttlMs ?? this.#options.ttlMs;
    for (const node of service.nodes) {
      const key = keyOf(service, node);
      const text = encodeNode(service, node);
      const before = this.#own.get(key);
      const lapse = this.#timers.after(ttlMs, () => void this.#withdraw(key));
      if (before?.text === text) {
        before.lapse.cancel();
        before.lapse = lapse;
        continue;
      }
      const { ip, port } = await resolved(node);
      const announcement: Announcement = { service, node, ip, port };
      const records = nodeRecords(announcement, this.#options.domain, this.#host);
      const announce = (): Promise<void> => responder.respond(records);
      before?.lapse.cancel();
      for (const timer of before?.repeats ?? []) timer.cancel();
      const repeats = repeatMs.map((delayMs) => this.#timers.after(delayMs, () => void announce().catch(() => {})));
      this.#own.set(key, { ...announcement, text, lapse, repeats });
      await announce().catch((error: unknown) => {
        throw unreachable('register', error);
      });
    }
  }

  async deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    await this.#begin(options);
    for (const node of service.nodes) await this.#withdraw(keyOf(service, node));
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    await this.#begin(options);
    const found = await this.#ask(name, options);
    if (found.length === 0) throw serviceNotFound('mdns', name);
    for (const record of found) this.#known.set(keyOf(record), { record, missed: 0 });
    return byVersion(found);
  }

  async listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    await this.#begin(options);
    const { domain } = this.#options;
    const names = new Set<string>();
    await this.#query(`_services.${domain}`, options, (packet) => {
      for (const name of servicesIn(packet, domain)) names.add(name);
    });
    return [...names].sort().map((name) => ({ name, version: '', metadata: {}, endpoints: [], nodes: [] }));
  }

  async watch(options: WatchOptions = {}): Promise<Watcher> {
    await this.#begin({});
    const watcher = new WatchQueue(options, (stopped) => {
      this.#watchers.delete(stopped);
      if (this.#watchers.size === 0) this.#refresh?.cancel();
    });
    if (this.#watchers.size === 0) this.#refresh = this.#timers.every(this.#options.refreshMs, () => void this.#miss());
    if (!options.signal?.aborted) this.#watchers.add(watcher);
    return watcher;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#refresh?.cancel();
    for (const watcher of [...this.#watchers]) watcher.stop();
    for (const question of this.#questions) question.close();
    for (const { lapse, repeats } of this.#own.values()) for (const timer of [lapse, ...repeats]) timer.cancel();
    await this.#responder?.close();
  }

  toString(): string {
    return 'mdns';
  }

  async #begin(options: RegistryCallOptions): Promise<MdnsResponder> {
    if (this.#isClosed) throw registryClosed('mdns');
    assertWanted('mdns', options);
    this.#responder ??= new MdnsResponder(this.#options, {
      query: (packet, from) => this.#answer(packet, from),
      response: (packet) => this.#hear(packet),
    });
    try {
      await this.#responder.ready;
    } catch (error) {
      throw unreachable('listen', error, this.#options.port);
    }
    return this.#responder;
  }

  async #withdraw(key: string): Promise<void> {
    const own = this.#own.get(key);
    if (!own || !this.#responder) return;
    own.lapse.cancel();
    for (const timer of own.repeats) timer.cancel();
    this.#own.delete(key);
    // A good-bye that gets lost costs others a look: nothing answers for the node any more.
    await this.#responder.respond(nodeRecords(own, this.#options.domain, this.#host, 0)).catch(() => {});
  }

  #answer(packet: Packet, from: RemoteInfo): void {
    const { domain } = this.#options;
    for (const question of packet.questions ?? []) {
      const name = question.name.replace(/\.$/, '');
      const to = { questions: [question], from };
      const respond = (answers: Packet['answers']): void => void this.#responder?.respond(answers, to).catch(() => {});
      if (name === `_services.${domain}` || name === `_services._dns-sd._udp.${domain}`) {
        const services = new Set([...this.#own.values()].map((own) => own.service.name));
        for (const service of services) respond(listingFor(service, domain));
        continue;
      }
      // A packet for each node: together they might not fit one.
      for (const own of this.#own.values()) {
        if (name === `${own.service.name}.${domain}`) respond(answersFor(own, domain, this.#host));
      }
    }
  }

  #hear(packet: Packet): void {
    for (const { service, isGone } of nodesIn(packet, this.#options.domain)) {
      const key = keyOf(service);
      const before = this.#known.get(key);
      if (isGone) this.#forget(key, service);
      else {
        this.#known.set(key, { record: service, missed: 0 });
        // Announcements are repeated: only what is new is told.
        if (before && JSON.stringify(before.record) === JSON.stringify(service)) continue;
        this.#tell(before ? 'update' : 'create', service);
      }
    }
  }

  #forget(key: string, service: ServiceRecord): void {
    this.#known.delete(key);
    this.#tell('delete', service);
  }

  #tell(action: 'create' | 'update' | 'delete', service: ServiceRecord): void {
    for (const watcher of [...this.#watchers]) watcher.push({ action, service });
  }

  /** Asks for the nodes that watchers know. One that is silent twice has died without a word. */
  async #miss(): Promise<void> {
    const names = new Set([...this.#known.values()].map(({ record }) => record.name));
    for (const name of names) {
      const answered = new Set((await this.#ask(name, {}).catch(() => [])).map((record) => keyOf(record)));
      for (const [key, known] of this.#known) {
        if (known.record.name !== name || this.#isClosed) continue;
        known.missed = answered.has(key) ? 0 : known.missed + 1;
        if (known.missed >= 2) this.#forget(key, known.record);
      }
    }
  }

  async #ask(name: string, options: RegistryCallOptions): Promise<ServiceRecord[]> {
    const { domain } = this.#options;
    const found = new Map<string, ServiceRecord>();
    await this.#query(`${name}.${domain}`, options, (packet) => {
      for (const { service, isGone } of nodesIn(packet, domain)) if (!isGone && service.name === name) found.set(keyOf(service), service);
    });
    return [...found.values()];
  }

  /** Nobody knows how many will answer, so all that come within the time are taken. */
  #query(name: string, { signal }: RegistryCallOptions, onResponse: (packet: Packet) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (error?: TenonError): void => {
        timer.cancel();
        signal?.removeEventListener('abort', onAbort);
        question.close();
        this.#questions.delete(question);
        if (error) reject(error);
        else resolve();
      };
      const onAbort = (): void => finish(callCancelled('mdns', signal as AbortSignal));
      const question = new MdnsQuestion(this.#options, name, onResponse, (error) => finish(unreachable('query', error)));
      const timer = this.#timers.after(this.#options.queryMs, () => finish(), { keepAlive: true });
      this.#questions.add(question);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

function keyOf({ name, nodes }: ServiceRecord, node: NodeRecord | undefined = nodes[0]): string {
  return `${name}\n${node?.id ?? ''}`;
}

async function resolved({ id, address }: NodeRecord): Promise<{ ip: string; port: number }> {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address);
  const host = match?.[1] ?? match?.[2] ?? '';
  try {
    if (!match) throw new Error('it is not host:port');
    const ip = isIP(host) ? host : (await lookup(host, { family: 4 })).address;
    return { ip, port: Number(match[3]) };
  } catch (error) {
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_service',
      message: `node "${id}" cannot be announced over multicast DNS: "${address}" has no IP address (${textOf(error)}); set TENON_SERVER_ADVERTISE to one`,
      cause: error,
    });
  }
}

function unreachable(what: string, error: unknown, port?: number): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'registry.unreachable',
    message: `${what}: multicast DNS does not work here${port === undefined ? '' : `, on UDP port ${port}`} (${textOf(error)}): set TENON_MDNS_INTERFACE to an interface that is up, or use another registry`,
    cause: error,
  });
}

function withDefaults(base: MdnsRegistryOptions & typeof defaults, options: MdnsRegistryOptions): MdnsRegistryOptions & typeof defaults {
  return { ...base, ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) };
}
