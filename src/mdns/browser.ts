import type { RemoteInfo } from 'node:dgram';

import type { Answer, Packet } from 'dns-packet';

import type { Clock, Random, Timer, Timers } from '../runtime/runtime.ts';
import { type FoundNode, goodbyesIn, nodesIn } from './records.ts';
import { zoneOf } from './links.ts';
import type { MdnsSockets } from './sockets.ts';

/** The parts of a {@link MdnsBrowser}. `Node` is what the owner makes of a node that was found. */
export interface MdnsBrowserOptions<Node> {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly sockets: Pick<MdnsSockets, 'isOwn' | 'linkOf' | 'links' | 'query'>;
  readonly domain: string;
  /** Checks a node that was found. Undefined skips it. */
  nodeOf(found: FoundNode): Node | undefined;
  /** True if one more node is accepted beside `count`. */
  hasRoom(count: number): boolean;
}

/** A change of the nodes of a service: `node` is the current one, or the last one if it is gone. */
export interface NodeChange<Node> {
  readonly service: string;
  readonly node: Node;
  readonly isGone: boolean;
}

/** A node in the cache. */
interface Entry<Node> {
  readonly service: string;
  readonly instance: string;
  /** Nodes of a service that have the same id are one: it may be announced under several names. */
  readonly id: string;
  node: Node;
  /** Address of the interface at which it was heard; undefined for nodes of this process. */
  link: string | undefined;
  /** The host that sent it; undefined for nodes of this process, and those that it has released. */
  readonly from: string | undefined;
  heardAtMs: number;
  /** Infinite for nodes of this process, which end when they are withdrawn. */
  expiresAtMs: number;
  /** The number of questions for it since it was heard. */
  refreshes: number;
  hasSaidGoodbye: boolean;
}

/** A service that somebody looks for. */
interface Topic<Node> {
  readonly service: string;
  readonly entries: Map<string, Entry<Node>>;
  timer: Timer | undefined;
  usedAtMs: number;
  /** The number of questions that are under way. */
  seekers: number;
  /** True if the nodes were asked for, and have been followed since. */
  isComplete: boolean;
}

interface Watch<Node> {
  readonly service: string | undefined;
  onChange(change: NodeChange<Node>): void;
}

// RFC 6762 section 5.2: records that are in use are asked for again after these parts of their TTL, with a random
// part of 2 % added.
const refreshParts = [0.8, 0.85, 0.9, 0.95] as const;
const refreshJitter = 0.02;
// A timer that is this late tells of a process that was blocked or stopped: answers may wait to be read.
const lateMs = 500;
// For so long nodes are kept that ended meanwhile.
const graceMs = 1_000;
// RFC 6762 section 10.1: a goodbye takes effect after a second, unless the record is announced again.
const goodbyeMs = 1_000;
const maxGoodbyes = 10_000;
// The size of the list of known answers, so that a question fits into one packet.
const maxKnownBytes = 1_200;

/**
 * Keeps the nodes of the services that somebody looks for, by their TTL. Announcements and goodbyes are heard without
 * asking. Nodes that are in use are asked for again before their TTL ends.
 */
export class MdnsBrowser<Node> {
  readonly #options: MdnsBrowserOptions<Node>;
  readonly #topics = new Map<string, Topic<Node>>();
  /** The topics by the end of the names of their nodes, in lower case. */
  readonly #bySuffix = new Map<string, Set<Topic<Node>>>();
  /** The nodes of this process by name. */
  readonly #own = new Map<string, FoundNode>();
  readonly #watches = new Set<Watch<Node>>();
  /** When each goodbye was heard, by name and sender: answers that were on their way must not bring the node back. */
  readonly #goodbyes = new Map<string, number>();
  #count = 0;
  #forgetting: Timer | undefined;

  constructor(options: MdnsBrowserOptions<Node>) {
    this.#options = options;
  }

  /** True if all nodes of a service that live are known, without asking. */
  isKnown(service: string): boolean {
    const topic = this.#topics.get(service);
    if (!topic) return false;
    topic.usedAtMs = this.#now();
    return topic.isComplete && topic.entries.size > 0;
  }

  /** Keeps the nodes of a service while `ask` runs, which resolves when all who could have answered. */
  async seek(service: string, ask: () => Promise<void>): Promise<void> {
    const topic = this.#topic(service);
    topic.seekers += 1;
    topic.usedAtMs = this.#now();
    try {
      await ask();
      topic.isComplete = true;
    } finally {
      topic.seekers -= 1;
      this.#forgetIfIdle(topic);
    }
  }

