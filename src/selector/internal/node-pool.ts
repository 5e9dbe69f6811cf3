import { Code, TenonError } from '../../errors/errors.ts';
import { isRegistryCache, type NodeRecord, nodeState, type Registry, type ServiceRecord } from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { Next, SelectOptions, SelectorOptions } from '../selector.ts';

/** How a strategy orders the nodes of one choice: the index to start from, among `count`. */
export type StartIndex = (service: string, count: number) => number;

interface Health {
  failures: number;
  ejections: number;
  ejectedUntil: number;
}

interface Known {
  readonly records: readonly ServiceRecord[];
  readonly serving: readonly NodeRecord[];
}

// An ejection doubles with each in a row, up to this many times the first.
const maxEjectionFactor = 16;

/** The nodes of each service and what is known of their health: what all strategies share. */
export class NodePool {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  readonly #health = new Map<string, Map<string, Health>>();
  #ejectedCount = 0;
  #isClosed = false;
  #options = { ejectMs: 5_000, ejectAfter: 1 };

  constructor(registry: Registry, clock: Clock, options: SelectorOptions) {
    this.#registry = registry;
    this.#clock = clock;
    this.init(options);
  }

  get options(): SelectorOptions {
    return this.#options;
  }

  init({ ejectMs = this.#options.ejectMs, ejectAfter = this.#options.ejectAfter }: SelectorOptions): void {
    this.#options = { ejectMs, ejectAfter };
  }

  select(service: string, options: SelectOptions | undefined, startIndex: StartIndex): Next | Promise<Next> {
    if (this.#isClosed) {
      throw new TenonError({ code: Code.FailedPrecondition, reason: 'selector.closed', message: 'the selector is closed' });
    }
    const records = isRegistryCache(this.#registry) ? this.#registry.peek(service) : undefined;
    if (records) return this.#next(service, records, options, startIndex);
    return this.#registry
      .getService(service, { signal: options?.signal })
      .then((found) => this.#next(service, found, options, startIndex));
  }

  mark(service: string, node: NodeRecord, error: TenonError | undefined): void {
    if (!error || error.code !== Code.Unavailable) {
      // The ordinary case costs one look-up, and none at all while every node is well.
      const health = this.#ejectedCount === 0 && this.#health.size === 0 ? undefined : this.#health.get(service)?.get(node.id);
      if (health && !error) this.#health.get(service)?.delete(node.id);
      return;
    }
    let nodes = this.#health.get(service);
    if (!nodes) this.#health.set(service, (nodes = new Map()));
    let health = nodes.get(node.id);
    if (!health) nodes.set(node.id, (health = { failures: 0, ejections: 0, ejectedUntil: 0 }));
    health.failures += 1;
    if (health.failures < this.#options.ejectAfter) return;
    const factor = Math.min(2 ** health.ejections, maxEjectionFactor);
    health.ejectedUntil = this.#clock.now() + this.#options.ejectMs * factor;
    health.ejections += 1;
    health.failures = 0;
    this.#ejectedCount += 1;
  }

  reset(service: string): void {
    this.#health.delete(service);
  }

  close(): void {
    this.#isClosed = true;
    this.#known.clear();
    this.#health.clear();
  }

  #next(service: string, records: readonly ServiceRecord[], options: SelectOptions | undefined, startIndex: StartIndex): Next {
    const serving = options?.filters ? servingOf(filtered(records, options)) : this.#servingOf(service, records);
    if (serving.length === 0) throw noneAvailable(service, records);
    const nodes = this.#healthy(service, serving);
    const start = startIndex(service, nodes.length);
    let given = 0;
    return () => nodes[(start + given++) % nodes.length] as NodeRecord;
  }

  #servingOf(service: string, records: readonly ServiceRecord[]): readonly NodeRecord[] {
    const known = this.#known.get(service);
    if (known?.records === records) return known.serving;
    const serving = servingOf(records);
    this.#known.set(service, { records, serving });
    return serving;
  }

  /** Without those that are left out for now; all of them when that leaves none. */
  #healthy(service: string, nodes: readonly NodeRecord[]): readonly NodeRecord[] {
    const health = this.#health.get(service);
    if (!health || health.size === 0) return nodes;
    const now = this.#clock.now();
    const healthy = nodes.filter((node) => (health.get(node.id)?.ejectedUntil ?? 0) <= now);
    return healthy.length > 0 ? healthy : nodes;
  }
}

function filtered(records: readonly ServiceRecord[], { filters = [] }: SelectOptions): readonly ServiceRecord[] {
  return filters.reduce((services, filter) => filter(services), records);
}

function servingOf(records: readonly ServiceRecord[]): readonly NodeRecord[] {
  return records.flatMap(({ nodes }) => nodes.filter((node) => nodeState(node) === 'serving'));
}

function noneAvailable(service: string, records: readonly ServiceRecord[]): TenonError {
  const states = records.flatMap(({ version, nodes }) => nodes.map((node) => `${node.id} (version ${version}) is ${nodeState(node)}`));
  return new TenonError({
    code: Code.Unavailable,
    reason: 'selector.none_available',
    message: `no node of service "${service}" may be used: ${states.join(', ') || 'none is registered'}; a filter, or a state other than serving, leaves out the rest`,
  });
}
