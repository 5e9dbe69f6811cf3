import { TenonError } from '../../errors/errors.ts';
import type { Logger } from '../../logger/logger.ts';
import {
  busyKey,
  capabilitiesOfRegistry,
  readBack,
  type Registry,
  type ServiceRecord,
} from '../../registry/registry.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';
import type { LeaseTerms } from '../lease-keeper.ts';
import { HeartbeatMonitor } from './heartbeat.ts';
import type { LeaseReport, LeaseRequest, SentError } from './lease-messages.ts';
import { LeaseRenewal } from './lease-renewal.ts';

/** The parts of a {@link LeaseTender}. */
export interface LeaseTenderTools {
  readonly registry: Registry;
  readonly runtime: Runtime;
  readonly logger: Logger;
  post(report: LeaseReport): void;
}

// Bounds the wait for a renewal that is under way when something else is to be announced.
const renewalGraceMs = 2_000;

/**
 * Renews leases for another thread, and watches the heartbeat of that. While its event loop is late the nodes are
 * announced as busy; if it stays away for too long they are removed, and come back with it.
 */
export class LeaseTender {
  readonly #tools: LeaseTenderTools;
  readonly #leases = new Map<string, TendedLease>();

  constructor(tools: LeaseTenderTools) {
    this.#tools = tools;
  }

  receive(request: LeaseRequest): void {
    const { key } = request;
    const lease = this.#leases.get(key);
    switch (request.kind) {
      case 'begin':
        this.#leases.set(key, new TendedLease(request, this.#tools));
        return;
      case 'update':
        lease?.update(request.record);
        return;
      case 'announce':
        void this.#answer(request.call, () => lease?.finish(request.record));
        return;
      case 'withdraw':
        void this.#answer(request.call, async () => {
          await lease?.finish(undefined);
          this.#leases.delete(key);
        });
        return;
      case 'abandon':
        this.#leases.delete(key);
        void this.#answer(request.call, async () => lease?.abandon());
    }
  }

  async #answer(call: number, work: () => Promise<void> | undefined): Promise<void> {
    let error: SentError | undefined;
    try {
      await work();
    } catch (thrown) {
      const { code, reason, message } = TenonError.from(thrown);
      error = { code, reason, message };
    }
    this.#tools.post({ kind: 'done', call, error });
  }
}

/** The state that a node is announced in: `removed` if it is not announced. */
type Announced = 'alive' | 'busy' | 'removed';

type Begin = Extract<LeaseRequest, { kind: 'begin' }>;

/** One lease. What is done to it is done in order: nothing is announced after it was withdrawn. */
class TendedLease {
  readonly #terms: LeaseTerms;
  readonly #registry: Registry;
  readonly #logger: Logger;
  readonly #renewal: LeaseRenewal;
  readonly #watching: Timer;
  readonly #abandoned = new AbortController();
  #record: ServiceRecord;
  #state: Announced = 'alive';
  #hasEnded = false;
  #queue: Promise<void> = Promise.resolve();

  constructor({ key, terms, renewals, beats, periodMs }: Begin, tools: LeaseTenderTools) {
    const { registry, runtime, logger } = tools;
    this.#terms = terms;
    this.#record = terms.record;
    this.#registry = registry;
    this.#logger = logger;
    const { shared, renewalRestores = false } = capabilitiesOfRegistry(registry) ?? { shared: false };
    const lease = {
      ttlMs: terms.ttlMs,
      intervalMs: terms.intervalMs,
      register: (signal: AbortSignal) => this.#register(signal),
      deregister: (signal: AbortSignal) => registry.deregister(this.#record, { signal }),
      readBack:
        shared && !renewalRestores ? (signal: AbortSignal) => readBack(registry, this.#record, { signal }) : undefined,
      onRegistered: (isAgain: boolean) => {
        Atomics.add(renewals, 0, 1);
        if (isAgain) Atomics.add(renewals, 1, 1);
        tools.post({ kind: 'registered', key });
      },
    };
    this.#renewal = new LeaseRenewal(lease, { service: terms.service, runtime, logger });
    this.#renewal.start(0);
    const monitor = new HeartbeatMonitor(beats, runtime.clock, periodMs);
    this.#watching = runtime.timers.every(periodMs, () => this.#noteSilence(monitor.silentMs()));
  }

  /** Announces another record from now on. */
  update(record: ServiceRecord): void {
    this.#record = record;
    this.#enqueueUnlessEnded(async () => {
      if (this.#state !== 'removed') await this.#renew();
    });
  }

  #noteSilence(silentMs: number): void {
    const { busyAfterMs, busyMs } = this.#terms;
    const state = silentMs < busyAfterMs ? 'alive' : silentMs < busyMs ? 'busy' : 'removed';
    if (state === this.#state || this.#hasEnded) return;
    this.#state = state;
    this.#tell(state, silentMs);
    this.#enqueueUnlessEnded(() => (state === 'removed' ? this.#remove() : this.#renew()));
  }

  /** Ends renewals. Then it announces the record that is given, or withdraws the node. Rejects if that fails. */
  finish(record: ServiceRecord | undefined): Promise<void> {
    this.#end();
    const { signal } = this.#abandoned;
    return this.#enqueue(async () => {
      await this.#renewal.stop(renewalGraceMs);
      signal.throwIfAborted();
      if (record) await this.#registry.register(record, { ttlMs: this.#terms.ttlMs, signal });
      else await this.#registry.deregister(this.#record, { signal });
    });
  }

  /** Ends everything at once. The node stays registered until its lease ends, unless somebody else removes it. */
  abandon(): void {
    this.#end();
    this.#abandoned.abort();
    this.#renewal.abandon();
    // The registry may keep leases of its own accord.
    this.#registry.release?.(this.#record).catch(() => {});
  }

  async #renew(): Promise<void> {
    await this.#renewal.stop(renewalGraceMs);
    if (!this.#hasEnded) this.#renewal.start(0);
  }

  async #remove(): Promise<void> {
    await this.#renewal.stop(renewalGraceMs);
    await this.#registry.deregister(this.#record, { signal: this.#abandoned.signal });
  }

  #end(): void {
    this.#hasEnded = true;
    this.#watching.cancel();
  }

  async #register(signal: AbortSignal): Promise<void> {
    const record = this.#state === 'busy' ? asBusy(this.#record) : this.#record;
    await this.#registry.register(record, { ttlMs: this.#terms.ttlMs, signal });
  }

  #tell(state: Announced, silentMs: number): void {
    const { service } = this.#terms;
    const fields = { lateMs: Math.round(silentMs) };
    if (state === 'alive') this.#logger.info(`${service}: its event loop is back, and the node is announced as before`);
    else if (state === 'removed')
      this.#logger.error(`${service}: its event loop has been blocked for too long: the node is deregistered`, fields);
    else this.#logger.warn(`${service}: its event loop is blocked: the node is announced as busy`, fields);
  }

  #enqueueUnlessEnded(work: () => Promise<void>): void {
    const unlessEnded = async (): Promise<void> => {
      if (!this.#hasEnded) await work();
    };
    this.#enqueue(unlessEnded).catch((error: unknown) =>
      this.#logger.warn(`${this.#terms.service}: the registry was not told how the node is`, { error }),
    );
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const run = this.#queue.then(work);
    this.#queue = run.catch(() => {});
    return run;
  }
}

/** The same record, whose nodes announce that they are busy. */
function asBusy(service: ServiceRecord): ServiceRecord {
  const nodes = service.nodes.map((node) => ({ ...node, metadata: { ...node.metadata, [busyKey]: 'true' } }));
  return { ...service, nodes };
}
