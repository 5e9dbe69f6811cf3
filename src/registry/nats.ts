import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { encodeAnnouncement, encodeAnswer, encodeQuery, natsPrefixes, NatsSubjects } from '../go-micro/nats.ts';
import type { WithDefaults } from '../internal/defaults.ts';
import { token } from '../internal/token.ts';
import { Logger } from '../logger/logger.ts';
import { askAll } from '../nats/ask-all.ts';
import { NatsClient } from '../nats/client.ts';
import { isValidSubject, NatsError, type NatsMessage, type NatsPublication } from '../nats/nats.ts';
import { SubscriptionGroup } from '../nats/subscription-group.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { AddressList, assertUsername, formatAddress, parseAddresses, type ServerAddress } from './kit/address-list.ts';
import { type AnnouncedAction, AnsweredNodes, type ClaimedNode, ClaimedNodes } from './kit/answered-nodes.ts';
import { BrokenRecords } from './kit/broken-records.ts';
import type { DriverCall, DriverTools, Registration, RegistryDriver, Snapshot, WatchFeed } from './kit/driver.ts';
import { DrivenRegistry } from './kit/driven-registry.ts';
import { type DriverFailure, invalidOption, invalidService } from './kit/errors.ts';
import { NodeLimit } from './kit/node-limit.ts';
import { WatchFeeds } from './kit/watch-feeds.ts';
import { nodesIn, toldIn } from './nats/records.ts';
import type { Registry, RegistryCapabilities, RegistryOptions } from './registry.ts';

/** Options of a {@link NatsRegistry}. Its address may be `nats://host:port`. */
export interface NatsRegistryOptions extends RegistryOptions {
  /**
   * The beginnings of the subjects, before `.query` and `.watch`, with commas between several. Processes that have one
   * in common see each other.
   * @default 'micro.nats,micro.registry.nats', those of Go Micro 5 and 4
   */
  readonly prefixes?: string | undefined;
  /**
   * Time in milliseconds without an answer after which all answers to a question are taken to be there: their number is
   * not known.
   * @default 100, as in Go Micro
   */
  readonly queryMs?: number | undefined;
  /** Time in milliseconds after which a question that nobody answers has no answer. @default 500 */
  readonly maxQueryMs?: number | undefined;
  /**
   * Lease of nodes that announce none, as those of Go Micro, in milliseconds. Each announcement and each answer begins
   * it anew.
   * @default 90_000, three intervals of Go Micro
   */
  readonly goMicroTtlMs?: number | undefined;
  /** Most nodes that are accepted from others. Further ones are skipped. @default 10_000 */
  readonly maxNodes?: number | undefined;
  /** Shortest time in milliseconds between two reads of a watch. @default 100 */
  readonly minReadMs?: number | undefined;
  /** Longest time in milliseconds between two reads of a watch. @default 30_000 */
  readonly maxReadMs?: number | undefined;
  /** A larger record of a node is refused, and passed over by readers, in bytes. @default 262_144 */
  readonly maxRecordBytes?: number | undefined;
}
/** Container key of the {@link NatsRegistryOptions}. */
export const NatsRegistryOptions: ServiceIdentifier<NatsRegistryOptions> = token('registry', 'NatsRegistryOptions');

const optionsName = 'NatsRegistryOptions';
const defaults = {
  address: '127.0.0.1:4222',
  timeoutMs: 5_000,
  ttlMs: 30_000,
  prefixes: natsPrefixes.join(','),
  queryMs: 100,
  maxQueryMs: 500,
  goMicroTtlMs: 90_000,
  maxNodes: 10_000,
  minReadMs: 100,
  maxReadMs: 30_000,
  maxRecordBytes: 262_144,
} as const;
type Settings = WithDefaults<NatsRegistryOptions, typeof defaults>;

const defaultPort = 4222;
// Longest time for answers, should they not end.
const maxAnswersMs = 2_000;

/**
 * Announces and finds nodes over NATS, as Go Micro's registry does: NATS passes on questions and announcements, and
 * each process answers for its own nodes. Nothing is stored. `docs/registry.md` has the messages.
 */
@injectable()
export class NatsRegistry extends DrivenRegistry<Settings> implements Registry {
  static readonly capabilities: RegistryCapabilities = {
    expires: true,
    shared: true,
    watches: true,
    renewalRestores: true,
    transferable: true,
    tls: true,
    credentials: ['password', 'token'],
  };

