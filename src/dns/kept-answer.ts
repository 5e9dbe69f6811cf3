import { Outage } from '../runtime/outage.ts';
import type { Clock, Random } from '../runtime/runtime.ts';
import type { DnsLookup } from './dns.ts';

/** Limits of a {@link KeptAnswer}. */
export interface KeptAnswerSettings {
  /** Time in milliseconds for which an item stays that is missing in later answers. */
  readonly accumulateMs: number;
  /** Shortest and longest time until the next lookup, in milliseconds. */
  readonly minReadMs: number;
  readonly maxReadMs: number;
  /** Most items. Further ones are skipped. */
  readonly maxItems: number;
}

interface KeptItem<Item> {
  readonly item: Item;
  readonly seenAtMs: number;
}

// While there is no answer a name is looked up at least this often.
const maxRetryMs = 5_000;
// Processes that got an answer at the same time do not all ask again at the same time.
const jitter = 0.1;

/**
 * Keeps what the last answers about a name had, and says when it is to be looked up again: when the TTL ends. Items
 * stay while there is no answer, and until a second answer confirms that there is nothing any more.
 */
export class KeptAnswer<Item extends { readonly id: string }> {
  /** The lookup that is under way. */
  refreshing: Promise<void> | undefined;
  /** True once there were items. */
  wasFound = false;
  /** The name for which they were found. */
  name: string | undefined;
  readonly outage: Outage;
  readonly #settings: KeptAnswerSettings;
  readonly #clock: Clock;
  readonly #random: Random;
  #kept: ReadonlyMap<string, KeptItem<Item>> = new Map();
  #dueAtMs = Number.NEGATIVE_INFINITY;
  /** True if the last answer was that there is nothing. */
  #isAbsent = false;

  constructor(settings: KeptAnswerSettings, runtime: { readonly clock: Clock; readonly random: Random }) {
    this.outage = new Outage(runtime);
    this.#settings = settings;
    this.#clock = runtime.clock;
    this.#random = runtime.random;
  }

  /** The items, ordered by id. */
  get items(): readonly Item[] {
    return [...this.#kept.values()].map(({ item }) => item);
  }

  get isEmpty(): boolean {
    return this.#kept.size === 0;
  }

  /** True if the last answer no longer holds. */
  get isDue(): boolean {
    return this.#now() >= this.#dueAtMs;
  }

  /** Time in milliseconds until the next lookup of a name that is followed. */
  get nextMs(): number {
    const { minReadMs, maxReadMs } = this.#settings;
    const waitMs = Math.min(maxReadMs, Math.max(minReadMs, this.#dueAtMs - this.#now()));
    return waitMs * (1 + jitter * this.#random.next());
  }

  /** Takes over an answer. Returns true if it changed the items; their order is no change. */
  answered(items: readonly Item[], { name, ttlMs }: Pick<DnsLookup<unknown>, 'name' | 'ttlMs'>): boolean {
    const before = JSON.stringify(this.items);
    if (items.length === 0) this.#absent(ttlMs);
    else {
      this.name = name;
      this.#found(items, ttlMs);
    }
    return JSON.stringify(this.items) !== before;
  }

  /** Notes that there was no answer: the items stay. Returns true if it is to be logged. */
  failed(): boolean {
    const isTold = this.outage.failed() !== undefined;
    this.#dueAtMs = this.#now() + this.outage.retryMs(Math.min(maxRetryMs, this.#settings.maxReadMs));
    return isTold;
  }

  #found(items: readonly Item[], ttlMs: number): void {
    const { accumulateMs, maxReadMs, maxItems } = this.#settings;
    const now = this.#now();
    const kept = new Map<string, KeptItem<Item>>();
    for (const item of items) if (!kept.has(item.id)) kept.set(item.id, { item, seenAtMs: now });
    let dueAtMs = now + Math.min(ttlMs, maxReadMs);
    for (const [id, one] of this.#kept) {
      const leavesAtMs = one.seenAtMs + accumulateMs;
      if (kept.has(id) || leavesAtMs <= now) continue;
      kept.set(id, one);
      dueAtMs = Math.min(dueAtMs, leavesAtMs);
    }
    this.#kept = new Map([...kept].sort(([one], [other]) => (one < other ? -1 : 1)).slice(0, maxItems));
    this.#dueAtMs = dueAtMs;
    this.#isAbsent = false;
    this.wasFound = true;
  }

  /** The first answer that there is nothing may come of a server that restarts. */
  #absent(ttlMs: number): void {
    const { minReadMs } = this.#settings;
    if (this.#isAbsent || this.isEmpty) {
      this.#kept = new Map();
      this.#dueAtMs = this.#now() + Math.min(ttlMs, minReadMs);
    } else this.#dueAtMs = this.#now() + minReadMs;
    this.#isAbsent = true;
  }

  #now(): number {
    return this.#clock.monotonicMs();
  }
}