  /** The nodes of a service, one for each id. */
  nodes(service: string): readonly Node[] {
    const ids = new Map<string, Entry<Node>>();
    for (const entry of this.#topics.get(service)?.entries.values() ?? []) {
      // Entries whose time is over are removed by their timer, which notices that this process was blocked.
      if (!entry.hasSaidGoodbye) ids.set(entry.id, preferred(entry, ids.get(entry.id)));
    }
    return [...ids.values()].map(({ node }) => node);
  }

  /** Reports changes of the nodes of a service, or of all services, until `signal` aborts. */
  watch(service: string | undefined, onChange: (change: NodeChange<Node>) => void, signal: AbortSignal): void {
    const watch = { service, onChange };
    this.#watches.add(watch);
    if (service !== undefined) this.#topic(service);
    const leave = (): void => {
      this.#watches.delete(watch);
      for (const topic of this.#topics.values()) this.#forgetIfIdle(topic);
    };
    signal.addEventListener('abort', leave, { once: true });
  }

  /** Takes the records of a node of this process, or withdraws them. Packets cannot change such nodes. */
  setOwn(instance: string, records: readonly Answer[] | undefined): void {
    const key = instance.toLowerCase();
    if (records === undefined) {
      this.#own.delete(key);
      this.#noteGoodbye(ownGoodbye(key));
      for (const topic of this.#topicsOf(key)) this.#remove(topic, topic.entries.get(key));
      return;
    }
    this.#goodbyes.delete(ownGoodbye(key));
    for (const found of nodesIn({ answers: [...records] }, this.#options.domain, () => true)) {
      this.#own.set(key, found);
      const topic = this.#topics.get(found.service) ?? (this.#isWatched(found.service) && this.#topic(found.service));
      if (topic) this.#put(topic, found);
    }
  }

  /** Keeps a node of this process like those of others from now on, as somebody else announces it. */
  disown(instance: string): void {
    const key = instance.toLowerCase();
    const own = this.#own.get(key);
    this.#own.delete(key);
    for (const topic of this.#topicsOf(key)) {
      const entry = topic.entries.get(key);
      if (!own || !entry) continue;
      entry.heardAtMs = this.#now();
      entry.expiresAtMs = entry.heardAtMs + own.ttlS * 1_000;
      this.#schedule(topic);
    }
  }

  /** Takes the nodes of a response or an announcement, and the goodbyes in it. */
  onResponse(packet: Packet, from: RemoteInfo): void {
    const { domain, sockets } = this.#options;
    const link = sockets.linkOf(from.address)?.address ?? from.address;
    // Of this machine each address may be the sender.
    const host = sockets.isOwn(from.address) ? 'here' : from.address;
    for (const instance of goodbyesIn(packet)) this.#onGoodbye(instance.toLowerCase(), host);
    const isAnswer = (packet.questions ?? []).length > 0;
    const followsAll = [...this.#watches].some(({ service }) => service === undefined);
    const accepts = (name: string): boolean => followsAll || this.#topicsOf(name.toLowerCase()).length > 0;
    for (const found of nodesIn(packet, domain, accepts, zoneOf(from.address))) {
      const key = found.instance.toLowerCase();
      if (found.ttlS === 0 || this.#own.has(key) || this.#isGone(key, host, isAnswer)) continue;
      const isNew = followsAll && this.#options.hasRoom(this.#count);
      const topic = this.#topics.get(found.service) ?? (isNew ? this.#topic(found.service) : undefined);
      if (!topic) continue;
      const known = topic.entries.get(key);
      if (known && !this.#isNewer(known, link)) continue;
      if (known || this.#options.hasRoom(this.#count)) this.#put(topic, found, { link, from: host });
      this.#forgetIfIdle(topic);
    }
  }

  /** The nodes that need not answer a question again: those with at least half of their TTL (RFC 6762 section 7.1). */
  knownAnswers(service: string): Answer[] {
    const name = `${service}.${this.#options.domain}`;
    const now = this.#now();
    let bytes = 0;
    const entries = [...(this.#topics.get(service)?.entries.values() ?? [])].filter(
      ({ heardAtMs, expiresAtMs, hasSaidGoodbye }) =>
        !hasSaidGoodbye && Number.isFinite(expiresAtMs) && now - heardAtMs < expiresAtMs - now,
    );
    return entries.flatMap(({ instance, expiresAtMs }): Answer[] => {
      bytes += Buffer.byteLength(instance) + Buffer.byteLength(name) + 14;
      const ttl = Math.ceil((expiresAtMs - now) / 1_000);
      return bytes > maxKnownBytes ? [] : [{ type: 'PTR', name, ttl, data: instance }];
    });
  }

  /** Asks again for all that is in use, for an interface that came. */
  askAll(): void {
    for (const topic of this.#topics.values()) if (this.#isInUse(topic)) this.#ask(topic);
  }

  close(): void {
    for (const { timer } of this.#topics.values()) timer?.cancel();
    this.#forgetting?.cancel();
    this.#topics.clear();
    this.#bySuffix.clear();
    this.#watches.clear();
  }

  #topic(service: string): Topic<Node> {
    let topic = this.#topics.get(service);
    if (!topic) {
      const usedAtMs = this.#now();
      topic = { service, entries: new Map(), timer: undefined, usedAtMs, seekers: 0, isComplete: false };
      this.#topics.set(service, topic);
      const suffix = this.#suffixOf(service);
      this.#bySuffix.set(suffix, (this.#bySuffix.get(suffix) ?? new Set()).add(topic));
      for (const own of this.#own.values()) if (own.service === service) this.#put(topic, own);
    }
    return topic;
  }

  #suffixOf(service: string): string {
    return `${service}.${this.#options.domain}`.toLowerCase();
  }

  /** The topics to which a name in lower case may belong: each of its dots may end the id of a node. */
  #topicsOf(name: string): Topic<Node>[] {
    const topics: Topic<Node>[] = [];
    for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
      topics.push(...(this.#bySuffix.get(name.slice(dot + 1)) ?? []));
    }
    return topics;
  }

  /** @param heard absent for a node of this process */
  #put(topic: Topic<Node>, found: FoundNode, heard?: { readonly link: string; readonly from: string }): void {
    const node = this.#options.nodeOf(found);
    if (node === undefined) return;
    const now = this.#now();
    const { service, instance } = found;
    const key = instance.toLowerCase();
    const expiresAtMs = heard ? now + found.ttlS * 1_000 : Number.POSITIVE_INFINITY;
    if (!topic.entries.has(key)) this.#count += 1;
    const id = String(found.id);
    const state = { heardAtMs: now, expiresAtMs, refreshes: 0, hasSaidGoodbye: false };
    topic.entries.set(key, { service, instance, id, node, link: heard?.link, from: heard?.from, ...state });
    this.#report(topic, id, node);
    this.#schedule(topic);
  }

  #remove(topic: Topic<Node>, entry: Entry<Node> | undefined): void {
    if (!entry) return;
    topic.entries.delete(entry.instance.toLowerCase());
    this.#count -= 1;
    if (topic.entries.size === 0) topic.isComplete = false;
    this.#report(topic, entry.id, entry.node);
    this.#forgetIfIdle(topic);
  }

  /** Reports the node that has an id now; `last` is gone if there is none. */
  #report(topic: Topic<Node>, id: string, last: Node): void {
    let current: Entry<Node> | undefined;
    for (const entry of topic.entries.values()) if (entry.id === id) current = preferred(entry, current);
    const { service } = topic;
    const change = { service, node: current?.node ?? last, isGone: current === undefined };
    for (const watch of this.#watches) {
      if (watch.service === undefined || watch.service === service) watch.onChange(change);
    }
  }

  /**
   * Ends a node in a second. Only the host that announced it says goodbye for it: others may be mistaken, or lie. A
   * goodbye of a service that nobody looks for is not remembered.
   */
  #onGoodbye(key: string, from: string): void {
    const topics = this.#topicsOf(key);
    if (topics.length === 0 || this.#own.has(key)) return;
    this.#noteGoodbye(goodbyeOf(key, from));
    for (const topic of topics) {
      const entry = topic.entries.get(key);
      if (!entry || entry.hasSaidGoodbye || (entry.from ?? from) !== from) continue;
      entry.hasSaidGoodbye = true;
      entry.expiresAtMs = Math.min(entry.expiresAtMs, this.#now() + goodbyeMs);
      this.#schedule(topic);
    }
  }

  #noteGoodbye(goodbye: string): void {
    this.#goodbyes.delete(goodbye);
    for (const oldest of this.#goodbyes.keys()) {
      if (this.#goodbyes.size < maxGoodbyes) break;
      this.#goodbyes.delete(oldest);
    }
    this.#goodbyes.set(goodbye, this.#now());
    this.#forgetting ??= this.#options.timers.after(goodbyeMs, () => this.#forgetGoodbyes());
  }

  /**
   * Forgets goodbyes after a second. By a timer: what arrived in a second in which this process did not run is read
   * before that fires, from all sockets.
   */
  #forgetGoodbyes(): void {
    const now = this.#now();
    this.#forgetting = undefined;
    for (const [goodbye, atMs] of this.#goodbyes) {
      const leftMs = atMs + goodbyeMs - now;
      if (leftMs > 0) {
        this.#forgetting = this.#options.timers.after(Math.max(1, leftMs), () => this.#forgetGoodbyes());
        return;
      }
      this.#goodbyes.delete(goodbye);
    }
  }

  /**
   * True if a record was sent before the goodbye of its node. An answer may have been on its way at another socket,
   * while announcements arrive in order; an announcement of this process comes back to it after its goodbye.
   */
  #isGone(key: string, from: string, isAnswer: boolean): boolean {
    if (this.#goodbyes.has(ownGoodbye(key))) return true;
    const goodbye = goodbyeOf(key, from);
    if (isAnswer) return this.#goodbyes.has(goodbye);
    this.#goodbyes.delete(goodbye);
    return false;
  }

  /** True if a record of a node counts that was heard at `link`: each link may be told another address. */
  #isNewer({ link: heardAt, heardAtMs, expiresAtMs, hasSaidGoodbye }: Entry<Node>, link: string): boolean {
    if (heardAt === link || hasSaidGoodbye) return true;
    const isLeftOut = !this.#options.sockets.links().some(({ address }) => address === heardAt);
    return isLeftOut || this.#now() - heardAtMs > (expiresAtMs - heardAtMs) * refreshParts[0];
  }

  #isWatched(service: string): boolean {
    return [...this.#watches].some((watch) => watch.service === undefined || watch.service === service);
  }

  /** True if somebody watches the service, or has looked for it since its nodes were heard. */
  #isInUse(topic: Topic<Node>): boolean {
    if (this.#isWatched(topic.service)) return true;
    return [...topic.entries.values()].some(({ heardAtMs }) => topic.usedAtMs >= heardAtMs);
  }

  /** Forgets a service without nodes that nobody looks for. */
  #forgetIfIdle(topic: Topic<Node>): void {
    const { service, entries, seekers } = topic;
    // A watch of all services makes it again when a node is announced.
    const isWatched = [...this.#watches].some((watch) => watch.service === service);
    if (entries.size > 0 || seekers > 0 || isWatched || this.#topics.get(service) !== topic) return;
    topic.timer?.cancel();
    this.#topics.delete(service);
    const suffix = this.#suffixOf(service);
    const others = this.#bySuffix.get(suffix);
    others?.delete(topic);
    if (others?.size === 0) this.#bySuffix.delete(suffix);
  }

  #schedule(topic: Topic<Node>): void {
    topic.timer?.cancel();
    let dueAtMs = Number.POSITIVE_INFINITY;
    for (const entry of topic.entries.values()) dueAtMs = Math.min(dueAtMs, this.#dueAt(entry));
    if (dueAtMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.max(1, Math.ceil(dueAtMs - this.#now()));
    topic.timer = this.#options.timers.after(delayMs, () => this.#onDue(topic, dueAtMs));
  }

  /** When an entry is asked for again, or ends. */
  #dueAt({ heardAtMs, expiresAtMs, refreshes, hasSaidGoodbye }: Entry<Node>): number {
    const part = refreshParts[refreshes];
    if (part === undefined || hasSaidGoodbye) return expiresAtMs;
    return heardAtMs + (expiresAtMs - heardAtMs) * (part + refreshJitter * this.#options.random.next());
  }

  #onDue(topic: Topic<Node>, dueAtMs: number): void {
    const now = this.#now();
    const isLate = now - dueAtMs > lateMs;
    let asks = false;
    for (const entry of topic.entries.values()) {
      if (entry.expiresAtMs <= now && isLate && !entry.hasSaidGoodbye) {
        entry.expiresAtMs = now + graceMs;
        entry.refreshes = refreshParts.length;
        asks = true;
      } else if (entry.expiresAtMs <= now) this.#remove(topic, entry);
      else if (now >= entry.heardAtMs + (entry.expiresAtMs - entry.heardAtMs) * (refreshParts[entry.refreshes] ?? 1)) {
        entry.refreshes += 1;
        asks = true;
      }
    }
    if (asks && this.#isInUse(topic)) this.#ask(topic);
    this.#schedule(topic);
  }

  #ask({ service }: Topic<Node>): void {
    const { domain, sockets } = this.#options;
    const questions = [{ name: `${service}.${domain}`, type: 'PTR' as const, class: 'IN' as const }];
    // Without an answer the nodes end by their TTL.
    void sockets.query({ questions, answers: this.knownAnswers(service) }).catch(() => {});
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }
}

function goodbyeOf(key: string, from: string): string {
  return `${key}\n${from}`;
}

/** That of this process, which is heard from each of its addresses. */
function ownGoodbye(key: string): string {
  return goodbyeOf(key, '');
}

/** Of two names of one node the shorter one: the other was made because this one was taken. */
function preferred<Node>(entry: Entry<Node>, other: Entry<Node> | undefined): Entry<Node> {
  if (!other) return entry;
  const [one, two] = [entry.instance, other.instance];
  return one.length < two.length || (one.length === two.length && one < two) ? entry : other;
}