  constructor(
    @inject(NatsRegistryOptions) @optional() options: NatsRegistryOptions = {},
    @inject(Clock) @optional() clock?: Clock,
    @inject(Random) @optional() random?: Random,
    @inject(Timers) @optional() timers?: Timers,
    @inject(Logger) @optional() logger?: Logger,
  ) {
    const spec = {
      name: 'nats',
      capabilities: NatsRegistry.capabilities,
      optionsName,
      defaults,
      check: (settings: Settings) => void placeOf(settings),
      open: (settings: Settings, tools: DriverTools) => new NatsDriver(settings, tools),
    };
    super(spec, options, { clock, random, timers, logger });
  }
}

class NatsDriver implements RegistryDriver {
  readonly server: string;
  readonly bounds: Settings;
  readonly #tools: DriverTools;
  readonly #client: NatsClient;
  readonly #subjects: NatsSubjects;
  readonly #own: AnsweredNodes;
  readonly #feeds = new WatchFeeds();
  readonly #broken: BrokenRecords;
  readonly #limit: NodeLimit;
  readonly #announcements: SubscriptionGroup;
  readonly #questions: SubscriptionGroup;

  constructor(settings: Settings, tools: DriverTools) {
    const { security, ...others } = (this.#tools = tools);
    const { timeoutMs } = (this.bounds = settings);
    const { addresses, prefixes } = placeOf(settings);
    const { queries, watches } = (this.#subjects = new NatsSubjects(prefixes));
    this.#broken = new BrokenRecords(tools.logger);
    this.#limit = new NodeLimit(settings.maxNodes, 'nodes are announced over NATS', tools.logger);
    this.server = `NATS at ${addresses.map(formatAddress).join(',')}`;
    const list = { ...others, registry: 'nats', serverName: 'NATS', beginsAnywhere: true };
    const client = new NatsClient({
      runtime: tools,
      addresses: new AddressList(addresses, list),
      security,
      name: 'tenon registry',
      // A call is answered even if only one of the servers does.
      connectTimeoutMs: security.handshakeTimeoutMs ?? timeoutMs / (addresses.length + 1),
      maxSilenceMs: timeoutMs,
      listener: {
        onConnected: (isFirst) => (isFirst ? undefined : this.#own.announceAll()),
        onLost: () => this.#feeds.fail('the connection to NATS was lost'),
      },
    });
    this.#client = client;
    this.#announcements = new SubscriptionGroup(client, watches, this.#onMessage);
    this.#questions = new SubscriptionGroup(client, queries, this.#onMessage);
    this.#own = new AnsweredNodes({
      ...others,
      registry: 'nats',
      hear: (signal) => this.#hear(signal),
      deliver: (action, node, signal) => client.deliver(this.#announcementsOf(action, node), signal),
      tell: (node) => this.#announcementsOf('create', node).forEach((message) => client.publish(message)),
    });
  }

  async announce(registration: Registration, { signal }: DriverCall): Promise<void> {
    try {
      await this.#own.announce(registration, signal);
    } catch (error) {
      const isTooLarge = error instanceof NatsError && error.kind === 'tooLarge';
      throw isTooLarge ? invalidService(registration.service.name, error.message) : error;
    }
  }

  withdraw(service: string, id: string, { signal }: DriverCall): Promise<void> {
    return this.#own.withdraw(service, id, signal);
  }

  release(service: string, id: string): Promise<void> {
    return this.#own.release(service, id);
  }

  /** Asks all processes. An answer may be late or lost: nodes that are known stay until their lease ends. */
  async read(service: string | undefined, { signal, isInitialRead }: DriverCall): Promise<Snapshot> {
    const { queryMs, maxQueryMs } = this.bounds;
    const { queries, prefixes } = this.#subjects;
    const place = `an answer about ${service === undefined ? 'all services' : JSON.stringify(service)}`;
    const found = new ClaimedNodes((count) => this.hasRoom(count));
    await askAll(this.#client, {
      runtime: this.#tools,
      subjects: queries,
      payload: encodeQuery(service, { prefixes }),
      quietMs: queryMs,
      silentMs: isInitialRead ? 2 * queryMs : maxQueryMs,
      maxMs: maxAnswersMs,
      signal,
      onAnswer: ({ payload }) => {
        const nodes = this.#broken.read(place, () => nodesIn(payload, this.bounds)) ?? [];
        for (const node of nodes) found.add(node);
      },
    });
    return { nodes: found.all, isComplete: false };
  }

  async watch(feed: WatchFeed, signal: AbortSignal, call: DriverCall): Promise<void> {
    this.#feeds.join(feed, signal, () => this.#leave());
    await this.#listen(call.signal).finally(() => this.#leave());
  }

  /** Limits the nodes that are accepted from others: any client of the server may announce some. */
  hasRoom(count: number): boolean {
    return this.#limit.hasRoom(count);
  }

  /** Translates an error: NATS refuses, or it cannot be reached. */
  failure(error: unknown): DriverFailure {
    const kind = error instanceof NatsError ? error.kind : 'unreachable';
    if (kind === 'denied') return { kind, remedy: aboutCredentials };
    if (kind === 'refused' || kind === 'tooLarge') return { kind: 'refused' };
    const { failedHost = '', wasConnected } = this.#client;
    const why = this.#tools.security.explain(error, failedHost, wasConnected);
    if (why !== undefined) return { kind, why };
    return { kind, remedy: /\bTLS\b/.test(String(error)) ? aboutTls : aboutAddress };
  }

  close(): void {
    this.#own.close();
    this.#client.close();
  }

  readonly #onMessage = ({ subject, reply, payload }: NatsMessage): void => {
    const told = this.#broken.read(placeOfRecord(subject, payload), () => toldIn(payload, this.bounds));
    if (!told || !this.#subjects.isHeeded(subject, told.prefixes)) return;
    const { action, service, nodes } = told;
    if (this.#subjects.queries.includes(subject)) {
      if (reply !== undefined && nodes.length === 0) this.#answer(action === 'list' ? undefined : service, reply);
      return;
    }
    for (const node of nodes) {
      const isGone = action === 'delete';
      this.#own.compare(isGone ? 'delete' : 'create', node);
      const change = { ...node, action: isGone ? ('delete' as const) : ('update' as const) };
      for (const who of ['service', 'every'] as const) this.#feeds.change(change, who);
    }
  };

  /** Answers for the nodes of a service, or of all services. */
  #answer(service: Readonly<Record<string, unknown>> | undefined, reply: string): void {
    for (const { service: record, leaseMs, claim } of this.#own.answers()) {
      if (service && service['name'] !== record.name) continue;
      this.#client.publish({ subject: reply, payload: encodeAnswer(JSON.stringify(record), { leaseMs, ...claim }) });
    }
  }

  /** Listens, and resolves when all was heard that others have announced before. */
  async #hear(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#questions.open(signal), this.#listen(signal)]).finally(() => this.#leave());
  }

  /** Subscribes to announcements, and resolves when they are delivered. */
  async #listen(signal: AbortSignal): Promise<void> {
    try {
      await this.#announcements.open(signal);
    } catch (error) {
      // Nobody hears any more what this one was refused.
      if (error instanceof NatsError && error.kind === 'denied') this.#feeds.fail(`NATS refused it (${error.message})`);
      throw error;
    }
  }

  /** Listens no longer to announcements, unless somebody watches or is registered. */
  #leave(): void {
    if (this.#feeds.size === 0 && !this.#questions.isOpen) this.#announcements.close();
  }

  #announcementsOf(action: AnnouncedAction, { service, leaseMs, claim }: ClaimedNode): readonly NatsPublication[] {
    const { prefixes, watches } = this.#subjects;
    const payload = encodeAnnouncement(action, JSON.stringify(service), { prefixes, leaseMs, ...claim });
    return watches.map((subject) => ({ subject, payload }));
  }
}

const aboutAddress = 'Is NATS running there? TENON_REGISTRY_ADDRESS says where to look';
const aboutTls = 'TENON_REGISTRY_TLS and TENON_REGISTRY_TLS_CA_FILE say whether and how it is spoken to over TLS';
const aboutCredentials =
  'TENON_REGISTRY_USERNAME and TENON_REGISTRY_PASSWORD, or TENON_REGISTRY_TOKEN (or their _FILE) say who connects';

/** Where a registry finds others. */
interface Place {
  readonly addresses: readonly ServerAddress[];
  readonly prefixes: readonly string[];
}

/** Throws INVALID_ARGUMENT for an address, subjects or credentials that cannot be used. */
function placeOf(settings: Settings): Place {
  const { address, prefixes } = settings;
  const addresses = parseAddresses(address.replaceAll(/(^|,)\s*nats:\/\//g, '$1'), defaultPort);
  const all = prefixes.split(',').map((one) => one.trim());
  if (!all.every(isValidSubject))
    throw invalidOption(`${optionsName}.prefixes is "${prefixes}": give beginnings of subjects, such as micro.nats`);
  assertUsername(settings, optionsName, aboutCredentials);
  return { addresses, prefixes: [...new Set(all)] };
}

/** Says which record an announcement holds, as far as its beginning tells. */
function placeOfRecord(subject: string, payload: Buffer | undefined): string {
  const [, name] = /"name":\s*("[^"]{1,80}")/.exec(payload?.toString('utf8', 0, 200) ?? '') ?? [];
  return name === undefined ? subject : `${subject}, of service ${name},`;
}
